"""Which parameters a module trains: names, kinds, sizes, and the optimizer that holds each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.")
NORMS: tuple[type[nn.Module], ...] = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)


def clean_name(name: str) -> str:
    """Return a parameter's or module's name without what compile, checkpoint and FSDP wrappers put in.

    >>> clean_name("net._orig_mod.0._checkpoint_wrapped_module.weight")
    'net.0.weight'
    """
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalizes (by type, or by a class name such as ``LlamaRMSNorm``)."""
    return isinstance(module, NORMS) or type(module).__name__.lower().endswith(("norm", "norm1d", "norm2d", "norm3d"))


@dataclass(frozen=True)
class TrainedParameters:
    """Trainable parameters in registration order, each tied one once.

    Attributes:
        names: cleaned names.
        tensors: the parameters themselves.
        kinds: ``matrix``, ``vector``, ``norm`` or ``embedding``.
        holder: index of the optimizer that holds each, -1 for none.
    """

    names: tuple[str, ...]
    tensors: tuple[nn.Parameter, ...]
    kinds: tuple[str, ...]
    holder: tuple[int, ...]

    @property
    def device(self) -> torch.device:
        """Where the first of them lies; the CPU when there is none."""
        return self.tensors[0].device if self.tensors else torch.device("cpu")

    @classmethod
    def of(cls, module: nn.Module, optimizers: Sequence[Optimizer]) -> TrainedParameters:
        """Look them up in a module and its optimizers."""
        held = {id(p): i for i, opt in enumerate(optimizers) for g in opt.param_groups for p in g["params"]}
        owner = {id(p): m for m in module.modules() for p in m.parameters(recurse=False)}
        found = [(clean_name(n), p) for n, p in module.named_parameters() if p.requires_grad]
        return cls(
            names=tuple(n for n, _ in found),
            tensors=tuple(p for _, p in found),
            kinds=tuple(_kind(p, owner[id(p)]) for _, p in found),
            holder=tuple(held.get(id(p), -1) for _, p in found),
        )


def _kind(parameter: nn.Parameter, owner: nn.Module) -> str:
    if is_norm(owner):
        return "norm"
    if isinstance(owner, (nn.Embedding, nn.EmbeddingBag)):
        return "embedding"
    return "matrix" if parameter.ndim >= 2 and min(parameter.shape[:2]) > 0 else "vector"


def fan_in(parameter: Tensor, kind: str) -> int:
    """Inputs of one output of a weight matrix; 0 for anything else."""
    return parameter[0].numel() if kind == "matrix" else 0


def dropout(module: nn.Module) -> float:
    """The largest dropout rate of the model: of dropout modules, and of layers that hold one."""
    rates = [m.p for m in module.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    rates += [m.dropout for m in module.modules() if isinstance(m, (nn.RNNBase, nn.MultiheadAttention))]
    return max((float(rate) for rate in rates), default=0.0)
