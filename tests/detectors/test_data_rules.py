"""Policies of the rules over data: when they fire, when they don't, and what they do with NaN and with nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from lightning_diag import detectors
from lightning_diag.detectors.base import Detector
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading
from tests.detectors.class_stream import judged

RULES = [
    cls for name in detectors.__all__ if (cls := getattr(detectors, name)).__name__.startswith(("Data", "SetupMostly"))
]
NAN = float("nan")


def run(detector: Detector, values: Mapping[str, Any], steps: int = 60, facts: Facts = Facts()) -> list[Finding]:  # noqa: B008
    made = {k: np.asarray(v, dtype=np.float64) for k, v in values.items()}
    seen = {"data/feature_batches": np.float64(0), "data/noise_seen": np.float64(0)}
    readings = [
        Reading(s, s // 10, {**made, **{k: np.float64(s) for k in seen if k.split("_")[0] in "".join(made)}}, facts)
        for s in range(1, steps + 1)
    ]
    return [f for f in judged(detector, readings) if f is not None]


def severities(found: list[Finding]) -> set[str]:
    return {str(f.severity) for f in found}


LEARNED = {"loss/relative": 0.1, "loss/level": 0.2}
LOST = {"loss/relative": 1.0, "loss/level": 2.3, "loss/best": 2.3}
APART = {"data/noise_rate": 0.06, "data/noise_error": 0.005, "data/noise_low": -1.2, "data/noise_high": 0.9}
TOKENS = {"data/shift_astray": [0.05, 0.1, 0.1]}
NEVER: dict[str, Any] = {"class/train_support": [40, 0, 40], "class/support": [5, 5, 5]}
PADDED = {"data/padding_told_by": 1, "data/padding_beyond_frac": 0.2, "data/sequence_length": 64}
NOISE = {"data/noise_frac": 0.12, "data/noise_samples": 1000, "data/noise_depth": 0.8, "data/noise_margin": 2.0}


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ("DataLeakage", {"data/leaked_frac": 0.02, "data/leaked_samples": 8}, {"warning"}),
        ("DataLeakage", {"data/leaked_frac": 0.02, "data/leaked_samples": 2}, set()),
        ("DataLeakage", {"data/leaked_frac": 0.02, "data/leaked_samples": 8, "data/duplicate_frac": 0.05}, set()),
        ("DataNearLeakage", {"data/near_leaked_frac": 0.05, "data/near_leaked_samples": 9}, {"warning"}),
        ("DataNearLeakage", {"data/near_leaked_frac": 0.05, "data/near_leaked_samples": 4}, set()),
        ("DataNearLeakage", {"data/near_leaked_frac": 0.01, "data/near_leaked_samples": 9}, set()),
        (
            "DataNearLeakage",
            {"data/near_leaked_frac": 0.05, "data/near_leaked_samples": 9, "data/near_frac": 0.04},
            {"info"},
        ),
        ("DataDuplicates", {"data/duplicate_frac": 0.3, "data/samples": 1000}, {"info"}),
        ("DataConflictingLabels", {"data/conflict_frac": 0.05, "data/samples": 1000}, {"warning"}),
        (
            "DataConflictingLabels",
            {"data/conflict_frac": 0.05, "data/samples": 1000, "data/duplicate_frac": 0.4},
            {"info"},
        ),
        ("DataLabelNoise", NOISE, {"warning"}),
        ("DataLabelNoise", {**NOISE, "data/noise_depth": 0.3}, set()),
        ("DataLabelNoise", {**NOISE, **APART, "data/noise_depth": 0.3}, {"info"}),
        ("DataLabelNoise", {**NOISE, **APART, "data/noise_rate": 0.15}, {"warning"}),
        ("DataLabelNoise", {**NOISE, **APART, "data/noise_error": 0.02, "data/noise_depth": 0.3}, set()),
        ("DataLabelNoise", {**NOISE, **APART, "data/noise_low": -0.5, "data/noise_depth": 0.3}, set()),
        ("DataLabelNoise", {**NOISE, **APART, "data/noise_high": 0.3, "data/noise_depth": 0.3}, set()),
        ("DataLabelNoise", {**NOISE, **APART, "data/noise_margin": 0.3}, set()),
        ("DataLabelNoise", {**NOISE, **APART, "data/noise_margin": 0.6}, {"info"}),  # apart: half as sure is enough
        ("DataLabelNoise", {**NOISE, "data/noise_margin": 0.6}, set()),
        ("DataLabelNoise", {**TOKENS, "data/shift_match": [0.02, 0.8, 0.03]}, {"warning"}),
        ("DataLabelNoise", {**TOKENS, "data/shift_match": [0.02, 0.97, 0.03]}, {"info"}),
        ("DataLabelNoise", {**TOKENS, "data/shift_match": [0.02, 1.0, 0.03]}, set()),
        ("DataLabelNoise", {**TOKENS, "data/shift_match": [0.4, 0.45, 0.1]}, set()),  # what they should be isn't known
        # one token, as a mask or a separator: that is meant
        ("DataLabelNoise", {"data/shift_match": [0.02, 0.8, 0.03], "data/shift_astray": [0.9, 0.1, 0.1]}, set()),
        ("DataLabelNoise", {**NOISE, "data/noise_margin": 0.3}, set()),
        # two components of margins, but hardly a label the network is against: samples that are learned late
        ("DataLabelNoise", {**NOISE, **APART, "data/noise_rate": 0.4, "data/noise_frac": 0.05}, {"info"}),
        ("DataLabelNoise", {**NOISE, "data/noise_frac": 0.6}, set()),  # the network is wrong, not the labels
        ("DataLabelNoise", {**NOISE, **APART, "data/noise_frac": 0.6, "data/noise_rate": 0.65}, {"warning"}),
        ("DataLabelNoise", {**NOISE, "loss/relative": 1.5}, set()),
        ("DataLabelNoise", {**NOISE, **APART, "loss/relative": 1.5}, set()),
        ("DataLabelNoise", {**NOISE, **APART, "loss/relative": 0.98}, set()),  # two classes and one answer
        ("DataLabelNoise", {**NOISE, "data/noise_frac": 0.04}, {"info"}),
        ("DataLabelNoise", {**NOISE, "data/noise_frac": 0.02}, set()),
        ("DataLabelNoise", {**NOISE, "data/same_label": 1.0, "data/same_label_chance": 0.1}, set()),
        ("DataUnnormalized", {"data/feature_mean": [3.5, 3.5], "data/feature_std": [1, 1]}, {"warning"}),
        ("DataUnnormalized", {"data/feature_mean": [0.5, 0.4], "data/feature_std": [0.3, 0.3]}, set()),
        ("DataUnnormalized", {"data/feature_mean": [0, 0], "data/feature_std": [50, 50]}, {"info"}),
        ("DataUnnormalized", {"data/feature_mean": [2000, 0.1] + [0] * 8, "data/feature_std": [9] + [1] * 9}, {"info"}),
        ("DataUnnormalized", {"data/target_mean": 150, "data/target_std": 77, **LEARNED}, {"info"}),
        ("DataUnnormalized", {"data/target_mean": 0.95, "data/target_std": 0.2, **LEARNED}, set()),
        ("DataUnnormalized", {"data/target_mean": 150, "data/target_std": 0, **LEARNED}, set()),
        ("DataUnshuffled", {"data/same_label": 1.0, "data/same_label_chance": 0.1, **LEARNED}, {"info"}),
        ("DataUnshuffled", {"data/same_label": 0.1, "data/same_label_chance": 0.1, **LOST}, set()),
        ("DataConstantFeature", {"data/feature_min": [0, 1], "data/feature_max": [1, 1]}, {"info"}),
        ("DataConstantFeature", {"data/feature_min": [0] * 64, "data/feature_max": [0] * 8 + [1] * 56}, set()),
        ("DataConstantFeature", {"data/feature_min": [2, 2], "data/feature_max": [2, 2]}, {"warning"}),
        ("DataNonFinite", {"data/nonfinite_frac": 0.1, "loss/train": 1.0}, {"info"}),
        ("DataNonFinite", {"data/nonfinite_frac": 0.0, "loss/train": NAN}, set()),
        ("DataGiveawayFeature", {"data/class_r2": [0.3] * 30 + [0.99]}, {"warning"}),
        ("DataGiveawayFeature", {"data/class_r2": [0.3, 0.94, 0.93, 0.5]}, set()),
        ("DataGiveawayFeature", {"data/class_r2": [0.99] * 20}, set()),
        ("DataGiveawayFeature", {"data/class_r2": [0.94, 0.93, 0.6, 0.4, 0.999]}, {"warning"}),
        ("DataGiveawayFeature", {"data/class_r2": [0.94, 0.93, 0.6, 0.4, 0.98]}, set()),
        ("DataGiveawayFeature", {"data/class_r2": [0.3] * 30 + [0.99], "data/class_r2_chance": 0.3}, {"warning"}),
        ("DataGiveawayFeature", {"data/class_r2": [0.3] * 30 + [0.98], "data/class_r2_chance": 0.4}, set()),
        ("DataGiveawayFeature", {"data/class_r2": [0.3] * 30 + [1.0], "data/class_r2_chance": 0.9}, set()),
        ("DataClassNeverTarget", {"class/train_support": [40, 0, 40], "class/support": [5, 5, 5]}, {"warning"}),
        ("DataClassNeverTarget", {"class/train_support": [40, 0, 40], "class/support": [5, 0, 5]}, {"info"}),
        ("DataClassNeverTarget", {**NEVER, "data/samples": 30}, {"warning"}),
        ("DataClassNeverTarget", {**NEVER, "data/samples": 29}, set()),
        ("DataAlikeSequences", {"data/alike_frac": 1}, {"warning"}),
        ("DataAlikeSequences", {"data/alike_frac": 0.85}, set()),
        ("SetupMostlyPadding", {**PADDED, "data/padding_frac": 0.6}, {"info"}),
        ("SetupMostlyPadding", {**PADDED, "data/padding_frac": 0.45}, set()),
        ("SetupMostlyPadding", {**PADDED, "data/padding_frac": 0.6, "data/sequence_length": 12}, set()),
        ("DataLabelsShifted", {"data/shift_match": [0.1, 0.1, 0.99]}, {"warning"}),
        ("DataLabelsShifted", {"data/shift_match": [0.1, 0.99, 0.1]}, set()),
        ("DataLabelsShifted", {"data/shift_match": [0.99, 0.1, 0.1]}, set()),
        ("DataLabelsShifted", {"data/val_agreement": 0.02, "data/class_r2": [0.4, 0.3]}, {"warning"}),
    ],
)
def test_when_it_fires(rule: str, values: Mapping[str, Any], expected: set[str]) -> None:
    facts = Facts(loss_kind="cross-entropy") if rule == "DataLabelNoise" else Facts()
    assert severities(run(getattr(detectors, rule)(), values, facts=facts)) == expected


def test_what_changes_with_the_run_and_its_facts() -> None:
    scale = {"data/feature_mean": [0, 0], "data/feature_std": [50, 50], **LOST}
    known = Facts(planned_steps=100, chance_loss=2.3)
    assert severities(run(detectors.DataUnnormalized(), scale, 90, known)) == {"info", "warning"}
    assert not run(detectors.DataUnnormalized(), scale, 90, Facts(input_normalized=True))
    targets = {"data/target_mean": 150, "data/target_std": 77, **LOST}
    assert severities(run(detectors.DataUnnormalized(), targets, 90, known)) == {"info", "warning"}
    order = {"data/same_label": 1.0, "data/same_label_chance": 0.1, **LOST}
    assert severities(run(detectors.DataUnshuffled(), order, 90, known)) == {"info", "warning"}
    copies = {"data/shift_match": [0.99, 0.1, 0.1]}
    assert severities(run(detectors.DataLabelsShifted(), copies, 3, Facts(loss_kind="cross-entropy"))) == {"critical"}
    apart = {"data/val_agreement": 0.02, "data/class_r2": [0.4, 0.3]}
    ten = Facts(num_classes=10)
    assert severities(run(detectors.DataLabelsShifted(), {**apart, "data/samples": 200}, 3, ten)) == {"warning"}
    assert not run(detectors.DataLabelsShifted(), {**apart, "data/samples": 199}, 3, ten)
    few = {"data/leaked_frac": 0.18, "data/leaked_samples": 27}
    text = Facts(task="language-model")
    assert severities(run(detectors.DataLeakage(), few, 3)) == {"warning"}
    assert severities(run(detectors.DataLeakage(), few, 3, text)) == {"info"}  # of 150 windows: not surely above 15 %
    assert severities(run(detectors.DataLeakage(), {**few, "data/leaked_samples": 270}, 3, text)) == {"warning"}
    far = {"data/feature_mean": [40, 40], "data/feature_std": [1, 1]}
    normed = Facts(planned_steps=100, chance_loss=2.3, input_normalized=True)
    assert severities(run(detectors.DataUnnormalized(), {**far, **LOST}, 90, normed)) == {"warning"}
    assert not run(detectors.DataUnnormalized(), {**far, **LEARNED}, 90, normed)
    tokens = {"class/train_support": [4000, 0, 40], "class/support": [5, 5, 5]}
    assert not run(detectors.DataClassNeverTarget(), tokens, 3, Facts(task="language-model"))


def test_the_scale_of_inputs_is_held_against_how_the_run_does() -> None:
    large = {"data/feature_mean": [0, 0], "data/feature_std": [50, 50], "loss/relative": 0.4, "loss/train": 1.0}
    classes = Facts(planned_steps=100, chance_loss=2.3, task="classification", num_classes=10)
    assert severities(run(detectors.DataUnnormalized(), large, 90, classes)) == {"info", "warning"}
    assert severities(run(detectors.DataUnnormalized(), {**large, "loss/relative": 0.2}, 90, classes)) == {"info"}
    assert severities(run(detectors.DataUnnormalized(), large, 14, classes)) == {"info"}
    normed = Facts(planned_steps=100, chance_loss=2.3, task="classification", num_classes=10, normalized=True)
    assert severities(run(detectors.DataUnnormalized(), large, 90, normed)) == {"info"}  # further in
    assert severities(run(detectors.DataUnnormalized(), {**large, "loss/relative": 0.7}, 90, normed)) == {
        "info", "warning",
    }  # fmt: skip


@pytest.mark.parametrize(("spread", "step_told"), [(0.01, 12), (50.0, 30)])  # too large ones get more time
def test_unnormalized_inputs_are_judged_by_losses_after_they_were_seen(spread: float, step_told: int) -> None:
    facts, detector = Facts(planned_steps=300, chance_loss=2.3), detectors.DataUnnormalized()
    seen = {"data/feature_mean": np.zeros(2), "data/feature_std": np.full(2, spread)}
    found = []
    for step in range(1, 60):
        values = {"loss/relative": np.float64(1.0), "data/same_label": np.float64(0.1), **(seen if step == 5 else {})}
        with contextlib.suppress(NotMeasurable):
            found.append(detector.update(Reading(step, 0, values, facts)))
    told = [f for f in found if f is not None]
    assert (told[0].step, str(told[0].severity)) == (5, "info")
    assert next(f.step for f in told if str(f.severity) == "warning") == step_told


def test_a_class_that_was_only_not_looked_at_is_no_finding() -> None:
    targets = {"class/train_support": [400, 0, 400], "class/support": [5, 5, 5], "accuracy/train": 0.5}

    def told(
        every: int, excess: float, steps: int = 200, size: int = 32, until: int = 200, validated: bool = False
    ) -> set[str]:
        made = {k: np.asarray(v, np.float64) for k, v in targets.items()}
        order = {"data/same_label": np.float64(0.1 + 0.9 * excess), "data/same_label_chance": np.float64(0.1)}
        facts, detector = Facts(batch_size=size), detectors.DataClassNeverTarget()
        readings = [Reading(s, s // 50, {**made, **order}, facts) for s in range(1, min(steps, until), every)]
        if validated:
            del made["accuracy/train"]
            readings.append(Reading(steps - 1, 3, made, facts, stage="validation"))
        return severities([f for f in judged(detector, readings)[-1:] if f is not None])

    assert told(every=1, excess=0) == told(every=7, excess=0) == {"warning"}
    assert told(every=7, excess=1) == set(), "sorted, and seen through a sieve"
    assert told(every=1, excess=1) == {"warning"}, "sorted, but every batch was seen"
    assert told(every=1, excess=1, validated=True) == {"warning"}
    assert told(every=1, excess=1, until=30, validated=True) == set(), "only the first batches were looked at"
    assert told(every=1, excess=1, steps=99) == set(), "not surely all of an epoch"
    assert told(every=7, excess=0.2, steps=99) == set(), "14 batches of 32 that are alike say as much as 62 targets"
    assert told(every=7, excess=0.2) == {"warning"}
    assert told(every=1, excess=0, steps=10, size=2) == set(), "images of many pixels: 9 batches of 2"


def test_texts_repeat_themselves() -> None:
    def severity(share: float, task: str) -> str:
        values = {"data/leaked_frac": np.float64(share), "data/leaked_samples": np.float64(300)}
        found = detectors.DataLeakage().update(Reading(9, 0, values, Facts(task=task), stage="validation"))
        return str(found.severity) if found is not None else ""

    assert severity(0.02, "language-model") == "info"
    assert severity(0.3, "language-model") == severity(0.02, "classification") == "warning"


def test_slow_learning_is_no_label_noise() -> None:
    detector, found = detectors.DataLabelNoise(), []
    for look in range(2, 30):
        values = {**NOISE, "data/noise_frac": 0.5 * 0.8**look, "data/noise_seen": look}
        made = {k: np.float64(v) for k, v in values.items()}
        found += judged(detector, [Reading(10 * look, look, made, Facts(loss_kind="cross-entropy"))])
    assert not any(found)


def test_mixed_labels_and_a_network_that_broke_are_no_label_noise() -> None:
    known = Facts(loss_kind="cross-entropy")
    assert run(detectors.DataLabelNoise(), NOISE, facts=known) and not run(detectors.DataLabelNoise(), NOISE)
    apart = {**NOISE, **APART, "data/noise_rate": 0.15}
    assert run(detectors.DataLabelNoise(), apart), "two clear components are wrong labels all the same"
    for before, expected in ((0.3, True), (0.9, False)):  # R while the network agreed with nearly all labels
        detector = detectors.DataLabelNoise()
        assert not any(run(detector, {**NOISE, "data/noise_frac": 0.0, "loss/relative": 1 - before}, 5, known))
        values = {k: np.float64(v) for k, v in {**NOISE, "loss/relative": 0.3}.items()}
        later = [Reading(s, s, {**values, "data/noise_seen": np.float64(s)}, known) for s in range(6, 40)]
        assert any(judged(detector, later)) is expected


@pytest.mark.parametrize("cls", RULES, ids=lambda cls: cls.rule)
def test_nan_empty_and_nothing_say_nothing(cls: type[Detector]) -> None:
    shapes: dict[str, Any] = {"data/shift_match": [NAN] * 3}
    for value in (NAN, np.empty(0)):
        values = {name: shapes.get(name, value) for name in cls.reads if not name.startswith("origin")}
        for name in values:
            if name.startswith(("class/", "data/feature_m", "data/feature_std", "data/class")):
                values[name] = np.atleast_1d(value)
        given = {
            n: v for n, v in values.items() if np.size(v) or n.startswith(("class/", "data/feature_m", "data/class"))
        }
        assert not [f for f in run(cls(), given, 30) if str(f.severity) != "info"]
    assert not run(cls(), {}, 5)


@pytest.mark.parametrize("cls", RULES, ids=lambda cls: cls.rule)
def test_state_goes_round(cls: type[Detector]) -> None:
    one, two = cls(), cls()
    run(one, {**NOISE, "data/same_label": 0.2, "data/same_label_chance": 0.1, **LOST}, 30)
    two.load_state_dict(one.state_dict())
    assert two.state_dict() == one.state_dict()


@pytest.mark.parametrize(("mean", "first"), [(3e5, 3), (150.0, 20)])
def test_targets_far_off_are_told_after_a_few_batches(mean: float, first: int) -> None:
    found = run(detectors.DataUnnormalized(), {"data/target_mean": mean, "data/target_std": 77, **LEARNED})
    assert found[0].last_step == first
