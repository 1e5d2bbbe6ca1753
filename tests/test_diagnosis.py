from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_diag._evidence import SLACK_STEPS
from lightning_diag.causes import CAUSES
from lightning_diag.diagnosis import Coverage, Diagnosis, diagnose
from lightning_diag.finding import Finding, Severity

RAN = Coverage(ran=("loss/spike",), skipped={"loss/plateau": "too short"})


def found(
    rule: str,
    step: int = 10,
    severity: Severity = Severity.WARNING,
    where: Sequence[str] = (),
    status: str = "open",
) -> Finding:
    return Finding(rule, severity, step, 0, tuple(where), f"{rule} holds.", status=status)


def rules(diagnosis: Diagnosis) -> list[list[str]]:
    return [[f.rule for f in cause.findings] for cause in diagnosis.causes]


def names(diagnosis: Diagnosis) -> list[str]:
    return [cause.name for cause in diagnosis.causes]


# ---------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("rule", sorted({rule for pattern in CAUSES for rule in pattern.points}))
def test_a_finding_alone_points_to_the_cause_that_gives_it_most_weight(rule: str) -> None:
    (cause,) = diagnose([found(rule, 1)]).causes
    weights = {pattern.name: pattern.points[rule] for pattern in CAUSES if rule in pattern.points}
    assert weights[cause.name] == max(weights.values())


def test_the_table_is_well_formed() -> None:
    assert len({p.name for p in CAUSES}) == len(CAUSES)
    for pattern in CAUSES:
        assert pattern.points
        assert all(weight > 0 for weight in pattern.points.values())
        assert pattern.experiment
        assert not pattern.experiment.endswith(".")
    assert CAUSES[0].name == "non-finite", "the row that outranks the others when it came first"


def test_every_cause_is_the_first_one_for_some_evidence() -> None:
    winners = {diagnose([found(rule, 1) for rule in pattern.points]).causes[0].name for pattern in CAUSES}
    assert winners == {pattern.name for pattern in CAUSES}


# ---------------------------------------------------------------------------------------------- joining


def test_symptoms_fold_under_their_cause_and_its_first_place_leads() -> None:
    diagnosis = diagnose(
        [
            found("loss/not-learning", 60, Severity.CRITICAL),
            found("updates/too-large", 20, where=["net.2.weight", "net.0.weight"]),
            found("loss/diverging", 15, where=["net.4.weight"]),
        ]
    )
    assert names(diagnosis) == ["learning-rate-too-high"]
    assert rules(diagnosis) == [["updates/too-large", "loss/diverging", "loss/not-learning"]]
    (cause,) = diagnosis.causes
    assert (cause.severity, cause.first_step) == (Severity.CRITICAL, 15)
    assert cause.where == ("net.4.weight", "net.2.weight", "net.0.weight")


def test_a_symptom_that_came_clearly_earlier_is_not_explained() -> None:
    early = found("loss/plateau", 1)
    late = found("updates/too-small", 1 + SLACK_STEPS)
    assert rules(diagnose([early, late])) == [["updates/too-small", "loss/plateau"]]
    late = found("updates/too-small", 2 + SLACK_STEPS)
    assert sorted(rules(diagnose([early, late]))) == [["loss/plateau"], ["updates/too-small"]]


def test_a_non_finite_value_that_came_first_leads_and_folds_what_is_computed_from_it() -> None:
    diagnosis = diagnose(
        [
            found("loss/non-finite", 9, Severity.CRITICAL),
            found("updates/too-large", 12, Severity.CRITICAL),
            found("loss/diverging", 12),
            found("loss/oscillating", 12),
            found("gradients/exploding", 12),
            found("fit/too-good", 5000, Severity.CRITICAL),
        ]
    )
    assert names(diagnosis) == ["non-finite", "too-good"]
    assert len(diagnosis.causes[0].findings) == 5
    assert diagnosis.causes[0].first_step == 9


def test_a_non_finite_value_leads_among_equally_severe_causes_even_when_it_came_late() -> None:
    diagnosis = diagnose([found("fit/overfitting", 5), found("loss/non-finite", 4000)])
    assert names(diagnosis) == ["non-finite", "overfitting"]


def test_a_network_of_nan_fails_in_validation_too() -> None:
    diagnosis = diagnose([found("loss/non-finite", 61, Severity.CRITICAL), found("data/val-at-chance", 110)])
    assert names(diagnosis) == ["non-finite"]


def test_a_non_finite_value_at_the_end_of_a_blow_up_is_its_symptom() -> None:
    diagnosis = diagnose(
        [
            found("updates/too-large", 10),
            found("gradients/exploding", 12),
            found("loss/diverging", 14, Severity.CRITICAL),
            found("loss/non-finite", 30, Severity.CRITICAL),
        ]
    )
    assert names(diagnosis) == ["learning-rate-too-high"]


