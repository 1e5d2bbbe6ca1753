from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from lightning_diag.probes.data_sketch import Sketcher
from lightning_diag.streaming.near_matches import DIFFER, NearMatches

Rows = NDArray[np.float64]


def sketched(sketcher: Sketcher, x: torch.Tensor, first: int = 0) -> Rows:
    keys = torch.stack([torch.arange(first, first + len(x)), *[torch.zeros(len(x))] * 2], 1).float()
    rows = sketcher.rows((x, None), keys)
    assert rows is not None
    return rows.double().numpy()


def brute(kept: Rows, asked: Rows) -> list[bool]:
    """Slow and plain: every pair, bit by bit."""

    def bits(row: Rows) -> str:
        return "".join(f"{int(word):024b}" for word in row[3:])

    def near(a: Rows, b: Rows) -> bool:
        differ = sum(p != q for p, q in zip(bits(a), bits(b), strict=True))
        return differ <= DIFFER and a[:3].tolist() != b[:3].tolist()

    return [any(near(row, other) for other in kept) for row in asked]


def test_it_finds_what_comparing_every_pair_finds() -> None:
    g, sketcher = torch.Generator().manual_seed(0), Sketcher()
    x = torch.randn(120, 30, generator=g)
    noise = torch.linspace(0, 0.3, 120)[:, None] * torch.randn(120, 30, generator=g)
    kept, asked = sketched(sketcher, x), sketched(sketcher, x + noise, 1000)
    near = NearMatches()
    near.add(kept)
    found = near.found(asked).tolist()
    assert found == brute(kept, asked)
    assert all(found[:10]) and 20 < sum(found) < 110


def test_different_samples_are_rarely_near_by_mistake() -> None:
    sketcher, near = Sketcher(), NearMatches()
    x = torch.randn(8000, 30, generator=torch.Generator().manual_seed(1))
    near.add(sketched(sketcher, x[:4000]))
    assert not near.found(sketched(sketcher, x[4000:], 4000)).any(), "below 1 in 16 million pairs"
    assert near.share() == 0


def test_the_same_content_is_no_twin_and_memory_is_bounded() -> None:
    sketcher, near = Sketcher(), NearMatches(capacity=50)
    rows = sketched(sketcher, torch.randn(80, 10, generator=torch.Generator().manual_seed(2)))
    near.add(rows)
    near.add(rows)
    assert len(near) == 50 and not near.found(rows[:50]).any()


def test_nothing_and_what_is_no_number() -> None:
    near = NearMatches()
    assert near.found(np.zeros((2, 8))).tolist() == [False, False] and np.isnan(near.share())
    keys = torch.zeros(3, 3)
    for inputs in (torch.ones(3, 4, dtype=torch.long), torch.ones(3, 1), {"graph": object()}, torch.ones(2, 4)):
        assert Sketcher().rows(inputs, keys) is None
    bad = Sketcher().rows(torch.full((3, 4), torch.nan), keys)
    assert bad is not None and torch.isfinite(bad).all()
