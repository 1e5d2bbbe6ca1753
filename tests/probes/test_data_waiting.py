"""Batches that wait give the rows they would have given at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from lightning_diag.observation import Observation
from lightning_diag.probes.base import Batch
from lightning_diag.probes.data_rows import Samples, samples_of, train_rows
from lightning_diag.probes.data_waiting import SMALL, TOGETHER, WaitingSamples


def batches() -> Iterator[Samples]:
    g = torch.Generator().manual_seed(0)
    for _ in range(TOGETHER):
        x, y = torch.randn(5, 3, 2, generator=g), torch.randint(4, (5,), generator=g)
        seen = Observation(
            target=y, logits=torch.randn(5, 4, generator=g), sample_id=torch.randint(2**40, (5,), generator=g)
        )
        samples = samples_of(Batch((x, y), 0), seen)
        assert samples is not None
        yield samples


def test_rows_are_the_same() -> None:
    waiting, at_once = WaitingSamples(), []
    for samples in batches():
        assert not waiting.full and waiting.take(samples)
        at_once.append(train_rows(samples, 3))
        for tensor in samples.inputs:
            tensor.zero_()  # the user's own from now on
    joined = waiting.joined()
    assert waiting.full is False and joined is not None
    assert torch.equal(train_rows(joined, 3), torch.cat(at_once))


@pytest.mark.parametrize(
    "other",
    [
        Samples((torch.zeros(5, 3, 3),), None, None, None),
        Samples((torch.zeros(5, 3, 2).double(),), None, None, None),
        Samples((torch.zeros(5, 3, 2),), torch.zeros(5).long(), None, None),
        Samples((torch.zeros(SMALL + 1, 1),), None, None, None),
    ],
)
def test_another_kind_does_not_wait_beside_it(other: Samples) -> None:
    waiting = WaitingSamples()
    waiting.take(Samples((torch.zeros(5, 3, 2),), None, None, None))
    assert not waiting.take(other)


def test_columns_that_are_not_known_are_nan() -> None:
    x, y = torch.randn(4, 3), torch.tensor([0, 1, 2, -1])

    def row(target: Tensor | None, seen: Observation | None) -> list[bool]:
        samples = samples_of(Batch((x, target), 0), seen)
        assert samples is not None
        return torch.isnan(train_rows(samples, 0)).any(0)[3:].tolist()

    assert row(None, None) == [True, True, True, False, True, True]
    assert row(y.float(), None)[0] and row(y[:3], None)[0], "no labels"
    assert row(y, None) == [False, True, True, False, True, True]
    assert row(y, Observation(target=y, logits=torch.randn(4, 3)))[1], "a label out of range has no margin"
    assert row(y.clamp_min(0), Observation(target=y.clamp_min(0), logits=torch.randn(4, 3))) == [False] * 4 + [True] * 2


def test_a_batch_that_does_not_wait_goes_behind_those_that_do() -> None:
    waiting = WaitingSamples()
    first, last = (Samples((torch.full((2, 3), x),), torch.arange(2), None, None) for x in (1.0, 2.0))
    assert waiting.joined(last) is None and not waiting.alike(last)
    waiting.take(first)
    assert waiting.alike(last) and not waiting.alike(last._replace(target=None))
    joined = waiting.joined(last)
    assert joined is not None and joined.inputs[0][:, 0].tolist() == [1.0, 1.0, 2.0, 2.0]
    assert waiting.joined() is None
