from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import norm

from lightning_diag.detectors._domain_choice import choose
from lightning_diag.detectors._domains import rate
from lightning_diag.detectors.domain_gap import DomainGap
from lightning_diag.errors import ConfigurationError, NotMeasurable
from lightning_diag.finding import Severity
from lightning_diag.reading import Facts, Reading
from tests.detectors.domain_stream import FACTS, found, reading, run


def classes(val: np.ndarray, n: int = 40) -> dict[str, np.ndarray]:
    """Counts from class errors ``(D, K)``."""
    support = np.full(val.shape, float(n))
    return {"domain/val_class_support": support, "domain/val_class_right": np.round(support * (1 - val))}


def test_a_gap_is_told_at_the_second_pass_with_domain_and_classes() -> None:
    errors = np.full((2, 10), 0.05)
    errors[1, [3, 8]] = (0.9, 0.6)
    facts = Facts(
        names={
            "domain": ("synthetic", "real"),
            "class": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        }
    )
    said = run(DomainGap(), [reading(i, (0.05, 0.19), facts=facts, more=classes(errors)) for i in (1, 2)])
    assert said[0] is None
    finding = found(said)[0]
    assert finding.where == ("real", "three", "eight") and finding.severity == Severity.WARNING
    assert "real: validation error 19 % (n=400) against 5 % on held-out synthetic (n=300)" in finding.message
    assert "three (90 % against 5 %)" in finding.message
    assert finding.evidence["value"] == pytest.approx(0.14) and finding.evidence["source_held_out"] == 1
    json.dumps(finding.to_dict())


def test_the_standard_error_is_that_of_two_shares() -> None:
    made = rate(np.array([400.0, 80, 80]))
    assert made.mean == 0.2 and made.se == pytest.approx(np.sqrt((0.16 + 1 / 402) / 399))
    nothing = rate(np.array([0.0, 0, 0]))
    assert np.isnan(nothing.mean) and nothing.se == np.inf


def test_a_small_gap_is_left_alone_however_sure() -> None:
    assert not found(run(DomainGap(), [reading(i, (0.05, 0.075), n=(90_000, 90_000)) for i in range(1, 9)]))


def test_a_large_gap_of_few_samples_is_left_alone() -> None:
    assert not found(run(DomainGap(), [reading(i, (0.05, 0.15), n=(40, 40)) for i in range(1, 9)]))


def test_a_domain_that_is_only_harder_is_left_alone() -> None:
    said = run(DomainGap(), [reading(i, (0.03, 0.20), (0.02, 0.19)) for i in range(1, 9)])
    assert said == [None] * 8


def test_a_harder_domain_that_is_memorized_a_little_is_left_alone() -> None:
    many = (5000, 5000)
    for train, told in ((0.18, False), (0.05, True)):
        said = run(DomainGap(), [reading(i, (0.03, 0.25), (0.02, train), n=many, trained=many) for i in range(1, 4)])
        assert bool(found(said)) == told, "half of the gap must not be difficulty"


def test_a_domain_that_is_memorized_is_not_harder() -> None:
    assert found(run(DomainGap(), [reading(i, (0.03, 0.20), (0.02, 0.01)) for i in range(1, 4)]))


def test_a_few_samples_of_the_target_in_training_do_not_excuse_it() -> None:
    for trained in ((300, 4), (3000, 100)):
        said = run(DomainGap(), [reading(i, (0.03, 0.4), (0.02, 0.39), trained=trained) for i in range(1, 4)])
        assert found(said)


@pytest.mark.parametrize("n", [9000, 500], ids=["samples", "pixels"])
def test_a_class_whose_gap_is_sure_but_small_is_not_named(n: int) -> None:
    errors = np.full((2, 3), 0.05)
    errors[1] = (0.07, 0.07, 0.5)
    said = run(DomainGap(), [reading(i, (0.05, 0.2), n=(n, n), more=classes(errors, 3000)) for i in (1, 2)])
    assert found(said)[0].where == ("real", "class 2")


def test_without_held_out_source_the_limit_doubles_and_the_message_says_so() -> None:
    n, trained = (0, 2000), (2000, 0)
    assert not found(run(DomainGap(), [reading(i, (0, 0.075), (0.02, 0), n=n, trained=trained) for i in range(1, 5)]))
    finding = found(run(DomainGap(), [reading(i, (0, 0.12), (0.02, 0), n=n, trained=trained) for i in range(1, 5)]))[0]
    assert "no synthetic sample is held out" in finding.message and finding.evidence["limit"] == pytest.approx(0.06)
    assert finding.advice[0].startswith("hold out some synthetic samples")


def test_without_held_out_source_a_gap_as_overfitting_makes_it_is_a_note() -> None:
    def severities(*wrong: float) -> list[Severity]:
        passes = enumerate(wrong, 1)
        said = run(DomainGap(), [reading(i, (0, e), (0.02, 0), n=(0, 2000), trained=(2000, 0)) for i, e in passes])
        return [finding.severity for finding in found(said)]

    assert severities(0.16, 0.16) == [Severity.INFO]
    assert severities(0.2, 0.2, 0.2) == [Severity.WARNING] * 2
    assert severities(0.12, 0.2, 0.2) == [Severity.INFO, Severity.WARNING]
    assert severities(0.2, 0.12, 0.2) == [Severity.INFO] * 2  # twice in a row


