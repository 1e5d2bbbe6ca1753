"""What broke other tools that watch a training, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lightning_diag import Diagnostics, MemorySink
from tests.setups import modules as m
from tests.setups.harness import Setup, batches, differences, train, training


def watching(**options: Any) -> Diagnostics:
    return Diagnostics(strict=True, every_n_steps=1, sinks=[MemorySink()], **options)


class Noted(m.Plain):
    """Keeps the order of the labels it is trained on."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.order: list[list[int]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.order.append(batch[1].tolist())
        return super().training_step(batch, batch_idx)


def test_batch_order_is_untouched(tmp_path: Path) -> None:
    made: list[Noted] = []

    def make() -> Noted:
        made.append(Noted())
        return made[-1]

    setup = Setup(make, train=lambda: batches(num_workers=0))
    train(setup, [], tmp_path / "bare")
    train(setup, [watching()], tmp_path / "watched")
    assert made[0].order == made[1].order and len(made[0].order) == setup.steps


def test_an_operation_in_place_after_a_hooked_layer(tmp_path: Path) -> None:
    setup = Setup(lambda: m.Plain(m.InPlace()))
    diag = watching()
    assert differences(vars(train(setup, [], tmp_path / "bare")), vars(train(setup, [diag], tmp_path / "w"))) == []


def test_bf16_true_measures_gradients_and_activations(tmp_path: Path) -> None:
    sink = MemorySink()
    diag = Diagnostics(strict=True, every_n_steps=1, sinks=[sink])
    train(Setup(m.Plain, lambda: {"precision": "bf16-true"}), [diag], tmp_path)
    last = training(sink.readings)[-1].values
    assert all(bool(torch.isfinite(torch.as_tensor(last[s])).all()) for s in ("grad/norm", "update/parameter_ratio"))
    assert "activation/mean" in last


def test_a_frozen_batch_norm_stays_frozen(tmp_path: Path) -> None:
    made: list[m.FrozenBody] = []

    def make() -> m.FrozenBody:
        made.append(m.FrozenBody())
        return made[-1]

    train(Setup(make), [watching()], tmp_path)
    norm = made[0].net[2]  # type: ignore[index]
    assert torch.equal(norm.running_mean, torch.zeros(4)) and int(norm.num_batches_tracked) == 0
    assert not norm.training


@pytest.mark.parametrize("mode", ["sinks given", "by default"])
def test_nothing_is_written_outside_the_run(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    train(Setup(m.Plain), [watching() if mode == "sinks given" else Diagnostics(strict=True)], root)
    assert list(elsewhere.iterdir()) == []
    assert {path.name for path in root.iterdir()} <= {"lightning_diag_runs", "last.ckpt"}


def test_the_users_modules_get_no_attributes(tmp_path: Path) -> None:
    before: dict[str, set[str]] = {}

    class Listed(m.Plain):
        def on_train_batch_end(self, *args: Any) -> None:
            now = {n: set(vars(p)) for n, p in self.named_modules() if n}
            before.setdefault("net", now["net"])
            assert now["net"] == before["net"] == set(vars(nn.Sequential()))

    train(Setup(Listed), [watching()], tmp_path)


def compiled(callbacks: list[Any], root: Path) -> dict[str, int]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    train(Setup(m.Compiled, steps=8), callbacks, root)
    found = torch._dynamo.utils.counters
    return {
        "graphs": found["stats"]["unique_graphs"],
        "breaks": sum(found["graph_break"].values()),
        "recompiles": sum(found["recompiles"].values()),
    }


@pytest.mark.slow
def test_no_graph_breaks_and_no_recompiles_are_added(tmp_path: Path) -> None:
    bare = compiled([], tmp_path / "bare")
    third = Diagnostics(strict=True, every_n_steps=3, sinks=[])
    watched = compiled([third], tmp_path / "watched")
    assert bare["graphs"] >= 1 and watched["graphs"] <= bare["graphs"] + 1  # the copy that the sanity checks call, once
    assert {**watched, "graphs": 0} == {**bare, "graphs": 0}
