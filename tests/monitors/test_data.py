"""Faults planted in real digits, and their healthy twins, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.data_cases import FAULTS, TWINS, Case, build
from benchmarks.data_trainings import Outcome, trained
from lightning_diag import Finding

EPOCHS = 4  # a run's first quarter is its first epoch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def told(name: str, data: str, net: str, root: Path, epochs: int = EPOCHS) -> tuple[Case, Outcome]:
    case = build(name, data, seed=3)
    return case, trained(case, net, epochs, 3, root, every_n_steps=1)


def of(outcome: Outcome, rule: str) -> Finding:
    found = [f for f in outcome.findings if f.rule == rule]
    assert found, outcome.findings
    return found[0]


@pytest.mark.parametrize(
    ("name", "net", "severity"),
    [
        ("leakage", "mlp", "warning"),
        ("sorted", "mlp", "warning"),
        ("0 to 255, offset 3", "mlp", "warning"),
        ("constant channel", "mlp", "info"),
        ("NaN in 1 %", "mlp", "critical"),
        ("giveaway", "mlp", "warning"),
        ("lost class", "mlp", "warning"),
        ("copies", "mlp", "info"),
        ("conflicting labels", "mlp", "warning"),
    ],
)
def test_a_fault_is_found_within_the_first_epoch(name: str, net: str, severity: str, tmp_path: Path) -> None:
    rule = FAULTS[name][0]
    case, outcome = told(name, "digits", net, tmp_path)
    finding = of(outcome, rule)
    assert outcome.epochs[rule] == 0
    assert str(finding.severity) == severity
    assert not case.place or any(place.startswith(case.place) for place in finding.where), finding.where


def test_a_leaked_sample_is_named_by_its_place_in_validation(tmp_path: Path) -> None:
    case, outcome = told("leakage", "digits", "mlp", tmp_path)
    train = {tuple(row) for row in case.train[0].tolist()}
    leaked = [i for i, row in enumerate(case.val[0].tolist()) if tuple(row) in train]
    named = [int(place.split()[-1]) for place in of(outcome, "data/leakage").where]
    assert named == leaked[: len(named)] and len(named) >= 3


def test_a_constant_channel_of_images_is_named(tmp_path: Path) -> None:
    _, outcome = told("constant channel", "images", "cnn", tmp_path)
    assert of(outcome, "data/constant-feature").where == ("channel 1",)
    assert outcome.epochs["data/constant-feature"] == 0


def test_validation_labels_of_other_inputs_are_told_at_the_second_pass(tmp_path: Path) -> None:
    _, outcome = told("validation labels elsewhere", "digits", "mlp", tmp_path)
    assert outcome.epochs["data/labels-shifted"] == 1


@pytest.mark.parametrize("net", ["wide", "norm-first"])
def test_label_noise_is_found_by_half_time_and_the_suspects_are_wrong(net: str, tmp_path: Path) -> None:
    epochs = 16
    case, outcome = told("label noise 5 %", "digits", net, tmp_path, epochs)
    assert outcome.epochs["data/label-noise"] < epochs // 2
    assert len(outcome.suspects) == 50
    assert sum(key in case.wrong for key in outcome.suspects) >= 40


@pytest.mark.parametrize("net", ["mlp", "norm-first"])
@pytest.mark.parametrize("name", TWINS)
def test_a_healthy_twin_is_quiet(name: str, net: str, tmp_path: Path) -> None:
    _, outcome = told(name, "digits", net, tmp_path, epochs=8)
    assert not outcome.findings


@pytest.mark.parametrize("fault", ["0 to 255, offset 3"])
def test_a_normalizing_first_layer_excuses_scale_and_offset(fault: str, tmp_path: Path) -> None:
    _, outcome = told(fault, "digits", "norm-first", tmp_path)
    assert not outcome.findings
