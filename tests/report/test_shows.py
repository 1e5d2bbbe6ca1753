"""Which plot shows which rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lightning_diag import detectors
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading
from lightning_diag.report.gather import Gathered, gather
from lightning_diag.report.shows import rows_for, signals_for
from lightning_diag.signals import SIGNALS

NAMES = dict.fromkeys(
    ("parameter", "module", "class", "domain"), ("net.0", "net.0.weight", "net.0.bias", "net.10.weight")
)
DRAWN = ("gradients/", "updates/", "activations/", "loss/", "fit/", "classes/", "domains/")
RULES = [
    rule for name in detectors.__all__ if (rule := getattr(getattr(detectors, name), "rule", "")).startswith(DRAWN)
]


def everything() -> Gathered:
    """A run in which every signal of the table was measured."""
    values: dict[str, Any] = {}
    for name, signal in SIGNALS.items():
        if signal.merge != "host" or name.startswith("system/"):
            values[name] = 1.0 if signal.axis is None else np.ones((4, 6) if name.endswith("_sums") else 4)
    return gather([Reading(1, 0, values), Reading(2, 0, values)], Facts(names=NAMES))


def finding(rule: str, *where: str) -> Finding:
    return Finding(rule, Severity.WARNING, 1, 0, where, "m")


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_with_a_curve_has_a_plot(rule: str) -> None:
    signals = signals_for(finding(rule, "net.0.weight"), everything())
    assert signals, f"report/shows.py has no signal for {rule}"


@pytest.mark.parametrize(
    ("rule", "where", "expected"),
    [
        ("gradients/vanishing", ("net.0.weight",), ("grad/parameter_norm",)),
        ("gradients/exploding", (), ("grad/norm",)),
        ("gradients/always-clipped", (), ("grad/norm", "grad/norm_after_clip")),
        ("updates/too-small", ("net.0",), ("update/parameter_ratio",)),
        ("loss/spike", ("batch 7",), ("loss/train", "loss/val")),
        ("fit/overfitting", (), ("loss/train", "loss/val")),
        ("activations/dead", ("net.0",), ("activation/dead_frac",)),
        ("classes/confused", ("net.0 as net.0.bias",), ("class/recall",)),
        ("domains/gap", ("net.0",), ("domain/val_error",)),
        ("domains/separable", ("net.0",), ("domain/probe_auc",)),
        ("setup/decay-on-norm", ("net.0.weight",), ()),
        ("x/unheard-of", (), ()),
    ],
)
def test_the_telling_signal_is_chosen(rule: str, where: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert signals_for(finding(rule, *where), everything()) == expected


def test_a_rule_of_someone_else_gets_the_signal_of_its_own_group() -> None:
    got = gather([Reading(1, 0, {"mine/flow": 1.0, "mine/heat": 2.0, "theirs/flow": 3.0})], Facts())
    assert signals_for(finding("mine/flow-speed"), got) == ("mine/flow",)
    assert signals_for(finding("nobody/flow"), got) == ()


def test_a_plot_needs_its_signal_measured() -> None:
    got = gather([Reading(1, 0, {"loss/train": 1.0})], Facts())
    assert signals_for(finding("gradients/vanishing", "a"), got) == ("loss/train",)
    assert signals_for(finding("activations/dead", "a"), got) == ()


def test_rows_follow_the_places_and_modules_stand_for_their_parameters() -> None:
    got = everything()
    assert rows_for(finding("a/b", "net.10.weight", "net.0.bias"), "grad/parameter_norm", got) == [3, 2]
    assert rows_for(finding("a/b", "net.10"), "grad/parameter_norm", got) == [3]
    assert rows_for(finding("a/b", "net.1"), "grad/parameter_norm", got) == []
    assert rows_for(finding("a/b", "net.0.bias as net.0"), "class/recall", got) == [2, 0]


def test_weights_that_grew_are_shown_as_weights_and_large_steps_as_steps() -> None:
    for evidence, expected in (
        ({"value": 3.0, "limit": 2.2, "update_ratio": 0.7, "lr": 0.2}, "weight/parameter_norm"),
        ({"value": 0.7, "limit": 0.2, "update_ratio": 0.7, "lr": 0.2}, "update/parameter_ratio"),
    ):
        made = Finding("updates/too-large", Severity.WARNING, 1, 0, ("net.0.weight",), "m", evidence)
        assert signals_for(made, everything()) == (expected,)


def test_a_collapse_to_changing_classes_is_shown_by_whichever_leads() -> None:
    assert signals_for(finding("classes/collapsed", "net.0"), everything()) == ("class/largest_share",)
