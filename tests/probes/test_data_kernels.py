"""Kernels over a batch's inputs and labels against plain float64 arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_diag.observation import Observation
from lightning_diag.probes import data_kernels as kernels
from lightning_diag.probes.base import Batch, Scene
from lightning_diag.probes.data_features import DataFeatureProbe
from lightning_diag.probes.data_inputs import sums_of
from lightning_diag.probes.data_sketch import BANDS, BITS, SEED, Sketcher
from lightning_diag.reading import Facts

G = torch.Generator().manual_seed(0)
FLOATS = [torch.float64, torch.float32, torch.bfloat16]
Array = NDArray[np.float64]


def exact(x: Tensor) -> Array:
    return np.asarray(x.double())


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_of_features(dtype: torch.dtype) -> None:
    x = (torch.randn(50, 4, generator=G) * 300 + 1e4).to(dtype)
    x[3, 1], x[4, 1], x[5, 2] = torch.nan, torch.inf, -torch.inf
    got = kernels.feature_sums(x)
    assert got.dtype == torch.float64
    for k, column in enumerate(exact(x).T):
        values = column[np.isfinite(column)]
        wanted = [len(values), values.sum(), (values**2).sum(), values.min(), values.max()]
        assert exact(got)[:, k] == pytest.approx(wanted, rel=1e-12)
    halves = kernels.add_sums(kernels.feature_sums(x[:20]), kernels.feature_sums(x[20:]))
    assert exact(halves) == pytest.approx(exact(got), rel=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_by_class(dtype: torch.dtype) -> None:
    x, y = torch.randn(80, 5, generator=G).to(dtype), torch.randint(-1, 5, (80,), generator=G)
    got = exact(kernels.class_sums(x, y, 4))  # labels -1 and 4 are out of range
    for k in range(4):
        own = exact(x)[np.asarray(y) == k]
        assert got[0, k].tolist() == [len(own)] * 5
        assert got[1, k] == pytest.approx(own.sum(0), abs=1e-12) and got[2, k] == pytest.approx((own**2).sum(0))


def test_pairs_with_one_label() -> None:
    y = torch.tensor([0, 0, 0, 2, 2, 1, 7, -100])
    counts = kernels.label_counts(y, 3)
    share = kernels.pairs_alike(counts)
    labels = [0, 0, 0, 2, 2, 1]
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    assert float(share) == pytest.approx(np.mean([labels[i] == labels[j] for i, j in pairs]))
    assert counts.tolist() == [3, 1, 2]


@pytest.mark.parametrize("dtype", FLOATS)
def test_margins(dtype: torch.dtype) -> None:
    logits, y = (torch.randn(60, 6, generator=G) * 6).to(dtype), torch.randint(-1, 7, (60,), generator=G)
    margin, other = (exact(t) for t in kernels.margins(logits, y))
    for i, row in enumerate(exact(logits)):
        label = int(y[i])
        if not 0 <= label < 6:
            assert np.isnan(margin[i]) and np.isnan(other[i])
            continue
        rest = np.delete(row, label)
        assert margin[i] == pytest.approx(np.clip(row[label] - rest.max(), -10, 10), abs=1e-5)
        assert row[int(other[i])] == rest.max() and int(other[i]) != label


def told(
    batches: list[tuple[Tensor, Tensor]], classes: int, val: tuple[Tensor, Tensor] | None = None
) -> dict[str, Array]:
    probe = DataFeatureProbe()
    probe.attach(Scene(nn.Linear(1, 1), [], Facts()))
    for x, y in batches:
        probe.observed(Batch((x, y), 0, observation=Observation(target=y, logits=torch.zeros(len(y), classes))))
    probe.validation_start()
    if val is not None:
        answers = Observation(target=val[1], logits=torch.zeros(len(val[1]), classes))
        probe.validation_batch(Batch(val, 0, observation=answers))
    return {name: exact(torch.as_tensor(value)) for name, value in probe.validation_end({})}


def eta_squared(x: Array, y: Array) -> float:
    """Adjusted share of the variance between classes, with loops."""
    kept = [k for k in np.unique(y) if (y == k).sum() >= 5]
    x, y = x[np.isin(y, kept)], y[np.isin(y, kept)]
    within = sum(((x[y == k] - x[y == k].mean()) ** 2).sum() for k in kept)
    share = 1 - within / ((x - x.mean()) ** 2).sum()
    return float(1 - (1 - share) * (len(x) - 1) / (len(x) - len(kept)))


def test_share_of_variance_between_classes_and_by_chance() -> None:
    y = torch.randint(3, (12, 16), generator=G)
    y[0, 0] = 3  # one sample of a class of its own
    x = torch.randn(12, 16, 4, generator=G) + y[:, :, None] * torch.tensor([0.0, 0.5, 5.0, 0.0])
    x[0, 0, 3] = 1e5  # and all of an input's variance
    got = told(list(zip(x, y, strict=True)), 4)
    flat, labels = exact(x.flatten(0, 1)), exact(y.flatten())
    assert got["data/class_r2"] == pytest.approx([eta_squared(c, labels) for c in flat.T], abs=1e-9)
    assert abs(got["data/class_r2"][3]) < 0.1, "one outlier says nothing"
    moved = exact(y.roll(1, 1).flatten())
    assert got["data/class_r2_chance"] == pytest.approx(max(eta_squared(c, moved) for c in flat.T), abs=1e-9)


def test_sorted_batches_are_told_by_chance_as_well() -> None:
    y = torch.arange(4).repeat_interleave(2)[:, None].expand(8, 32)
    got = told([(row[:, None] + 0.01 * torch.randn(32, 3, generator=G), row) for row in y], 4)
    assert got["data/class_r2"].min() > 0.99 and got["data/class_r2_chance"] > 0.99


@pytest.mark.parametrize(("batches", "known"), [(2, False), (4, True)])
def test_agreement_of_class_means_with_validation(batches: int, known: bool) -> None:
    y = torch.randint(4, (batches, 32), generator=G)
    means = torch.randn(4, 6, generator=G)
    x, val_y = means[y] + torch.randn(batches, 32, 6, generator=G), torch.randint(4, (60,), generator=G)
    val_x = means[val_y] + torch.randn(60, 6, generator=G)
    got = float(told(list(zip(x, y, strict=True)), 4, (val_x, val_y))["data/val_agreement"])
    if not known:
        assert np.isnan(got), "64 samples of four classes are too few"
        return
    sets = (exact(x.flatten(0, 1)), exact(y.flatten())), (exact(val_x), exact(val_y))
    by_class = [np.stack([v[k == c].mean(0) for c in range(4)]) for v, k in sets]
    a, b = ((m - m.mean(0)).ravel() for m in by_class)
    assert got == pytest.approx(float(a @ b / np.sqrt((a @ a) * (b @ b))), abs=1e-9)


def test_a_sketch_holds_the_signs_of_projections() -> None:
    first, x = torch.randn(20, 30, generator=G), torch.randn(9, 30, generator=G)
    sketcher = Sketcher()
    sketcher.rows(first, torch.zeros(20, 3))
    got = sketcher.rows(x, torch.zeros(9, 3))
    assert got is not None
    directions = exact(torch.randn(30, BANDS * BITS, generator=torch.Generator().manual_seed(SEED)))
    projected = (exact(x) - exact(first).mean(0)) @ directions
    bits = ((exact(got)[:, 3:, None].astype(np.int64) >> np.arange(BITS)) & 1).reshape(9, -1)
    clear = np.abs(projected) > 1e-4
    assert clear.mean() > 0.99 and np.array_equal(bits[clear], projected[clear] > 0)


def test_what_several_probes_share_of_a_batch_is_what_each_would_have_made() -> None:
    x = torch.randn(9, 2, 3, generator=torch.Generator().manual_seed(0))
    x[0, 0, 0] = torch.nan
    y = torch.tensor([0, 1, 2, 2, -100, 1, 7, 0, 0])
    batch = Batch((x, y), 0)
    sums = sums_of(batch, y, 3)
    assert sums is not None and sums is sums_of(batch, y, 3)
    assert torch.equal(sums, kernels.class_sums(x.reshape(9, 6), y, 3)) and sums[0, :, 0].tolist() == [3, 2, 2]
    assert torch.equal(sums[0, :, 0], kernels.label_counts(y, 3))
    wider = sums_of(batch, y, 4)
    assert wider is not None and torch.equal(wider[:, :3], sums)
    assert sums_of(Batch((x, y[:8]), 0), y[:8], 3) is None and sums_of(Batch((x.long(), y), 0), y, 3) is None
