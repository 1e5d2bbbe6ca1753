from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.prune import l1_unstructured
from torch.utils.data import TensorDataset

from lightning_diag.errors import NotMeasurable
from lightning_diag.probes.isolated import isolated, undisturbed


class Keeping(nn.Module):
    """Keeps a count, a history, a random generator and its last output, with its history."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.bn = nn.BatchNorm1d(4)
        self.calls, self.seen = 0, [0]
        self.rng = np.random.default_rng(0)
        self.data = TensorDataset(torch.zeros(3))
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(len(x))
        self.last = self.bn(self.layer(x) + float(self.rng.normal()))
        return self.last


def test_calling_the_copy_leaves_no_trace_in_the_module() -> None:
    module = Keeping()
    heard: list[int] = []
    module.layer.register_forward_hook(lambda *_: heard.append(1))
    module(torch.randn(3, 4))
    assert heard == [1]
    before = {k: v.clone() for k, v in module.state_dict().items()}
    stream = module.rng.bit_generator.state
    last = module.last
    copy = isolated(module)
    with torch.no_grad():
        for p in copy.parameters():
            p.add_(1)
        copy.train()(torch.randn(3, 4))
    assert heard == [1] and module.calls == 1 and module.seen == [0, 3] and module.last is last
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert module.rng.bit_generator.state == stream
    assert vars(copy)["data"] is module.data  # a data set may be large, and no forward reads it
    assert module.training


def test_weight_norm_and_pruning_stay() -> None:
    normed = torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    pruned = l1_unstructured(nn.Linear(4, 4), "weight", 0.5)
    for module in (normed, pruned):
        x = torch.randn(2, 4)
        out = module(x)
        with torch.no_grad():
            assert torch.equal(isolated(module)(x), out)


def test_what_cant_be_copied_is_said() -> None:
    module = nn.Linear(2, 2)
    module.generator = (i for i in range(3))  # type: ignore[assignment]
    with pytest.raises(NotMeasurable, match="Linear can't be copied: TypeError: cannot pickle 'generator' object"):
        isolated(module)
    with pytest.raises(NotMeasurable, match="the module holds 8 MB, and it is copied up to 1 MB only"):
        isolated(nn.Linear(2048, 1024), limit_bytes=2**20)


def test_a_hook_on_all_modules_is_not_fired() -> None:
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        with pytest.raises(NotMeasurable, match="hook on all modules"):
            isolated(nn.Linear(2, 2))
    finally:
        handle.remove()


def disturb() -> None:
    with undisturbed(torch.device("cpu")):
        torch.manual_seed(0)
        torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002
        print("noise")
        assert not torch.is_grad_enabled()
        raise RuntimeError("planted")


def test_every_random_stream_is_put_back_and_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(1)
    streams = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    with pytest.raises(RuntimeError, match="planted"):
        disturb()
    after = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002
    assert torch.equal(streams[0], after[0]) and streams[1:] == after[1:]
    assert torch.is_grad_enabled() and capsys.readouterr().out == ""
    with (
        pytest.raises(NotMeasurable, match="random numbers of a meta device"),
        undisturbed(torch.device("meta")),
    ):
        pass
