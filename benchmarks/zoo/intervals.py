"""Small statistics of the score sheet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

Z95 = 1.959964


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); (0, 1) for no runs.

    >>> [round(v, 3) for v in wilson(0, 300)]
    [0.0, 0.013]
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = hits / n, Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def bootstrap(values: Sequence[float], groups: Sequence[Hashable], draws: int = 1000) -> tuple[float, float]:
    """95 % interval of a mean, resampling whole groups: runs of one configuration are not independent."""
    by_group: dict[Hashable, list[float]] = defaultdict(list)
    for value, group in zip(values, groups, strict=True):
        by_group[group].append(value)
    if len(by_group) < 2:
        return 0.0, 1.0
    sums = np.array([sum(v) for v in by_group.values()])
    sizes = np.array([len(v) for v in by_group.values()])
    picks = np.random.default_rng(0).integers(0, len(sums), (draws, len(sums)))
    means = sums[picks].sum(1) / sizes[picks].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def share(hits: int, n: int) -> str:
    """``12/40 = 30 % [18, 45]``."""
    if n == 0:
        return "-"
    low, high = wilson(hits, n)
    return f"{hits}/{n} = {100 * hits / n:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
