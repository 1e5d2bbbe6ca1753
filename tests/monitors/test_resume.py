"""A run that was stopped and resumed is one long run: the same readings, names, findings and coverage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the usual name
from torch.utils.data import DataLoader, TensorDataset

from lightning_diag import Diagnostics, MemorySink
from lightning_diag._transfer import Transfer
from lightning_diag.demo.data import batches, real_digits
from lightning_diag.demo.rendering import synthetic_digits
from lightning_diag.observation import Observation
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.classes import ClassProbe
from lightning_diag.probes.data_content import DataContentProbe
from lightning_diag.probes.domains import DomainProbe
from lightning_diag.reading import Facts, Reading
from tests.training import Classifier, digits, fit

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")

EPOCHS, CUT = 12, 5  # epochs of the whole run, and the last one before the stop
CLOCK = ("time/", "memory/", "system/")  # signals of the clock and the machine, never the same twice
BY_CLOCK = ("system",)  # and the rules that read them


class Dying(Classifier):
    """One layer's ReLUs die, one's tanh saturates, both activations are shared by two layers."""

    def __init__(self) -> None:
        super().__init__(lr=0.02)
        norm, relu, tanh = nn.BatchNorm1d(32), nn.ReLU(), nn.Tanh()
        nn.init.constant_(norm.bias[:28], -6.0)
        large = nn.Linear(32, 32)
        nn.init.normal_(large.weight, std=4.0)
        layers = [nn.Linear(64, 32), norm, relu, nn.Linear(32, 32), relu, large, tanh, nn.Linear(32, 32), tanh]
        self.net = nn.Sequential(*layers, nn.Linear(32, 10))


class Functional(Classifier):
    """Functional forms, found by what passes."""

    def __init__(self) -> None:
        super().__init__(lr=3e-3)
        self.first, self.second, self.last = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 10)
        self.net = nn.Sequential()
        self.net.forward = self._through  # type: ignore[method-assign]

    def _through(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(torch.tanh(self.second(F.relu(self.first(x)))))
        return out


class Blind(Classifier):
    """The input has no effect, but for the labels of a batch that are always sorted alike."""

    def __init__(self) -> None:
        super().__init__(lr=3e-3, dropout=0.0)
        self.net = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10))
        middle = self.net[2]
        assert isinstance(middle, nn.Linear)
        nn.init.zeros_(middle.weight)
        middle.weight.requires_grad_(False)


class Labels(Classifier):
    """Ten yes-or-no answers a sample."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        return F.binary_cross_entropy_with_logits(self.net(x), y)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_loss", self.training_step(batch, batch_idx))


class Domains(Classifier):
    """Dict batches with a domain."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step((batch["image"].flatten(1), batch["label"]), batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        super().validation_step((batch["image"].flatten(1), batch["label"]), batch_idx)


class Nan(Classifier):
    """Every tenth loss is not finite, from a step before the stop on."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        return loss * float("nan") if self.global_step >= 30 and self.global_step % 10 == 0 else loss


def plain(size: int = 512) -> tuple[Any, Any]:
    x, y = digits()
    train = TensorDataset(torch.cat([x[:size], x[:40]]), torch.cat([y[:size], y[:40]]))  # some come twice
    return DataLoader(train, batch_size=64), DataLoader(TensorDataset(x[-200:], y[-200:]), batch_size=100)


def wrong_labels() -> tuple[Any, Any]:
    x, y = digits()
    given = torch.where(torch.arange(len(y)) % 12 == 0, (y + 3) % 10, y)
    return (
        DataLoader(TensorDataset(x[:512], given[:512]), batch_size=64),
        DataLoader(TensorDataset(x[-200:], y[-200:]), batch_size=100),
    )


def many_labels() -> tuple[Any, Any]:
    x, y = digits()
    yes = F.one_hot(y, 10).float()
    return (
        DataLoader(TensorDataset(x[:512], yes[:512]), batch_size=64),
        DataLoader(TensorDataset(x[-200:], yes[-200:]), batch_size=100),
    )


def domains() -> tuple[Any, Any]:
    held = synthetic_digits(100, 9) + real_digits()["val"]
    return batches(synthetic_digits(400) + real_digits()["train"].only(np.arange(100)), 64), batches(held, 64)


@dataclass(frozen=True)
class Case:
    """A training, and rules that must have found something in it."""

    module: Callable[[], Any]
    data: Callable[[], tuple[Any, Any]] = plain
    rules: tuple[str, ...] = ()


