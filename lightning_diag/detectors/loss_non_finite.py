"""``loss/non-finite``: the training loss is NaN or infinite."""

from __future__ import annotations

from typing import Any, ClassVar

from lightning_diag.detectors._arguments import whole
from lightning_diag.detectors._batch import at, taken
from lightning_diag.detectors._origin import origin
from lightning_diag.detectors.base import NEVER, Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

RECENT = 20  # steps within which scattered non-finite losses count together
LATE_STEP = 50  # before it the start (rate, initialization) is the suspect, after it the batch or growth


class LossNonFinite(Detector):
    """The training loss is NaN or infinite.

    Catches:
        A loss that can't be computed any more: overflow, log of zero, a broken sample, weights that blew up. In full
        precision the gradient of such a loss makes every weight NaN, so the next loss is NaN too and the run is lost;
        a loss scaler or a user's guard skips the step, and the next loss is finite again.

    Formula:
        ``not isfinite(loss)``; in a row, or ``repeats`` of the last 20 steps.

    Reads:
        ``loss/train`` at every step (with several ranks their mean: one bad rank is enough); ``run/ended``;
        ``origin/*`` once, at the first non-finite loss on a CPU: the input, weight or module it came from.

    Args:
        in_a_row: non-finite losses in a row (steps) that make it critical; higher = later, and surer that no guard
            skipped the step. Default 2: an optimizer step on a NaN gradient shows at the very next loss.
        repeats: non-finite losses within 20 steps that make it critical though finite ones stand between; higher =
            more patient. Default 5: a loss scaler that settles skips a few steps in a row, then none.

    Fires when:
        at the first non-finite loss, at once, as a warning; critical from the second in a row on, at ``repeats`` of 20,
        or when the run ends on one. ``step`` is the first of the last row of them. It never resolves: what was
        skipped was not learned.

    False alarms:
        None by construction on finite losses. A step that a guard skipped on purpose stays a warning.

    Cost:
        0.1 µs a step.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag._judge.judge import Judge
        >>> judge = Judge([LossNonFinite()])
        >>> for step in range(1, 100):
        ...     loss = float("nan") if step == 40 or step >= 70 else 2.0
        ...     reading = Reading(step, 0, {"loss/train": np.float64(loss)}, batch_idx=step - 1)
        ...     for finding in judge.update(judge.enrich(reading)):
        ...         print(step, finding.severity, finding.message)
        40 warning The training loss is nan at step 40 (batch 39 of epoch 0); the limit is a finite number.
        71 critical The training loss is nan at step 70 (batch 69 of epoch 0) and was not finite for 2 losses in a row.

    References:
        Micikevicius et al., Mixed Precision Training, 2018 (arXiv:1710.03740), section 3.2: skip the step when the
        scaled gradient overflows. PyTorch documentation, ``torch.amp.GradScaler``.
    """

    rule: ClassVar[str] = "loss/non-finite"
    code: ClassVar[str] = "L003"
    reads: ClassVar[tuple[str, ...]] = ("loss/train", "run/ended")
    severity: ClassVar[Severity] = Severity.CRITICAL
    title: ClassVar[str] = "Loss is NaN or infinite"
    resolve_after: ClassVar[int | None] = None

    def __init__(self, in_a_row: int = 2, repeats: int = 5) -> None:
        self.in_a_row = whole("in_a_row", in_a_row, 1)
        self.repeats = whole("repeats", repeats, 2, RECENT)
        super().__init__()

    def _reset(self) -> None:
        self.rests_until = 0
        self._seen = False  # a loss was read at all
        self._row = 0  # non-finite losses in a row
        self._steps: list[int] = []  # steps of the last non-finite losses
        self._first: dict[str, Any] = {}  # where the present row began

    def update(self, reading: Reading) -> Finding | None:
        """Judge one loss."""
        loss = reading.scalar("loss/train")
        if loss is None and not self._seen:
            raise NotMeasurable("no training loss was seen")
        self._seen = True
        if loss is None:  # the run ended
            return self._finding(reading, "and the run ended on it", Severity.CRITICAL) if self._row else None
        if loss - loss == 0.0:  # finite: the cheap way to say it
            self._row, self.rests_until = 0, NEVER
            return None
        if not self._row:
            said, where = origin(reading)
            self._first = {**taken(reading), "loss": str(loss), "origin": said, "where": where}
        self._row, self.rests_until = self._row + 1, 0
        self._steps = [s for s in self._steps if s > reading.step - RECENT] + [reading.step]
        if self._row >= self.in_a_row:
            row = "at once" if self._row == 1 else f"and was not finite for {self._row} losses in a row"
            return self._finding(reading, row, Severity.CRITICAL)
        if len(self._steps) >= self.repeats:
            return self._finding(reading, f"and at {len(self._steps)} of the last {RECENT} steps", Severity.CRITICAL)
        return self._finding(reading, "", Severity.WARNING)

    def _finding(self, reading: Reading, how: str, severity: Severity) -> Finding:
        first = self._first
        end = f" {how}" if how else "; the limit is a finite number"
        end += f"; {first['origin']}." if first["origin"] else "."
        return self.found(
            reading,
            severity,
            f"The training loss is {first['loss']} at {at(first)}{end}",
            where=first["where"],
            evidence={
                "value": first["loss"],
                "limit": "finite",
                "batch_idx": first["batch"],
                "in_a_row": self._row,
                "in_last_20": len(self._steps),
            },
            advice=_advice(reading, first),
            step=first["step"],
        )


def _advice(reading: Reading, first: dict[str, Any]) -> tuple[str, ...]:
    steps = [
        f"load the batch of {at(first)} alone and check `torch.isfinite` of its inputs and targets, then its loss in "
        "float32 with freshly initialized weights: not finite there means the data or the loss function, finite "
        "means the weights blew up",
        "rerun from the last checkpoint before it with `Trainer(detect_anomaly=True)`: the traceback names the "
        "operation",
    ]
    if reading.facts.precision and reading.facts.precision.startswith("16"):
        steps.insert(1, "rerun the 100 steps before it with precision='32-true' or 'bf16-mixed': float16 ends at 65504")
    if first["step"] > LATE_STEP:
        steps.append("halve the learning rate from the last good checkpoint on, and clip the gradient norm")
    else:
        steps.append("start with a tenth of the learning rate and a warm-up: it failed within the first steps")
    return tuple(steps)
