"""The trainings the gradient and update rules are checked on: healthy ones, and ones with a known fault.

Every fault names its healthy twin, with which it shares seed, data order and initial weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.gradient_trainings import Setup, variant


@dataclass(frozen=True)
class Case:
    """One training to judge: its name, setup and the name of its healthy twin ("" = it is healthy itself)."""

    name: str
    setup: Setup
    twin: str = ""


def warmup(step: int, steps: int) -> float:
    """Linear over the first fifth, then cosine to 0."""
    share = step / steps
    return share / 0.2 if share < 0.2 else 0.5 * (1 + math.cos(math.pi * (share - 0.2) / 0.8))


def drops(step: int, steps: int) -> float:
    """A tenth after half of the steps, a hundredth after three quarters."""
    return 1.0 if step < 0.5 * steps else 0.1 if step < 0.75 * steps else 0.01


def _weights(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.dim() > 1]


def gain(factor: float, only_last: bool = False) -> Callable[[nn.Module], None]:
    """Multiply the initial weights."""

    def prepare(model: nn.Module) -> None:
        with torch.no_grad():
            for p in _weights(model)[-1 if only_last else 0 :]:
                p.mul_(factor)

    return prepare


def constant(value: float) -> Callable[[nn.Module], None]:
    """All weights the same."""

    def prepare(model: nn.Module) -> None:
        for p in _weights(model):
            nn.init.constant_(p, value)

    return prepare


def bias(value: float) -> Callable[[nn.Module], None]:
    """All hidden biases the same: far below zero no ReLU is ever active."""

    def prepare(model: nn.Module) -> None:
        for p in [p for p in model.parameters() if p.dim() == 1][:-1]:
            nn.init.constant_(p, value)

    return prepare


def freeze(*parts: str) -> Callable[[nn.Module], None]:
    """requires_grad = False on purpose."""

    def prepare(model: nn.Module) -> None:
        for name, p in model.named_parameters():
            p.requires_grad_(not name.startswith(parts))

    return prepare


def without(*parts: str) -> Callable[[str], bool]:
    """The optimizer doesn't get these parameters."""
    return lambda name: not name.startswith(parts)


def detached(at: int) -> Callable[[nn.Module, Tensor], Tensor]:
    """The graph is cut after layer ``at`` of a sequential network."""

    def forward(model: nn.Module, x: Tensor) -> Tensor:
        for i, layer in enumerate(model.children()):
            x = layer(x.detach() if i == at else x)
        return x

    return forward


def cut_body(model: nn.Module, x: Tensor) -> Tensor:
    """A convolutional body under torch.no_grad, the head trains alone."""
    with torch.no_grad():
        features = model.body(x.unsqueeze(1)).flatten(1)  # type: ignore[operator]
    return model.head(features)  # type: ignore[operator, no-any-return]


def bad_batch(factor: float, at: int = 200) -> Callable[[Tensor, int], Tensor]:
    """One batch scaled; NaN as factor puts one NaN into each following batch."""

    def on_batch(x: Tensor, step: int) -> Tensor:
        if math.isnan(factor) and step >= at:
            x = x.clone()
            x.view(-1)[3] = factor
        return x * factor if step == at and not math.isnan(factor) else x

    return on_batch


def lr_spike(factor: float, at: int = 200) -> Callable[[int, int], float]:
    """One step with a higher learning rate."""
    return lambda step, steps: factor if step == at else 1.0


MLP = Setup("mlp")
SGD = Setup("mlp", optimizer="sgd", lr=0.05)
DEEP = Setup("deep")
CNN = Setup("cnn", lr=3e-3, steps=300)
CNN5 = Setup("cnn-5", lr=3e-3, steps=300)
LSTM = Setup("lstm", lr=3e-3, steps=300)
TEXT = Setup("transformer", "text", lr=3e-3, batch=32, steps=250)
REG = Setup("regression", "diabetes", lr=1e-2, batch=32)
RES = Setup("residual")
GAN = Setup("gan")  # made by train_gan
BASES = {"mlp": MLP, "sgd": SGD, "deep": DEEP, "cnn": CNN, "cnn5": CNN5, "lstm": LSTM, "text": TEXT, "reg": REG,
         "res": RES}  # fmt: skip

HEALTHY = (
    *(Case(name, setup) for name, setup in BASES.items()),
    Case("gan", GAN),
    Case("mlp long", variant(MLP, steps=1500)),
    Case("sgd long", variant(SGD, steps=1500)),
    Case("reg long", variant(REG, lr=1e-3, steps=1500)),
    Case("tanh", Setup("tanh")),
    Case("sigmoid-2", Setup("sigmoid-2", lr=3e-3)),
    Case("leaky", Setup("leaky")),
    Case("gelu", Setup("gelu")),
    Case("batch-norm", Setup("batch-norm", lr=3e-3)),
    Case("cnn-bn sgd", Setup("cnn-bn", optimizer="sgd", lr=0.05, steps=300)),
    Case("rezero", Setup("rezero")),
    Case("dropout", Setup("dropout")),
    Case("warmup cosine", variant(MLP, schedule=warmup)),
    Case("warmup cosine text", variant(TEXT, schedule=warmup)),
    Case("step drops sgd", variant(SGD, schedule=drops)),
    Case("label smoothing", variant(MLP, smoothing=0.1)),
    Case("batch 8", variant(MLP, batch=8)),
    Case("batch 512", variant(MLP, batch=512, steps=200)),
    Case("accumulate 4", variant(MLP, batch=16, accumulate=4, steps=250)),
    Case("adam clip .01", variant(MLP, clip=0.01)),
    Case("sgd clip 1", variant(SGD, clip=1.0)),
    Case("lstm clip 1", variant(LSTM, clip=1.0)),
    Case("fine-tune lr 1e-5", variant(MLP, pretrained=300, lr=1e-5, steps=250)),
    Case("fine-tune sgd 1e-4", variant(SGD, pretrained=300, lr=1e-4, steps=250)),
    Case("probe, body not in optimizer", variant(CNN, pretrained=200, held=without("body"))),
    Case("frozen body on purpose", variant(CNN, pretrained=200, prepare=freeze("body"))),
    Case("spare head", Setup("spare")),
    Case("experts", Setup("experts")),
)