CASES = {
    "activations": Case(Dying, rules=("activations/dead", "activations/saturated", "data/duplicates")),
    "functional forms, wrong labels": Case(Functional, wrong_labels),
    "input ignored": Case(Blind, rules=("sanity/input-ignored",)),
    "labels": Case(lambda: Labels(3e-3), many_labels),
    "domains": Case(lambda: Domains(3e-3), domains),
    "not finite": Case(lambda: Nan(3e-3), rules=("loss/non-finite",)),
}


def run(case: Case, root: Path, ckpt: Path | None = None) -> tuple[Diagnostics, list[Reading]]:
    """Train in the order of the data, the last epoch's checkpoint kept."""
    memory = MemorySink()
    diag = Diagnostics(strict=True, every_n_steps=2, sinks=[memory], ignore=BY_CLOCK)
    torch.manual_seed(0)
    module = case.module()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # what is drawn doesn't stand in a checkpoint of Lightning's
    keep = ModelCheckpoint(root, filename="{epoch}", every_n_epochs=1, save_top_k=-1, save_on_train_epoch_end=True)
    train, val = case.data()
    path = None if ckpt is None else str(ckpt)
    fit(
        module, [diag, keep], root, steps=-1, max_epochs=EPOCHS, train=train, val=val, ckpt_path=path,
        enable_checkpointing=True,
    )  # fmt: skip
    return diag, memory.readings


def compared(readings: list[Reading], after: int) -> dict[tuple[str, int], dict[str, Any]]:
    """What was measured after a step, without what follows the clock."""
    return {
        (r.stage, r.step): {s: np.asarray(v) for s, v in r.values.items() if not s.startswith(CLOCK)}
        for r in readings
        if r.step > after
    }


@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_measures_and_finds_what_one_long_run_does(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    whole, readings = run(case, tmp_path)
    found = {f.rule for f in whole.findings}
    assert found >= set(case.rules), whole.findings
    step = max(r.step for r in readings if r.epoch == CUT)
    resumed, later = run(case, tmp_path, tmp_path / f"epoch={CUT}.ckpt")
    assert min(r.step for r in later) == step + 1

    one, other = compared(readings, step), compared(later, step)
    assert one.keys() == other.keys()
    for key, values in one.items():
        assert values.keys() == other[key].keys(), (key, values.keys() ^ other[key].keys())
        odd = [s for s, v in values.items() if not np.array_equal(v, other[key][s], equal_nan=True)]
        assert odd == [], key
    assert later[-1].facts == readings[-1].facts
    assert case.data is not wrong_labels or later[-1].names("suspect")
    assert resumed.findings == whole.findings
    assert resumed.diagnosis == whole.diagnosis


def test_a_checkpoint_holds_what_is_on_its_way_from_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def judged() -> str:
        saved: list[dict[str, Any]] = []

        class Save(pl.Callback):
            def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
                if trainer.global_step == 20:
                    saved.append(diag.state_dict()["judge"])

        diag = Diagnostics(strict=True, every_n_steps=2, sinks=[], select=("loss", "gradients"))
        torch.manual_seed(0)
        fit(Classifier(), [diag, Save()], tmp_path, steps=24)
        return json.dumps(saved[0])

    at_once = judged()
    monkeypatch.setattr(Transfer, "at_once", lambda self, value: None)
    monkeypatch.setattr(Transfer, "landed", lambda self: iter(()))  # as if no copy were done by then
    assert judged() == at_once


def test_sums_that_processes_add_up_are_taken_back_by_the_first_one_only() -> None:
    def probes(rank: int) -> tuple[ClassProbe, DomainProbe, DataContentProbe]:
        made = ClassProbe(), DomainProbe(), DataContentProbe()
        for probe in made:
            probe.attach(Scene(nn.Linear(2, 2), (), Facts(world_size=2), rank=rank))
        return made

    batch = Batch([torch.rand(4, 2), torch.tensor([0, 1, 1, 0])], 0)
    batch.observation = Observation(
        target=torch.tensor([0, 1, 1, 0]), logits=torch.rand(4, 2), domain=torch.tensor([0, 1, 0, 1])
    )
    stopped = probes(0)
    for probe in stopped:
        probe.batch_start(batch)
        probe.observed(batch)
    states = [probe.state_dict() for probe in stopped]
    for rank in (0, 1):
        classes, domains, content = probes(rank)
        classes.load_state_dict(states[0], torch.device("cpu"))
        domains.load_state_dict(states[1], torch.device("cpu"))
        content.load_state_dict(states[2], torch.device("cpu"))
        assert (classes._train is not None, bool(domains._train), bool(content._rows)) == (rank == 0,) * 3
