"""Student's t distribution for whole degrees of freedom, in closed form."""

from __future__ import annotations

import math


def two_sided_p(t: float, dof: int) -> float:
    """Return the probability that ``|T|`` is at least ``|t|`` with ``dof`` degrees of freedom.

    Abramowitz and Stegun, *Handbook of Mathematical Functions* (1964), 26.7.3 and 26.7.4.

    >>> round(two_sided_p(12.706, 1), 4), round(two_sided_p(-4.303, 2), 4), round(two_sided_p(2.776, 4), 4)
    (0.05, 0.05, 0.05)
    """
    if not math.isfinite(t):
        return 0.0 if math.isinf(t) else math.nan
    theta = math.atan(abs(t) / math.sqrt(dof))
    cosine = math.cos(theta) ** 2
    term, total = (math.cos(theta), 0.0) if dof % 2 else (1.0, 0.0)
    for k in range(dof // 2):
        total += term
        term *= cosine * ((2 * k + 2) / (2 * k + 3) if dof % 2 else (2 * k + 1) / (2 * k + 2))
    inside = 2 / math.pi * (theta + math.sin(theta) * total) if dof % 2 else math.sin(theta) * total
    return max(0.0, 1.0 - inside)
