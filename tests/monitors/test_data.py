"""Faults planted in real digits, and their healthy twins, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.data_cases import FAULTS, TWINS, Case, build
from benchmarks.data_trainings import Net, Outcome, trained
from lightning_diag import DataMonitor, Diagnostics, Finding
from lightning_diag.sinks import RecordSink, WandbSink
from lightning_diag.sinks.suspects import SuspectSink
from tests.sinks.test_suspects import columns
from tests.sinks.test_wandb import FakeRun
from tests.training import fit

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
        ("near leakage", "mlp", "warning"),
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


def signs(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes whose mean inputs are equal: whether two of four numbers have the same sign."""
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] > 0).long()


@pytest.mark.parametrize("fault", ["labels in another order", "other class order", "nothing", "nothing to learn"])
def test_validation_at_chance_is_found_where_training_is_not(fault: str, tmp_path: Path) -> None:
    (x, y), (val_x, val_y) = signs(4096, 0), signs(400, 1)
    g = torch.Generator().manual_seed(2)
    if fault == "labels in another order":
        val_y = val_y[torch.randperm(400, generator=g)]
    elif fault == "other class order":
        val_y = 1 - val_y
    elif fault == "nothing to learn":  # known by heart after a few epochs
        (x, y), val_y = signs(256, 0), val_y[torch.randperm(400, generator=g)]
        y = y[torch.randperm(256, generator=g)]
    module = Net("wide", (4,), 2)
    module.lr = 1e-2
    watch = Diagnostics([DataMonitor()], sinks=[], strict=True, every_n_steps=1)
    train = DataLoader(TensorDataset(x, y), 32, shuffle=True)
    epochs = 2 if len(y) > 256 else 30
    fit(
        module,
        [watch],
        tmp_path,
        steps=-1,
        max_epochs=epochs,
        train=train,
        val=DataLoader(TensorDataset(val_x, val_y), 100),
    )
    found = [f for f in watch.findings if f.rule == "data/val-at-chance"]
    assert len(found) == (not fault.startswith("nothing"))
    assert not found or ("worse" if fault == "other class order" else "no better") in found[0].message
    assert not found or found[0].first_step == 256, "at the second pass"


@pytest.mark.parametrize("net", ["wide", "norm-first"])
def test_label_noise_is_found_by_half_time_and_the_suspects_are_wrong(net: str, tmp_path: Path) -> None:
    epochs = 16
    case, outcome = told("label noise 5 %", "digits", net, tmp_path, epochs)
    assert outcome.epochs["data/label-noise"] < epochs // 2
    assert len(outcome.suspects) == 50
    assert sum(key in case.wrong for key in outcome.suspects) >= 40


def test_label_noise_is_found_within_the_default_budget(tmp_path: Path) -> None:
    case = build("label noise 15 %", "digits", seed=3)
    outcome = trained(case, "mlp", 12, 3, tmp_path)  # steps of a few milliseconds: hardly any is sampled
    found = of(outcome, "data/label-noise")
    assert str(found.severity) == "warning"
    assert abs(float(found.evidence["value"]) - 0.15) < 4 * float(found.evidence["error"])


@pytest.mark.parametrize("net", ["mlp", "norm-first"])
@pytest.mark.parametrize("name", TWINS)
def test_a_healthy_twin_is_quiet(name: str, net: str, tmp_path: Path) -> None:
    _, outcome = told(name, "digits", net, tmp_path, epochs=8)
    assert not outcome.findings


@pytest.mark.parametrize("fault", ["0 to 255, offset 3"])
def test_a_normalizing_first_layer_excuses_scale_and_offset(fault: str, tmp_path: Path) -> None:
    _, outcome = told(fault, "digits", "norm-first", tmp_path)
    assert not outcome.findings


class Named(Net):
    """Batches are dicts that carry the user's own ids."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch["image"]), batch["label"])


def test_the_list_of_suspects_and_their_pictures(tmp_path: Path) -> None:
    import wandb

    case = build("label noise 15 %", "images", seed=3)
    x, y = case.train
    samples: Any = [{"image": x[i], "label": y[i], "id": 10**9 + i} for i in range(len(y))]
    run, sheet = FakeRun(), SuspectSink()
    watch = Diagnostics(
        [DataMonitor()], run_dir=tmp_path / "run", every_n_steps=1, strict=True,
        sinks=[RecordSink(), sheet, WandbSink(run)],
    )  # fmt: skip
    fit(Named("cnn", (3, 8, 8), 10), [watch], tmp_path, steps=-1, max_epochs=8,
        train=DataLoader(samples, 32, shuffle=True), val=case.loaders()[1])  # fmt: skip
    assert watch.run_dir is not None
    read = columns(watch.run_dir / "suspicious_labels.csv")
    places = [int(own) - 10**9 for own in read["sample_id"][:50]]
    assert read["given_label"][:50] == [str(int(label)) for label in y[places]]
    assert DataMonitor.content_keys(x[places]) == read["content_key"][:50]
    assert sum(int(key, 16) in case.wrong for key in read["content_key"][:50]) >= 40
    scores = [float(score) for score in read["label_score"]]
    assert scores == sorted(scores) and 0 <= scores[0] <= scores[-1] <= 1
    named = of(Outcome(watch.findings, {}, []), "data/label-noise").where
    assert named[0] == f"sample {places[0] + 10**9} (label {y[places[0]]})"
    tables = [row["diag/suspicious_labels"] for row in run.rows if "diag/suspicious_labels" in row]
    assert len(tables) == 1 and 1 <= len(tables[0].data) <= 16
    assert all(isinstance(cells[-1], wandb.Image) for cells in tables[0].data)
    record = (watch.run_dir / "readings.jsonl").read_bytes()
    assert b"data/suspect" not in record and b"_rows" not in record, "no raw data in the record"
