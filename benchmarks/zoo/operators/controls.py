"""Healthy variations that break naive rules: each must stay quiet."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from benchmarks.zoo.nets import matrices
from benchmarks.zoo.operators.base import operator
from benchmarks.zoo.operators.optimization import use_sgd
from benchmarks.zoo.plan import Data, Plan


@operator("warmup")
def warmup(plan: Plan, severity: float) -> None:
    """Linear warm-up over the share severity of the run."""
    plan.schedule = lambda step, steps: min(1.0, (step + 1) / (severity * steps))


@operator("cosine")
def cosine(plan: Plan, severity: float) -> None:
    """Warm-up over 5 %, then cosine to zero, from ``severity`` times the rate."""
    plan.lr *= severity
    plan.schedule = lambda step, steps: min((step + 1) / (0.05 * steps), 0.5 * (1 + math.cos(math.pi * step / steps)))


@operator("step-drops")
def step_drops(plan: Plan, severity: float) -> None:
    """The rate falls by severity at 50 % and again at 75 % of the run."""
    plan.schedule = lambda step, steps: severity ** ((step >= 0.5 * steps) + (step >= 0.75 * steps))


@operator("warm-restarts")
def warm_restarts(plan: Plan, severity: float) -> None:
    """Cosine decay that starts again ``severity`` times."""
    plan.schedule = lambda step, steps: 0.5 * (1 + math.cos(math.pi * ((severity * step / steps) % 1.0)))


@operator("label-smoothing")
def label_smoothing(plan: Plan, severity: float) -> None:
    """Cross-entropy with label smoothing 0.1."""
    plan.loss = "label-smoothing"


@operator("sum-loss")
def sum_loss(plan: Plan, severity: float) -> None:
    """Cross-entropy summed over the batch."""
    plan.loss = "sum"


@operator("mse-one-hot")
def mse_one_hot(plan: Plan, severity: float) -> None:
    """MSE on one-hot targets: unusual, and it trains well."""
    plan.loss = "mse-one-hot"


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


@operator("sgd")
def sgd(plan: Plan, severity: float) -> None:
    """SGD with momentum at ``severity`` times a good rate."""
    use_sgd(plan)
    plan.lr *= severity


@operator("clip-adam")
def clip_adam(plan: Plan, severity: float) -> None:
    """Adam with the norm clipped to severity: harmless, Adam is free of scale."""
    plan.clip = severity


@operator("beta2")
def beta2(plan: Plan, severity: float) -> None:
    """Adam with this second-moment decay."""
    plan.betas = (0.9, severity)


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


@operator("long-run")
def long_run(plan: Plan, severity: float) -> None:
    """``severity`` times the steps: train loss goes to 1e-4, validation stays as good."""
    plan.steps = round(plan.steps * severity)


@operator("curriculum")
def curriculum(plan: Plan, severity: float) -> None:
    """Samples of the lower half of the classes alone for the first share severity of the run, unannounced."""
    limit = severity * plan.steps

    def narrow(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        if step >= limit:
            return x, y
        keep = y < 5
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


@operator("accumulate")
def accumulate(plan: Plan, severity: float) -> None:
    """Gradients of ``severity`` micro-batches a step."""
    plan.accumulate = int(severity)
    plan.batch_size //= int(severity)


@operator("autocast")
def autocast(plan: Plan, severity: float) -> None:
    """bfloat16 autocast over float32 weights."""
    plan.precision = "bf16-mixed"


@operator("raw-range")
def raw_range(plan: Plan, severity: float) -> None:
    """Inputs from 0 to 1, as images often come."""
    plan.on_data.append(lambda data, g: data.map_inputs(lambda x: (x - x.min()) / (x.max() - x.min())))


@operator("resume")
def resume(plan: Plan, severity: float) -> None:
    """Stopped after the share severity of the run and resumed from its checkpoint."""
    plan.resume_at = severity


@operator("fine-tune")
def fine_tune(plan: Plan, severity: float) -> None:
    """Starts from weights that ``severity`` earlier steps have trained; a tenth of the rate."""
    plan.pretrain = int(severity)


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


@operator("big-batch")
@operator("batch-8")
def other_batch(plan: Plan, severity: float) -> None:
    """This batch size: losses with little noise, or with heavy tails."""
    plan.batch_size = int(severity)
