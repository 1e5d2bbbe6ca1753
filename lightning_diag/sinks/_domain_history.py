"""What W&B shows of domains: a table of every pass, and error by domain over passes with bands."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_diag.reading import Reading

MAX_PASSES = 200  # older passes are thinned by two
MAX_DOMAINS = 8
BAND = 1.96  # standard errors: 95 %
DOMAIN_COLUMNS = (
    "epoch",
    "step",
    "domain",
    "samples",
    "error",
    "error low",
    "error high",
    "loss",
    "loss low",
    "loss high",
)
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#000000")  # Okabe and Ito
WIDTH, HEIGHT, LEFT, TOP = 640, 220, 50, 24


class DomainHistory:
    """Remembers the domains' validation sums within a bounded size; gives plain rows and an SVG.

    >>> history = DomainHistory()
    >>> sums = np.array([[4.0, 1.0, 1.0, 4.0, 2.0, 1.2]])  # 4 samples, 1 wrong; losses 2.0 in all
    >>> history.add(Reading(10, 0, {"domain/val_sums": sums}, stage="validation"))
    True
    >>> row = history.rows()[0]
    >>> row[:5], row[7]
    ([0, 10, 'domain 0', 4, 0.25], 0.5)
    """

    def __init__(self) -> None:
        self._passes: list[tuple[int, int, tuple[str, ...], NDArray[np.float64]]] = []

    def add(self, reading: Reading) -> bool:
        """Take in a reading; returns whether it was a validation pass over domains."""
        sums = reading.vector("domain/val_sums")
        if sums is None or sums.ndim != 2 or sums.shape[1] != 6 or not np.isfinite(sums).all():
            return False
        names = reading.names("domain")
        if len(names) != len(sums):
            names = tuple(f"domain {k}" for k in range(len(sums)))
        self._passes.append((reading.epoch, reading.step, names, sums))
        if len(self._passes) > MAX_PASSES:
            self._passes = self._passes[::2]
        return True

    def rows(self) -> list[list[Any]]:
        """Return a row a pass and domain that had samples, oldest first."""
        made = []
        for epoch, step, names, sums in self._passes:
            for name, domain in zip(names[:MAX_DOMAINS], sums, strict=False):
                error, loss = _interval(domain[:3]), _interval(domain[3:])
                if error is not None or loss is not None:
                    samples = int(max(domain[0], domain[3]))
                    made.append([epoch, step, name, samples, *(error or _NONE), *(loss or _NONE)])
        return made

    def chart(self) -> str:
        """Return an SVG in HTML: error over passes, a line a domain, bands of 95 %; empty without errors."""
        names = self._passes[-1][2][:MAX_DOMAINS] if self._passes else ()
        count = len(self._passes)
        parts = []
        for k, name in enumerate(names):
            found = [(i, _interval(p[3][k][:3])) for i, p in enumerate(self._passes) if k < len(p[3])]
            points = [(_x(i, count), *band) for i, band in found if band is not None]
            if not points:
                continue
            line = " ".join(f"{x:.1f},{_y(mid):.1f}" for x, mid, _, _ in points)
            edge = " ".join(f"{x:.1f},{_y(high):.1f}" for x, _, _, high in points)
            back = " ".join(f"{x:.1f},{_y(low):.1f}" for x, _, low, _ in reversed(points))
            color = COLORS[k]
            parts.append(f'<polygon points="{edge} {back}" fill="{color}" opacity="0.18"/>')
            parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
            parts.append(f'<text x="{LEFT + 110 * k}" y="12" fill="{color}">{escape(name[:16])}</text>')
        if not parts:
            return ""
        ticks = "".join(f'<text x="8" y="{_y(v) + 3:.0f}">{100 * v:.0f} %</text>' for v in (0.0, 0.5, 1.0))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-size="11" '
            f'font-family="sans-serif">{ticks}{"".join(parts)}</svg>'
        )


_NONE = (None, None, None)


def _interval(sums: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Mean of ``(n, sum, squares)`` with its 95 % band; None without samples."""
    n, total, squares = (float(v) for v in sums)
    if n < 1:
        return None
    mean = total / n
    error = np.sqrt(max(squares / n - mean**2, 0.0) / n)
    return mean, mean - BAND * float(error), mean + BAND * float(error)


def _x(i: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - 10) * i / max(1, count - 1)


def _y(share: float) -> float:
    return TOP + (HEIGHT - TOP - 10) * (1 - min(1.0, max(0.0, share)))
