"""The host's end of a step: readings are judged, and told to the sinks and to the user."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter

from lightning_diag._guard import Guard
from lightning_diag._judge.judge import Judge
from lightning_diag.diagnosis import Coverage
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from lightning_diag.sinks.base import Sink

BLOCK = 256  # steps whose losses may wait to be judged together ...
WAIT_S = 0.5  # ... and seconds since the last were: slower steps don't wait at all
COVERAGE_S = 1.0  # least time between two looks at which checks have run: what a killed run loses at most


class Teller:
    """Judges readings in the order of steps and hands them, and what is found, to the sinks and the user.

    A step that brought nothing but its loss waits for company: one judged beside others costs about a third of one
    judged between two steps of a model, which throw its code and data out of the caches. What waits is judged when
    something else arrives, when a loss is not finite, when somebody asks, and after :data:`BLOCK` steps or
    :data:`WAIT_S` seconds at the latest.

    Args:
        judge: the detectors and their findings.
        sinks: where readings and findings go (empty on ranks above 0).
        guard: where exceptions end.
        on_finding: called with every new, worse, returned or resolved finding.
        on_alarm: called with the step at which something of warning or worse was found.

    Attributes:
        late_s: seconds spent since :meth:`late` on readings that had waited.
        late_steps: how many they were.
    """

    def __init__(
        self,
        judge: Judge,
        sinks: Sequence[Sink],
        guard: Guard,
        on_finding: Callable[[Finding], None] | None = None,
        on_alarm: Callable[[int], None] = lambda step: None,
    ) -> None:
        self.judge = judge
        self.sinks = list(sinks)
        self.guard = guard
        self.on_finding = on_finding
        self._on_alarm = on_alarm
        self.late_s = 0.0
        self.late_steps = 0
        self._waiting: list[tuple[int, int, int, float, Facts]] = []
        self._settled_at = perf_counter()
        self._coverage: Coverage | None = None
        self._covered: object = None  # what it was made of
        self._look_at = 0.0

    def loss(self, step: int, epoch: int, batch_idx: int, loss: float, facts: Facts) -> None:
        """Take a step that brought nothing but its loss."""
        waiting = self._waiting
        waiting.append((step, epoch, batch_idx, loss, facts))
        # the difference of a loss that is not finite with itself is not 0
        if len(waiting) >= BLOCK or loss - loss != 0.0 or perf_counter() - self._settled_at >= WAIT_S:
            self.settle()

    def take(self, reading: Reading) -> None:
        """Judge a reading now, after those that wait."""
        self.settle()
        self._judge([self.judge.enrich(reading)])

    def settle(self) -> None:
        """Judge what waits."""
        waiting = self._waiting
        if not waiting:
            return
        self._waiting = []
        start = perf_counter()
        self._judge(itertools.starmap(self.judge.of_loss, waiting))
        self._settled_at = perf_counter()
        self.late_s += self._settled_at - start
        self.late_steps += len(waiting)

    def late(self) -> tuple[float, int]:
        """Return seconds spent on, and number of, the readings that had waited, since the last call."""
        spent = self.late_s, self.late_steps
        self.late_s, self.late_steps = 0.0, 0
        return spent

    def each_sink(self, call: Callable[[Sink], None]) -> None:
        """Call something with every sink; one that raises is left out from then on."""
        for sink in self.sinks:
            try:
                call(sink)
            except Exception as error:
                self._drop(sink, error)

    def _judge(self, readings: Iterable[Reading]) -> None:
        """Judge enriched readings; a finding is told after the reading it was found at, before the next."""
        judge = self.judge
        judged: list[Reading] = []
        for reading in readings:
            judged.append(reading)
            changes = judge.update(reading)
            if changes:
                self._hand_on(judged)
                judged = []
                for finding in changes:
                    if finding.severity >= Severity.WARNING and finding.status != "resolved":
                        self._on_alarm(reading.step)
                    self.each_sink(lambda sink, finding=finding: sink.finding(finding))  # type: ignore[misc]
                    self._tell_user(finding)
        self._hand_on(judged)
        if self.sinks and perf_counter() >= self._look_at:
            self._tell_coverage()

    def _tell_coverage(self) -> None:
        made_of = self.judge.coverage_made_of()
        if made_of != self._covered:  # putting it together takes a hundred times as long as looking
            self._covered, coverage = made_of, self.judge.coverage
            if coverage != self._coverage:
                self._coverage = coverage
                self.each_sink(lambda sink: sink.coverage(coverage))
        self._look_at = perf_counter() + COVERAGE_S

    def _hand_on(self, readings: Sequence[Reading]) -> None:
        if readings:
            self.each_sink(lambda sink: sink.block(readings))

    def _drop(self, sink: Sink, error: Exception) -> None:
        self.sinks = [other for other in self.sinks if other is not sink]  # a new list: somebody walks over the old one
        self.guard.tell(type(sink).__name__, error)

    def _tell_user(self, finding: Finding) -> None:
        if self.on_finding is None:
            return
        try:
            self.on_finding(finding)
        except Exception as error:
            self.on_finding = None
            self.guard.tell("on_finding", error)