BENIGN = (
    Case("mlp lr x3", variant(MLP, lr=3e-3), "mlp"),
    Case("mlp lr x0.3", variant(MLP, lr=3e-4), "mlp"),
    Case("text lr x3", variant(TEXT, lr=9e-3), "text"),
    Case("lstm lr x3", variant(LSTM, lr=9e-3), "lstm"),
    Case("mlp init x3", variant(MLP, prepare=gain(3.0)), "mlp"),
    Case("mlp init x0.3", variant(MLP, prepare=gain(0.3)), "mlp"),
    Case("head init x30", variant(MLP, prepare=gain(30.0, only_last=True)), "mlp"),
    Case("input x30", variant(MLP, on_batch=lambda x, _: x * 30), "mlp"),
    Case("layer 3 not in optimizer", variant(MLP, held=without("3.")), "mlp"),
    Case("bad batch x100", variant(MLP, on_batch=bad_batch(100.0)), "mlp"),
    Case("lr spike x10", variant(MLP, schedule=lr_spike(10.0)), "mlp"),
    Case("lr spike x100", variant(MLP, schedule=lr_spike(100.0)), "mlp"),
)

HARMFUL = (
    *(Case(f"mlp lr x{f:g}", variant(MLP, lr=1e-3 * f), "mlp") for f in (1e-3, 1e-2, 10, 30, 100)),
    *(Case(f"sgd lr x{f:g}", variant(SGD, lr=0.05 * f), "sgd") for f in (1e-3, 1e-2, 10, 30, 100)),
    *(Case(f"deep lr x{f:g}", variant(DEEP, lr=1e-3 * f), "deep") for f in (1e-3, 1e-2, 10, 30, 100)),
    *(Case(f"cnn lr x{f:g}", variant(CNN, lr=3e-3 * f), "cnn") for f in (1e-3, 1e-2, 10, 30, 100)),
    *(Case(f"lstm lr x{f:g}", variant(LSTM, lr=3e-3 * f), "lstm") for f in (1e-3, 1e-2, 10, 30)),
    *(Case(f"text lr x{f:g}", variant(TEXT, lr=3e-3 * f), "text") for f in (1e-3, 1e-2, 10, 30)),
    *(Case(f"res lr x{f:g}", variant(RES, lr=1e-3 * f), "res") for f in (1e-2, 30, 100)),
    *(Case(f"reg lr x{f:g}", variant(REG, lr=1e-2 * f), "reg") for f in (1e-2, 3, 10, 30, 100)),
    Case("sigmoid depth 4", Setup("sigmoid-4"), "deep"),
    Case("sigmoid depth 8", Setup("sigmoid-8"), "deep"),
    Case("sigmoid depth 8 sgd", Setup("sigmoid-8", optimizer="sgd", lr=0.05), "deep"),
    *(Case(f"{n} zero init", variant(BASES[n], prepare=constant(0.0)), n) for n in ("mlp", "cnn", "deep")),
    *(Case(f"{n} constant init", variant(BASES[n], prepare=constant(0.01)), n) for n in ("mlp", "deep")),
    *(Case(f"{n} init x{f:g}", variant(BASES[n], prepare=gain(f)), n)
      for f in (0.1, 10.0) for n in ("mlp", "sgd", "deep", "cnn", "lstm")),
    *(Case(f"{n} bias -2", variant(BASES[n], prepare=bias(-2.0)), n) for n in ("mlp", "deep")),
    Case("cnn5 3 layers not in optimizer", variant(CNN5, held=without("body.3", "body.6", "body.8")), "cnn5"),
    Case("lstm W_ih not in optimizer", variant(LSTM, held=without("cell.weight_ih")), "lstm"),
    Case("lstm head not in optimizer", variant(LSTM, held=without("head")), "lstm"),
    Case("text only head norm trains", variant(TEXT, held=lambda n: n.startswith("norm")), "text"),
    Case("mlp only last bias trains", variant(MLP, held=lambda n: n == "5.bias"), "mlp"),
    Case("detached after layer 1", variant(MLP, forward=detached(3)), "mlp"),
    Case("deep detached", variant(DEEP, forward=detached(19)), "deep"),
    Case("cnn body no_grad", variant(CNN, forward=cut_body), "cnn"),
    Case("sgd clip .01", variant(SGD, clip=0.01), "sgd"),
    Case("sgd clip .001", variant(SGD, clip=0.001), "sgd"),
    *(Case(f"{n} no zero_grad", variant(BASES[n], zero_grad=False), n) for n in ("mlp", "sgd", "cnn", "lstm", "text")),
    Case("mlp nan input", variant(MLP, on_batch=bad_batch(math.nan)), "mlp"),
    Case("cnn nan input", variant(CNN, on_batch=bad_batch(math.nan)), "cnn"),
)  # fmt: skip
CASES = (*HEALTHY, *BENIGN, *HARMFUL)
