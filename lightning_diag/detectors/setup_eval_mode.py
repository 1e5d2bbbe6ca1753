"""``setup/eval-mode``: layers are trained in evaluation mode: no dropout, statistics of a batch that never come."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

UNUSED = 2  # of ``mode/batch_norm``: in evaluation mode, with statistics as they began
SHOWN, NAMED = 8, 3  # names in a finding, and in its sentence


class SetupEvalMode(Detector):
    """Dropout or batch normalization is in evaluation mode while it is trained.

    Catches:
        A pretrained model that was handed over in evaluation mode (``from_pretrained`` returns it so, and Lightning has
        kept the mode it finds since 2.2), ``self.eval()`` that was never undone.

    Formula:
        Dropout: all dropout layers beside trained parameters are in evaluation mode in the first sampled step. Batch
        normalization: such a layer with trained parameters is, and its running statistics still are 0 and 1, so that it
        normalizes nothing.

    Reads:
        ``mode/dropout mode/batch_norm``, once.

    Args:
        None.

    Fires when:
        a warning for batch normalizations whose statistics were never made; else info: dropout may be off, and learned
        statistics kept, on purpose.

    False alarms:
        A network whose inputs are normalized by design and whose batch normalizations are meant to do nothing. Not
        measured on the fault zoo, where nobody trains so.

    Cost:
        Once a run.

    Examples:
        >>> from lightning_diag.reading import Facts
        >>> facts = Facts(names={"dropout": ("body.drop",), "batch_norm": ("body.norm",)})
        >>> values = {"mode/dropout": np.array([1.0]), "mode/batch_norm": np.array([0.0])}
        >>> found = SetupEvalMode().update(Reading(1, 0, values, facts))
        >>> found.step, str(found.severity), found.where
        (1, 'info', ('body.drop',))

    References:
        Lightning 2.2, changelog: ``Trainer.fit`` no longer calls ``LightningModule.train()``. Hugging Face,
        Transformers, ``from_pretrained``: the model is set in evaluation mode by default. Ioffe and Szegedy, Batch
        normalization, ICML 2015 (arXiv:1502.03167).
    """

    rule: ClassVar[str] = "setup/eval-mode"
    code: ClassVar[str] = "Z006"
    reads: ClassVar[tuple[str, ...]] = ("mode/dropout", "mode/batch_norm")
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Trained in evaluation mode"
    resolve_after: ClassVar[int | None] = None

    def _reset(self) -> None:
        self._looked = False

    def update(self, reading: Reading) -> Finding | None:
        """Judge the modes once."""
        if self._looked:
            return None
        off, norms = reading.vector("mode/dropout"), reading.vector("mode/batch_norm")
        if off is None and norms is None:
            raise NotMeasurable("the model trains neither dropout layers nor batch normalizations")
        self._looked = True
        if norms is not None and (norms == UNUSED).any():
            names = _chosen(reading.names("batch_norm"), norms == UNUSED)
            count = int((norms == UNUSED).sum())
            return self._finding(
                reading,
                Severity.WARNING,
                names,
                f"{count} of {len(norms)} batch normalizations are trained in evaluation mode with statistics that "
                f"were never made (mean 0, variance 1), so they normalize nothing{_of(names)}.",
                float(count),
            )
        if off is None or not len(off) or not (off == 1).all():
            return None
        names = _chosen(reading.names("dropout"), off == 1)
        layers = f"All {len(off)} dropout layers are" if len(off) > 1 else "The dropout layer is"
        return self._finding(
            reading,
            Severity.INFO,
            names,
            f"{layers} in evaluation mode while the model is trained, so nothing is dropped{_of(names)}.",
            float(len(off)),
        )

    def _finding(self, reading: Reading, how: Severity, names: tuple[str, ...], text: str, value: float) -> Finding:
        return self.found(
            reading,
            how,
            text,
            where=names[:SHOWN],
            evidence={"value": value, "limit": 0.0},
            advice=(
                "call self.train() in on_train_start (and .eval() on what is to stay frozen): Lightning keeps the mode "
                "it finds, and from_pretrained returns models in evaluation mode",
                "if that is on purpose, suppress this rule",
            ),
        )


def _chosen(names: tuple[str, ...], which: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, chosen in zip(names, which, strict=False) if chosen)


def _of(names: tuple[str, ...]) -> str:
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f": {', '.join(names[:NAMED])}{rest}" if names else ""
