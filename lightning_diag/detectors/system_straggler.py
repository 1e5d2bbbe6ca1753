"""``system/straggler``: one process keeps the others waiting."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lightning_diag.detectors._arguments import number, whole
from lightning_diag.detectors._ranks import by_rank, name_of, others
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.streaming import Window

EXPLAINS = 0.8  # share of the delay that a cause must explain to be named


class SystemStraggler(Detector):
    """A process is slower than the others, which wait for it in every step.

    Catches:
        A process with a slower loader, more work in its batches, a slower card, or a neighbour on its machine.

    Formula:
        ``delay = busy - median(busy of the others)`` over seconds a batch, median of the last ``window`` sampled steps,
        where ``busy`` is the wait for the batch and the time from the batch to its loss: what comes after, the
        reduction makes equal on all. Input or compute is named when it explains 80 % of the delay.

    Reads:
        ``rank/wait_s rank/forward_s time/batch_s`` at sampled steps.

    Args:
        info: delay as a share of the time a batch from which it is told; higher = quieter. Default 0.1 (TraceML).
        warning: share from which it is a warning; higher = fewer warnings. Default 0.2 (TraceML).
        delay_s: seconds a batch below which nothing is said; higher = quieter. Default 0.005.
        window: sampled steps; higher = later. Default 20 (TraceML).

    Fires when:
        info from ``info`` on, a warning from ``warning`` on.

    False alarms:
        Where forward passes wait for each other (sharded parameters), a slow one is seen only by its input.

    Cost:
        A comparison of R numbers a sampled step.

    Examples:
        >>> rule, rng = SystemStraggler(), np.random.default_rng(0)
        >>> for step in range(1, 60):
        ...     wait = 0.001 * rng.uniform(0.5, 1.5, 4) + np.array([0, 0, 0.03, 0])
        ...     forward = 0.02 * rng.uniform(0.9, 1.1, 4)
        ...     times = {"rank/wait_s": wait, "rank/forward_s": forward, "time/batch_s": np.float64(0.1)}
        ...     try:
        ...         found = rule.update(Reading(step, 0, times))
        ...     except NotMeasurable:
        ...         continue
        ...     print(step, found.severity, found.where, found.evidence["cause"])
        ...     break
        20 warning ('rank 2',) input

    References:
        TraceML, `DIAGNOSIS.md`: straggler score at 10 % and 20 % of the step, the cause named if it explains 80 %.
    """

    rule: ClassVar[str] = "system/straggler"
    code: ClassVar[str] = "Y005"
    reads: ClassVar[tuple[str, ...]] = ("rank/wait_s",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "One process keeps the others waiting"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 20

    def __init__(self, info: float = 0.1, warning: float = 0.2, delay_s: float = 0.005, window: int = 20) -> None:
        self.info = number("info", info, 0.001, 1)
        self.warning = number("warning", warning, info, 1)
        self.delay_s = number("delay_s", delay_s, 0)
        self.window = whole("window", window, 5)
        super().__init__()

    def _reset(self) -> None:
        self._wait = Window(self.window)
        self._forward = Window(self.window)
        self._batch = Window(self.window)

    def update(self, reading: Reading) -> Finding | None:
        """Add the processes' times of one sampled step."""
        wait, batch_s = by_rank(reading, "rank/wait_s"), reading.scalar("time/batch_s")
        forward = by_rank(reading, "rank/forward_s")
        if wait is None or batch_s is None or np.isnan(wait).any() or not batch_s > 0:
            raise NotMeasurable("the times of all processes are not known")
        if forward is None or np.isnan(forward).any():
            forward = np.zeros_like(wait)
        self._wait.push(reading.step, wait - others(wait))
        self._forward.push(reading.step, forward - others(forward))
        self._batch.push(reading.step, [batch_s])
        if not self._wait.full:
            raise NotMeasurable(f"needs {self.window} sampled steps")
        late, slow, step_s = self._wait.median(), self._forward.median(), float(self._batch.median()[0])
        delay = np.median(self._wait.array() + self._forward.array(), axis=0)
        rank = int(np.argmax(delay))
        share = min(1.0, float(delay[rank]) / step_s)
        if share < self.info or delay[rank] < self.delay_s:
            return None
        return self._finding(reading, rank, share, float(delay[rank]), float(late[rank]), float(slow[rank]))

    def _finding(self, reading: Reading, rank: int, share: float, delay: float, late: float, slow: float) -> Finding:
        severity = Severity.WARNING if share >= self.warning else Severity.INFO
        limit = self.warning if share >= self.warning else self.info
        cause = "input" if late >= EXPLAINS * delay else "compute" if slow >= EXPLAINS * delay else "both"
        why = {
            "input": "it waits for its data",
            "compute": "its forward pass takes longer",
            "both": "its data and its forward pass both take longer",
        }[cause]
        name = name_of(reading, rank)
        return self.found(
            reading,
            severity,
            f"{name} is {1000 * delay:.3g} ms a batch later than the other processes, {percent(share)} of the time "
            f"a batch takes (limit {percent(limit)}): {why}.",
            where=[name],
            evidence={
                "value": share,
                "limit": limit,
                "delay_s": delay,
                "input_s": late,
                "compute_s": slow,
                "cause": cause,
            },
            advice=(
                "start the processes in another order: if the slow one is another now, it is the machine or the card, "
                "otherwise its part of the data",
                "compare num_workers, disks and other programs on its machine with the others'"
                if cause == "input"
                else "look for longer samples in its batches (length, resolution) and other programs on its device",
            ),
        )
