"""Where activation functions are flat: ``|f'(x)|`` below 5 % of its maximum, told from the output where that can be.

The output is preferred because an in-place function overwrites its input, and the 5 % point of a monotone function is
as clear in its output. GELU, SiLU and Mish aren't monotone: the same small negative output comes from two inputs, so
they are judged by their input and not at all when they run in place.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

FLAT = 0.05  # share of its maximum below which a derivative counts as none


@dataclass(frozen=True)
class Curve:
    """The flat regions of one function, as limits on its output (or input, with ``of_input``).

    A unit that stays in the ``off`` region is dead: it gives (next to) nothing and gets no gradient. The two limits are
    where a function with two ends is saturated. A limit that is None doesn't exist.

    Attributes:
        off_at: off where the value equals this (ReLU: exactly 0).
        off_below: off where the value is at most this.
        low: saturated where the value is at most this.
        high: saturated where the value is at least this.
        of_input: the limits are on the function's input.
        guess: what function it was isn't known: judged as a ReLU if no value was ever negative and some were exactly 0,
            as a tanh if no value was ever outside -1..1.
    """

    off_at: float | None = None
    off_below: float | None = None
    low: float | None = None
    high: float | None = None
    of_input: bool = False
    guess: bool = False

    @property
    def can_die(self) -> bool:
        """Whether there is an off region."""
        return self.off_at is not None or self.off_below is not None

    @property
    def can_saturate(self) -> bool:
        """Whether both ends are flat, so that a hidden layer's values should lie between them."""
        return self.low is not None or self.high is not None


PLAIN = Curve()
GUESS = Curve(off_at=0.0, low=-0.9747, high=0.9747, guess=True)
RELU = Curve(off_at=0.0)
TANH = Curve(low=-0.9747, high=0.9747)  # 1 - y^2 = 0.05
SIGMOID = Curve(low=0.01266, high=0.98734)  # y (1 - y) = 0.05 / 4
GELU = Curve(off_below=-2.28, of_input=True)  # f' = -0.05 max f' there (max 1.129), smaller in size further out
SILU = Curve(off_below=-3.93, of_input=True)  # the same, max f' = 1.0998
MISH = Curve(off_below=-3.98, of_input=True)  # the same, max f' = 1.0885

_FIXED: tuple[tuple[type[nn.Module], Curve], ...] = (
    (nn.ReLU6, Curve(off_at=0.0, high=6.0)),
    (nn.ReLU, RELU),
    (nn.Tanh, TANH),
    (nn.Sigmoid, SIGMOID),
    (nn.GELU, GELU),
    (nn.SiLU, SILU),
    (nn.Mish, MISH),
    (nn.Hardsigmoid, Curve(low=0.0, high=1.0)),
    (nn.Hardswish, RELU),
    (nn.Hardshrink, RELU),
    (nn.Softshrink, RELU),
    (nn.Softsign, Curve(low=-0.7764, high=0.7764)),  # (1 - |y|)^2 = 0.05
    # y = 1.7581 (e^x - 1): f' = y + 1.7581 for x < 0, and 1.7581 is its maximum
    (nn.SELU, Curve(off_below=-0.95 * 1.7581)),
)
# Never flat: LeakyReLU's slope is small but the same everywhere. Softmax, GLU: not a function of one value.
_NEVER_FLAT: tuple[type[nn.Module], ...] = (
    nn.LeakyReLU, nn.RReLU, nn.PReLU, nn.GLU, nn.Softmax, nn.Softmax2d, nn.Softmin, nn.LogSoftmax, nn.LogSigmoid,
    nn.Tanhshrink,
)  # fmt: skip

# Functions written as a module of their own (GELUActivation, Swish ...), by their class name; the first hit wins.
_NAMED: tuple[tuple[str, Curve], ...] = (
    ("leaky", PLAIN), ("prelu", PLAIN), ("gelu", GELU), ("geglu", PLAIN), ("swiglu", PLAIN), ("hardswish", RELU),
    ("hardsigmoid", Curve(low=0.0, high=1.0)), ("swish", SILU), ("silu", SILU), ("mish", MISH), ("relu", RELU),
    ("sigmoid", SIGMOID), ("tanh", TANH),
)  # fmt: skip


def curve_of(module: nn.Module) -> Curve | None:
    """Return the curve of an activation module, or None when the module is none.

    >>> curve_of(nn.ReLU()) is RELU, curve_of(nn.LeakyReLU()) is PLAIN, curve_of(nn.Linear(2, 2))
    (True, True, None)
    >>> curve_of(nn.SiLU(inplace=True)) is PLAIN  # the input is gone
    True
    """
    curve = _known(module)
    if curve is None and not any(True for _ in module.children()):
        curve = _by_name(module)
    if curve is not None and curve.of_input and getattr(module, "inplace", False):
        return PLAIN
    return curve


def _known(module: nn.Module) -> Curve | None:
    if isinstance(module, _NEVER_FLAT):
        return PLAIN
    for kind, curve in _FIXED:
        if isinstance(module, kind):
            return curve
    if isinstance(module, nn.Hardtanh):
        low, high = float(module.min_val), float(module.max_val)
        return Curve(off_at=0.0, high=high) if low == 0.0 else Curve(low=low, high=high)
    if isinstance(module, nn.Threshold):
        return Curve(off_at=float(module.value))
    if isinstance(module, nn.ELU):
        return Curve(off_below=FLAT * max(1.0, float(module.alpha)) - float(module.alpha))
    if isinstance(module, nn.CELU):
        return Curve(off_below=-(1 - FLAT) * float(module.alpha))
    if isinstance(module, nn.Softplus):
        return Curve(off_below=0.0513 / float(module.beta))  # f' = 1 - e^(-beta y)
    return None


def _by_name(module: nn.Module) -> Curve | None:
    name = type(module).__name__.lower()
    if any(True for _ in module.parameters(recurse=False)):
        return None
    return next((curve for part, curve in _NAMED if part in name), None)
