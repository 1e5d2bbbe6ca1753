from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lightning_diag.observation import Observation
from lightning_diag.packet import Packet
from lightning_diag.probes import (
    domain_conflict,
    domain_features,
    domain_names,
    domain_parts,
    domain_sums,
    domains,
)
from lightning_diag.probes.base import Batch, Loader, Scene
from lightning_diag.probes.domains import DomainProbe
from lightning_diag.reading import Facts, Reading

NET = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))


@pytest.fixture(autouse=True)
def no_hooks() -> Iterator[None]:
    yield
    for module in NET.modules():
        module._forward_hooks.clear()


def made(probe: DomainProbe | None = None, world: int = 1, val: Any = ()) -> DomainProbe:
    probe = probe or DomainProbe()
    probe.attach(Scene(NET, [], Facts(world_size=world), loaders=lambda: ((), tuple(val))))
    return probe


def batch(g: torch.Generator, ids: Tensor | None, loader: int = 0, shift: float = 0.0, size: int = 60) -> Batch:
    x, y = torch.randn(size, 6, generator=g), torch.randint(0, 3, (size,), generator=g)
    if ids is not None:
        x = x + shift * ids[:, None]
    data: dict[str, Any] = {"x": x, "y": y, **({} if ids is None else {"domain": ids})}
    with torch.no_grad():
        logits = NET(x)
    return Batch(data, 0, loader, observation=Observation(target=y, logits=logits))


def values(probe: DomainProbe, step: int = 1, facts: Facts | None = None) -> Reading:
    packet = Packet.pack(step, 0, -1, "validation", probe.validation_end({}))
    reading = Reading(step, 0, packet.unpack(packet.flat.numpy()), facts or Facts(), stage="validation")
    known = probe.learn(reading)
    return Reading(step, 0, reading.values, Facts(**{**vars(reading.facts), **known}), stage="validation")


def passes(probe: DomainProbe, number: int, shift: float = 0.0, **more: Any) -> Iterator[Reading]:
    g = torch.Generator().manual_seed(0)
    for k in range(number):
        probe.validation_start()
        for _ in range(3):
            probe.validation_batch(batch(g, torch.randint(0, 2, (60,), generator=g), shift=shift, **more))
        yield values(probe, 100 * (k + 1))


def test_counts_by_domain_loader_and_class() -> None:
    probe, g = made(), torch.Generator().manual_seed(0)
    probe.validation_start()
    seen = [batch(g, torch.arange(60) % 3, loader=k) for k in (0, 1, 1)]
    for one in seen:
        probe.validation_batch(one)
    got = values(probe)
    assert got.names("domain") == ("domain 0", "domain 1", "domain 2")
    assert got.values["domain/val_samples"].tolist() == [60, 60, 60]
    assert got.values["domain/loader_samples"].tolist() == [[20, 40]] * 3
    for d in range(3):
        wrong, right = 0.0, 0.0
        for one in seen:
            observation = one.observation
            assert observation is not None and observation.target is not None and observation.logits is not None
            mine = torch.arange(60) % 3 == d
            hit = observation.logits.argmax(1)[mine] == observation.target[mine]
            wrong, right = wrong + float((~hit).sum()), right + float(hit.sum())
        assert got.values["domain/val_sums"][d, :2].tolist() == [60, wrong]
        assert got.values["domain/val_class_right"][d].sum() == right
    assert got.values["domain/input_sums"][:, 0].tolist() == [60, 60, 60]


def test_training_batches_leave_with_the_pass_and_start_again() -> None:
    probe, g = made(), torch.Generator().manual_seed(0)
    for size in (30, 50):
        probe.observed(batch(g, torch.zeros(size, dtype=torch.long), size=size))
        assert probe.collect() == []
    probe.validation_start()
    probe.validation_batch(batch(g, torch.ones(60, dtype=torch.long)))
    got = values(probe)
    assert got.values["domain/train_samples"].tolist() == [80, 0] and got.values["domain/val_samples"].tolist() == [
        0,
        60,
    ]
    probe.validation_start()
    assert "domain/train_samples" not in values(probe)


def test_without_a_domain_one_number_leaves_and_no_hook_is_placed() -> None:
    probe, g = made(), torch.Generator().manual_seed(0)
    probe.validation_start()
    probe.observed(batch(g, None))
    probe.validation_batch(batch(g, None))
    assert values(probe).values == {"domain/named": 0.0}
    assert not any(m._forward_hooks for m in NET.modules())


