from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_diag.observation import Observation
from lightning_diag.probes.batch_fields import find_input, find_target
from lightning_diag.probes.observer import Observer, as_logits

X, Y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x))
        return out


@pytest.mark.parametrize("batch", [(X, Y), [X, Y], {"x": X, "label": Y}, {"image": X, "targets": Y, "domain": "real"}])
@pytest.mark.parametrize("through_children", [False, True])
def test_the_forward_output_is_matched_with_the_target(batch: Any, through_children: bool) -> None:
    model = Model()
    observer = Observer(model)
    observer.start(armed=True)
    want = model.head(model.body(X)) if through_children else model(X)
    seen = observer.look(batch)
    assert seen is not None and seen.logits is not None
    assert torch.equal(seen.logits, want) and not seen.logits.requires_grad
    assert seen.domain == ("real" if isinstance(batch, dict) and "domain" in batch else None)


def test_dict_outputs_win_over_captured_ones() -> None:
    model = Model()
    observer = Observer(model)
    observer.start(armed=True)
    model(X)
    logits = torch.randn(6, 3, requires_grad=True)
    seen = observer.look((X, Y), {"loss": torch.ones(()), "y_hat": logits, "labels": Y})
    assert seen is not None and seen.logits is not None
    assert torch.equal(seen.logits, logits) and not seen.logits.requires_grad


def test_the_users_own_callable_wins() -> None:
    mine = Observation(target=Y, preds=Y)
    observer = Observer(Model(), lambda module, batch, outputs: mine)
    observer.start(armed=True)
    assert observer.look((X, Y)) is mine


def test_nothing_is_kept_when_not_armed_and_calls_are_dropped() -> None:
    model = Model()
    observer = Observer(model)
    observer.start(armed=False)
    model(X)
    assert len(observer.calls) == 1  # only the outermost call, for tracing
    assert observer.look((X, Y)) is None
    assert observer.calls == [] and observer.outputs() == []


def test_hooks_leave_with_detach() -> None:
    model = Model()
    observer = Observer(model)
    observer.detach()
    assert not model._forward_hooks and not model.head._forward_hooks and not model._forward_pre_hooks


def test_copies_and_pickles_of_the_module_leave_us_behind() -> None:
    model = Model()
    observer = Observer(model)
    observer.start(armed=True)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin(X)
        assert observer.calls == [] and observer.outputs() == []
        hooks = [*twin._forward_hooks.values(), *twin._forward_pre_hooks.values()]
        assert hooks and not any(type(hook).__module__.startswith("lightning_diag") for hook in hooks)
    model(X)
    assert len(observer.calls) == 1


def test_a_forward_that_raised_does_not_break_the_next_batch() -> None:
    model = Model()
    observer = Observer(model)
    observer.start(armed=True)
    with pytest.raises(RuntimeError):
        model(torch.randn(2, 9))
    observer.start(armed=True)
    model(X)
    assert observer.look((X, Y)) is not None


@pytest.mark.parametrize(
    ("output", "target", "shape"),
    [
        ((6, 3), (6,), (6, 3)),
        ((2, 5, 7), (2, 5), (2, 7, 5)),  # language model: (B, T, V) -> (B, V, T)
        ((2, 4, 8, 8), (2, 8, 8), (2, 4, 8, 8)),  # segmentation
        ((6,), (6,), None),
        ((6, 1), (6,), None),
        ((5, 3), (6,), None),
    ],
)
def test_logits_by_shape(output: tuple[int, ...], target: tuple[int, ...], shape: tuple[int, ...] | None) -> None:
    made = as_logits(torch.randn(output), torch.zeros(target, dtype=torch.long))
    assert (None if made is None else tuple(made.shape)) == shape


def test_float_targets_are_no_classes_but_values() -> None:
    assert as_logits(torch.randn(6, 3), torch.randn(6)) is None
    net = nn.Sequential(nn.Linear(4, 1))
    observer = Observer(net)
    observer.start(armed=True)
    net(X)
    seen = observer.look((X, torch.randn(6)))
    assert seen is not None and seen.preds is not None and seen.preds.shape == (6,)


@pytest.mark.parametrize("batch", [None, 3, "text", (), (X,), [object(), object()], {"foo": X, "bar": X}])
def test_odd_batches_give_nothing(batch: Any) -> None:
    assert find_target(batch) is None
    if not (isinstance(batch, tuple) and batch):
        assert find_input(batch) is None
