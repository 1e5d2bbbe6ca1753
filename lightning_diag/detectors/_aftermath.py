"""What the losses after a spike say: recovered, on the way back, or not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

AFTER = (10, 20)  # steps after a spike over which its aftermath is taken
LATE = (40, 60)  # the same of one that is on its way back then
LOST = 1 / 3  # of the spike's height still there, or of what had been gained over chance: no way back in sight
# From so many steps on the median of so many losses tells as much, if it stands so many times what had been gained over
# chance above the level before. Fault zoo: of 47 harmful spikes 29 are told sooner by it; of eight harmless ones that
# were noted six had 1.3 at most after 10 steps, and the others, with 3.2 and 16, are told 20 steps later as well.
AT_ONCE, SOON = (3, 3, 20.0), (10, 6, 2.0)
NEWEST = SOON[1]  # losses that are kept for it


def gone(newest: Sequence[float], since: int, spike: Mapping[str, Any]) -> bool:
    """Whether the newest losses are so far above chance that nobody needs to wait for more; not where it isn't known.

    >>> spike = {"level": 0.5, "chance": 2.5}
    >>> gone([50.0] * 2, 2, spike), gone([50.0] * 3, 3, spike), gone([8.0] * 6, 9, spike), gone([8.0] * 6, 10, spike)
    (False, True, False, True)
    """
    first, count, times = AT_ONCE if since < SOON[0] else SOON
    gained = spike["chance"] - spike["level"]
    if since < first or len(newest) < count or gained <= 0:
        return False
    return median(list(newest)[-count:]) - float(spike["level"]) > times * float(gained)


def phase_after(losses: Sequence[float], spike: Mapping[str, Any], chance: float, *, late: bool) -> str:
    """The phase that the losses some steps after a spike lead to: ``calm``, ``returning`` or ``stuck``."""
    now, level = median(losses or [-math.inf]), spike["level"]
    if now <= spike["limit"]:
        return "calm"
    back = not late and now - level <= LOST * min(spike["loss"] - level, chance - level)
    return "returning" if back else "stuck"
