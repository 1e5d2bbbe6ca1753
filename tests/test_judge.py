from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from lightning_diag._judge.judge import REOPEN_STEPS, Judge, chosen, matches
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import ConfigurationError, NotMeasurable
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading


class Above(Detector):
    """Holds while ``grad/norm`` is above its limit; critical above ten times, one place a unit above the limit."""

    rule = "gradients/exploding"
    code = "T001"
    reads = ("grad/norm",)
    severity = Severity.CRITICAL
    title = "above"
    resolve_after: ClassVar[int | None] = 3

    def __init__(self, limit: float = 1.0) -> None:
        self.limit = limit
        super().__init__()

    def _reset(self) -> None:
        self.seen = 0

    def update(self, reading: Reading) -> Finding | None:
        norm = reading.scalar("grad/norm")
        if norm is None or math.isnan(norm):
            raise NotMeasurable("no norm here")
        self.seen += 1
        if norm <= self.limit:
            return None
        severity = Severity.CRITICAL if norm > 10 * self.limit else Severity.WARNING
        where = [f"layer{i}" for i in range(int(norm / self.limit))]
        return self.found(reading, severity, f"norm {norm:g}, seen {self.seen}", where=where)


class Never(Detector):
    rule = "loss/spike"
    code = "T002"
    reads = ("loss/train", "loss/z")
    severity = Severity.WARNING
    title = "never"

    def _reset(self) -> None:
        self.z: list[float | None] = []

    def update(self, reading: Reading) -> Finding | None:
        self.z.append(reading.scalar("loss/z"))
        return None


class Broken(Never):
    rule = "loss/plateau"
    code = "T003"

    def update(self, reading: Reading) -> Finding | None:
        raise ZeroDivisionError("oh")


