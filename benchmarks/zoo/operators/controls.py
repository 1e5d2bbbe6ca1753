"""Healthy ways to train that break naive rules: schedules, losses, optimizers, batches. Each must stay quiet."""

from __future__ import annotations

import math

from benchmarks.zoo.operators.base import operator
from benchmarks.zoo.operators.optimization import use_sgd
from benchmarks.zoo.plan import Plan, warm_cosine


@operator("warmup")
def warmup(plan: Plan, severity: float) -> None:
    """Linear warm-up over the share severity of the run."""
    plan.schedule = lambda step, steps: min(1.0, (step + 1) / (severity * steps))


@operator("cosine")
def cosine(plan: Plan, severity: float) -> None:
    """Warm-up over 5 %, then cosine to zero, from ``severity`` times the rate."""
    plan.lr *= severity
    plan.schedule = warm_cosine


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


@operator("long-run")
def long_run(plan: Plan, severity: float) -> None:
    """``severity`` times the steps: train loss goes to 1e-4, validation stays as good."""
    plan.steps = round(plan.steps * severity)


@operator("accumulate")
def accumulate(plan: Plan, severity: float) -> None:
    """Gradients of ``severity`` micro-batches a step."""
    plan.accumulate = int(severity)
    plan.batch_size //= int(severity)


@operator("autocast")
def autocast(plan: Plan, severity: float) -> None:
    """bfloat16 autocast over float32 weights."""
    plan.precision = "bf16-mixed"


@operator("resume")
def resume(plan: Plan, severity: float) -> None:
    """Stopped after the share severity of the run and resumed from its checkpoint."""
    plan.resume_at = severity


@operator("fine-tune")
def fine_tune(plan: Plan, severity: float) -> None:
    """Starts from weights that ``severity`` earlier steps have trained; a tenth of the rate."""
    plan.pretrain = int(severity)


@operator("big-batch")
@operator("batch-8")
def other_batch(plan: Plan, severity: float) -> None:
    """This batch size: losses with little noise, or with heavy tails."""
    plan.batch_size = int(severity)
