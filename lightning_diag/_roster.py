"""The probes of a run that are alive, and who brought them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning_diag._guard import Guard
from lightning_diag.probes.base import Probe


class Roster:
    """Calls probes; one that raises is switched off, its owner named and its signals marked as not measured.

    Args:
        probes: ``(owner, probe)``; the owner is the monitor named when its probe fails.
        guard: where exceptions end.
        know: takes in facts (why a signal isn't measured).

    Attributes:
        every: all that are alive.
        plain: those of them that are called at every step.
        learners: those of them that look at host readings.
    """

    def __init__(
        self, probes: Sequence[tuple[str, Probe]], guard: Guard, know: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._guard = guard
        self._know = know
        self._split(probes)

    def attempt(self, owner: str, probe: Probe, call: Callable[..., Any], *args: Any) -> Any:
        """Call a probe; None when it raised."""
        try:
            return call(*args)
        except Exception as error:
            self.lose(owner, probe, error)
            return None

    def each(self, verb: str, *args: Any) -> None:
        """Call one verb of all."""
        for owner, probe in self.every:
            self.attempt(owner, probe, getattr(probe, verb), *args)

    def lose(self, owner: str, probe: Probe, error: Exception) -> None:
        """Switch off a probe that raised."""
        self._split([(o, p) for o, p in self.every if p is not probe])
        reason = f"{owner} failed: {type(error).__name__}: {error}"
        self._know({"unmeasured": dict.fromkeys(probe.signals, reason)})
        self._guard.tell(owner, error)

    def _split(self, probes: Sequence[tuple[str, Probe]]) -> None:
        """New lists each time: somebody walks over the old ones."""
        self.every = list(probes)
        self.plain = [(owner, probe) for owner, probe in probes if probe.every_step]
        self.learners = [(owner, probe) for owner, probe in probes if type(probe).learn is not Probe.learn]
