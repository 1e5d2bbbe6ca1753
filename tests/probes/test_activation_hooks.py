from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.checkpoint import checkpoint

from lightning_diag.probes.activation_hooks import Hook, Switch, first_tensor, measurable


class Seen:
    def __init__(self, *, fail: bool = False) -> None:
        self.calls: list[tuple[int, ...]] = []
        self.fail = fail

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        self.calls.append(tuple(output.shape))
        if self.fail:
            raise RuntimeError("ours")


def hooked(*, fail: bool = False) -> tuple[nn.Sequential, Switch, Seen]:
    net, switch, seen = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)), Switch(), Seen(fail=fail)
    Hook(switch, seen).attach(net[1])
    return net, switch, seen


def test_it_looks_only_while_the_switch_is_on_and_the_module_trains() -> None:
    net, switch, seen = hooked()
    x = torch.randn(3, 4)
    net(x)
    switch.on = True
    net(x)
    net.eval()
    net(x)
    assert seen.calls == [(3, 4)]


def test_an_error_of_ours_never_reaches_the_user() -> None:
    net, switch, seen = hooked(fail=True)
    switch.on = True
    assert net(torch.randn(3, 4)).shape == (3, 1)
    assert isinstance(switch.error, RuntimeError)
    assert not switch.on
    net(torch.randn(3, 4))
    assert len(seen.calls) == 1


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_in_backward_is_not_counted(reentrant: bool) -> None:
    net, switch, seen = hooked()
    switch.on = True
    x = torch.randn(3, 4, requires_grad=True)
    out: Tensor = checkpoint(net, x, use_reentrant=reentrant)
    assert len(seen.calls) == 1
    out.sum().backward()
    assert len(seen.calls) == 1
    assert x.grad is not None


def test_a_copy_of_the_module_leaves_the_hook_behind() -> None:
    net, switch, seen = hooked()
    switch.on = True
    copy.deepcopy(net)(torch.randn(3, 4))
    assert seen.calls == []
    pickle.loads(pickle.dumps(net))(torch.randn(3, 4))
    assert seen.calls == []
    net(torch.randn(3, 4))
    assert len(seen.calls) == 1


def test_a_saved_module_loads_where_this_package_is_not_installed(tmp_path: Path) -> None:
    net, _, _ = hooked()
    torch.save(net, tmp_path / "net.pt")
    code = (
        "import sys, torch; sys.modules['lightning_diag'] = None; net = torch.load(sys.argv[1], weights_only=False); "
        "print(net(torch.zeros(2, 4)).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "net.pt")], capture_output=True, text=True, check=False
    )
    assert "torch.Size([2, 1])" in done.stdout, done.stderr


def test_compiled_it_leaves_one_whole_graph_and_flipping_the_switch_recompiles_nothing() -> None:
    counts = []
    for watched in (False, True):
        torch._dynamo.reset()
        net, switch, seen = hooked()
        if not watched:
            net[1]._forward_hooks.clear()
            net[1]._forward_hooks_with_kwargs.clear()
        counter = CompileCounterWithBackend("eager")
        run = torch.compile(net, backend=counter, fullgraph=True)  # fullgraph: a graph break raises
        for step in range(4):
            switch.on = step % 2 == 0
            run(torch.randn(3, 4)).sum().backward()
        counts.append((counter.frame_count, counter.op_count))
        assert seen.calls == []
    torch._dynamo.reset()
    assert counts[0] == counts[1]
    assert counts[0][0] == 1


def test_only_plain_numbers_are_measured() -> None:
    assert measurable(torch.zeros(2, dtype=torch.long)) is None
    assert measurable(torch.tensor(1.0)) is None
    assert measurable(torch.zeros(0, 3)) is None
    assert measurable(torch.eye(3).to_sparse()) is None
    found = measurable(nn.Parameter(torch.ones(2)))
    assert found is not None
    assert type(found) is Tensor
    assert not found.requires_grad


def test_per_sample_gradients_of_the_user_are_not_looked_at() -> None:
    inside: list[Tensor | None] = []

    def f(x: Tensor) -> Tensor:
        inside.append(measurable(x))
        return x.sum()

    torch.vmap(f)(torch.randn(4, 3))
    assert inside == [None]


def test_the_first_tensor_of_whatever_a_module_gives() -> None:
    x = torch.ones(2, 3)
    packed = nn.utils.rnn.pack_padded_sequence(torch.ones(2, 3, 4), torch.tensor([3, 1]), batch_first=True)
    for data in (x, (x, 1), [x], {"a": 1, "b": x}, ((x, None), 2)):
        got = first_tensor(data)
        assert got is not None
        assert torch.equal(got, x)
    got = first_tensor((packed, None))
    assert got is not None
    assert got.shape == (4, 4)
    for none in (None, (), 3, {"a": "b"}):
        assert first_tensor(none) is None


def test_a_weights_only_checkpoint_knows_nothing_of_hooks() -> None:
    net, _, _ = hooked()
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    buffer.seek(0)
    assert set(torch.load(buffer, weights_only=True)) == {"0.weight", "0.bias", "2.weight", "2.bias"}
