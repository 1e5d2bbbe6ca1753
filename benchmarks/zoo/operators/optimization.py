"""Faults of the optimizer, its settings and its arithmetic."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.zoo.operators.base import operator
from benchmarks.zoo.plan import Plan


def use_sgd(plan: Plan) -> None:
    """SGD with momentum 0.9 at a rate that trains each task about as well as Adam does."""
    plan.optimizer, plan.weight_decay = "sgd", 0.0  # one that was meant for AdamW's steps
    rates = {"deep": 0.01, "lstm": 0.5, "gru": 0.5, "tfm": 0.1, "ae": 0.1, "holes": 0.15, "scan": 0.1, "words": 0.1,
             "masked": 0.15, "street": 0.05, "wares": 0.1, "lines": 1.0, "crowd": 0.05, "headers": 0.5,
             "vowels": 0.1}  # fmt: skip
    plan.lr = rates.get(plan.task, 0.03)


@operator("lr-up")
@operator("lr-down")
def scale_lr(plan: Plan, severity: float) -> None:
    """Learning rate times severity."""
    plan.lr *= severity


@operator("sgd-lr-up")
@operator("sgd-lr-down")
def scale_sgd_lr(plan: Plan, severity: float) -> None:
    """Learning rate of SGD with momentum times severity."""
    use_sgd(plan)
    plan.lr *= severity


def _raise_rate(plan: Plan, factor: float, length: int) -> None:
    """From the middle of the run on, the rate is ``factor`` times what it would be, for ``length`` steps."""
    usual = plan.schedule or (lambda step, steps: 1.0)
    plan.schedule = lambda step, steps: (factor if 0 <= step - steps // 2 < length else 1.0) * usual(step, steps)


@operator("lr-spike")
def lr_spike(plan: Plan, severity: float) -> None:
    """Learning rate times severity for one step in the middle of the run."""
    plan.onset = 0.5
    _raise_rate(plan, severity, 1)


@operator("lr-burst")
def lr_burst(plan: Plan, severity: float) -> None:
    """Learning rate times severity for ten steps in the middle of the run."""
    plan.onset = 0.5
    _raise_rate(plan, severity, 10)


@operator("no-zero-grad")
def no_zero_grad(plan: Plan, severity: float) -> None:
    """Gradients of all earlier steps stay in place."""
    plan.zero_grad = False


@operator("sign-flip")
def sign_flip(plan: Plan, severity: float) -> None:
    """The loss is maximised."""
    plan.loss = "negative-mse" if plan.loss == "mse" else "negative"


@operator("weight-decay")
def weight_decay(plan: Plan, severity: float) -> None:
    """AdamW with this weight decay at three times the learning rate."""
    plan.optimizer, plan.weight_decay = "adamw", severity
    plan.lr *= 3


@operator("batch-size")
def batch_size(plan: Plan, severity: float) -> None:
    """This batch size, learning rate unchanged, same number of steps."""
    plan.batch_size = int(severity)


@operator("clip-sgd")
def clip_sgd(plan: Plan, severity: float) -> None:
    """SGD with the gradient norm clipped to severity."""
    use_sgd(plan)
    plan.clip = severity


@operator("adam-eps")
def adam_eps(plan: Plan, severity: float) -> None:
    """Adam with this epsilon."""
    plan.eps = severity


@operator("fp16-grads")
def fp16_grads(plan: Plan, severity: float) -> None:
    """Gradients times severity pass through float16: small ones are flushed to zero."""

    def through_half(g: Tensor) -> Tensor:
        return (g * severity).to(torch.float16).to(g.dtype) / severity

    plan.on_gradient = through_half


@operator("bf16-pure")
def bf16_pure(plan: Plan, severity: float) -> None:
    """Weights in bfloat16, learning rate times severity: small updates round away."""
    plan.precision = "bf16-true"
    plan.lr *= severity


@operator("d-lr-down")
def d_lr_down(plan: Plan, severity: float) -> None:
    """GAN: the discriminator's learning rate times severity."""
    plan.gan["d_lr"] = severity


@operator("g-lr-up")
def g_lr_up(plan: Plan, severity: float) -> None:
    """GAN: the generator's learning rate times severity."""
    plan.gan["g_lr"] = severity


@operator("d-steps")
def d_steps(plan: Plan, severity: float) -> None:
    """GAN: this many discriminator steps a generator step."""
    plan.gan["d_steps"] = severity
