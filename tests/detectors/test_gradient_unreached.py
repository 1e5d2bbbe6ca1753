from __future__ import annotations

import numpy as np
import pytest

from lightning_diag.detectors.gradient_unreached import GradientUnreached
from lightning_diag.errors import ConfigurationError, NotMeasurable
from lightning_diag.finding import Severity
from tests.detectors.parameter_stream import (
    Make,
    P,
    Values,
    assert_resumes,
    facts,
    findings,
    first,
    run,
    stream,
    values,
)


def missing(which: slice, relative: float = 0.3, until: int = 10**9, start: int = 1) -> Make:
    """These parameters have no gradient from ``start`` until ``until``."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, relative)
        if start <= step < until:
            made["grad/missing"][which] = 1.0
            made["grad/parameter_norm"][which] = 0.0
            made["update/parameter_ratio"][which] = 0.0
        return made

    return make


def test_a_spare_head_is_info_after_an_epoch() -> None:
    found = findings(GradientUnreached(), stream(missing(slice(4, 6))))
    assert (found[0].last_step, found[0].first_step) == (100, 1)
    assert {f.severity for f in found} == {Severity.INFO}
    assert found[0].where == ("head",)
    assert "head (2 parameters)" in found[0].message
    assert (
        "2 of 6 trainable parameters (7.2 % of the elements, limit 0) have got no gradient since step 1"
        in found[0].message
    )


@pytest.mark.parametrize(
    ("epoch", "planned", "fires"), [(None, None, 200), (30, 1000, 30), (1000, 1000, 200), (8, 200, 20)]
)
def test_when_it_fires(epoch: int | None, planned: int | None, fires: int) -> None:
    known = facts(steps_per_epoch=epoch, planned_steps=planned)
    assert findings(GradientUnreached(), stream(missing(slice(4, 6)), known=known))[0].last_step == fires


def test_too_few_samples_of_a_missing_gradient_are_no_passed_check() -> None:
    detector = GradientUnreached()
    for reading in stream(missing(slice(4, 6)), range(50, 700, 50)):
        with pytest.raises(NotMeasurable):
            detector.update(reading)


def test_sparse_samples_need_their_number() -> None:
    found = findings(GradientUnreached(), stream(missing(slice(4, 6)), range(100, 5000, 100)))
    assert found[0].last_step == 2000


def test_stuck_at_chance_is_a_warning() -> None:
    found = findings(GradientUnreached(), stream(missing(slice(4, 6), relative=0.95)))
    assert found[0].severity == Severity.WARNING
    assert "0.95 times its reference" in found[0].message


def test_a_small_first_layer_alone_gets_three_times_as_long() -> None:
    def warns(which: slice, numel: tuple[int, ...]) -> int | None:
        known = facts(parameter_numel=numel)
        found = findings(GradientUnreached(), stream(missing(which, relative=0.95), known=known))
        assert found[0].last_step == 100
        return first(found, Severity.WARNING)

    small = (640, 64, 4096, 64, 640, 10)
    assert warns(slice(0, 2), small) == warns(slice(0, 1), small) == 180
    assert warns(slice(0, 3), small) == 100  # the second, too
    assert warns(slice(4, 6), small) == 100  # the last
    assert warns(slice(0, 2), (4096, 64, 4096, 64, 640, 10)) == 100  # half of the model


def test_most_of_the_model_and_half_of_chance_is_a_warning_later() -> None:
    found = findings(GradientUnreached(), stream(missing(slice(0, 4), relative=0.6)))
    assert (first(found, Severity.INFO), first(found, Severity.WARNING)) == (100, 180)
    small = findings(GradientUnreached(), stream(missing(slice(4, 6), relative=0.6)))
    assert first(small, Severity.WARNING) is None


def test_without_a_known_chance_a_spare_head_stays_info() -> None:
    known = facts(chance_loss=None)
    assert (
        first(findings(GradientUnreached(), stream(missing(slice(4, 6), 1.0), known=known)), Severity.WARNING) is None
    )
    assert first(findings(GradientUnreached(), stream(missing(slice(0, 4), 1.0), known=known)), Severity.WARNING) == 100


def test_never_critical_and_whole_model_names_nothing() -> None:
    found = findings(GradientUnreached(), stream(missing(slice(0, P), relative=3.0)))
    assert max(f.severity for f in found) == Severity.WARNING
    assert found[-1].where == ()
    assert "all of them" in found[-1].message


def test_a_gradient_now_and_then_is_quiet() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        return missing(slice(4, 6), until=0 if step % 50 == 0 else 10**9)(step, rng)

    assert not findings(GradientUnreached(), stream(make))


def test_since_when() -> None:
    found = findings(GradientUnreached(), stream(missing(slice(4, 6), start=150)))
    assert (found[0].first_step, found[0].last_step) == (150, 249)


def orphan(ratio: float) -> Make:
    """The body is in no optimizer; its weights change by ``ratio`` a step nevertheless."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng, 0.3)
        made["update/parameter_ratio"][:4] = ratio
        return made

    return make


def test_no_optimizer_is_told_after_five_samples() -> None:
    known = facts(in_optimizer=(False,) * 4 + (True,) * 2)
    found = findings(GradientUnreached(), stream(orphan(0.0), known=known))
    assert (found[0].last_step, found[0].severity, found[0].where) == (5, Severity.INFO, ("body",))
    assert "belong to no optimizer" in found[0].message
    assert found[0].evidence["no_optimizer"] == 4


def test_an_optimizer_the_trainer_can_not_see() -> None:
    known = facts(in_optimizer=(False,) * 4 + (True,) * 2)
    assert not findings(GradientUnreached(), stream(orphan(1e-4), known=known))


def test_alternating_optimizers() -> None:
    """Each optimizer's parameters are measured at every other sample, with a gradient."""

    def make(step: int, rng: np.random.Generator) -> Values:
        made = values(rng)
        idle = slice(0, 4) if step % 2 else slice(4, 6)
        for name in ("grad/parameter_norm", "grad/missing", "update/parameter_ratio"):
            made[name][idle] = np.nan
        return made

    assert run(GradientUnreached(), stream(make))[-1] is None


def test_parameters_come_and_go() -> None:
    def make(step: int, rng: np.random.Generator) -> Values:
        made = missing(slice(4, 6))(step, rng)
        return {"grad/missing": made["grad/missing"][: P if step > 50 else P - 2]}

    found = findings(GradientUnreached(), stream(make))
    assert found[0].first_step == 51


def test_not_measured() -> None:
    assert "not measured" in str(run(GradientUnreached(), stream(lambda step, rng: {}))[0])


def test_resumes() -> None:
    assert_resumes(GradientUnreached, stream(missing(slice(0, 4), relative=0.6)))


@pytest.mark.parametrize(
    ("argument", "value"), [("samples", 1), ("steps", 0), ("orphan_samples", True), ("stuck", -1), ("share", 1.5)]
)
def test_says_which_argument_is_wrong(argument: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"{argument} must be .* got {value}"):
        GradientUnreached(**{argument: value})  # type: ignore[arg-type]
