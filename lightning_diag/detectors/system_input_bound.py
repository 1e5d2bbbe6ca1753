"""``system/input-bound``: the training waits for its data."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from lightning_diag.detectors._arguments import number
from lightning_diag.detectors._laps import BLOCK, ENOUGH, WARM_UP, Laps
from lightning_diag.detectors._words import percent
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading

EPOCHS = 5  # epochs that are over and whose starts are looked at
FIRST_S = 0.1  # seconds a start of an epoch may take whatever its share: less is not worth a word
SLOW_S = 0.5  # ... and seconds from which it can be a warning: an epoch of a few batches is over before


class SystemInputBound(Detector):
    """The training spends a share of its time waiting for batches.

    Catches:
        A loader that is slower than the model: too few workers, slow decoding or augmentation, a slow disk; workers
        that are started anew in every epoch.

    Formula:
        ``share = wait / time`` over blocks of at least 16 batches, median of the last 8 blocks; validation, checkpoints
        and the first batch of an epoch don't count. First batches: their wait over the time of the last 5 epochs, the
        first one left out. On a CUDA device ``wait`` is the time the *device* had nothing to do while a batch was
        fetched, timed by events at sampled steps: what the host waits for may hide behind queued work.

    Reads:
        ``time/batch_s time/wait_s time/first_wait_s time/batches``, ``time/idle_s`` on a CUDA device.

    Args:
        info: share from which it is told; higher = told later. Default 0.1 (TraceML's warning).
        warning: share from which it is a warning; higher = fewer warnings. Default 0.2 (TraceML's critical).
        wait_s: mean wait a batch in seconds below which nothing is said; higher = quieter. Default 0.005: below it,
            the trainer's own work between two batches is as long.

    Fires when:
        info from ``info`` on, a warning from ``warning`` on (of first batches only if they take half a second each).

    False alarms:
        A training that shares its cores with other programs waits for data because of them.

    Cost:
        A few additions a sampled step.

    Examples:
        >>> import numpy as np
        >>> from lightning_diag.reading import Facts
        >>> rule, rng, facts = SystemInputBound(), np.random.default_rng(0), Facts(loader={"num_workers": 0, "cpus": 8})
        >>> for step in range(1, 201):
        ...     wait = 0.03 * rng.uniform(0.5, 1.5)
        ...     times = {"time/batch_s": 0.1, "time/wait_s": wait, "time/batches": 1.0, "time/first_wait_s": 0.0}
        ...     try:
        ...         found = rule.update(Reading(step, 0, times, facts))
        ...     except NotMeasurable:
        ...         continue
        ...     print(step, found.severity, found.advice[0])
        ...     break
        84 warning set num_workers=4 in the training DataLoader (it is 0: batches are made between the steps; 8 cores)

    References:
        TraceML, `diagnostics/step_time/policy.py` (input-bound at 10 % and 20 % of step time); Mohan et al., Analyzing
        and mitigating data stalls in DNN training, VLDB 2021.
    """

    rule: ClassVar[str] = "system/input-bound"
    code: ClassVar[str] = "Y001"
    reads: ClassVar[tuple[str, ...]] = ("time/batches",)
    severity: ClassVar[Severity] = Severity.WARNING
    title: ClassVar[str] = "Training waits for data"
    refresh: ClassVar[bool] = True
    resolve_after: ClassVar[int | None] = 200

    def __init__(self, info: float = 0.1, warning: float = 0.2, wait_s: float = 0.005) -> None:
        self.info = number("info", info, 0.001, 1)
        self.warning = number("warning", warning, info, 1)
        self.wait_s = number("wait_s", wait_s, 0)
        super().__init__()

    def _reset(self) -> None:
        self._laps = Laps()
        self._epoch = self._first = -1  # the epoch under way and the first one seen
        self._epochs: deque[list[float]] = deque(
            maxlen=EPOCHS + 1
        )  # an epoch: seconds of its first batch, of all; its number

    def update(self, reading: Reading) -> Finding | None:
        """Add a reading's times; judge the blocks so far."""
        wait = self._wait(reading)
        self._starts(reading)
        self._laps.push(reading, wait)
        starts = self._first_batches(reading)
        if starts is not None:
            return starts
        if len(self._laps) < ENOUGH:
            raise NotMeasurable(f"needs {WARM_UP + ENOUGH * BLOCK} batches")
        share, batch_s, wait_s = self._laps.medians()
        if share < self.info or wait_s < self.wait_s:
            return None
        severity = Severity.WARNING if share >= self.warning else Severity.INFO
        limit = self.warning if share >= self.warning else self.info
        return self.found(
            reading,
            severity,
            f"{percent(share)} of the training time is spent waiting for batches (limit {percent(limit)}): "
            f"{1000 * wait_s:.3g} of {1000 * batch_s:.3g} ms a batch.",
            evidence={"value": share, "limit": limit, "wait_s": wait_s, "batch_s": batch_s, **reading.facts.loader},
            advice=_advice(reading),
        )

    @staticmethod
    def _wait(reading: Reading) -> float:
        if reading.facts.device == "cuda":
            idle = reading.scalar("time/idle_s")
            if idle is None:
                raise NotMeasurable("how long the device had nothing to do is not known")
            return idle
        wait = reading.scalar("time/wait_s")
        if wait is None:
            raise NotMeasurable("how long batches were waited for is not known")
        return wait

    def _starts(self, reading: Reading) -> None:
        if reading.epoch != self._epoch:
            self._epoch = reading.epoch
            self._epochs.append([0.0, 0.0, float(reading.epoch)])
            self._first = min(self._first, reading.epoch) if self._first >= 0 else reading.epoch
        batches, batch_s = reading.scalar("time/batches") or 0.0, reading.scalar("time/batch_s") or 0.0
        self._epochs[-1][0] += reading.scalar("time/first_wait_s") or 0.0
        self._epochs[-1][1] += batches * batch_s

    def _first_batches(self, reading: Reading) -> Finding | None:
        """The wait for the first batches of epochs that are over, if that alone is worth a word."""
        epochs = [row for row in list(self._epochs)[:-1] if row[2] > self._first]
        if len(epochs) < 2:
            return None
        firsts, total, _ = (sum(column) for column in zip(*epochs, strict=True))
        start_s, share = firsts / len(epochs), firsts / total if total > 0 else 0.0
        if share < self.info or start_s < FIRST_S:
            return None
        severity = Severity.WARNING if share >= self.warning and start_s >= SLOW_S else Severity.INFO
        limit = self.warning if severity else self.info
        loader = reading.facts.loader
        restarts = loader.get("num_workers", 0) > 0 and not loader.get("persistent_workers", 0)
        why = (
            "workers restart each epoch: persistent_workers=True keeps them" if restarts else "each epoch starts slowly"
        )
        return self.found(
            reading,
            severity,
            f"{percent(share)} of the training time is spent waiting for the first batch of an epoch (limit "
            f"{percent(limit)}), {start_s:.2g} s each: {why}.",
            evidence={"value": share, "limit": limit, "first_wait_s": start_s, **loader},
            advice=(
                "set persistent_workers=True in the training DataLoader"
                if restarts
                else "time `iter(loader)` and the first `next` alone: what the data set does once an epoch belongs "
                "into its constructor",
                "make epochs longer: repeat the data set, or fewer and larger epochs with val_check_interval",
            ),
        )


def _advice(reading: Reading) -> tuple[str, ...]:
    loader = reading.facts.loader
    workers, cpus = loader.get("num_workers"), loader.get("cpus", 1)
    first: tuple[str, ...] = ()
    if workers == 0:
        wanted = max(1, min(4, cpus - 1))
        first = (
            f"set num_workers={wanted} in the training DataLoader (it is 0: batches are made between the steps; "
            f"{cpus} cores)",
        )
    elif workers is not None and workers < cpus - 1:
        first = (f"raise num_workers from {workers} towards the {cpus} cores there are",)
    if reading.facts.device == "cuda" and loader.get("pin_memory") == 0:
        first += ("set pin_memory=True in the training DataLoader: copies to the device don't wait then",)
    return (
        *first,
        "train 100 steps with overfit_batches=1: the speed that is won is what loading costs",
        "time `next(iter(loader))` part by part: decode and resize once, ahead of training, what is the same each time",
    )
