"""Rules over gradients and updates where several optimizers step: each has windows and baselines of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lightning_diag._judge.judge import Judge
from lightning_diag.detectors.gradient_exploding import GradientExploding
from lightning_diag.detectors.gradient_non_finite import GradientNonFinite
from lightning_diag.detectors.gradient_vanishing import GradientVanishing
from lightning_diag.detectors.loss_spike import LossSpike
from lightning_diag.detectors.update_frozen import UpdateFrozen
from lightning_diag.detectors.update_too_large import UpdateTooLarge
from lightning_diag.detectors.update_too_small import UpdateTooSmall
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Facts, Reading

RULES = (GradientExploding, GradientVanishing, GradientNonFinite, UpdateTooLarge, UpdateTooSmall, UpdateFrozen)
NETS = ("discriminator", "generator")
OPTIMIZERS = ("Adam 0 (discriminator)", "Adam 1 (generator)")
LAYERS = 4
PARAMETERS = tuple(f"{net}.{i}.weight" for net in NETS for i in range(LAYERS))
COUNT = len(PARAMETERS)
PAIR = Facts(
    optimizers=("Adam", "Adam"),
    automatic_optimization=False,
    names={"parameter": PARAMETERS, "optimizer": OPTIMIZERS, "group": ("Adam 0 group 0", "Adam 1 group 0")},
    parameter_kind=("matrix",) * COUNT,
    parameter_numel=(1000,) * COUNT,
    in_optimizer=(True,) * COUNT,
    parameter_optimizer=(0,) * LAYERS + (1,) * LAYERS,
    group_optimizer=(0, 1),
)
Change = Callable[[int, dict[str, Any]], None]


def nothing(step: int, values: dict[str, Any]) -> None:
    """A healthy pair."""


def readings(
    change: Change = nothing, *, steps: int = 300, turns: bool = False, scale: float = 1.0, facts: Facts = PAIR
) -> list[Reading]:
    """A pair whose second net has gradients ``scale`` times those of the first; with ``turns`` one of them a step."""
    rng, made = np.random.default_rng(0), []
    size = np.repeat([1.0, scale], LAYERS)
    for step in range(1, steps + 1):
        values: dict[str, Any] = {
            "loss/train": 1 + 0.1 * rng.standard_normal(),
            "grad/parameter_norm": 1e-3 * size * rng.lognormal(0, 0.3, COUNT),
            "grad/missing": np.zeros(COUNT),
            "weight/parameter_norm": np.full(COUNT, 5.0) * rng.lognormal(0, 0.01, COUNT),
            "update/parameter_ratio": 1e-3 * rng.lognormal(0, 0.3, COUNT),
            "lr": np.array([1e-3, 2e-3]),
        }
        change(step, values)
        if turns:
            rests = slice(LAYERS, None) if step % 2 else slice(0, LAYERS)
            for name in ("grad/parameter_norm", "grad/missing", "weight/parameter_norm", "update/parameter_ratio"):
                values[name][rests] = np.nan
        norms = np.sqrt(np.square(values["grad/parameter_norm"]).reshape(2, LAYERS).sum(1))
        values["grad/optimizer_norm"] = norms
        values["grad/norm"] = np.float64(np.sqrt(np.nansum(np.square(norms))))
        made.append(Reading(step, 0, values, facts))
    return made


def judged(made: list[Reading], judge: Judge | None = None) -> dict[str, Finding]:
    judge = judge or Judge([rule() for rule in RULES])
    for reading in made:
        judge.update(judge.enrich(reading))
    return {f.rule: f for f in judge.findings}


@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e-3])
def test_a_healthy_pair_of_any_scales_is_told_nothing(turns: bool, scale: float) -> None:
    assert judged(readings(turns=turns, scale=scale)) == {}


def test_the_mixed_numbers_would_have_said_something() -> None:
    """Otherwise the test above proves nothing."""
    plain = Facts(**{**vars(PAIR), "optimizers": ("Adam",), "parameter_optimizer": ()})
    assert "gradients/vanishing" in judged(readings(scale=1e3, facts=plain))


def grows(net: int) -> Change:
    def change(step: int, values: dict[str, Any]) -> None:
        if step > 100:
            part = slice(net * LAYERS, (net + 1) * LAYERS)
            values["weight/parameter_norm"][part] *= 1.1 ** min(step - 100, 100)

    return change


@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("net", [0, 1])
def test_weights_that_grow_are_those_of_the_optimizer_named(net: int, turns: bool) -> None:
    found = judged(readings(grows(net), turns=turns))["updates/too-large"]
    assert found.severity == Severity.WARNING and found.message.startswith(f"{OPTIMIZERS[net]}: The weights grew")
    assert all(place.startswith(NETS[net]) for place in found.where) and found.evidence["optimizer"] == OPTIMIZERS[net]
    assert found.evidence["lr"] == pytest.approx((1e-3, 2e-3)[net])


@pytest.mark.parametrize("turns", [False, True])
def test_when_both_grow_both_are_named(turns: bool) -> None:
    def change(step: int, values: dict[str, Any]) -> None:
        grows(0)(step, values)
        grows(1)(step, values)

    found = judged(readings(change, turns=turns))["updates/too-large"]
    assert OPTIMIZERS[0] in found.message and f"The same holds for {OPTIMIZERS[1]}." in found.message
    assert {place.partition(".")[0] for place in found.where} == set(NETS)


def test_a_jump_in_the_smaller_ones_gradients_is_seen() -> None:
    def change(step: int, values: dict[str, Any]) -> None:
        if step > 200:
            values["grad/parameter_norm"][:LAYERS] *= 300

    found = judged(readings(change, scale=1e6))["gradients/exploding"]
    assert found.severity == Severity.INFO and found.message.startswith(OPTIMIZERS[0])


def test_nan_in_all_gradients_of_one_names_it() -> None:
    def change(step: int, values: dict[str, Any]) -> None:
        if step == 150:
            values["grad/parameter_norm"][LAYERS:] = np.nan

    found = judged(readings(change))["gradients/non-finite"]
    assert (found.severity, found.step, found.where) == (Severity.CRITICAL, 150, (OPTIMIZERS[1],))


def test_a_small_rate_of_one_and_a_rate_of_zero_are_its_own() -> None:
    def change(step: int, values: dict[str, Any]) -> None:
        values["update/parameter_ratio"][:LAYERS] = 0.0
        values["weight/parameter_norm"][:LAYERS] = 5.0
        values["lr"][0] = 0.0

    found = judged(readings(change))["updates/frozen"]
    assert found.severity == Severity.INFO and OPTIMIZERS[0] in found.message and found.where == (OPTIMIZERS[0],)
    assert "their learning rate is 0" in found.message


def test_losses_that_compete_have_no_reference_and_no_spikes() -> None:
    judge = Judge([LossSpike()])
    enriched = [judge.enrich(reading) for reading in readings(steps=50)]
    assert all("loss/relative" not in r.values and "loss/best" not in r.values for r in enriched)
    assert "loss/level" in enriched[-1].values
    judge.update(enriched[-1])
    assert "losses that compete" in judge.coverage.skipped["loss/spike"]


def test_one_shared_loss_of_a_known_kind_is_judged_as_usual() -> None:
    shared = Facts(**{**vars(PAIR), "shared_loss": True})
    assert shared.competing  # its kind isn't known: perhaps a sum of parts that compete
    known = Facts(**{**vars(shared), "chance_loss": 2.3})
    judge = Judge([LossSpike()])
    judged(readings(steps=50, facts=known), judge)
    assert not known.competing and judge.coverage.ran == ("loss/spike",)


def test_each_ones_update_ratio() -> None:
    judge, made = Judge([]), readings(steps=2, turns=True)
    first, second = (judge.enrich(r).vector("update/optimizer_ratio") for r in made)
    assert first is not None and second is not None
    assert np.isnan([first[1], second[0]]).all() and first[0] == pytest.approx(1e-3, rel=0.5)
    by_hand = made[0].values["update/parameter_ratio"][:LAYERS] * made[0].values["weight/parameter_norm"][:LAYERS]
    weight = made[0].values["weight/parameter_norm"][:LAYERS]
    assert first[0] == pytest.approx(np.linalg.norm(by_hand) / np.linalg.norm(weight))


@pytest.mark.parametrize("turns", [False, True])
def test_a_resumed_run_finds_the_same(turns: bool) -> None:
    made = readings(grows(1), turns=turns)
    whole = judged(made)
    for cut in (1, 90, 110, 131):
        before, after = (Judge([rule() for rule in RULES]) for _ in range(2))
        judged(made[:cut], before)
        state = json.loads(json.dumps(before.state_dict()))
        after.load_state_dict(state)
        assert judged(made[cut:], after) == whole
        assert state == json.loads(json.dumps(before.state_dict()))


def test_facts_without_the_optimizer_of_each_parameter_are_judged_whole() -> None:
    old = Facts(**{**vars(PAIR), "parameter_optimizer": ()})
    assert judged(readings(grows(1), facts=old)) is not None
