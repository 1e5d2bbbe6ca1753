"""Healthy models and data that break naive rules. Each must stay quiet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.zoo.build import matrices
from benchmarks.zoo.operators.base import operator
from benchmarks.zoo.plan import Data, Plan


@operator("mixup")
def mixup(plan: Plan, severity: float) -> None:
    """Mixup with Beta(severity, severity)."""
    g = torch.Generator().manual_seed(11)
    classes = int(plan.arch["outputs"])

    def mix(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        share = float(torch.rand(1, generator=g)) if severity == 1 else 0.2
        order = torch.randperm(len(x), generator=g)
        soft = nn.functional.one_hot(y, classes).float()
        return share * x + (1 - share) * x[order], share * soft + (1 - share) * soft[order]

    plan.on_batch.append(mix)


@operator("augment-noise")
def augment_noise(plan: Plan, severity: float) -> None:
    """Fresh Gaussian noise on each training batch: train loss above validation loss."""
    g = torch.Generator().manual_seed(12)
    plan.on_batch.append(lambda x, y, step: (x + severity * torch.randn(x.shape, generator=g), y))


def _activation(name: str) -> None:
    def change(plan: Plan, severity: float) -> None:
        plan.arch["act"] = name
        if plan.arch["net"] == "mlp":
            plan.arch["he"] = False

    change.__doc__ = f"{name} units."
    operator(f"activation-{name}")(change)


for _name in ("gelu", "leaky", "sigmoid", "tanh"):
    _activation(_name)


@operator("norm-batch")
def norm_batch(plan: Plan, severity: float) -> None:
    """BatchNorm after each hidden layer."""
    plan.arch["norm"] = "batch"


@operator("norm-layer")
def norm_layer(plan: Plan, severity: float) -> None:
    """LayerNorm after each hidden layer."""
    plan.arch["norm"] = "layer"


@operator("curriculum")
def curriculum(plan: Plan, severity: float) -> None:
    """Samples of the lower half of the classes alone for the first share severity of the run, unannounced."""
    limit, classes = severity * plan.steps, int(plan.arch["outputs"])

    def narrow(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        if step >= limit:
            return x, y
        keep = y < classes // 2
        return (x[keep], y[keep]) if int(keep.sum()) > 1 else (x, y)

    plan.on_batch.append(narrow)


@operator("frozen-backbone")
def frozen_backbone(plan: Plan, severity: float) -> None:
    """The first matrix has ``requires_grad=False``: declared, so nothing to say."""

    def freeze(net: nn.Module) -> None:
        matrices(net)[0][1].requires_grad_(False)

    plan.on_net.append(freeze)


@operator("unused-branch")
def unused_branch(plan: Plan, severity: float) -> None:
    """A head for later that this run never calls (an info is fine)."""

    def add(net: nn.Module) -> None:
        net.add_module("spare", nn.Linear(8, 8))
        names = [name for name in dict(net.named_children()) if name != "spare"]
        if isinstance(net, nn.Sequential):
            parts = [net.get_submodule(name) for name in names]

            def forward(x: Tensor) -> Tensor:
                for part in parts:
                    x = part(x)
                return x

            net.forward = forward  # type: ignore[method-assign]

    plan.on_net.append(add)


@operator("raw-range")
def raw_range(plan: Plan, severity: float) -> None:
    """Inputs from 0 to 1, as images often come."""
    plan.on_data.append(lambda data, g: data.map_inputs(lambda x: (x - x.min()) / (x.max() - x.min())))


@operator("wide")
def wide(plan: Plan, severity: float) -> None:
    """``severity`` times the width."""
    plan.arch["width"] = round(plan.arch["width"] * severity)


@operator("mild-imbalance")
def mild_imbalance(plan: Plan, severity: float) -> None:
    """The odd classes have the share severity of their samples."""

    def drop(data: Data, g: torch.Generator) -> None:
        data.keep((torch.rand(len(data.train_y), generator=g) < severity) | (data.train_y % 2 == 0))

    plan.on_data.append(drop)
