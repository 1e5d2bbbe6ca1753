"""The probes of a run that are alive, and who brought them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch

from lightning_diag._guard import Guard
from lightning_diag.probes.base import Probe, Scene, Values
from lightning_diag.reading import Reading

Doer = tuple[str, Probe, Callable[..., Any]]  # owner, probe, what it does at a verb
VERBS = ("wants", "batch_start", "loss", "observed", "before_update", "after_update", "collect", "validation_start",
         "validation_batch", "validation_end", "detach")  # fmt: skip
Whom = Literal["all", "wanted", "always"]  # those asked: at sampled steps, at those some probe wants, at all others


class Roster:
    """Calls probes; one that raises is switched off, its owner named and its signals marked as not measured.

    Args:
        probes: ``(owner, probe)``; the owner is the monitor named when its probe fails.
        guard: where exceptions end.
        know: takes in facts that every process learns.
        share: takes in facts that only this process knows (a probe failed here); default ``know``.

    Attributes:
        every: all that are alive.
        learners: those of them that look at host readings.
        lost: signals of those that raised here.
    """

    def __init__(
        self,
        probes: Sequence[tuple[str, Probe]],
        guard: Guard,
        know: Callable[[Mapping[str, Any]], None],
        share: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._guard = guard
        self._know = know
        self._share = share or know
        self.lost: set[str] = set()
        self._split(probes)

    def attempt(self, owner: str, probe: Probe, call: Callable[..., Any], *args: Any) -> Any:
        """Call a probe; None when it raised."""
        try:
            return call(*args)
        except Exception as error:
            self.lose(owner, probe, error)
            return None

    def took_s(self) -> float:
        """Seconds that probes spent inside the user's own calls since asked last; nobody else could time them."""
        return sum(self.attempt(owner, probe, probe.took_s) or 0.0 for owner, probe in self.every)

    def each(self, verb: str, *args: Any, whom: Whom = "all") -> None:
        """Call one verb."""
        for owner, probe, call in self._doers[whom][verb]:
            try:
                call(*args)
            except Exception as error:
                self.lose(owner, probe, error)

    def gather(self, verb: str, *args: Any, whom: Whom = "all") -> Values:
        """Call one verb that returns values."""
        values: Values = []
        for owner, probe, call in self._doers[whom][verb]:
            try:
                values += call(*args)
            except Exception as error:
                self.lose(owner, probe, error)
        return values

    def attach(self, scene: Scene) -> None:
        """Attach all to the module and optimizers; learn what they know of the run and what they can't measure."""
        unmeasured: dict[str, str] = {}
        idle: list[Probe] = []  # those that can measure nothing here
        for owner, probe in self.every:
            reasons = self.attempt(owner, probe, probe.attach, scene) or {}
            unmeasured.update(reasons)
            if probe.signals and reasons.keys() >= set(probe.signals):
                idle.append(probe)
        self._group(idle)
        for owner, probe in self.every:
            self._know(self.attempt(owner, probe, probe.facts) or {})
        self._know({"unmeasured": unmeasured})

    def learn(self, reading: Reading) -> None:
        """Show a host reading to those that learn facts from it."""
        for owner, probe in self.learners:
            if not reading.values.keys().isdisjoint(probe.signals):
                self._know(self.attempt(owner, probe, probe.learn, reading) or {})

    def wants(self) -> bool:
        """Whether a probe wants a batch whose step isn't sampled, and its predictions."""
        wanted = False
        for owner, probe, call in self._doers["wanted"]["wants"]:
            try:
                wanted |= call()  # all are asked: they count
            except Exception as error:
                self.lose(owner, probe, error)
        return wanted

    def derived(self) -> dict[str, Any]:
        """Return what probes made on the host of the reading they were shown."""
        made: dict[str, Any] = {}
        for owner, probe in self.learners:
            made.update(self.attempt(owner, probe, probe.derived) or {})
        return made

    def state_dict(self) -> dict[str, Any]:
        """Return what the probes have learned, for a checkpoint."""
        saved = {type(p).__name__: self.attempt(owner, p, p.state_dict) for owner, p in list(self.every) if p.kept}
        return {name: state for name, state in saved.items() if state is not None}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Give attached probes back what they had learned; leaves its argument alone."""
        for owner, probe in list(self.every):
            saved = state.get(type(probe).__name__)
            if saved:
                self.attempt(owner, probe, probe.load_state_dict, saved, device)

    def lose(self, owner: str, probe: Probe, error: Exception) -> None:
        """Switch off a probe that raised."""
        self._split([(o, p) for o, p in self.every if p is not probe])
        self.lost.update(probe.signals)
        reason = f"{owner} failed: {type(error).__name__}: {error}"
        self._share({"unmeasured": dict.fromkeys(probe.signals, reason)})
        self._guard.tell(owner, error)

    def _split(self, probes: Sequence[tuple[str, Probe]]) -> None:
        """New lists each time: somebody walks over the old ones."""
        self.every = list(probes)
        self.learners = [(owner, probe) for owner, probe in probes if type(probe).learn is not Probe.learn]
        self._group()

    def _group(self, idle: Sequence[Probe] = ()) -> None:
        """Sort out, once, who does something at which verb and when; those that are ``idle`` at sampled steps only."""
        busy = [(owner, probe) for owner, probe in self.every if probe not in idle]
        self._doers: dict[Whom, dict[str, list[Doer]]] = {
            "all": _by_verb(self.every),
            "wanted": _by_verb([(owner, p) for owner, p in busy if p.every_step or p.some_steps]),
            "always": _by_verb([(owner, p) for owner, p in busy if p.every_step]),
        }


def _by_verb(asked: Sequence[tuple[str, Probe]]) -> dict[str, list[Doer]]:
    return {
        verb: [(o, p, getattr(p, verb)) for o, p in asked if getattr(type(p), verb) is not getattr(Probe, verb)]
        for verb in VERBS
    }
