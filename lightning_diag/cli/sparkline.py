"""A curve as one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-~=+*#"
LOG_RATIO = 10.0  # positive values that span more than this may be drawn in decades


def sparkline(
    steps: Sequence[int], values: Sequence[float], end: int, width: int, blocks: str = BLOCKS, *, decades: bool = True
) -> str:
    """Return ``width`` signs over the steps 1 to ``end``, so that curves below each other have one axis.

    A sign stands for the highest value of its steps (spikes stay visible), for the one before where there is none, and
    is ``!`` where one wasn't finite.

    Args:
        steps: rising, from 1.
        values: one a step.
        end: last step of the axis.
        width: signs.
        blocks: signs from low to high.
        decades: draw positive values that span more than a factor of 10 on a logarithmic scale.

    >>> sparkline(range(1, 9), [1, 2, 3, 4, 5, 6, 7, 8], 8, 8)
    '▁▂▃▄▅▆▇█'
    >>> sparkline([1, 2, 5, 6], [1, 1, 9, 1], 6, 3), sparkline([2, 4], [1.0, math.nan], 4, 4), sparkline([], [], 4, 4)
    ('▁▁█', ' ▁▁!', '')
    >>> sparkline([1, 2, 3], [1, 10, 100], 3, 3), sparkline([1, 2, 3], [1, 10, 100], 3, 3, decades=False)
    ('▁▅█', '▁▁█')
    """
    if not values:
        return ""
    columns = _columns(steps, values, max(end, steps[-1]), width)
    finite = [x for x in columns if x is not None and math.isfinite(x)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    if decades and low > 0 and high > LOG_RATIO * low:
        columns = [math.log(x) if x is not None and math.isfinite(x) else x for x in columns]
        low, high = math.log(low), math.log(high)
    return "".join(" " if x is None else _sign(x, low, high, blocks) for x in columns)


def _columns(steps: Sequence[int], values: Sequence[float], end: int, width: int) -> list[float | None]:
    """The highest value of each column's steps; NaN where one wasn't finite, None before the first."""
    columns: list[float | None] = [None] * width
    for step, value in zip(steps, values, strict=True):
        column = min((step - 1) * width // end, width - 1)
        before = columns[column]
        value = value if math.isfinite(value) else math.nan
        if before is None or math.isnan(value) or value > before:
            columns[column] = value
    for i in range(1, width):
        if columns[i] is None:
            columns[i] = columns[i - 1]
    return columns


def _sign(value: float, low: float, high: float, blocks: str) -> str:
    if not math.isfinite(value):
        return "!"
    share = (value - low) / (high - low) if high > low else 0.0
    return blocks[min(int(share * len(blocks)), len(blocks) - 1)]
