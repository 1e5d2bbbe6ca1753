from __future__ import annotations

from lightning_diag._plugins import shipped
from lightning_diag.checklist import ITEMS, checklist
from lightning_diag.diagnosis import Coverage, diagnose
from lightning_diag.finding import Finding, Severity


def finding(rule: str, severity: Severity = Severity.WARNING, status: str = "open") -> Finding:
    return Finding(rule, severity, 7, 0, (), f"{rule} says so.", status=status)


def test_every_rule_of_the_list_exists() -> None:
    known = {cls.rule for cls in shipped()}
    assert {rule for rules in ITEMS.values() for rule in rules} <= known


def test_states_follow_findings_and_coverage() -> None:
    found = [
        finding("data/leakage"),
        finding("fit/too-good", Severity.INFO),
        finding("loss/plateau", status="resolved"),
        finding("fit/overfitting", Severity.CRITICAL),
    ]
    ran = ["data/leakage", "fit/too-good", "loss/plateau", "fit/overfitting", "data/label-noise"]
    items = {i.item: i for i in checklist(found, ran, {"data/unnormalized": "inputs are tokens"})}
    assert items["nothing leaks"].state == "failed"
    assert items["nothing leaks"].why == "data/leakage says so."
    assert items["it is not too good to be true"].state == "note"
    assert items["it was trained long enough"].state == "ok"  # resolved
    assert items["labels are right"].state == "ok"
    assert items["there is enough training data"].state == items["it is not overfitted"].state == "failed"
    assert items["inputs are normalized where the model needs it"].why == "inputs are tokens"
    assert items["batches are shuffled"].state == "not-measurable"


def test_it_stands_in_the_diagnosis_as_plain_data() -> None:
    data = diagnose([finding("data/leakage")], Coverage(ran=("data/leakage",))).to_dict()["checklist"]
    assert len(data) == len(ITEMS)
    assert next(d for d in data if d["item"] == "nothing leaks") == {
        "item": "nothing leaks", "state": "failed", "why": "data/leakage says so.", "rules": ["data/leakage"],
    }  # fmt: skip