def norm(step: int, value: float, facts: Facts | None = None) -> Reading:
    return Reading(step, step // 100, {"grad/norm": np.float64(value)}, facts or Facts())


def feed(judge: Judge, values: Sequence[float], start: int = 1) -> list[Finding]:
    """Feed one norm a step; return what was told."""
    return [f for i, value in enumerate(values) for f in judge.update(norm(start + i, value))]


# ---------------------------------------------------------------------------------------------- lifecycle


def test_it_opens_once_and_counts_on() -> None:
    judge = Judge([Above()])
    told = feed(judge, [0, 0, 1.5, 1.5, 1.5])
    assert [(f.status, f.step, f.severity) for f in told] == [("open", 3, Severity.WARNING)]
    (now,) = judge.findings
    assert (now.first_step, now.last_step, now.step, now.count) == (3, 5, 3, 3), "step is that of the message"


def test_a_higher_severity_is_told_and_shows_the_new_numbers() -> None:
    judge = Judge([Above()])
    told = feed(judge, [1.5, 1.5, 20])
    assert [(f.status, str(f.severity)) for f in told] == [("open", "warning"), ("worsening", "critical")]
    assert told[-1].message == "norm 20, seen 3"
    assert (told[-1].first_step, told[-1].last_step) == (1, 3)


def test_a_lower_severity_later_keeps_the_worst_with_its_message() -> None:
    judge = Judge([Above()])
    feed(judge, [20, 1.5])
    (now,) = judge.findings
    assert (str(now.severity), now.message, now.status, now.last_step) == ("critical", "norm 20, seen 1", "open", 2)


def test_more_places_are_told_when_they_have_doubled_however_slowly_they_grow() -> None:
    judge = Judge([Above()])
    told = feed(judge, [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5])
    assert [len(f.where) for f in told] == [1, 3, 7]
    assert judge.findings[0].where[0] == "layer0"


def test_it_resolves_after_enough_calm_evaluations_in_a_row() -> None:
    judge = Judge([Above()])
    told = feed(judge, [1.5, 0, 0, 1.5, 0, 0, 0, 0, 0])
    assert [(f.status, f.last_step) for f in told] == [("open", 1), ("resolved", 4)]
    assert judge.findings[0].count == 2


def test_what_can_not_be_measured_is_neither_calm_nor_held() -> None:
    judge = Judge([Above()])
    told = feed(judge, [1.5, *[math.nan] * 10])
    assert [f.status for f in told] == ["open"]
    assert judge.findings[0].count == 1


def test_a_detector_that_never_resolves() -> None:
    class Forever(Above):
        resolve_after = None

    judge = Judge([Forever()])
    assert [f.status for f in feed(judge, [1.5, *[0] * 50])] == ["open"]
    assert judge.findings[0].status == "open"


def test_it_reopens_as_the_same_finding() -> None:
    judge = Judge([Above()])
    told = feed(judge, [1.5, *[0] * (REOPEN_STEPS + 10), 2.5])
    assert [f.status for f in told] == ["open", "resolved", "open"]
    assert (told[-1].first_step, told[-1].count, told[-1].message[:8]) == (1, 2, "norm 2.5")
    assert told[-1].where == ("layer0", "layer1")


def test_coming_back_soon_is_no_news_but_the_finding_is_open_again() -> None:
    judge = Judge([Above()])
    told = feed(judge, [1.5, 0, 0, 0, 1.5])
    assert [f.status for f in told] == ["open", "resolved"]
    assert judge.findings[0].status == "open"


def test_staying_after_coming_back_soon_is_told_in_the_end() -> None:
    judge = Judge([Above()])
    told = feed(judge, [1.5, 0, 0, 0, *[1.5] * (REOPEN_STEPS + 10)])
    assert [(f.status, f.last_step) for f in told][-1] == ("open", 2 + REOPEN_STEPS)


def test_a_flapping_rule_is_not_told_at_every_flap() -> None:
    judge = Judge([Above()])
    told = feed(judge, [1.5, 0, 0, 0] * 250)
    assert len(told) <= 2 + 2 * 1000 / REOPEN_STEPS
    assert judge.findings[0].count == 250


def test_findings_come_most_severe_first_open_before_resolved() -> None:
    class Other(Above):
        rule = "gradients/vanishing"

    class Third(Above):
        rule = "gradients/underflow"

    judge = Judge([Above(limit=1), Other(limit=0.1), Third(limit=1)])
    feed(judge, [0.5])
    feed(judge, [1.5], start=2)
    assert [f.rule.split("/")[1] for f in judge.findings] == ["vanishing", "exploding", "underflow"]


# ---------------------------------------------------------------------------------------------- coverage and failure


def test_coverage_says_what_ran_and_why_the_rest_did_not() -> None:
    judge = Judge([Above(), Never()])
    before = judge.coverage
    assert before.ran == ()
    assert before.skipped["loss/spike"] == "no reading of loss/train or loss/z"
    judge.update(norm(1, math.nan, Facts(unmeasured={"loss/z": "manual optimization"})))
    assert judge.coverage.skipped == {"gradients/exploding": "no norm here", "loss/spike": "manual optimization"}
    judge.update(norm(2, 0.5))
    assert judge.coverage.ran == ("gradients/exploding",)


def test_a_failing_detector_is_switched_off_told_once_and_stands_in_the_coverage() -> None:
    failures: list[tuple[str, Exception]] = []
    judge = Judge([Broken(), Never(), Above()], on_error=lambda rule, error: failures.append((rule, error)))
    for step in range(1, 4):
        judge.update(Reading(step, 0, {"loss/train": np.float64(1.0), "grad/norm": np.float64(2.5)}))
    assert [(rule, type(error)) for rule, error in failures] == [("loss/plateau", ZeroDivisionError)]
    assert judge.coverage.skipped == {"loss/plateau": "the detector failed: ZeroDivisionError: oh"}
    assert judge.coverage.ran == ("gradients/exploding", "loss/spike")
    assert judge.findings[0].count == 3


def test_strict_means_that_errors_come_through() -> None:
    with pytest.raises(ZeroDivisionError):
        Judge([Broken()]).update(Reading(1, 0, {"loss/train": np.float64(1.0)}))


def test_a_detector_only_wakes_for_its_own_signals() -> None:
    above = Above()
    judge = Judge([above])
    judge.update(Reading(1, 0, {"loss/train": np.float64(9.0)}))
    assert above.seen == 0
    assert judge.coverage.ran == ()


def test_nothing_measured_is_not_checked() -> None:
    diagnosis = Judge([Above()]).diagnosis
    assert not diagnosis.healthy
    assert diagnosis.verdict.startswith("Not checked")


# ---------------------------------------------------------------------------------------------- choice of rules


@pytest.mark.parametrize(
    ("rule", "patterns", "expected"),
    [
        ("gradients/vanishing", ("*",), True),
        ("gradients/vanishing", ("gradients",), True),
        ("gradients/vanishing", ("gradients/*",), True),
        ("gradients/vanishing", ("*/vanishing",), True),
        ("gradients/vanishing", ("grad",), False),
        ("gradients/vanishing", ("loss", "gradients/van*"), True),
        ("gradients/vanishing", ("gradients/Vanishing",), False),
        ("gradients/vanishing", (), False),
    ],
)
def test_matches(rule: str, patterns: tuple[str, ...], expected: bool) -> None:
    assert matches(rule, patterns) is expected


def test_select_and_ignore() -> None:
    every = [Above(), Never(), Broken()]
    assert chosen(every) == every
    assert chosen(every, select=("loss",)) == every[1:]
    assert chosen(every, select="loss") == every[1:], "one glob may stand alone"
    assert chosen(every, ignore=("*/spike",)) == [every[0], every[2]]
    assert chosen(every, select=("loss",), ignore=("loss/spike",)) == [every[2]]
    assert chosen(every, select=()) == []


def test_the_last_detector_of_a_rule_wins() -> None:
    strict = Above(limit=0.1)
    assert chosen([Above(), strict]) == [strict]


@pytest.mark.parametrize("argument", ["select", "ignore"])
def test_a_pattern_that_matches_nothing_is_a_typo(argument: str) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"{argument}='gradient/\*' matches no rule; did you mean 'gradients'"
    ):
        chosen([Above()], **{argument: ("gradient/*",)})


