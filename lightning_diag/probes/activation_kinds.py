"""Which modules to watch: activations, norms, attention, recurrent cells, and the layers around functional forms."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from lightning_diag.errors import ConfigurationError
from lightning_diag.probes.activation_curves import GUESS, PLAIN, RELU, TANH, Curve, curve_of
from lightning_diag.probes.parameters import clean_name, is_norm

Pattern = str | type[nn.Module]
Role = Literal["activation", "norm", "recurrent", "attention", "softmax", "output", "input", "custom"]
MAX_SITES = 256  # sites watched at most: a record of a very deep net stays readable
_ORDER: tuple[Role, ...] = (
    "attention", "recurrent", "activation", "custom", "softmax", "output", "input", "norm",
)  # fmt: skip

# How attention written by hand is recognized: a head count, and the layers that make queries and keys.
HEADS = ("num_heads", "n_head", "n_heads", "nhead", "num_attention_heads", "heads")
FUSED = ("c_attn", "qkv", "qkv_proj", "in_proj", "Wqkv", "to_qkv", "query_key_value_proj")
PAIRS = (
    ("q_proj", "k_proj"), ("query", "key"), ("to_q", "to_k"), ("wq", "wk"), ("w_q", "w_k"), ("W_q", "W_k"),
    ("q_lin", "k_lin"), ("q", "k"), ("queries", "keys"), ("query_proj", "key_proj"),
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """One place that is measured, one entry along the axis ``module``.

    Attributes:
        name: the module's name as the user knows it; ``fc2 (input)`` is what arrives at ``fc2``.
        module: the module whose call is watched.
        role: what it is.
        curve: the flat regions of its values.
        parts: for attention written by hand, the layers that make (query, key), or the one that makes both.
        heads: for it, the number of heads.
    """

    name: str
    module: nn.Module
    role: Role
    curve: Curve = PLAIN
    parts: tuple[nn.Module, ...] = ()
    heads: int = 0


def find_sites(
    root: nn.Module, include: Sequence[Pattern] | None = None, exclude: Sequence[Pattern] | None = None
) -> tuple[list[Site], int]:
    """Return the sites of a module tree in registration order, and how many were left out because they are too many.

    Without ``include``: every nonlinearity, norm layer, attention and recurrent layer, the last linear layer's output,
    and the *inputs* of linear and convolution layers, where functional forms (``F.relu``) leave their zeros. With it:
    of these, the modules it matches, and the output of any other module it matches. Parts of metrics are never watched.
    """
    found: list[Site] = []
    modules = [(clean_name(n), m) for n, m in root.named_modules() if n and not _in_metric(root, n)]
    last = next((m for _, m in reversed(modules) if is_layer(m)), None)
    for name, module in modules:
        if exclude is not None and matches(name, module, exclude):
            continue
        if include is not None and not matches(name, module, include):
            continue
        sites = list(_sites_of(name, module, last=module is last))
        if include is not None and all(site.role == "input" for site in sites):
            sites.append(Site(name, module, "custom", GUESS))
        found += sites
    return _limited(found)


def matches(name: str, module: nn.Module, patterns: Sequence[Pattern]) -> bool:
    """Whether a module's name or type matches one of the globs, or it is of one of the types.

    >>> relu = nn.ReLU()
    >>> matches("net.1", relu, ["net.*"]), matches("net.1", relu, ["ReLU"]), matches("net.1", relu, [nn.Tanh])
    (True, True, False)
    """
    return any(
        isinstance(module, p)
        if isinstance(p, type)
        else fnmatch.fnmatchcase(name, p) or fnmatch.fnmatchcase(type(module).__name__, p)
        for p in patterns
    )


def checked(argument: str, patterns: object) -> tuple[Pattern, ...] | None:
    """Return ``include`` or ``exclude`` as a tuple, or None.

    Raises:
        ConfigurationError: it isn't a glob, a module type or a sequence of them.
    """
    if patterns is None:
        return None
    given = patterns if isinstance(patterns, (list, tuple, set, frozenset)) else (patterns,)
    for p in given:
        if not (isinstance(p, str) or (isinstance(p, type) and issubclass(p, nn.Module))):
            raise ConfigurationError(f"{argument} must hold globs or module types, got {p!r}")
    return tuple(given)


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a linear or convolution layer (also one written by others, by its name)."""
    if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
        return not isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear)
    name = type(module).__name__.lower()
    return name.endswith(("linear", "conv1d")) and getattr(module, "weight", None) is not None