def test_a_better_target_is_no_gap() -> None:
    assert not found(run(DomainGap(), [reading(i, (0.3, 0.05)) for i in range(1, 5)]))


def test_it_resolves() -> None:
    said = run(DomainGap(), [reading(i, (0.05, 0.3 if i < 4 else 0.06)) for i in range(1, 7)])
    assert [bool(found([one])) for one in said] == [False, True, True, False, False, False]


def losses(number: int, real: float) -> Reading:
    n = 400.0
    rows = np.array([[0, 0, 0, n, n * 1.0, n * 1.2], [0, 0, 0, n, n * real, n * (real**2 + 0.2)]])
    values = {"domain/val_samples": np.full(2, n), "domain/val_sums": rows}
    return Reading(100 * number, 0, values, FACTS, stage="validation")


def test_where_only_losses_are_known_it_is_info() -> None:
    assert not found(run(DomainGap(), [losses(i, 1.2) for i in range(1, 4)]))
    finding = found(run(DomainGap(), [losses(i, 2.0) for i in range(1, 4)]))[0]
    assert finding.severity == Severity.INFO and "validation loss 2" in finding.message


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (Reading(100, 0, {"domain/named": 0.0}), "no domain is named"),
        (Reading(100, 0, {"domain/named": 0.0}, Facts(unmeasured={"domain/val_samples": "no key"})), "no key"),
        (reading(1, (0.1, 0.0), n=(300, 0)), "one domain only: synthetic"),
        (reading(1, (0.1, 0.2), n=(300, 6)), "fewer than 20 validation samples of real"),
        (reading(1, (0.1, 0.2), facts=Facts(names={"domain": ("a", "b")})), "which of a and b"),
        (
            reading(1, (0.1, 0.2), facts=Facts(names=FACTS.names, target_domain="photo")),
            "no sample of the target 'photo'",
        ),
    ],
)
def test_what_can_not_be_judged_has_a_sentence(one: Reading, words: str) -> None:
    said = run(DomainGap(), [one])
    assert isinstance(said[0], str) and words in said[0]


def test_the_first_steps_are_not_judged() -> None:
    assert "after 80" in str(run(DomainGap(), [Reading(40, 0, reading(1, (0.1, 0.5)).values, FACTS)])[0])


@pytest.mark.parametrize(
    ("names", "val", "train", "want"),
    [
        (("synthetic", "real"), (1, 1), (1, 1), 1),
        (("target", "a"), (1, 1), (1, 1), 0),
        (("sim", "test"), (1, 1), (1, 1), 1),
        (("rendered", "photo"), (1, 1), (1, 1), 1),
        (("val", "test"), (1, 1), (0, 0), None),
        (("domain 0", "domain 1"), (0, 9), (9, 1), 1),
        (("domain 0", "domain 1"), (9, 9), (9, 9), None),
        (("a", "b", "c"), (0, 5, 5), (9, 0, 0), None),
    ],
)
def test_which_domain_counts(
    names: tuple[str, ...], val: tuple[int, ...], train: tuple[int, ...], want: int | None
) -> None:
    arrays = np.array(val, float), np.array(train, float)
    if want is None:
        with pytest.raises(NotMeasurable, match="is not known"):
            choose(names, *arrays, None)
        assert choose(names, *arrays, names[1]) == 1
    else:
        assert choose(names, *arrays, None) == want


def test_false_alarms_without_a_gap() -> None:
    """300 healthy runs of 12 passes: equal domains, and a harder one that is trained on."""
    rng, fired = np.random.default_rng(0), 0
    for k in range(300):
        val, train = ((0.1, 0.1), None) if k % 2 else ((0.05, 0.2), (0.05, 0.2))
        fired += bool(found(run(DomainGap(), [reading(i, val, train, rng=rng) for i in range(1, 13)])))
    assert fired <= 1


def test_power_at_ten_points() -> None:
    rng = np.random.default_rng(0)
    hits = [bool(found(run(DomainGap(), [reading(i, (0.05, 0.15), rng=rng) for i in range(1, 7)]))) for _ in range(50)]
    se = np.sqrt(0.05 * 0.95 / 300 + 0.15 * 0.85 / 400)
    assert norm.sf(3 - 0.1 / se) > 0.9 and np.mean(hits) > 0.95


def test_resume_gives_the_same() -> None:
    readings = [reading(i, (0.05, 0.3), (0.02, 0.02)) for i in range(1, 5)]
    whole, first, second = DomainGap(), DomainGap(), DomainGap()
    said = run(whole, readings)
    run(first, readings[:2])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert run(second, readings[2:]) == said[2:] and second.state_dict() == whole.state_dict()


def test_non_finite_sums_do_not_fire_and_do_not_deafen_it() -> None:
    bad = reading(1, (np.nan, np.nan))
    said = run(DomainGap(), [bad, *(reading(i, (0.05, 0.4)) for i in (2, 3))])
    assert not found(said[:2]) and found(said[2:])


@pytest.mark.parametrize("arguments", [{"effect": -1}, {"sigmas": -1}, {"evaluations": 0}, {"support": 1}])
def test_wrong_arguments(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        DomainGap(**arguments)  # type: ignore[arg-type]
