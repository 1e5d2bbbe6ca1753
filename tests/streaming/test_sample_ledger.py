from __future__ import annotations

import resource
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lightning_diag.streaming.label_suspects import LabelSuspects
from lightning_diag.streaming.sample_ledger import SampleLedger

Batch = list[tuple[int, int, float]]  # key, label, margin
BATCHES = st.lists(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2), st.floats(-5, 5)), max_size=8), max_size=12
)


def rows(batch: Batch) -> NDArray[np.float64]:
    made = [[key, 0, 0, label, margin, np.nan, np.nan] for key, label, margin in batch]
    return np.array(made, dtype=np.float64).reshape(-1, 7)


@settings(deadline=None, max_examples=80)
@given(st.lists(BATCHES, max_size=3))
def test_it_counts_as_a_dictionary_would(epochs: list[list[Batch]]) -> None:
    ledger = SampleLedger()
    labels: dict[int, set[int]] = defaultdict(set)
    total = repeats = later = known = 0
    for epoch, batches in enumerate(epochs):
        before, here = set(labels), set[int]()
        for batch in batches:
            ledger.add(rows(batch), epoch)
            for key, label, _ in batch:
                total += 1
                repeats += key in here
                if epoch and key not in here:
                    later += 1
                    known += key in before
                here.add(key)
                labels[key].add(label)
    assert len(ledger) == len(labels)
    assert ledger.repeats_frac == pytest.approx(repeats / total if total else 0.0)
    assert ledger.conflict_frac == pytest.approx(np.mean([len(v) > 1 for v in labels.values()]) if labels else 0.0)
    assert ledger.renewed_frac == pytest.approx(1 - known / later if later else float("nan"), nan_ok=True)
    asked = np.array([[k, 0, 0] for k in range(15)], dtype=np.float64)
    assert ledger.holds(asked).tolist() == [k in labels for k in range(15)]


def test_the_margin_is_a_mean_at_first_and_forgets_after() -> None:
    ledger = SampleLedger()
    for epoch, margin in enumerate((-3.0, 0.0, 3.0)):
        ledger.add(rows([(7, 1, margin)]), epoch)
        assert len(ledger) == 1  # settles
    assert ledger.margins(3).mean.tolist() == pytest.approx([0.0])
    for epoch in range(3, 20):
        ledger.add(rows([(7, 1, 3.0)]), epoch)
        assert len(ledger) == 1
    assert ledger.margins(3).mean[0] > 2.9
    ledger.add(rows([(8, 1, float("nan"))]), 20)
    assert ledger.margins(1).key.tolist() == [7]


def test_a_generic_sample_is_no_rare_one() -> None:
    ledger = SampleLedger()
    ledger.add(rows([(1, 0, 0.0)] * 30 + [(k, 0, 0.0) for k in range(2, 40)]), 0)
    asked = np.array([[1, 0, 0], [2, 0, 0]], dtype=np.float64)
    assert ledger.holds(asked).tolist() == [True, True]
    assert ledger.holds(asked, rare=True).tolist() == [False, True]


def test_beyond_its_capacity_it_keeps_an_even_share() -> None:
    ledger, rng = SampleLedger(capacity=10_000), np.random.default_rng(0)
    parts = rng.integers(0, 2**21, (60_000, 3)).astype(np.float64)
    batch = np.column_stack(
        [parts, rng.integers(0, 3, len(parts)), rng.normal(size=len(parts)), np.zeros((len(parts), 2))]
    )
    for start in range(0, len(batch), 5000):
        ledger.add(batch[start : start + 5000], 0)
    assert len(ledger) <= 10_000
    assert ledger.kept_frac == 1 / 8
    assert len(ledger) / ledger.kept_frac == pytest.approx(60_000, rel=0.05)
    kept = parts[ledger.kept(parts)]
    assert ledger.holds(kept).all()
    assert not ledger.holds(rng.integers(0, 2**21, (500, 3)).astype(np.float64)).any()


def test_columns_bring_everything_back() -> None:
    one, two = SampleLedger(), SampleLedger()
    one.add(rows([(1, 0, 1.0), (2, 1, -1.0), (1, 1, 2.0)]), 0)
    two.take(one.columns())
    for ledger in (one, two):
        ledger.add(rows([(1, 0, 1.0), (5, 0, 0.0)]), 1)
    assert (len(two), two.repeats_frac, two.conflict_frac) == (len(one), one.repeats_frac, one.conflict_frac)
    assert two.renewed_frac == one.renewed_frac
    assert two.margins(1).mean.tolist() == one.margins(1).mean.tolist()


def test_a_class_that_is_never_predicted_is_no_row_of_wrong_labels() -> None:
    def estimate(ignored: int) -> float:
        ledger = SampleLedger()
        wrong = {i for i in range(400) if i % 20 == 0 or (ignored >= 0 and i % 10 == ignored)}
        for epoch in range(3):
            ledger.add(rows([(i, i % 10 if i % 20 else 9, -3.0 if i in wrong else 3.0) for i in range(400)]), epoch)
        noise, _ = LabelSuspects().look(ledger)
        assert noise is not None
        return noise.frac

    assert estimate(-1) == pytest.approx(0.05)
    assert estimate(4) == pytest.approx(0.05)


def test_a_checkpoint_holds_an_even_sample_of_many_samples() -> None:
    whole, rng = SampleLedger(), np.random.default_rng(0)
    parts = rng.integers(0, 2**21, (20_000, 3)).astype(np.float64)
    both = np.column_stack([parts, np.zeros((len(parts), 4))])
    whole.add(both, 0)
    whole.add(both[:5000], 0)  # a quarter comes twice
    resumed = SampleLedger()
    resumed.take(whole.columns(6000))
    assert len(resumed) <= 6000 and resumed.kept_frac == 0.25 and len(whole) == 20_000 and whole.kept_frac == 1
    for ledger in (whole, resumed):
        ledger.add(both, 1)  # nothing in the next epoch is new, and what is not kept doesn't count
        assert ledger.repeats_frac == pytest.approx(5000 / 45_000, rel=0.01 if ledger is whole else 0.1)
        assert ledger.renewed_frac == 0 and ledger.passed == pytest.approx(45_000, rel=0.02)
    assert len(resumed) / resumed.kept_frac == pytest.approx(20_000, rel=0.03)


@pytest.mark.slow
def test_ten_million_samples_stay_within_half_a_gigabyte() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ledger, rng = SampleLedger(), np.random.default_rng(0)
    for _ in range(200):
        parts = rng.integers(0, 2**21, (50_000, 3)).astype(np.float64)
        ledger.add(np.column_stack([parts, np.zeros((len(parts), 4))]), 0)
    assert len(ledger) / ledger.kept_frac == pytest.approx(1e7, rel=0.01)
    assert ledger.kept_frac == 0.25
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024  # kB
