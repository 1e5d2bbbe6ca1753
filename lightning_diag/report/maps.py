"""Which array signals become heat maps, and with which marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lightning_diag.report.cards import FindingCard
from lightning_diag.report.gather import Gathered
from lightning_diag.report.grid import Columns
from lightning_diag.report.heat import Heat, heat
from lightning_diag.report.shows import rows_for, signals_for
from lightning_diag.report.titles import is_share, title_of, unit_of
from lightning_diag.report.words import clean

ALL_CELLS, MAP_CELLS = 1_600_000, 200_000  # cells of all heat maps and of one: a byte each
MARKED_ROWS = 1000
_TELLING = ("grad/parameter_norm", "update/parameter_ratio", "dead", "saturated")


def telling(signal: str, columns: Columns) -> bool:
    """Whether a map of layers is worth a look without being asked for."""
    if signal == "grad/missing":
        return bool(np.nanmax(columns.high, initial=0.0) > 0)
    return _rank(signal) < len(_TELLING)


def heat_maps(
    signals: Sequence[str], got: Gathered, columns: Mapping[str, Columns], findings: Sequence[FindingCard]
) -> dict[str, Heat]:
    """Return the heat map of each signal, telling ones first; all together stay within the page's size."""
    cells = min(MAP_CELLS, ALL_CELLS // max(1, len(signals)))
    ordered = sorted(signals, key=lambda s: (not telling(s, columns[s]), _rank(s), s))
    return {signal: _map(signal, got, columns[signal], findings, cells) for signal in ordered}


def _rank(signal: str) -> int:
    return next((i for i, word in enumerate(_TELLING) if word in signal), len(_TELLING))


def _map(signal: str, got: Gathered, columns: Columns, findings: Sequence[FindingCard], cells: int) -> Heat:
    axis = got.axis(signal) if got.axis(signal) in got.facts.names else signal
    names = [clean(name) or "(unnamed)" for name in got.names(signal)]
    made = heat(title_of(signal), axis, names, unit_of(signal), columns, cells, is_share(signal))
    for card in findings:
        if card.severity != "info" and signals_for(card.finding, got) == (signal,):
            rows = rows_for(card.finding, signal, got)[:MARKED_ROWS]
            at = {int(name): row for row, name in enumerate(made.index)}
            places = [at[row] for row in rows if row in at]
            made.marks += [{**card.mark(), "rows": places}] if places else []
    return made