def test_independent_causes_stand_apart_most_severe_first() -> None:
    diagnosis = diagnose([found("fit/overfitting", 500), found("gradients/unreached", 1, Severity.CRITICAL)])
    assert names(diagnosis) == ["disconnected", "overfitting"]
    assert diagnosis.verdict == (
        "CRITICAL: trainable parameters are not trained, since step 1; 1 more cause (no check ran)."
    )


def test_confidence_is_the_share_among_rivals() -> None:
    alone = diagnose([found("fit/overfitting")]).causes[0]
    shared = diagnose([found("loss/oscillating"), found("loss/spike")]).causes[0]
    assert alone.confidence == 1.0
    assert shared.name == "unstable"
    assert 0.5 < shared.confidence < 1.0


# ---------------------------------------------------------------------------------------------- notes, resolved ones


def test_info_makes_no_cause_but_tips_the_scale() -> None:
    note = found("loss/bad-start", severity=Severity.INFO)
    assert diagnose([note]) == Diagnosis(notes=(note,))
    exploding = found("gradients/exploding")
    assert names(diagnose([exploding])) == ["bad-initialization"]
    hint = found("updates/too-large", severity=Severity.INFO)
    assert names(diagnose([exploding, hint])) == ["learning-rate-too-high"]


def test_a_rule_without_a_cause_is_a_note_and_leads_the_verdict() -> None:
    loose = found("my/own", severity=Severity.WARNING)
    diagnosis = diagnose([loose], RAN)
    assert (diagnosis.causes, diagnosis.notes) == ((), (loose,))
    assert diagnosis.severity == Severity.WARNING
    assert not diagnosis.healthy
    assert diagnosis.verdict == (
        "WARNING: my/own holds. No known cause explains it (1 check ran, 1 could not be judged)."
    )


def test_what_is_resolved_does_not_make_a_run_ill() -> None:
    healed = found("loss/spike", severity=Severity.CRITICAL, status="resolved")
    diagnosis = diagnose([healed], RAN)
    assert (diagnosis.causes, diagnosis.notes) == ((), (healed,))
    assert diagnosis.severity is None
    assert diagnosis.healthy
    assert diagnosis.verdict.startswith("Healthy: nothing of warning or worse, 1 finding resolved (1 check ran")


def test_what_is_resolved_still_points_to_the_cause_of_what_is_left() -> None:
    healed = found("updates/too-large", 20, Severity.CRITICAL, status="resolved")
    left = found("loss/not-learning", 60)
    diagnosis = diagnose([left, healed], RAN)
    assert names(diagnosis) == ["learning-rate-too-high"]
    assert diagnosis.severity == Severity.WARNING, "only what is still there counts"
    assert diagnosis.causes[0].findings == (healed, left)


def test_what_is_resolved_points_with_half_its_weight() -> None:
    healed = found("updates/too-small", 20, status="resolved")
    assert names(diagnose([healed, found("updates/too-large", 20)])) == ["learning-rate-too-high"]
    open_now = found("updates/too-small", 20)
    unsure = diagnose([healed, found("loss/not-learning", 20)]).causes[0].confidence
    sure = diagnose([open_now, found("loss/not-learning", 20)]).causes[0].confidence
    assert unsure < sure


# ---------------------------------------------------------------------------------------------- verdicts


def test_a_note_that_is_resolved_gives_no_cause_what_it_asks_for() -> None:
    def lead(status: str) -> str:
        note = found("gradients/underflow", 20, Severity.INFO, status=status)
        odd = found("setup/odd-initialization", 1, Severity.INFO)
        return names(diagnose([note, odd, found("classes/collapsed", 160), found("sanity/worse-than-linear", 288)]))[0]

    assert (lead("open"), lead("resolved")) == ("low-precision", "bad-initialization")


def test_a_note_of_steps_too_large_that_came_first_is_the_root_of_units_that_died() -> None:
    note, dead = found("updates/too-large", 8, Severity.INFO, status="resolved"), found("activations/dead", 150)
    assert names(diagnose([note, dead])) == ["learning-rate-too-high"]
    assert names(diagnose([dataclasses.replace(note, first_step=200), dead])) == ["dead-units"]


def test_attention_that_collapsed_after_the_start_was_thrown_there_by_the_steps() -> None:
    def lead(step: int, *others: Finding) -> str:
        return names(diagnose([found("activations/attention-collapsed", step), *others]))[0]

    assert (lead(1), lead(2), lead(3), lead(300)) == (*["attention-collapsed"] * 2, *["learning-rate-too-high"] * 2)
    assert lead(1, found("sanity/worse-than-linear", 288)) == "attention-collapsed"
    assert lead(48, found("sanity/worse-than-linear", 288)) == "learning-rate-too-high"
    assert lead(200, found("data/unnormalized", 5), found("loss/not-learning", 60)) == "unnormalized-input"
    assert lead(140, found("gradients/accumulating", 60)) == "accumulating-gradients"


