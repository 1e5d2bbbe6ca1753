"""One run against its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.zoo.grid import Config
from benchmarks.zoo.harm import Harm
from benchmarks.zoo.replay import Alarm, Verdict
from benchmarks.zoo.truth import TRUTH, Truth

NO_TRUTH = Truth((), (), 0.0)


@dataclass(frozen=True)
class Outcome:
    """How the detectors did on one run.

    Attributes:
        config, harm, truth, verdict: what was run, how it went, what should and what was said.
        steps: optimizer steps planned.
        onset: last step before the fault.
        hit: the first expected alarm after the onset, on time or late; None = missed.
        on_time: whether ``hit`` came by the deadline.
        place: whether the expected alarms name a right place first; None where no place is known.
        cause: whether the first cause is an accepted one.
        early: alarms before the onset: false ones.
        unrelated: rules at warning or worse that neither are expected nor belong to an accepted first cause.
        misleading: rules of ``must_not`` that warned.
    """

    config: Config
    harm: Harm
    truth: Truth
    verdict: Verdict
    steps: int
    onset: int
    hit: Alarm | None
    on_time: bool
    place: bool | None
    cause: bool
    early: tuple[Alarm, ...]
    unrelated: tuple[str, ...]
    misleading: tuple[str, ...]

    @property
    def hinted(self) -> bool:
        """Whether an expected rule was said at any severity."""
        return self.hit is not None or bool(set(self.verdict.infos) & set(self.truth.must))

    @property
    def delay(self) -> float | None:
        """Share of the run between the onset and the hit."""
        return None if self.hit is None else (self.hit.step - self.onset) / self.steps

    @property
    def first_alarm(self) -> Alarm | None:
        """The first alarm of any rule after the onset."""
        later = [a for a in self.verdict.alarms if a.step > self.onset]
        return later[0] if later else None


def outcome(config: Config, result: Mapping[str, Any], harm: Harm, verdict: Verdict) -> Outcome:
    """Hold a verdict against the truth of its run."""
    truth = TRUTH.get(config.operator, NO_TRUTH)
    onset, steps = int(result["onset_step"]), int(result["steps"])
    later = [a for a in verdict.alarms if a.step > onset]
    expected = [a for a in later if a.rule in truth.must]
    hit = expected[0] if expected else None
    right_cause = verdict.cause in truth.cause
    accepted = set(truth.must) | (set(verdict.explained) if right_cause else set())
    return Outcome(
        config=config,
        harm=harm,
        truth=truth,
        verdict=verdict,
        steps=steps,
        onset=onset,
        hit=hit,
        on_time=hit is not None and hit.step <= onset + truth.deadline * steps,
        place=_place(truth, expected, result["where"]),
        cause=right_cause,
        early=tuple(a for a in verdict.alarms if a.step <= onset),
        unrelated=tuple(a.rule for a in later if a.rule not in accepted),
        misleading=tuple(a.rule for a in later if a.rule in truth.must_not),
    )


def _place(truth: Truth, expected: list[Alarm], names: list[str]) -> bool | None:
    """Whether the first place named is one at fault: the same name, or the module that holds the parameter.

    The first expected alarm that names any place counts (a loss has none); None where nothing expected was said.
    """
    if not truth.place or not names or not expected:
        return None
    named = next((alarm.where[0] for alarm in expected if alarm.where), None)
    if named is None:
        return False
    return any(n == named or n.startswith(f"{named}.") or named.startswith(f"{n}.") for n in names)
