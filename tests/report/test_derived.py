"""Recall and shares from counts."""

from __future__ import annotations

import numpy as np

from lightning_diag.report.derived import LARGEST, MEANS, RATIOS, SHARES, axis_of, derived, nan_is_missing
from lightning_diag.signals import SIGNALS


def test_what_is_derived_comes_from_signals_that_exist() -> None:
    assert {part for parts in RATIOS.values() for part in parts} | {*SHARES.values(), *LARGEST.values()} <= set(SIGNALS)
    assert {sums for sums, _ in MEANS.values()} <= set(SIGNALS)
    assert {axis_of(name) for name in (*RATIOS, *SHARES)} == {"class"}
    assert {axis_of(f"{name}{end}") for name in MEANS for end in ("", "_se")} == {"domain"}
    assert not (set(RATIOS) | set(SHARES)) & set(SIGNALS)


def test_means_of_domains_come_with_their_standard_error() -> None:
    rng = np.random.default_rng(0)
    error, loss = (rng.random(50) < 0.3).astype(float), rng.random(50)
    row = [f(x) for x in (error, loss) for f in (len, np.sum, lambda v: np.sum(v**2))]
    made = derived({"domain/val_sums": np.array([row, [0.0] * 6, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]])})
    for name, values in (("domain/val_error", error), ("domain/val_loss", loss)):
        assert np.isclose(made[name][0], values.mean())
        assert np.isclose(made[f"{name}_se"][0], values.std(ddof=1) / np.sqrt(50))
    assert np.isnan(made["domain/val_error"][1])
    assert made["domain/val_error"][2] == 1.0
    assert np.isnan(made["domain/val_error_se"][2])
    only_loss = derived({"domain/val_sums": np.array([[0.0, 0.0, 0.0, 2.0, 2.0, 2.0]])})
    assert set(only_loss) == {"domain/val_loss", "domain/val_loss_se"}
    assert derived({"domain/val_sums": np.ones(6)}) == {}


def test_counts_of_different_lengths_make_nothing() -> None:
    assert "class/recall" not in derived({"class/right": np.ones(2), "class/support": np.ones(3)})
    assert derived({"class/support": 3.0}) == {}


def test_no_samples_at_all_is_no_share() -> None:
    made = derived({"class/predicted": np.zeros(3)})
    assert np.isnan(made["class/predicted_share"]).all()
    assert "class/largest_share" not in made


def test_the_largest_share_is_that_of_whichever_class_leads() -> None:
    assert derived({"class/predicted": np.array([1.0, 3.0, np.nan])})["class/largest_share"] == 0.75


def test_nan_is_a_fault_in_a_gradient_and_a_gap_in_a_ratio() -> None:
    assert not nan_is_missing("grad/parameter_norm")
    assert nan_is_missing("update/parameter_ratio")
    assert nan_is_missing("activation/dead_frac")
