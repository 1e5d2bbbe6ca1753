from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lightning_diag.detectors._origin import origin
from lightning_diag.probes.observer import Observer
from lightning_diag.probes.origin import bad_inputs, bad_weights, first_bad_module
from lightning_diag.reading import Facts, Reading


class Divider(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (x - x)


class Model(nn.Module):
    def __init__(self, bad: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.middle: nn.Module = Divider() if bad else nn.Identity()
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        out: Tensor = self.last(self.middle(self.first(x) * scale))
        return out


def traced(model: nn.Module, *args: Any, **kwargs: Any) -> tuple[str | None, bool]:
    observer = Observer(model)
    observer.start(armed=False)
    model(*args, **kwargs)
    calls = list(observer.calls)
    observer.detach()
    return first_bad_module(model, calls)


def test_the_module_that_made_it_is_named_and_the_run_is_as_it_was() -> None:
    model = Model(bad=True)
    buffers = [b.clone() for b in model.buffers()]
    model(torch.randn(5, 3))
    buffers = [b.clone() for b in model.buffers()]
    torch.manual_seed(3)
    state = torch.get_rng_state()
    observer = Observer(model)
    observer.start(armed=False)
    model.eval()
    model(torch.randn(5, 3), scale=2.0)
    model.train()
    calls, state = list(observer.calls), torch.get_rng_state()
    observer.detach()
    assert first_bad_module(model, calls) == ("middle", True)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))
    assert not any(m._forward_hooks for m in model.modules())


def test_a_healthy_forward_names_nothing() -> None:
    assert traced(Model(bad=False), torch.randn(5, 3)) == (None, False)


def test_what_is_done_before_a_module_is_not_its_fault() -> None:
    assert traced(Model(bad=False), torch.randn(5, 3), scale=float("nan")) == ("middle", False)


def test_bad_inputs_and_weights_are_named() -> None:
    x = torch.ones(2, 3)
    x[1, 2] = float("inf")
    names, bad = bad_inputs({"image": x, "label": torch.zeros(2, dtype=torch.long), "extra": (torch.ones(1),)})
    assert names == ("batch['image']", "batch['extra'][0]") and bad.tolist() == [1.0, 0.0]
    assert bad_weights([torch.ones(2), torch.tensor([float("nan")])]).tolist() == [0.0, 1.0]


def test_a_backward_pass_after_the_search_still_works() -> None:
    """Batch norm's backward needs its buffers as they were: written to, even with their own values, it fails."""
    model = Model(bad=True)
    observer = Observer(model)
    observer.start(armed=False)
    loss = model(torch.randn(5, 3)).sum()
    calls = list(observer.calls)
    observer.detach()
    buffers = list(model.buffers())
    assert first_bad_module(model, calls) == ("middle", True)
    assert all(a is b for a, b in zip(buffers, model.buffers(), strict=True))
    loss.backward()


@pytest.mark.parametrize(("mark", "words"), [(1.0, "middle made it from finite inputs"), (0.0, "middle was given one")])
def test_what_was_found_in_words(mark: float, words: str) -> None:
    facts = Facts(names={"input": ("batch[0]",), "submodule": ("middle",)})
    values = {"origin/input": np.zeros(1), "origin/module": np.array([mark])}
    clause, where = origin(Reading(1, 0, values, facts))
    assert clause.startswith(words) and where == ["middle"]