# ---------------------------------------------------------------------------------------------- host signals


def test_enrich_adds_the_host_signals_and_leaves_the_reading_alone() -> None:
    judge = Judge([Never()])
    for step in range(1, 101):
        reading = Reading(step, 0, {"loss/train": np.float64(2.0 + 0.01 * (step % 5))}, Facts(chance_loss=4.0))
        enriched = judge.enrich(reading)
    assert set(reading.values) == {"loss/train"}
    assert enriched.scalar("loss/relative") == pytest.approx(0.505, abs=0.01)
    assert {"loss/level", "loss/noise", "loss/z", "loss/best"} <= set(enriched.values)


def test_enrich_passes_readings_without_a_usable_loss_through() -> None:
    judge = Judge([Never()])
    for reading in (norm(1, 2.0), Reading(2, 0, {"loss/train": np.float64("nan")})):
        assert judge.enrich(reading) is reading


# ---------------------------------------------------------------------------------------------- state


def stream(seed: int, steps: int = 400) -> list[Reading]:
    rng = np.random.default_rng(seed)
    norms = np.where(rng.random(steps) < 0.1, 30, 1.5) * (rng.random(steps) < 0.4)
    losses = np.exp(rng.normal(0, 0.1, steps))
    return [Reading(i + 1, 0, {"grad/norm": norms[i], "loss/train": losses[i]}) for i in range(steps)]


@pytest.mark.parametrize("cut", [0, 1, 57, 200, 399])
def test_stopping_and_resuming_anywhere_tells_what_one_run_tells(cut: int) -> None:
    readings = stream(cut)
    whole, first = Judge([Above(), Never()]), Judge([Above(), Never()])
    expected = [f for r in readings for f in whole.update(whole.enrich(r))]
    told = [f for r in readings[:cut] for f in first.update(first.enrich(r))]
    state = json.loads(json.dumps(first.state_dict()))
    before = copy.deepcopy(state)
    second = Judge([Above(), Never()])
    second.load_state_dict(state)
    told += [f for r in readings[cut:] for f in second.update(second.enrich(r))]
    assert told == expected
    assert second.findings == whole.findings
    assert second.coverage == whole.coverage
    assert second.state_dict() == whole.state_dict()
    assert state == before, "loading leaves its argument alone"


def test_a_failed_detector_stays_off_after_a_resume() -> None:
    first = Judge([Broken()], on_error=lambda rule, error: None)
    first.update(Reading(1, 0, {"loss/train": np.float64(1.0)}))
    second = Judge([Broken()])
    second.load_state_dict(first.state_dict())
    second.update(Reading(2, 0, {"loss/train": np.float64(1.0)}))
    assert second.coverage.skipped == {"loss/plateau": "the detector failed: ZeroDivisionError: oh"}


def test_state_of_unknown_rules_and_an_empty_state_are_taken() -> None:
    judge = Judge([Above()])
    judge.load_state_dict({})
    judge.load_state_dict({"detectors": {"loss/none": {"x": 1}}})
    assert judge.findings == []


def test_reset_forgets_the_run() -> None:
    judge = Judge([Above(), Never()])
    fresh = judge.state_dict()
    for reading in stream(1):
        judge.update(judge.enrich(reading))
    judge.reset()
    assert judge.state_dict() == fresh
    assert judge.findings == []


def test_a_rule_that_refreshes_shows_its_newest_places_and_is_told_no_more_often() -> None:
    class Newest(Above):
        refresh: ClassVar[bool] = True

    judge = Judge([Newest()])
    told = feed(judge, [3.5, 1.5, 2.5])
    (now,) = judge.findings
    assert len(told) == 1 and now.where == ("layer0", "layer1") and now.message == "norm 2.5, seen 3"
    assert (now.first_step, now.step, now.severity) == (1, 3, Severity.WARNING)