def test_a_wish_that_can_not_be_met_is_a_reason() -> None:
    probe, g = made(DomainProbe("source")), torch.Generator().manual_seed(0)
    probe.validation_start()
    probe.validation_batch(batch(g, torch.zeros(60, dtype=torch.long)))
    assert "no key 'source'" in values(probe).facts.unmeasured["domain/val_samples"]


@pytest.mark.parametrize(("shift", "told"), [(0.0, False), (2.0, True)])
def test_features_are_compared_now_and_then(shift: float, told: bool) -> None:
    probe = made()
    readings = list(passes(probe, 8, shift))
    compared = [k + 1 for k, reading in enumerate(readings) if "domain/probe_auc" in reading]
    assert compared == [2, 3, 5, 8]
    auc, p = readings[1].values["domain/probe_auc"], readings[1].values["domain/probe_p"]
    assert auc[0] == auc[1] and p[0] == p[1]
    assert (auc[1] > 0.8 and p[1] < 0.01) if told else (auc[1] < 0.65 and p[1] > 0.01)
    probe.detach()
    assert not any(m._forward_hooks for m in NET.modules())


def test_the_global_random_stream_is_not_touched() -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    list(passes(made(), 3, 1.0))
    assert torch.equal(before, torch.get_rng_state())
    assert np.random.get_state()[1].tolist() == numpy_before  # type: ignore[index]  # noqa: NPY002


def test_one_domain_is_never_compared() -> None:
    probe, g = made(), torch.Generator().manual_seed(0)
    for _ in range(4):
        probe.validation_start()
        probe.validation_batch(batch(g, torch.zeros(60, dtype=torch.long)))
        reading = values(probe)
        assert reading.values["domain/val_samples"].tolist() == [60] and "domain/probe_auc" not in reading


def test_gradients_are_compared_on_sampled_steps_of_cross_entropy_only() -> None:
    probe = made()
    list(passes(probe, 2))
    g = torch.Generator().manual_seed(1)
    for kind, want in (("mse", 0), ("cross-entropy", 1)):
        probe.learn(Reading(1, 0, {"domain/named": 1.0}, Facts(loss_kind=kind)))
        probe.batch_start(Batch(None, 0))
        probe.observed(batch(g, torch.arange(60) % 2))
        got = probe.collect()
        assert [name for name, _ in got] == ["domain/gradient_cosine"] * want
    cosine = torch.as_tensor(got[0][1])
    assert cosine.shape == (2, 2) and torch.allclose(cosine.diagonal(), torch.ones(2), atol=1e-5)
    assert probe._head is not None and probe._head._calls == []


def test_named_loaders_are_domains() -> None:
    probe, g = made(val=[Loader(name="synthetic"), Loader(name="real")]), torch.Generator().manual_seed(0)
    probe.validation_start()
    for k in (0, 1, 1):
        probe.validation_batch(batch(g, None, loader=k))
    got = values(probe)
    assert got.names("domain") == ("synthetic", "real") and got.values["domain/val_samples"].tolist() == [60, 120]


def test_a_combined_batch_counts_by_entry() -> None:
    probe, g = made(val=[Loader(name="syn"), Loader(name="real")]), torch.Generator().manual_seed(0)
    probe.validation_start()
    parts = {name: batch(g, None, size=n) for name, n in (("syn", 20), ("real", 30))}
    outputs = [part.observation.logits for part in parts.values() if part.observation is not None]
    data = {name: part.batch for name, part in parts.items()}
    probe.validation_batch(Batch(data, 0, captured=[out for out in outputs[::-1] if out is not None]))
    assert values(probe).values["domain/val_samples"].tolist() == [20, 30]


def test_ranks_send_the_same_layout_whatever_they_saw() -> None:
    layouts = []
    for ids in (torch.zeros(60, dtype=torch.long), torch.arange(60) % 2):
        probe, g = made(world=2), torch.Generator().manual_seed(0)
        for _ in range(3):
            probe.observed(batch(g, ids))
            probe.validation_start()
            probe.validation_batch(batch(g, ids))
            layouts.append(Packet.pack(1, 0, 0, "validation", probe.validation_end({})).layout)
    assert len(set(layouts)) == 1


@pytest.mark.parametrize(
    "module",
    [domains, domain_names, domain_sums, domain_features, domain_conflict, domain_parts],
    ids=lambda m: m.__name__,
)
def test_no_tensor_is_read_outside_the_door(module: Any) -> None:
    tree = ast.parse(inspect.getsource(module))
    called = {n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
    assert called.isdisjoint({"item", "tolist", "cpu", "numpy", "nonzero", "unique", "bincount", "masked_select"})
