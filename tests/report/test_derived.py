"""Recall and shares from counts."""

from __future__ import annotations

import numpy as np

from lightning_diag.report.derived import RATIOS, SHARES, axis_of, derived, nan_is_missing
from lightning_diag.signals import SIGNALS


def test_what_is_derived_comes_from_signals_that_exist() -> None:
    assert {part for parts in RATIOS.values() for part in parts} | set(SHARES.values()) <= set(SIGNALS)
    assert {axis_of(name) for name in (*RATIOS, *SHARES)} == {"class"}
    assert not (set(RATIOS) | set(SHARES)) & set(SIGNALS)


def test_counts_of_different_lengths_make_nothing() -> None:
    assert "class/recall" not in derived({"class/right": np.ones(2), "class/support": np.ones(3)})
    assert derived({"class/support": 3.0}) == {}


def test_no_samples_at_all_is_no_share() -> None:
    made = derived({"class/predicted": np.zeros(3)})
    assert np.isnan(made["class/predicted_share"]).all()


def test_nan_is_a_fault_in_a_gradient_and_a_gap_in_a_ratio() -> None:
    assert not nan_is_missing("grad/parameter_norm")
    assert nan_is_missing("update/parameter_ratio")
    assert nan_is_missing("activation/dead_frac")
