"""A copy of the user's module to train on the side, and the kernels that train it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_diag.errors import NotMeasurable

NOISE = 0.1  # share of a promised fall by which a loss may differ from itself


@dataclass(frozen=True)
class Stage:
    """A copy of the user's module, as it stands in training.

    Attributes:
        module: the copy.
        loss: the user's training step on it, given a batch.
        trained: those of its parameters that the user's optimizers hold.
        optimizer: makes an optimizer like the user's over them.
    """

    module: nn.Module
    loss: Callable[[Any], Tensor]
    trained: Sequence[nn.Parameter]
    optimizer: Callable[[], Optimizer]


def fit(stage: Stage, batch: Any, optimizer: Optimizer, steps: int, limit_s: float) -> Tensor:
    """Train on one batch and return its losses, shape ``(steps,)``, on the device.

    The batch is copied for every step: a training step may work on it in place.

    Raises:
        NotMeasurable: it takes longer than ``limit_s``.
    """
    losses: list[Tensor] = []
    start = time.perf_counter()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = stage.loss(copy.deepcopy(batch))
        loss.backward(inputs=list(stage.trained))  # whatever else it depends on keeps its gradient
        return loss

    for step in range(steps):
        loss: Any = optimizer.step(closure)  # type: ignore[arg-type]
        losses.append(loss.detach().float())
        if time.perf_counter() - start > limit_s:
            raise NotMeasurable(f"{steps} steps on one batch take more than {limit_s:g} s ({step + 1} were taken)")
    return torch.stack(losses)


def direction(stage: Stage, batch: Any, shares: Sequence[float]) -> Tensor:
    """Return how much the loss falls along its negative gradient, over what the gradient promises, shape ``(n,)``.

    Each step is so short that it should lower the loss by one of ``shares`` of its size; 1 is a perfect gradient, below
    0 the loss rises. Random numbers are the same before and after; NaN where the loss isn't all the same.
    """
    before = _seeded(stage, batch)
    gradients: Any = torch.autograd.grad(before, list(stage.trained), allow_unused=True)
    pairs: list[tuple[nn.Parameter, Tensor]] = []
    pairs += [(p, g) for p, g in zip(stage.trained, gradients, strict=True) if g is not None]
    if not pairs:
        raise NotMeasurable("the loss depends on no trainable parameter")
    before = before.detach().float()
    square = torch.stack([g.float().square().sum() for _, g in pairs]).sum()
    ratios: list[Tensor] = []
    with torch.no_grad():
        noise = (_seeded(stage, batch).float() - before).abs()
        for share in shares:
            length = share * before.abs() / square
            kept = [p.detach().clone() for p, _ in pairs]
            for p, g in pairs:
                p.sub_((length * g.float()).to(p.dtype))
            after = _seeded(stage, batch).float()
            promised = share * before.abs()
            ratios.append(torch.where(noise < NOISE * promised, (before - after) / promised, torch.nan))
            for (p, _), old in zip(pairs, kept, strict=True):
                p.copy_(old)
    return torch.stack(ratios)


def _seeded(stage: Stage, batch: Any) -> Tensor:
    torch.manual_seed(0)
    return stage.loss(copy.deepcopy(batch))
