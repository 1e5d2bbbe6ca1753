from __future__ import annotations

import pytest

from lightning_diag.detectors.activation_dead import ActivationDead
from lightning_diag.errors import ConfigurationError, NotMeasurable
from lightning_diag.finding import Severity
from tests.detectors.activation_stream import NAN, reading, saved_and_loaded, severities, verdicts


def dead(*shares: float) -> dict[str, tuple[float, ...]]:
    return {"dead_frac": shares}


@pytest.mark.parametrize("share", [0.5, 0.66, 0.69])
def test_healthy_shares_are_left_alone(share: float) -> None:
    found = verdicts(ActivationDead(), lambda _: dead(share, 0.1, NAN), range(1, 200), relative=1.0)
    assert severities(found) == {1: "-"}


def test_symptom_alone_is_a_note_and_a_lost_run_is_critical() -> None:
    assert severities(verdicts(ActivationDead(), lambda _: dead(0.1, 1.0, NAN), range(1, 200), relative=0.1)) == {
        1: "info"
    }
    assert severities(verdicts(ActivationDead(), lambda _: dead(0.1, 0.9, NAN), range(1, 200), relative=0.7)) == {
        1: "info",
        60: "warning",
    }
    assert severities(verdicts(ActivationDead(), lambda _: dead(0.1, 1.0, NAN), range(1, 200), relative=1.0)) == {
        1: "info",
        12: "critical",
    }


def test_units_that_died_while_classes_are_learned_badly_are_a_warning() -> None:
    def said(share: float, born: float = 0.2, **facts: object) -> dict[int, str]:
        options = {"relative": 0.3, "task": "classification", "num_classes": 10} | facts
        stream = verdicts(ActivationDead(), lambda s: dead(born if s < 9 else share, 0, 0), range(1, 100), **options)
        return severities(stream)

    assert said(0.81) == {1: "-", 9: "info", 60: "warning"}
    assert said(0.81, relative=0.09) == {1: "-", 9: "info"}  # it learns well with the rest
    assert said(0.79) == {1: "-", 9: "info"}
    assert said(0.81, born=0.72) == {1: "info"}  # they were never alive
    assert said(0.81, task="language-model") == {1: "-", 9: "info"}
    assert said(1.0) == {1: "-", 9: "info"}  # what is learned goes around it


def test_units_that_fall_silent_late_in_a_run_that_learns_are_a_note() -> None:
    def said(died: int) -> dict[int, str]:
        options = {"relative": 0.3, "task": "classification", "num_classes": 10, "planned": 400}
        stream = verdicts(ActivationDead(), lambda s: dead(0.2 if s < died else 0.81, 0, 0), range(1, 400), **options)
        return severities(stream)

    assert said(150)[150] == "warning"
    assert said(201) == {1: "-", 201: "info"}


def test_the_deadest_leads_and_of_equals_the_first_that_was_called() -> None:
    found = ActivationDead().update(reading(1, dead(0.75, 1.0, 1.0), order=(0, 2, 1)))
    assert found is not None
    assert found.where == ("c", "b", "a")
    assert found.evidence["value"] == 1.0
    assert found.evidence["limit"] == 0.7
    assert found.message.startswith("100 % of the units of c")


def test_born_dead_and_died_are_advised_differently() -> None:
    born = verdicts(ActivationDead(), lambda _: dead(1.0, 0, 0), range(1, 3))[2]
    died = verdicts(ActivationDead(), lambda step: dead(min(1.0, 0.1 * step), 0, 0), range(1, 12))[11]
    assert born is not None
    assert died is not None
    assert "from the start" in born.advice[0]
    assert "learning rate" in died.advice[0]


def test_what_is_not_measured_says_why() -> None:
    with pytest.raises(NotMeasurable, match="fewer than 1,000 rows"):
        ActivationDead().update(reading(1, {"dead_frac": (NAN, NAN, NAN), "window_samples": (64, 64, 64)}))
    with pytest.raises(NotMeasurable, match="no unit can die"):
        ActivationDead().update(reading(1, {"dead_frac": (NAN, NAN, NAN), "window_samples": (6400, NAN, 6400)}))
    why = {"activation/dead_frac": "inside a compiled region"}
    with pytest.raises(NotMeasurable, match="compiled"):
        ActivationDead().update(reading(1, dead(NAN, NAN, NAN), unmeasured=why))
    with pytest.raises(NotMeasurable):
        ActivationDead().update(reading(1, {"mean": (0, 0, 0)}))


def test_it_resumes_where_it_was() -> None:
    one = ActivationDead()
    verdicts(one, lambda step: dead(0.01 * step, 0, 0), range(1, 60))
    two = saved_and_loaded(one)
    for step in range(60, 110):
        now = reading(step, dead(0.01 * step, 0, 0))
        assert one.update(now) == two.update(now)


def test_arguments_are_checked() -> None:
    with pytest.raises(ConfigurationError, match=r"warn_at must be a number from 0\.9 to 1"):
        ActivationDead(limit=0.9, warn_at=0.5)
    assert ActivationDead.severity is Severity.CRITICAL
