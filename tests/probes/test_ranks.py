from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.ranks import EVERY, RankProbe, fingerprint
from lightning_diag.reading import Facts


def tensors(seed: int = 0) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(40, 50, generator=draw), torch.randn(7, generator=draw).double(), torch.randn(3, 3).bfloat16()]


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("turn", range(3))
def test_equal_weights_have_equal_fingerprints_and_the_last_bit_changes_them(index: int, turn: int) -> None:
    torch.manual_seed(0)
    weights = tensors()
    mark = fingerprint(weights, turn)
    assert torch.equal(mark, fingerprint([w.clone() for w in weights], turn))
    changed = [w.clone() for w in weights]
    sampled = -(-2000 // 256) * 3 + turn if index == 0 else 1
    flat = changed[index].view(-1)
    flat[sampled if index else turn] = torch.nextafter(flat[sampled if index else turn], torch.tensor(9.0).to(flat))
    assert not torch.equal(mark[:2], fingerprint(changed, turn)[:2])


def test_other_elements_are_looked_at_each_turn() -> None:
    weight = torch.zeros(2000)
    changed = weight.clone()
    changed[4] = 1.0
    found = [not torch.equal(fingerprint([weight], t), fingerprint([changed], t)) for t in range(8)]
    assert sum(found) == 1


def test_norm_and_projection_are_those_of_the_sample() -> None:
    x = torch.randn(100)
    mark = fingerprint([x])
    assert float(mark[2]) == pytest.approx(float(x.norm()), rel=1e-5)
    assert abs(float(mark[3])) <= float(x.abs().sum())
    assert torch.equal(fingerprint([-x])[3], -mark[3])


def attached(world: int = 2, **scene: Any) -> tuple[RankProbe, dict[str, str]]:
    probe = RankProbe()
    return probe, probe.attach(Scene(nn.Linear(3, 2), [], Facts(world_size=world, **scene.pop("facts", {})), **scene))


def test_weights_are_compared_now_and_then_and_batches_each_time() -> None:
    probe, reasons = attached()
    assert reasons == {} and probe.facts()["names"]["rank"] == ("rank 0", "rank 1")
    seen = []
    for i in range(2 * EVERY):
        probe.batch_start(Batch((torch.randn(2, 3), torch.zeros(2)), i))
        probe.batch_start(Batch((torch.randn(2, 3), torch.zeros(2)), i))  # a second micro-batch
        values = {name: value for name, value in probe.collect() if isinstance(value, Tensor)}
        assert values["rank/batch_hash"].shape == (12,) and int(values["rank/batch_hash"].isnan().sum()) == 6
        seen.append("rank/weights" in values)
    assert seen == ([True] + [False] * (EVERY - 1)) * 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"world": 1}, "one process"),
        ({"replicated": False}, "averages"),
        ({"facts": {"strategy": "FSDPStrategy"}}, "whole in every process"),
    ],
)
def test_what_cannot_be_compared_says_why(options: dict[str, Any], words: str) -> None:
    probe, reasons = attached(**options)
    assert words in reasons["rank/weights"]
    assert "rank/weights" not in dict(probe.collect())


def test_batches_without_samples_are_left_out() -> None:
    probe, _ = attached()
    probe.batch_start(Batch(object(), 0))
    assert "rank/batch_hash" not in dict(probe.collect())
