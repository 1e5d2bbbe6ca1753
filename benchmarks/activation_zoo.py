"""Healthy trainings, harmless oddities and planted faults for the activation rules.

Each fault names the rule that must find it and the module that must lead ``where``. Whether a fault does harm isn't
assumed: every one is scored beside its healthy twin.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.activation_networks import NETWORKS, CausalSelfAttention
from benchmarks.activation_trainings import Setup
from lightning_diag.probes.activation_kinds import is_layer

Change = Callable[[nn.Module], None]


@dataclass(frozen=True)
class Fault:
    """A planted fault: the setup, the rule that must find it, and modules one of which must be named first."""

    setup: Setup
    rule: str
    where: tuple[str, ...]


def layers(model: nn.Module) -> list[nn.Module]:
    """Linear and convolution layers in registration order."""
    return [m for m in model.modules() if is_layer(m)]


def bias(value: float, *which: int) -> Change:
    """Set the biases of these layers (default all but the last)."""

    def change(model: nn.Module) -> None:
        for i, layer in enumerate(layers(model)[:-1]):
            if not which or i in which:
                nn.init.constant_(layer.bias, value)

    return change


def gain(factor: float) -> Change:
    """Multiply the weights of all layers but the last, recurrent ones too."""

    def change(model: nn.Module) -> None:
        with torch.no_grad():
            for layer in layers(model)[:-1]:
                layer.weight *= factor
            for cell in (m for m in model.modules() if isinstance(m, nn.RNNBase)):
                for parameter in cell.parameters():
                    parameter *= factor

    return change


def zero(*which: int) -> Change:
    """Set weights and biases of these layers (default all) to zero."""

    def change(model: nn.Module) -> None:
        for i, layer in enumerate(layers(model)):
            if not which or i in which:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    return change


def query_key(factor: float) -> Change:
    """Multiply all attention logits."""

    def change(model: nn.Module) -> None:
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.MultiheadAttention):
                    module.in_proj_weight[: 2 * module.embed_dim] *= math.sqrt(factor)
                if isinstance(module, CausalSelfAttention):
                    module.c_attn.weight[: 2 * module.c_attn.in_features] *= math.sqrt(factor)

    return change


def poison(which: int, value: float = math.nan) -> Change:
    """Put one bad weight into a layer."""

    def change(model: nn.Module) -> None:
        with torch.no_grad():
            layers(model)[which].weight.view(-1)[0] = value

    return change


def scale_inputs(factor: float, offset: float = 0.0) -> Callable[[Tensor], Tensor]:
    """Return what multiplies the inputs and shifts them."""
    return lambda x: factor * x + offset


_FAST = ("lstm", "gru", "rnn", "gated cell", "transformer", "gpt", "queries")


def base(net: str) -> Setup:
    """The setup in which a network trains well."""
    if net in ("transformer", "gpt"):
        return Setup(net, "text", lr=3e-3)
    if net == "autoencoder":
        return Setup(net, "images", lr=5e-3, steps=400)
    return Setup(net, lr=1e-2 if net == "squeeze" else 3e-3 if net in _FAST or net == "residual" else 1e-3)


def warmup(step: int, steps: int) -> float:
    """Linear warm-up over a fifth of the run, then a cosine."""
    start = 0.2 * steps
    return step / start if step < start else 0.5 * (1 + math.cos(math.pi * (step - start) / (steps - start)))


HEALTHY: dict[str, Setup] = {net: base(net) for net in NETWORKS if net not in ("deep sigmoid", "sigmoid outputs")}
HEALTHY |= {
    "mlp, label smoothing": replace(base("mlp"), smoothing=0.1),
    "mlp, batch 8": replace(base("mlp"), batch=8),
    "mlp, batch 512": replace(base("mlp"), batch=512, lr=3e-3),
    "mlp, SGD": replace(base("mlp"), optimizer="sgd", lr=0.05),
    "mlp, 70 steps": replace(base("mlp"), steps=70),
    "cnn, warm-up and cosine": replace(base("cnn"), lr=3e-3, schedule=warmup),
    "gpt, warm-up and cosine": replace(base("gpt"), schedule=warmup),
    "residual, SGD": replace(base("residual"), optimizer="sgd", lr=0.05),
    "sigmoid outputs": Setup("sigmoid outputs", "one-hot", lr=3e-3),
}
ODD: dict[str, Setup] = {
    "mlp batch norm, bias -25": replace(base("mlp batch norm"), prepare=bias(-25.0)),
    "mlp, lr x30": replace(base("mlp"), lr=0.03),
    "cnn, bias -0.5": replace(base("cnn"), prepare=bias(-0.5)),
    "functional, bias -0.3": replace(base("functional"), prepare=bias(-0.3)),
    "gelu, lr x30": replace(base("gelu"), lr=0.03),
    "silu, lr x30": replace(base("silu"), lr=0.03),
    "tanh, gain 3": replace(base("tanh"), prepare=gain(3.0)),
    "tanh, gain 10": replace(base("tanh"), prepare=gain(10.0)),
    "tanh, inputs x300": replace(base("tanh"), on_batch=scale_inputs(300.0)),
    "sigmoid, gain 10": replace(base("sigmoid"), prepare=gain(10.0)),
    "tanh, second layer zero": replace(base("tanh"), prepare=zero(1)),
    "queries, QK x10": replace(base("queries"), prepare=query_key(10.0)),
    "queries, QK x100": replace(base("queries"), prepare=query_key(100.0)),
    "gpt, QK x3": replace(base("gpt"), prepare=query_key(3.0)),
    "gpt, lr x10": replace(base("gpt"), lr=0.03),
}
D, S, C, N, A = (
    "activations/dead", "activations/saturated", "activations/collapsed", "activations/non-finite",
    "activations/attention-collapsed",
)  # fmt: skip
FAULTS: dict[str, Fault] = {
    "mlp, bias -25 in layer 2": Fault(replace(base("mlp"), prepare=bias(-25.0, 1)), D, ("4",)),
    "mlp, bias -1": Fault(replace(base("mlp"), prepare=bias(-1.0)), D, ("2", "4")),
    "mlp, bias -2": Fault(replace(base("mlp"), prepare=bias(-2.0)), D, ("2", "4")),
    "deep, bias -25 in layer 3": Fault(replace(base("deep"), prepare=bias(-25.0, 2)), D, ("6",)),
    "deep, lr x100": Fault(replace(base("deep"), lr=0.1), D, tuple(str(2 * i) for i in range(1, 9))),
    "functional, bias -25 in fc2": Fault(replace(base("functional"), prepare=bias(-25.0, 1)), D, ("fc3 (input)",)),
    "functional, lr x100": Fault(replace(base("functional"), lr=0.1), D, ("fc2 (input)", "fc3 (input)")),
    "cnn, bias -25 in layer 2": Fault(replace(base("cnn"), prepare=bias(-25.0, 1)), D, ("body.4",)),
    "cnn, lr x100": Fault(replace(base("cnn"), lr=0.1), D, ("body.1", "body.4")),
    "gelu, bias -25 in layer 2": Fault(replace(base("gelu"), prepare=bias(-25.0, 1)), D, ("4",)),
    "silu, bias -25 in layer 2": Fault(replace(base("silu"), prepare=bias(-25.0, 1)), D, ("4",)),
    "elu, bias -25 in layer 1": Fault(replace(base("elu"), prepare=bias(-25.0, 0)), D, ("2",)),
    "tanh, gain 30": Fault(replace(base("tanh"), prepare=gain(30.0)), S, ("2", "4")),
    "tanh, gain 300": Fault(replace(base("tanh"), prepare=gain(300.0)), S, ("2", "4")),
    "tanh, lr x100": Fault(replace(base("tanh"), lr=0.1), S, ("2", "4")),
    "functional tanh, gain 100": Fault(
        replace(base("functional tanh"), prepare=gain(100.0)), S, ("fc2 (input)", "fc3 (input)")
    ),
    "sigmoid, gain 100": Fault(replace(base("sigmoid"), prepare=gain(100.0)), S, ("2", "4")),
    "rnn, gain 10": Fault(replace(base("rnn"), prepare=gain(10.0)), S, ("cell",)),
    "rnn, gain 100": Fault(replace(base("rnn"), prepare=gain(100.0)), S, ("cell",)),
    "mlp, zero": Fault(replace(base("mlp"), prepare=zero()), C, ("2",)),
    "functional, zero": Fault(replace(base("functional"), prepare=zero()), C, ("fc2 (input)",)),
    "cnn, zero": Fault(replace(base("cnn"), prepare=zero()), C, ("body.1",)),
    "gelu, zero": Fault(replace(base("gelu"), prepare=zero()), C, ("2",)),
    "tanh, zero": Fault(replace(base("tanh"), prepare=zero()), C, ("2",)),
    "mlp, bias -25, collapsed": Fault(replace(base("mlp"), prepare=bias(-25.0, 1)), C, ("4",)),
    "deep sigmoid": Fault(Setup("deep sigmoid"), C, tuple(str(2 * i) for i in range(1, 13))),
    "mlp, NaN weight in layer 2": Fault(replace(base("mlp"), at=(80, poison(1))), N, ("4",)),
    "cnn, NaN weight in layer 1": Fault(replace(base("cnn"), at=(80, poison(0))), N, ("body.1",)),
    "residual mlp, infinite weight": Fault(
        replace(base("residual mlp"), at=(80, poison(4, math.inf))), N, ("norms.4",)
    ),
    "lstm, NaN weight in the head": Fault(replace(base("lstm"), at=(80, poison(0))), N, ("head",)),
    "gpt, NaN weight in block 2": Fault(
        replace(base("gpt"), at=(80, poison(2))), N, ("attn.1.c_proj (input)", "attn.1")
    ),
    "gpt, QK x30": Fault(replace(base("gpt"), prepare=query_key(30.0)), A, ("attn.0", "attn.1")),
    "gpt, QK x300": Fault(replace(base("gpt"), prepare=query_key(300.0)), A, ("attn.0", "attn.1")),
    "transformer, QK x30": Fault(
        replace(base("transformer"), prepare=query_key(30.0)), A, ("blocks.0.self_attn", "blocks.1.self_attn")
    ),
    "transformer, QK x300": Fault(
        replace(base("transformer"), prepare=query_key(300.0)), A, ("blocks.0.self_attn", "blocks.1.self_attn")
    ),
    "gpt, lr x30": Fault(replace(base("gpt"), lr=0.1), A, ("attn.0", "attn.1")),
    "transformer, lr x30": Fault(replace(base("transformer"), lr=0.1), A, ("blocks.0.self_attn", "blocks.1.self_attn")),
}
