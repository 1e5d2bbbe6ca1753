"""Where something happens in a network, from a code for each layer in the order in which layers finish."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lightning_diag.reading import Reading

HERE, BEFORE, NORM = 1.0, 2.0, 3.0


class Spot(NamedTuple):
    """The innermost layer in whose call it happens.

    Attributes:
        name: its name.
        before: the first layer inside it that is called after it happened; empty where it has none or none was.
        norm: whether it is a normalization.
    """

    name: str
    before: str
    norm: bool

    def __str__(self) -> str:
        return f"{self.name}, before {self.before}" if self.before else self.name


def spot(reading: Reading, signal: str) -> Spot | None:
    """Return where it happens, or None where no layer's input and output tell.

    >>> from lightning_diag.reading import Facts
    >>> facts = Facts(names={"layer": ("net.0", "net.2", "net")})
    >>> str(spot(Reading(4, 0, {"sanity/mixed_at": [0.0, 2.0, 1.0]}, facts), "sanity/mixed_at"))
    'net, before net.2'
    """
    codes, names = reading.vector(signal), reading.names("layer")
    if codes is None or len(codes) != len(names):
        return None
    found = np.flatnonzero((codes == HERE) | (codes == NORM))
    if not found.size:
        return None
    first = int(found[0])
    name = names[first]
    # the user's own module goes by its class: its layers' names don't start with it
    within = f"{name}." if any(other.startswith(f"{name}.") for other in names) else ""
    leaf = not within and name not in reading.names("call")
    inside = [names[i] for i in np.flatnonzero(codes[:first] == BEFORE) if names[i].startswith(within) and not leaf]
    return Spot(name, inside[0] if inside else "", bool(codes[first] == NORM))
