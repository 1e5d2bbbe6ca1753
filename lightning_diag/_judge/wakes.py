"""Which rules are shown a reading: those that read its signals and don't rest. Knows detectors' base only."""

from __future__ import annotations

from collections.abc import Mapping

from lightning_diag.detectors.base import Detector
from lightning_diag.reading import Facts, Reading

Rules = tuple[tuple[str, Detector], ...]
OF_A_LOSS = frozenset({"loss/train", "loss/level", "loss/noise", "loss/z", "loss/best", "loss/relative"})


class Wakes:
    """Sorts detectors by what wakes them, and leaves out those that rest.

    A reading is *quiet* when it is the step after the one before, nothing new is known of the run, and it holds a
    finite loss with what is made of it and nothing else: most steps of a run. Only at those may a detector rest
    (:attr:`~lightning_diag.Detector.rests_until`); a log that holds every 50th step has none.

    Args:
        detectors: rule -> detector.
    """

    def __init__(self, detectors: Mapping[str, Detector]) -> None:
        self._detectors = dict(detectors)
        self.forget()

    def forget(self) -> None:
        """Start anew: the next reading is shown to all that read it."""
        self._by_signals: dict[tuple[str, ...], tuple[Rules, bool]] = {}
        self._entry: tuple[Rules, bool] | None = None  # the one that was sorted
        self._judging: Rules = ()
        self._taking: Rules = ()
        self._look = 0  # step at which somebody's rest ends
        self._step = -1
        self._facts: Facts | None = None

    def leave_out(self, rule: str) -> None:
        """Never show this rule anything again."""
        del self._detectors[rule]
        self.forget()

    def shown(self, reading: Reading) -> tuple[Rules, Rules]:
        """Return the rules that judge the reading, and those that rest and only take it in."""
        key = tuple(reading.values)
        entry = self._by_signals.get(key)
        if entry is None:
            entry = self._by_signals[key] = self._woken_by(frozenset(key))
        step, last = reading.step, self._step
        self._step = step
        if not entry[1] or step != last + 1 or reading.facts is not self._facts:
            self._facts, self._look = reading.facts, 0
            return entry[0], ()
        if step >= self._look or entry is not self._entry:
            self._sort(entry, step)
        return self._judging, self._taking

    def _woken_by(self, signals: frozenset[str]) -> tuple[Rules, bool]:
        """Those that read one of the signals, and whether they are those of a finite loss."""
        woken = tuple((rule, d) for rule, d in self._detectors.items() if not signals.isdisjoint(d.reads))
        return woken, "loss/level" in signals and signals <= OF_A_LOSS

    def _sort(self, entry: tuple[Rules, bool], step: int) -> None:
        """Who rests at this step?"""
        judging = tuple((rule, d) for rule, d in entry[0] if d.rests_until <= step)
        resting = [(rule, d) for rule, d in entry[0] if d.rests_until > step]
        settled = judging == self._judging  # else those that woke up may rest again after this step
        self._look = min((d.rests_until for _, d in resting), default=step + 1) if settled else step + 1
        self._taking = tuple((rule, d) for rule, d in resting if type(d).take is not Detector.take)
        self._entry, self._judging = entry, judging
