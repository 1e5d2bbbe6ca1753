from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lightning_diag.streaming.label_suspects import LISTED, SHOWN, LabelSuspects
from lightning_diag.streaming.sample_ledger import SampleLedger

Rows = NDArray[np.float64]


def seen(margins: Rows, times: int = 3, first_id: float = np.nan) -> SampleLedger:
    ledger, n = SampleLedger(), len(margins)
    keys = np.column_stack([np.arange(n), np.zeros((n, 2))])
    for epoch in range(times):
        ids = np.arange(n) + (first_id if epoch == 0 else np.nan)
        ledger.add(np.column_stack([keys, np.full(n, 3.0), margins, np.full(n, 7.0), ids]), epoch)
    return ledger


def test_suspects_are_those_deep_below_zero_worst_first() -> None:
    margins = np.full(400, 4.0)
    margins[[10, 20, 30]] = -3.0, -5.0, -0.5  # the last is a hard sample
    suspects = LabelSuspects()
    noise, names = suspects.look(seen(margins))
    assert noise is not None
    assert (noise.frac, noise.samples, noise.margin, noise.seen) == (2 / 400, 400, 4.0, 3.0)
    assert noise.depth == pytest.approx(2 / 3)
    assert names == ("sample 0000000000000014 (label 3)", "sample 000000000000000a (label 3)")
    table = suspects.table()
    assert table[:, 0].tolist() == [20, 10] and np.isnan(table[:, 3]).all()
    assert table[0, [4, 5, 7, 8]].tolist() == [3, 7, -5, 3] and 0 < table[0, 6] < table[1, 6] < 0.5


def test_the_users_own_ids_are_used_where_they_were_known_once() -> None:
    margins = np.full(400, 4.0)
    margins[20] = -5.0
    suspects = LabelSuspects()
    assert suspects.look(seen(margins, first_id=1e9))[1] == ("sample 1000000020 (label 3)",)
    assert suspects.table()[0, 3] == 1_000_000_020


def test_lists_are_bounded_and_the_depth_is_of_all() -> None:
    margins = np.concatenate([np.full(4000, 4.0), np.full(2000, -4.0)])
    noise, names = (suspects := LabelSuspects()).look(seen(margins))
    assert noise is not None and noise.frac == pytest.approx(1 / 3) and noise.depth == 1
    assert len(names) == SHOWN and len(suspects.table()) == LISTED


def test_too_little_says_nothing() -> None:
    assert LabelSuspects().look(seen(np.full(100, 1.0))) == (None, ())
    assert LabelSuspects().look(seen(np.full(400, 1.0), times=1)) == (None, ())
    assert LabelSuspects().look(seen(np.full(400, -1.0))) == (None, ())
    assert LabelSuspects().look(seen(np.full(400, np.nan))) == (None, ())
