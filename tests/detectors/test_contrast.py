"""Validation against training: what says that labels are wrong, and what only looks like it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest

from lightning_diag.detectors import DataLabelNoise
from lightning_diag.detectors._contrast import Contrast
from lightning_diag.finding import Finding
from lightning_diag.reading import Facts, Reading
from tests.detectors.class_stream import judged

FACTS = Facts(loss_kind="cross-entropy", loss_floor=0.0, dropout=0.0, batch_size=32, planned_steps=400)
# a network that isn't sure yet of any label, and holds against a part
UNSURE = {"data/noise_frac": 0.3, "data/noise_samples": 1000, "data/noise_depth": 0.7, "data/noise_margin": 0.3}
STEPS = 20  # between two passes


def stream(
    train: list[float], val: list[float], loss: list[float], val_loss: list[float] | None,
    more: Mapping[str, float] | None = None, facts: Facts = FACTS,
) -> list[Reading]:  # fmt: skip
    """A run: accuracies and losses of training before each pass, and of each pass."""
    rng, readings = np.random.default_rng(0), []
    for look, share in enumerate(val):
        for i in range(STEPS):
            value = loss[look] + 0.05 * rng.normal()
            readings.append(Reading(STEPS * look + i + 1, look, {"loss/train": np.float64(value)}, facts))
        n = np.full(10, 50.0)
        values = {k: np.asarray(v, float) for k, v in {**UNSURE, **(more or {}), "data/noise_seen": look + 1.0}.items()}
        values |= {"class/train_support": n, "class/train_right": np.round(n * train[look])}
        values |= {"class/support": n, "class/right": np.round(n * share)}
        if val_loss is not None:
            values["loss/val"] = np.float64(val_loss[look])
        readings.append(Reading(STEPS * (look + 1), look, values, facts, stage="validation"))
    return readings


def said(readings: list[Reading]) -> list[Finding]:
    return [f for f in judged(DataLabelNoise(), readings) if f is not None]


WRONG = ([0.3, 0.4, 0.5, 0.5], [0.4, 0.6, 0.7, 0.7], [2.2, 1.9, 1.6, 1.5], [2.0, 1.4, 1.1, 1.0])


def test_wrong_labels_are_told_by_a_better_validation_while_the_network_is_unsure() -> None:
    found = said(stream(*WRONG))
    assert [str(f.severity) for f in found] == ["warning"] and found[0].step == 4 * STEPS
    assert found[0].message.startswith("At least 23 %") and "better on validation" in found[0].message
    assert said(stream(*WRONG[:3], None)), "the accuracy alone is clear enough"
    assert said(stream(*WRONG, {"val/alike": 1.0}))


@pytest.mark.parametrize(
    "facts",
    [{"loss_kind": None}, {"loss_floor": 0.4}, {"dropout": 0.1}],
)
def test_what_else_costs_training_accuracy_is_no_wrong_label(facts: dict[str, float | None]) -> None:
    assert not said(stream(*WRONG, facts=dataclasses.replace(FACTS, **facts)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more", [{"val/alike": 0.0}, {"data/renewed_frac": 1.0}, {"data/noise_depth": 0.3}, {"loss/relative": 1.0}]
)
def test_changed_inputs_and_hard_samples_are_no_wrong_labels(more: dict[str, float]) -> None:
    assert not said(stream(*WRONG, more))


def test_a_loss_that_is_far_better_is_enough_while_accuracies_are_few() -> None:
    close = ([0.45, 0.45, 0.45, 0.47], [0.5, 0.5, 0.5, 0.5], [2.2, 1.9, 1.8, 1.7], [1.9, 1.6, 1.4, 1.2])
    assert [str(f.severity) for f in said(stream(*close))] == ["warning"]
    assert not said(stream([0.55] * 4, *close[1:])), "but not where the accuracy is worse"
    whole = dataclasses.replace(FACTS, steps_per_epoch=1)
    assert not said(stream(*close, facts=whole)), "the loss over all samples says nothing of how much it varies"


def test_validation_of_another_domain_is_not_compared() -> None:
    readings = stream(*WRONG)
    domains = {"domain/train_samples": np.array([500.0, 0]), "domain/val_samples": np.array([0, 500.0])}
    assert not said([dataclasses.replace(r, values={**r.values, **domains}) for r in readings])


@pytest.mark.parametrize(
    ("train", "val", "loss", "val_loss"),
    [
        ([0.2, 0.4, 0.7, 0.9], [0.3, 0.6, 0.85, 0.9], [2.2, 1.6, 0.9, 0.3], [2.0, 1.2, 0.5, 0.4]),  # learns fast
        ([0.8, 0.4, 0.8, 0.8], [0.8, 0.8, 0.8, 0.8], [0.6, 1.5, 0.6, 0.6], [0.6, 0.6, 0.6, 0.6]),  # a spike
        ([0.3, 0.4, 0.5, 0.5], [0.4, 0.6, 0.7, 0.7], [2.2, 1.9, 1.6, 1.5], [2.3, 2.2, 2.1, 2.1]),  # its loss is worse
        ([0.5, 0.5, 0.5, 0.5], [0.7, 0.7, 0.7, 0.7], [1.5, 1.5, 1.2, 0.9], [2.0, 1.4, 1.0, 0.6]),  # so is it before
        ([0.5, 0.5, 0.5, 0.5], [0.5, 0.52, 0.53, 0.53], [1.5, 1.5, 1.5, 1.5], [1.5, 1.5, 1.49, 1.49]),  # chance
    ],
)
def test_right_labels_are_quiet(train: list[float], val: list[float], loss: list[float], val_loss: list[float]) -> None:
    assert not said(stream(train, val, loss, val_loss))


def test_margins_of_a_network_that_is_better_in_training_say_nothing() -> None:
    sure = {"data/noise_margin": 2.0, "data/noise_frac": 0.12, "data/noise_depth": 0.8}
    loss = [0.5] * 6
    assert said(stream([0.8] * 6, [0.8] * 6, loss, loss, sure)), "no better: they may be wrong"
    assert not said(stream([0.9] * 6, [0.75] * 6, loss, loss, sure))


def test_what_was_told_stays_when_wrong_labels_are_learned_by_heart() -> None:
    train, val, loss, val_loss = WRONG
    later = stream([*train, 0.8, 0.9], [*val, 0.7, 0.7], [*loss, 0.6, 0.3], [*val_loss, 1.2, 1.4])
    found = said(later)
    assert found[-1].step == 6 * STEPS and found[-1].evidence["value"] == found[0].evidence["value"]


def test_counts_between_two_passes_add_up_and_the_state_comes_back() -> None:
    whole, parts = Contrast(), Contrast()
    for reading in stream(*WRONG):
        whole.see(reading)
        n = reading.vector("class/train_support")
        if n is not None:
            half = {k: reading.values[k] / 2 for k in ("class/train_support", "class/train_right")}
            parts.see(dataclasses.replace(reading, values=half))
            reading = dataclasses.replace(reading, values={**reading.values, **half})
        parts.see(reading)
        again = Contrast()
        again.load_state_dict(parts.state_dict())
        parts = again
    assert parts.z == whole.z > 3 and parts.loss_z == whole.loss_z > 3
    assert parts.rate == whole.rate and not math.isnan(parts.best)
