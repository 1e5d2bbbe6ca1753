"""The host side of one step: Reading in, findings with a lifecycle out. Knows detectors' base, none of its members."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lightning_diag._judge.by_optimizer import ByOptimizer
from lightning_diag._judge.host_signals import HostSignals
from lightning_diag._judge.wakes import Wakes
from lightning_diag.detectors.base import Detector
from lightning_diag.diagnosis import Coverage, Diagnosis, diagnose
from lightning_diag.errors import ConfigurationError, NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading

REOPEN_STEPS = 200  # a rule that comes back within this many steps of the end that was told is no news yet
MECHANISMS = ("gradients", "updates", "activations")  # groups whose symptom may stop because the network is dead
LOST = 0.9  # share of chance level above which the run has learned nothing to speak of
STATE_VERSION = 1


def matches(rule: str, patterns: Iterable[str]) -> bool:
    """Whether a rule matches one of the globs; ``gradients`` alone means ``gradients/*``."""
    return any(fnmatch.fnmatchcase(rule, p if "*" in p or "/" in p else f"{p}/*") for p in patterns)


def chosen(
    detectors: Iterable[Detector], select: Sequence[str] | str = ("*",), ignore: Sequence[str] | str = ()
) -> list[Detector]:
    """Return the detectors whose rule is selected and not ignored, one a rule (the last given wins).

    Raises:
        ConfigurationError: a pattern matches no rule.
    """
    by_rule = {d.rule: d for d in detectors}
    select, ignore = _patterns(select), _patterns(ignore)
    for argument, patterns in (("select", select), ("ignore", ignore)):
        for pattern in patterns:
            if pattern != "*" and not any(matches(rule, (pattern,)) for rule in by_rule):
                raise ConfigurationError(
                    f"{argument}={pattern!r} matches no rule; {_instead(pattern, sorted(by_rule))}"
                )
    return [d for rule, d in by_rule.items() if matches(rule, select) and not matches(rule, ignore)]


def _instead(pattern: str, rules: Sequence[str]) -> str:
    """What may have been meant.

    >>> _instead("gradient", ("gradients/exploding", "loss/plateau"))
    "did you mean 'gradients'? Groups are gradients, loss; `lightning-diag rules` lists their rules"
    """
    groups = sorted({rule.partition("/")[0] for rule in rules})
    close = [f"did you mean {name!r}? Groups" for name in difflib.get_close_matches(pattern, [*groups, *rules], 1)]
    return f"{(*close, 'groups')[0]} are {', '.join(groups)}; `lightning-diag rules` lists their rules"


def _patterns(given: Sequence[str] | str) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


class Judge:
    """Runs detectors over readings and keeps one finding a rule, with its lifecycle.

    A finding opens, worsens (severity or number of places grows), resolves after the rule's ``resolve_after``
    evaluations without it, and reopens as the same finding when it comes back. What is news is measured against what
    was told last: a rule that comes and goes is told once in :data:`REOPEN_STEPS` steps, slow growth is told when the
    places have doubled. A detector that raises is disabled, reported once through ``on_error(rule, exception)``, and
    stands in the coverage as failed.

    Args:
        detectors: detectors to run, one a rule.
        on_error: called once for a detector that raised; None re-raises (strict).
        excused: rule -> reason, of rules that are not judged here; they stand in the coverage.
    """

    def __init__(
        self,
        detectors: Iterable[Detector],
        on_error: Callable[[str, Exception], None] | None = None,
        excused: Mapping[str, str] | None = None,
    ) -> None:
        self.excused = dict(excused or {})
        self.detectors = {d.rule: d for d in detectors if d.rule not in self.excused}
        self.on_error = on_error
        self.reset()

    def reset(self) -> None:
        """Forget the run."""
        for detector in self.detectors.values():
            detector._reset()
        self._host = HostSignals()
        self._apart = ByOptimizer()
        self._open: dict[str, Finding] = {}
        self._told: dict[str, Finding] = {}
        self._calm: dict[str, int] = {}
        self._ran: set[str] = set()
        self._reasons: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self._unmeasured: Mapping[str, str] = {}
        self._wakes = Wakes(self.detectors)

    @property
    def findings(self) -> list[Finding]:
        """All findings, most severe first, open before resolved, then by first step."""
        return sorted(self._open.values(), key=lambda f: (-f.severity, f.status == "resolved", f.first_step, f.rule))

    @property
    def coverage(self) -> Coverage:
        """Which rules were judged, and why the others were not."""
        skipped = dict(self.excused)
        for rule, detector in sorted(self.detectors.items()):
            if rule in self._failed:
                skipped[rule] = self._failed[rule]
            elif rule not in self._ran:
                missing = [s for s in detector.reads if s in self._unmeasured]
                reason = self._unmeasured[missing[0]] if missing else f"no reading of {' or '.join(detector.reads)}"
                skipped[rule] = self._reasons.get(rule, reason)
        return Coverage(tuple(sorted(self._ran - self._failed.keys())), dict(sorted(skipped.items())))

    def coverage_made_of(self) -> object:
        """Return what :attr:`coverage` depends on, as it is now: equal while that stays the same."""
        return frozenset(self._ran), dict(self._reasons), dict(self._failed), dict(self._unmeasured)

    @property
    def diagnosis(self) -> Diagnosis:
        """The findings joined into causes."""
        return diagnose(self._open.values(), self.coverage)

    def enrich(self, reading: Reading) -> Reading:
        """Return the reading with the host signals made from its loss, and from its class counts."""
        return self._host.enrich(reading)

    def of_loss(self, step: int, epoch: int, batch_idx: int, loss: float, facts: Facts) -> Reading:
        """Return the enriched reading of a training step that brought nothing but its loss."""
        return self._host.of_loss(step, epoch, batch_idx, loss, facts)

    def update(self, reading: Reading) -> list[Finding]:
        """Eat an enriched reading; return the findings that opened, worsened, came back or resolved."""
        self._unmeasured = reading.facts.unmeasured
        if reading.stage == "end":
            reading = dataclasses.replace(reading, curve=self._host.curve)
        reasons, ran, findings = self._reasons, self._ran, self._open
        changes: list[Finding] = []
        judging, taking = self._wakes.shown(reading)
        for rule, detector in taking:
            try:
                detector.take(reading)
            except Exception as error:
                self._disable(rule, error)
        for rule, detector in judging:
            try:
                found = self._apart.update(detector, reading) if detector.by_optimizer else detector.update(reading)
            except NotMeasurable as reason:
                reasons[rule] = str(reason)
                continue
            except Exception as error:
                self._disable(rule, error)
                continue
            ran.add(rule)
            if found is not None or rule in findings:
                change = self._live(detector, found, reading)
                if change is not None:
                    changes.append(change)
        return changes

    def _disable(self, rule: str, error: Exception) -> None:
        if self.on_error is None:
            raise error
        self._failed[rule] = f"the detector failed: {type(error).__name__}: {error}"
        self._wakes.leave_out(rule)
        self.on_error(rule, error)

    def _live(self, detector: Detector, found: Finding | None, reading: Reading) -> Finding | None:
        """The lifecycle of one rule after one evaluation; returns the finding when there is news."""
        rule, old = detector.rule, self._open.get(detector.rule)
        if found is not None:
            self._calm[rule] = 0
            now = found if old is None else _merge(old, found, reading, refresh=detector.refresh)
        else:
            if old is None or old.status == "resolved" or detector.resolve_after is None:
                return None
            self._calm[rule] = self._calm.get(rule, 0) + 1
            if self._calm[rule] < detector.resolve_after or not self._healed(old, reading):
                return None
            now = dataclasses.replace(old, status="resolved")
        self._open[rule] = now
        if not _is_news(self._told.get(rule), now):
            return None
        self._told[rule] = now
        return now

    @staticmethod
    def _healed(old: Finding, reading: Reading) -> bool:
        """Whether a symptom that stopped is over: not while the run stands no better than the trivial predictor."""
        if old.severity < Severity.WARNING or old.rule.partition("/")[0] not in MECHANISMS:
            return True
        relative = reading.scalar("loss/relative")
        return relative is None or relative < LOST

    def state_dict(self) -> dict[str, Any]:
        """Return plain data: detectors, findings, lifecycle, loss health."""
        return {
            "version": STATE_VERSION,
            "detectors": {rule: d.state_dict() for rule, d in self.detectors.items()},
            "findings": [f.to_dict() for f in self._open.values()],
            "told": [f.to_dict() for f in self._told.values()],
            "calm": dict(self._calm),
            "ran": sorted(self._ran),
            "reasons": dict(self._reasons),
            "failed": dict(self._failed),
            "health": self._host.health.state_dict(),
            "curve": self._host.curve.state_dict(),
            "by_optimizer": self._apart.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back a :meth:`state_dict`; unknown rules are ignored."""
        for rule, saved in state.get("detectors", {}).items():
            if rule in self.detectors:
                self.detectors[rule].load_state_dict(saved)
        self._open = {f["rule"]: Finding.from_dict(f) for f in state.get("findings", ())}
        self._told = {f["rule"]: Finding.from_dict(f) for f in state.get("told", ())}
        self._calm = dict(state.get("calm", {}))
        self._ran = set(state.get("ran", ()))
        self._reasons = dict(state.get("reasons", {}))
        self._failed = dict(state.get("failed", {}))
        self._wakes = Wakes({rule: d for rule, d in self.detectors.items() if rule not in self._failed})
        self._host.curve.load_state_dict(state.get("curve", {}))
        self._host.health.load_state_dict(state.get("health", {}))
        self._apart.load_state_dict(state.get("by_optimizer", {}), self.detectors)


def _is_news(told: Finding | None, now: Finding) -> bool:
    """Whether a finding's present state differs enough from what was told last."""
    if told is None or now.severity > told.severity or len(now.where) > 2 * max(1, len(told.where)):
        return True
    if now.status == "resolved":
        return told.status != "resolved"
    return told.status == "resolved" and now.last_step - told.last_step > REOPEN_STEPS


def _merge(old: Finding, new: Finding, reading: Reading, *, refresh: bool) -> Finding:
    """The same rule held again: keep its beginning, take what is worse now; ``step`` stays with the message shown."""
    worse = new.severity > old.severity or (new.severity == old.severity and len(new.where) > len(old.where))
    back = old.status == "resolved"
    shown = new if worse or back or refresh else old
    status = "worsening" if worse and not back else "open"
    return dataclasses.replace(
        shown,
        severity=max(old.severity, new.severity),
        status=status,
        first_step=min(old.first_step, new.first_step),
        last_step=max(old.last_step, reading.step),
        count=old.count + 1,
        where=tuple(dict.fromkeys((*old.where, *new.where))) if worse and not (back or refresh) else shown.where,
    )
