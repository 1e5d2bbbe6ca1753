"""data/val-at-chance: the arithmetic against plain sums, and what excuses a validation at chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from lightning_diag.detectors import DataValAtChance
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading
from tests.detectors.class_stream import judged

LABELS = np.array([120.0, 60, 20])
ANSWERS = np.array([100.0, 100, 0])
CHANCE = (120 * 100 + 60 * 100) / 200**2  # 0.45
TRAIN = {"class/train_support": [200, 100, 100], "class/train_right": [190, 80, 90]}
FRESH = {"data/samples": 400, "data/duplicate_frac": 0.01}


def passes(
    right: float, values: Mapping[str, Any] = FRESH, train: Mapping[str, Any] = TRAIN, **facts: Any
) -> list[Finding]:
    made = {"class/support": LABELS, "class/predicted": ANSWERS, "class/right": [right, 0, 0], **train, **values}
    arrays = {name: np.asarray(value, np.float64) for name, value in made.items()}
    readings = [Reading(100 * (p + 1), p, arrays, Facts(**facts), stage="validation") for p in range(3)]
    return [f for f in judged(DataValAtChance(), readings) if f is not None]


def test_chance_is_that_of_the_answers_and_labels_there_are() -> None:
    first, _ = passes(200 * CHANCE)
    assert first.epoch == 1 and str(first.severity) == "warning"
    assert first.evidence["limit"] == pytest.approx(CHANCE) and first.evidence["z"] == pytest.approx(0)
    assert first.evidence["train"] == pytest.approx(0.9)
    assert "no better than chance" in first.message


def test_both_sides_count() -> None:
    error = np.sqrt(CHANCE * (1 - CHANCE) * 200)
    assert not passes(200 * CHANCE + 3.1 * error)
    assert "no better" in passes(200 * CHANCE - 2.9 * error)[0].message
    assert "worse than chance" in passes(200 * CHANCE - 3.1 * error)[0].message


@pytest.mark.parametrize(
    ("values", "train", "facts"),
    [
        (FRESH, {**TRAIN, "class/train_right": [190, 0, 20]}, {}),  # training is near the most frequent label's share
        (FRESH, {"class/train_support": [30, 15, 15], "class/train_right": [30, 15, 15]}, {}),  # too few
        ({**FRESH, "data/duplicate_frac": 0.3}, TRAIN, {}),  # learned by heart within the epoch
        ({"data/samples": 400}, TRAIN, {}),  # drawn with replacement
        ({}, TRAIN, {}),  # samples nobody can tell apart
        ({**FRESH, "data/same_label": 1, "data/same_label_chance": 0.4}, TRAIN, {}),  # sorted
        ({**FRESH, "domain/val_samples": [0, 200], "domain/train_samples": [400, 0]}, TRAIN, {}),
        (FRESH, TRAIN, {"task": "language-model"}),
        ({**FRESH, "class/predicted": [200, 150, 90]}, TRAIN, {}),  # several labels a sample
    ],
)  # fmt: skip
def test_what_excuses_it(values: Mapping[str, Any], train: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    assert not passes(200 * CHANCE, values, train, **facts)


def test_training_counts_in_the_first_epoch_only() -> None:
    made = {k: np.asarray(v, np.float64) for k, v in {"class/support": LABELS, **TRAIN, **FRESH}.items()}
    made |= {"class/predicted": ANSWERS, "class/right": np.array([90.0, 0, 0])}
    readings = [Reading(100 * (p + 1), p, made, stage="validation") for p in (1, 2, 3)]
    assert not any(judged(DataValAtChance(), readings)), "by then it may be known by heart"


def test_it_takes_the_labels_side_where_class_means_agree() -> None:
    (finding, _) = passes(200 * CHANCE, {**FRESH, "data/val_agreement": 0.95})
    assert "labels do fit" in finding.message and "training mode" in finding.advice[1]
