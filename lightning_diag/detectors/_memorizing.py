"""What ``fit/overfitting`` measures of a language model and advises to all."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lightning_diag.detectors._words import percent
from lightning_diag.reading import Reading

SETTLED = 0.25  # share of the plan after which a gap alone counts
PASSES = 4  # over the data up to which repeated data are as good as new ones (Muennighoff et al., arXiv:2305.16264)


def apart(reading: Reading, level: float) -> float:
    """Return how far the validation loss lies above the training ``level``, over chance.

    0 where the model isn't a language model, the loss at chance isn't known or no data came more than 4 times: then
    such a difference is none of memory but of what is in the data.

    >>> import numpy as np
    >>> from lightning_diag.reading import Facts
    >>> facts = Facts(task="language-model", chance_loss=4.0, steps_per_epoch=10)
    >>> [apart(Reading(step, 0, {"loss/val": np.float64(3.0)}, facts), 2.0) for step in (40, 41)]
    [0.0, 0.25]
    """
    facts, loss = reading.facts, reading.scalar("loss/val")
    if facts.task != "language-model" or not facts.chance_loss or not facts.steps_per_epoch or loss is None:
        return 0.0
    if reading.step <= PASSES * facts.steps_per_epoch or not math.isfinite(loss - level):
        return 0.0
    return (loss - level) / facts.chance_loss


def lasting(reading: Reading, last: Sequence[float], evals: int, limit: float) -> bool:
    """Whether each of the ``evals`` last differences is above the limit, late enough for it to count."""
    late = reading.progress is not None and reading.progress >= SETTLED
    return late and len(last) == evals and min(last) > limit


def in_words(loss: float, level: float, apart: float, limit: float) -> str:
    """Say how far the validation loss lies above the training level."""
    return (
        f"The validation loss {loss:.4g} lies above the training loss {level:.4g} by {percent(apart)} of chance (limit "
        f"{percent(limit)}): what is learned of these texts holds for no others."
    )


def advice(best_step: int, *, calibration: bool) -> tuple[str, ...]:
    """Return what to try next, cheapest first."""
    if calibration:
        return (
            "keep the checkpoint by validation accuracy if decisions are all you need",
            "if you need probabilities, fit one temperature on the validation logits, or train with "
            "label_smoothing=0.1",
        )
    return (
        f"keep the checkpoint of step {best_step} (ModelCheckpoint and EarlyStopping on the validation metric)",
        "add data or augmentation: train on half of the data once; if the best validation is much worse, more data "
        "helps",
        "then raise weight decay or dropout, then shrink the model, one at a time",
    )
