"""Faults of the network: initialization, activations, regularization, what is trained, what the loss is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.zoo.build import matrices
from benchmarks.zoo.operators.base import operator
from benchmarks.zoo.plan import Plan


@operator("init-up")
@operator("init-down")
def init_gain(plan: Plan, severity: float) -> None:
    """All weight matrices times severity at the start."""

    def scale(net: nn.Module) -> None:
        for _, weight in matrices(net):
            weight.data.mul_(severity)

    plan.on_net.append(scale)


@operator("head-gain")
def head_gain(plan: Plan, severity: float) -> None:
    """The last weight matrix times severity at the start."""

    def scale(net: nn.Module) -> None:
        name, weight = matrices(net)[-1]
        weight.data.mul_(severity)
        plan.where = (name,)

    plan.on_net.append(scale)


@operator("constant-init")
def constant_init(plan: Plan, severity: float) -> None:
    """All weights equal severity at the start, biases 0."""

    def fill(net: nn.Module) -> None:
        for p in net.parameters():
            p.data.fill_(severity if p.ndim >= 2 else 0.0)

    plan.on_net.append(fill)


@operator("hidden-bias")
def hidden_bias(plan: Plan, severity: float) -> None:
    """Biases of all hidden layers equal severity at the start (a negative one kills ReLUs)."""

    def fill(net: nn.Module) -> None:
        biases = [(name, p) for name, p in net.named_parameters() if name.endswith("bias")][:-1]
        for _, p in biases:
            p.data.fill_(severity)
        plan.where = tuple(f"net.{name.removesuffix('.bias')}" for name, _ in biases)

    plan.on_net.append(fill)


@operator("sigmoid-depth")
def sigmoid_depth(plan: Plan, severity: float) -> None:
    """Sigmoid units in ``severity`` hidden layers."""
    plan.arch.update(act="sigmoid", depth=int(severity), he=False)
    plan.where = ("net.0.weight", "net.2.weight", "net.4.weight")


@operator("tanh-init")
def tanh_init(plan: Plan, severity: float) -> None:
    """Tanh units, weight matrices times severity at the start."""
    plan.arch["act"] = "tanh"
    if plan.arch["net"] == "mlp":
        plan.arch["he"] = False
    init_gain(plan, severity)


@operator("dropout")
def dropout(plan: Plan, severity: float) -> None:
    """This dropout."""
    plan.arch["dropout"] = severity


@operator("double-softmax")
def double_softmax(plan: Plan, severity: float) -> None:
    """Softmax before a cross-entropy that has its own."""
    plan.loss = "double-softmax"


@operator("qk-gain")
def qk_gain(plan: Plan, severity: float) -> None:
    """Query and key weights times severity at the start."""

    def scale(net: nn.Module) -> None:
        names = []
        for name, module in net.named_modules():
            if isinstance(module, nn.MultiheadAttention):
                module.in_proj_weight.data[: 2 * module.embed_dim].mul_(severity)
                names.append(f"net.{name}")
            elif hasattr(module, "q_proj"):
                module.q_proj.weight.data.mul_(severity)
                module.k_proj.weight.data.mul_(severity)
                names.append(f"net.{name}")
        plan.where = tuple(names)

    plan.on_net.append(scale)


@operator("not-in-optimizer")
def not_in_optimizer(plan: Plan, severity: float) -> None:
    """The ``severity`` th weight matrix (0 = first, -1 = last) is in no optimizer."""

    def forget(net: nn.Module) -> None:
        plan.untrained = plan.where = (matrices(net)[int(severity)][0],)

    plan.on_net.append(forget)


@operator("detached")
def detached(plan: Plan, severity: float) -> None:
    """A ``detach()`` after the module that holds the ``severity`` th weight matrix: nothing below it is trained."""

    def cut(net: nn.Module) -> None:
        chosen = matrices(net)[int(severity)][0].removeprefix("net.")
        module = net.get_submodule(chosen.rpartition(".")[0])

        def detach(module: nn.Module, args: Any, out: Any) -> Any:
            if isinstance(out, tuple):
                return tuple(o.detach() if isinstance(o, Tensor) else o for o in out)
            return out.detach()

        module.register_forward_hook(detach)
        below = []
        for name, _ in net.named_parameters():
            below.append(f"net.{name}")
            if name == chosen:
                break
        prefix = chosen.rpartition(".")[0]
        below += [f"net.{n}" for n, _ in net.named_parameters() if n.startswith(prefix) and f"net.{n}" not in below]
        plan.where = tuple(below)

    plan.on_net.append(cut)


@operator("stop-training-layer")
def stop_training_layer(plan: Plan, severity: float) -> None:
    """From the middle of the run the gradient of the first matrix is zeroed (a mask or a bug in a hook)."""
    plan.onset = 0.5
    onset, state = plan.onset_step, {"step": 0}

    def count(x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor]:
        state["step"] = step
        return x, y

    def mask(net: nn.Module) -> None:
        name, weight = matrices(net)[int(severity)]
        plan.where = (name,)
        weight.register_hook(lambda g: torch.zeros_like(g) if state["step"] >= onset else g)

    plan.on_batch.append(count)
    plan.on_net.append(mask)