def test_nothing_checked_is_not_healthy() -> None:
    diagnosis = diagnose([], Coverage(skipped={"loss/spike": "no loss"}))
    assert not diagnosis.healthy
    assert diagnosis.verdict == "Not checked: no check had the data it needs."


def test_a_healthy_run_says_how_much_was_checked() -> None:
    diagnosis = diagnose([found("loss/spike", severity=Severity.INFO)], RAN)
    assert diagnosis.healthy
    assert diagnosis.verdict == ("Healthy: nothing of warning or worse, 1 note (1 check ran, 1 could not be judged).")


def test_the_verdict_names_the_place() -> None:
    diagnosis = diagnose(
        [found("gradients/unreached", 1, where=["head.weight", "head.bias"])], Coverage(("a/b", "a/c"))
    )
    assert diagnosis.verdict == (
        "WARNING: trainable parameters are not trained at head.weight, since step 1 (2 checks ran)."
    )


# ---------------------------------------------------------------------------------------------- properties

_RULES = sorted({rule for p in CAUSES for rule in (*p.points, *p.explains)} | {"my/own"})
_FINDINGS = st.lists(
    st.builds(
        found,
        st.sampled_from(_RULES),
        st.integers(1, 1000),
        st.sampled_from(Severity),
        st.lists(st.sampled_from("abc"), max_size=2),
        st.sampled_from(("open", "worsening", "resolved")),
    ),
    unique_by=lambda f: f.rule,
)


@given(_FINDINGS, st.randoms(use_true_random=False))
def test_no_finding_is_lost_or_told_twice_and_order_does_not_matter(findings: list[Finding], random: Random) -> None:
    diagnosis = diagnose(findings, RAN)
    told = [f for cause in diagnosis.causes for f in cause.findings] + list(diagnosis.notes)
    assert sorted(f.rule for f in told) == sorted(f.rule for f in findings)
    assert sorted(diagnosis.findings, key=lambda f: f.rule) == sorted(findings, key=lambda f: f.rule)
    assert [f.severity for f in diagnosis.findings] == sorted((f.severity for f in findings), reverse=True)
    shuffled = list(findings)
    random.shuffle(shuffled)
    assert diagnose(shuffled, RAN) == diagnosis


@given(_FINDINGS)
def test_causes_are_sound(findings: list[Finding]) -> None:
    diagnosis = diagnose(findings, RAN)
    for cause in diagnosis.causes:
        assert cause.severity >= Severity.WARNING
        assert 0 < cause.confidence <= 1
        assert any(f.status != "resolved" for f in cause.findings)
    serious = [f for f in findings if f.severity >= Severity.WARNING and f.status != "resolved"]
    assert diagnosis.healthy == (not serious)
    json.dumps(diagnosis.to_dict(), allow_nan=False)


def test_json_holds_verdict_causes_notes_and_coverage() -> None:
    data = diagnose([found("fit/overfitting", 7), found("loss/spike", severity=Severity.INFO)], RAN).to_dict()
    assert data["severity"] == "warning"
    assert data["causes"][0]["findings"] == ["fit/overfitting"]
    assert data["notes"][0]["rule"] == "loss/spike"
    assert data["coverage"] == {"ran": ["loss/spike"], "skipped": {"loss/plateau": "too short"}}


def test_a_note_of_a_mechanism_is_the_root_where_only_consequences_were_warned_of() -> None:
    note = Finding("gradients/unreached", Severity.INFO, 40, 0, ("body",), "...")
    behind = Finding("sanity/worse-than-linear", Severity.WARNING, 300, 0, (), "...")
    found = diagnose([note, behind])
    assert (found.causes[0].name, found.causes[0].where) == ("disconnected", ("body",))
    assert [f.rule for f in found.causes[0].findings] == ["gradients/unreached", "sanity/worse-than-linear"]
    assert found.notes == () and len(found.findings) == 2 and found.severity == Severity.WARNING
    hot = Finding("updates/too-large", Severity.WARNING, 30, 0, ("head",), "...")
    assert diagnose([note, hot, behind]).causes[0].name == "learning-rate-too-high"
    assert diagnose([note]).causes == () and diagnose([behind]).causes[0].name == "not-learning"
    early = Finding("loss/not-learning", Severity.WARNING, 60, 0, (), "...")
    late = Finding("gradients/unreached", Severity.INFO, 5000, 0, ("body",), "...")
    assert diagnose([early, late]).causes[0].name == "not-learning"


def test_of_two_that_explain_each_other_the_earlier_leads() -> None:
    def drift(step: int) -> Finding:
        return Finding("classes/drift", Severity.WARNING, step, 0, ("class 3",), "...")

    over = Finding("fit/overfitting", Severity.WARNING, 100, 0, (), "...")
    assert diagnose([drift(50), over]).causes[0].name == "class-drift"
    assert diagnose([drift(150), over]).causes[0].name == "overfitting"
