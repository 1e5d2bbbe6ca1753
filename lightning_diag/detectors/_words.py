"""Numbers in a finding's sentence: two or three digits that mean something, and never a 0 that isn't one."""

from __future__ import annotations

import math


def percent(share: float, digits: int = 2) -> str:
    """Return a share in percent, with so many digits that tell it from 0 %, and as many as tell it from 100 %.

    >>> [percent(share) for share in (0.123, 0.05, 0.0004, 0.0, 0.994, 0.9996, 1.0, 2.5)]
    ['12 %', '5 %', '0.04 %', '0 %', '99 %', '99.96 %', '100 %', '250 %']
    >>> percent(0.9123, digits=3)
    '91.2 %'
    """
    value = 100 * share
    if not math.isfinite(value):
        return f"{share:g}"
    if 99.5 <= value < 100:
        decimals = min(4, math.ceil(-math.log10(100 - value)))
        return f"{math.floor(value * 10**decimals + 1e-6) / 10**decimals:.{decimals}f} %"
    return f"{value:.0f} %" if abs(value) >= 100 else f"{value:.{digits}g} %"


def points(difference: float) -> str:
    """Return a difference of two shares in points of percent.

    >>> points(0.1234), points(0.0004)
    ('12.3 points', '0.04 points')
    """
    return f"{100 * difference:.3g} points"