def layers(root: nn.Module) -> Iterator[nn.Module]:
    """Yield every linear and convolution layer below a module that is part of no metric."""
    return (m for n, m in root.named_modules() if n and is_layer(m) and not _in_metric(root, n))


def is_convolution(module: nn.Module) -> bool:
    """Whether units are dimension 1 of what goes in and comes out."""
    return isinstance(module, nn.modules.conv._ConvNd)


def _sites_of(name: str, module: nn.Module, *, last: bool) -> Iterator[Site]:
    curve = curve_of(module)
    if isinstance(module, nn.MultiheadAttention):
        yield Site(name, module, "attention")
    elif isinstance(module, nn.RNNBase):
        plain = getattr(module, "nonlinearity", None) if isinstance(module, nn.RNN) else None
        yield Site(name, module, "recurrent", {"tanh": TANH, "relu": RELU}.get(str(plain), PLAIN))
    elif isinstance(module, nn.RNNCellBase):
        plain = getattr(module, "nonlinearity", None)
        yield Site(name, module, "recurrent", {"tanh": TANH, "relu": RELU}.get(str(plain), PLAIN))
    elif isinstance(module, nn.Softmax):
        yield Site(name, module, "softmax")
    elif curve is not None:
        yield Site(name, module, "activation", curve)
    elif is_norm(module):
        yield Site(name, module, "norm")
    elif is_layer(module):
        yield Site(f"{name} (input)", module, "input", GUESS)
        if last:
            yield Site(name, module, "output")
    else:
        yield from _attention(name, module)


def _attention(name: str, module: nn.Module) -> Iterator[Site]:
    """Attention written by hand, unless it normalizes queries and keys: then its logits can't be told from them."""
    heads = next((h for a in HEADS if isinstance(h := getattr(module, a, None), int) and h > 0), 0)
    children = dict(module.named_children())
    if not heads or hasattr(module, "logit_scale") or any("norm" in c or "ln" in c.split("_") for c in children):
        return
    fused = next((children[c] for c in FUSED if c in children and is_layer(children[c])), None)
    pair = next((p for p in PAIRS if all(c in children and is_layer(children[c]) for c in p)), None)
    if fused is not None:
        yield Site(name, module, "attention", parts=(fused,), heads=heads)
    elif pair is not None:
        yield Site(name, module, "attention", parts=tuple(children[c] for c in pair), heads=heads)


def _limited(sites: list[Site]) -> tuple[list[Site], int]:
    """Keep at most :data:`MAX_SITES`: roles in order of what they tell, evenly spaced where a role has too many."""
    if len(sites) <= MAX_SITES:
        return sites, 0
    kept: list[int] = []
    for role in _ORDER:
        mine = [i for i, site in enumerate(sites) if site.role == role]
        room = MAX_SITES - len(kept)
        kept += mine if len(mine) <= room else [mine[k * len(mine) // room] for k in range(room)]
    return [sites[i] for i in sorted(kept)], len(sites) - len(kept)


def _in_metric(root: nn.Module, name: str) -> bool:
    """Whether the module is a metric of torchmetrics or within one."""
    module: nn.Module | None = root
    for part in name.split("."):
        module = getattr(module, part, None)
        if module is None:
            return False
        if any(c.__module__.startswith("torchmetrics") for c in type(module).__mro__):
            return True
    return False
