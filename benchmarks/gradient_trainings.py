"""Small real trainings in plain torch that yield the readings a run of the pack would yield, signals taken by hand.

::

    Setup     one training as data: network, optimizer, and what is done to it
    train     Setup, seed -> readings, final score
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from benchmarks.gradient_networks import DATA, NETWORKS, Data
from lightning_diag.reading import Facts, Reading

DENSE_STEPS = 50  # every step is sampled up to here ...
INTERVAL_STEPS = 5  # ... then every so many


@dataclass(frozen=True)
class Setup:
    """One training.

    Attributes:
        net: key of ``NETWORKS``; data: key of ``DATA``.
        optimizer: ``adam`` or ``sgd`` (momentum 0.9); ``lr`` and its ``schedule`` (step, steps) -> factor.
        clip: limit of the gradient's norm; accumulate: micro-batches a step; smoothing: of the labels.
        prepare: done to the network before training; forward: replaces the network's forward.
        held: ``name -> bool``, which parameters the optimizer gets (default all that want a gradient).
        on_batch: ``(x, step) -> x``; on_lr: ``step -> factor``; zero_grad: False never clears gradients.
        pretrained: steps of healthy training before the watched run starts.
    """

    net: str
    data: str = "digits"
    optimizer: str = "adam"
    lr: float = 1e-3
    steps: int = 400
    batch: int = 64
    clip: float | None = None
    accumulate: int = 1
    smoothing: float = 0.0
    schedule: Callable[[int, int], float] | None = None
    prepare: Callable[[nn.Module], None] | None = None
    forward: Callable[[nn.Module, Tensor], Tensor] | None = None
    held: Callable[[str], bool] | None = None
    on_batch: Callable[[Tensor, int], Tensor] | None = None
    zero_grad: bool = True
    pretrained: int = 0


def parameter_kinds(model: nn.Module) -> dict[str, str]:
    """Name of each trainable parameter -> ``matrix``, ``vector``, ``norm`` or ``embedding``, in registration order."""
    kinds = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            kind = "matrix" if parameter.dim() > 1 else "vector"
            if isinstance(module, nn.Embedding):
                kind = "embedding"
            elif "Norm" in type(module).__name__:
                kind = "norm"
            if parameter.requires_grad:
                kinds[f"{prefix}.{name}" if prefix else name] = kind
    return kinds


def _optimizer(setup: Setup, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if setup.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=setup.lr, momentum=0.9)
    return torch.optim.Adam(parameters, lr=setup.lr)


def _facts(setup: Setup, model: nn.Module, data: Data, held: set[str]) -> Facts:
    kinds = parameter_kinds(model)
    named = dict(model.named_parameters())
    return Facts(
        planned_steps=setup.steps,
        steps_per_epoch=max(1, len(data.x) // setup.batch),
        clip_val=setup.clip,
        clip_algorithm="norm" if setup.clip else None,
        precision="32-true",
        optimizers=("Adam" if setup.optimizer == "adam" else "SGD",),
        chance_loss=data.chance,
        names={"parameter": tuple(kinds)},
        parameter_kind=tuple(kinds.values()),
        parameter_numel=tuple(named[n].numel() for n in kinds),
        in_optimizer=tuple(n in held for n in kinds),
    )


def norms(tensors: list[Tensor | None]) -> np.ndarray:
    """L2 norm of each tensor, 0 for None, shape ``(P,)``."""
    return np.array([0.0 if t is None else float(t.norm()) for t in tensors])


def sampled(step: int) -> bool:
    """Whether the arrays of this step (1 = the first) are measured."""
    return step <= DENSE_STEPS or step % INTERVAL_STEPS == 0


def signals_before(parameters: list[nn.Parameter], clip: float | None) -> dict[str, Any]:
    """Gradient signals of this step; clips the gradients."""
    grads = [p.grad for p in parameters]
    each = norms(grads)
    total = math.sqrt(float((each**2).sum()))
    if clip is not None:
        nn.utils.clip_grad_norm_(parameters, clip)
    after = math.sqrt(float((norms([p.grad for p in parameters]) ** 2).sum())) if clip is not None else total
    return {
        "grad/norm": np.float64(total),
        "grad/norm_after_clip": np.float64(after),
        "grad/clipped": np.float64(clip is not None and total > clip),
        "grad/parameter_norm": each,
        "grad/missing": np.array([float(g is None) for g in grads]),
        "weight/parameter_norm": norms([p.detach() for p in parameters]),
    }


def signals_after(parameters: list[nn.Parameter], before: list[Tensor], weight: np.ndarray) -> dict[str, Any]:
    """Update signals of this step."""
    moved = norms([p.detach() - b for p, b in zip(parameters, before, strict=True)])
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"update/parameter_ratio": np.where(weight > 0, moved / weight, np.nan)}


def _batches(data: Data, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        for index in torch.randperm(len(data.x), generator=generator).split(size):
            if len(index) == min(size, len(data.x)):
                yield data.x[index], data.y[index]


def train(setup: Setup, seed: int) -> tuple[list[Reading], float]:
    """Train and return the readings and the final score (accuracy, or 1 - MSE / variance) on held-out data."""
    torch.manual_seed(seed)
    data = DATA[setup.data](seed)
    model = NETWORKS[setup.net]()
    if setup.pretrained:
        _run(Setup(setup.net, setup.data, steps=setup.pretrained), model, data, seed + 1000)
    if setup.prepare is not None:
        setup.prepare(model)
    readings = _run(setup, model, data, seed)
    model.eval()
    with torch.no_grad():
        out = _forward(setup, model, data.test_x)
    return readings, data.score(out)


def _forward(setup: Setup, model: nn.Module, x: Tensor) -> Tensor:
    return setup.forward(model, x) if setup.forward is not None else model(x)


def _loss(out: Tensor, y: Tensor, smoothing: float) -> Tensor:
    if y.is_floating_point():
        return mse_loss(out, y)
    return cross_entropy(out.flatten(0, -2), y.flatten(), label_smoothing=smoothing)


def _run(setup: Setup, model: nn.Module, data: Data, seed: int) -> list[Reading]:
    model.train()
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    named = {n: named[n] for n in parameter_kinds(model)}
    parameters = list(named.values())
    held = {n for n in named if setup.held is None or setup.held(n)}
    optimizer = _optimizer(setup, [named[n] for n in held])
    facts = _facts(setup, model, data, held)
    batches = _batches(data, setup.batch, torch.Generator().manual_seed(seed))
    readings: list[Reading] = []
    start: list[Tensor] = []  # the weights at the first sampled step
    for step in range(1, setup.steps + 1):
        if setup.schedule is not None:
            optimizer.param_groups[0]["lr"] = setup.lr * setup.schedule(step, setup.steps)
        if setup.zero_grad:
            optimizer.zero_grad()  # as Lightning does: what the optimizer doesn't hold adds up
        total = 0.0
        for _ in range(setup.accumulate):
            x, y = next(batches)
            x = setup.on_batch(x, step) if setup.on_batch is not None else x
            loss = _loss(_forward(setup, model, x), y, setup.smoothing) / setup.accumulate
            loss.backward()
            total += float(loss.detach())
        values: dict[str, Any] = {"loss/train": np.float64(total)}
        if sampled(step):
            values |= signals_before(parameters, setup.clip)
            before = [p.detach().clone() for p in parameters]
            start = start or before
            values["weight/distance"] = norms([b - s for b, s in zip(before, start, strict=True)])
            optimizer.step()
            values |= signals_after(parameters, before, values["weight/parameter_norm"])
            values["lr"] = np.array([g["lr"] for g in optimizer.param_groups])
        else:
            if setup.clip is not None:
                nn.utils.clip_grad_norm_(parameters, setup.clip)
            optimizer.step()
        readings.append(Reading(step, (step - 1) // (facts.steps_per_epoch or 1), values, facts))
    return readings


def variant(setup: Setup, **changes: Any) -> Setup:
    """The same setup with other fields."""
    return replace(setup, **changes)
