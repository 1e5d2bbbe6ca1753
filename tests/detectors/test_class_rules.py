"""The four other rules over class counts: a planted case each, and the healthy case next to it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from lightning_diag.detectors.class_collapsed import ClassCollapsed
from lightning_diag.detectors.class_confused import ClassConfused
from lightning_diag.detectors.class_imbalanced import ClassImbalanced
from lightning_diag.detectors.class_neglected import ClassNeglected
from lightning_diag.errors import NotMeasurable
from lightning_diag.finding import Severity
from lightning_diag.reading import Facts, Reading
from tests.detectors.class_stream import judged, passed, uniform


def test_collapsed_warns_then_is_critical_late_and_healthy_is_quiet() -> None:
    collapsed = np.zeros((10, 10))
    collapsed[:, 3] = 30
    said = judged(ClassCollapsed(), [passed(e, collapsed, planned=1000) for e in range(8)])
    assert said[0] is None
    assert said[1] is not None and said[1].severity == Severity.WARNING and said[1].where == ("class 3",)
    assert said[7] is not None and said[7].severity == Severity.CRITICAL
    assert not any(judged(ClassCollapsed(), [passed(e, uniform(10, 30, 0.6)) for e in range(8)]))


def test_collapsed_excuses_labels_that_are_imbalanced_themselves() -> None:
    matrix = np.diag([960.0, 20.0, 20.0])
    matrix[1] = matrix[2] = [20, 0, 0]
    assert not any(judged(ClassCollapsed(), [passed(e, matrix) for e in range(5)]))


def test_collapsed_onto_two_of_ten() -> None:
    matrix = np.zeros((10, 10))
    matrix[:, 2], matrix[:, 5] = 20, 10
    said = judged(ClassCollapsed(), [passed(e, matrix) for e in range(3)])
    assert said[-1] is not None and said[-1].where == ("class 2", "class 5")


def test_neglected_names_the_class_and_its_rarity() -> None:
    matrix = uniform(5, 40, 0.1)
    matrix[4] = [38, 0, 0, 0, 2]
    train = [400, 400, 400, 400, 8]
    said = judged(ClassNeglected(), [passed(e, matrix, train=train) for e in range(7)])
    assert said[:6] == [None] * 6 and said[6] is not None and said[6].where == ("class 4",)
    assert "weighted sampler" in said[6].advice[0] and "0.5 %" in said[6].message
    few = uniform(5, 40, 0.1)
    few[4] = [5, 0, 0, 0, 0]
    assert not any(judged(ClassNeglected(), [passed(e, few) for e in range(6)]))


def test_a_hard_class_that_is_right_now_and_then_is_not_neglected() -> None:
    def said(right: int) -> list[Any]:
        matrix = uniform(5, 180, 0.1)
        matrix[4] = [180 - right, 0, 0, 0, right]
        return judged(ClassNeglected(), [passed(e, matrix) for e in range(7)])

    assert not any(said(32))  # 82 % are wrong: at least 76 %
    assert any(said(20))


def test_neglected_is_quiet_while_nothing_is_learned() -> None:
    assert not any(judged(ClassNeglected(), [passed(e, uniform(10, 40, 0.9)) for e in range(6)]))


def test_confused_is_a_note_and_a_warning_when_most_are_lost() -> None:
    hard = uniform(4, 100, 0.05)
    hard[1] = [0, 65, 0, 35]
    said = judged(ClassConfused(), [passed(e, hard) for e in range(7)])
    assert said[6] is not None and said[6].severity == Severity.INFO and said[6].where == ("class 1 as class 3",)
    hard[1] = [0, 38, 0, 62]  # more than half, and surely so: a hard pair may be
    said = judged(ClassConfused(), [passed(e, hard) for e in range(7)])
    assert said[6] is not None and said[6].severity == Severity.INFO
    hard[1] = [0, 20, 0, 80]
    said = judged(ClassConfused(), [passed(e, hard) for e in range(7)])
    assert said[6] is not None and said[6].severity == Severity.WARNING
    assert not any(judged(ClassConfused(), [passed(e, uniform(4, 100, 0.3)) for e in range(6)]))
    values = dict(passed(0, hard).values)
    del values["class/confusion"]
    with pytest.raises(NotMeasurable, match="64 classes"):
        ClassConfused().update(Reading(100, 0, values, stage="validation"))


def test_imbalance_that_is_learned_is_a_note_and_one_that_shows_a_warning() -> None:
    learned = uniform(3, 100, 0.05)
    said = judged(ClassImbalanced(), [passed(e, learned, train=[500, 500, 20]) for e in range(4)])
    assert said[-1] is not None and said[-1].severity == Severity.INFO and said[-1].where == ("class 2",)
    lost = uniform(3, 100, 0.05)
    lost[2] = [40, 40, 20]
    said = judged(ClassImbalanced(), [passed(e, lost, train=[500, 500, 20]) for e in range(4)])
    assert said[-1] is not None and said[-1].severity == Severity.WARNING
    assert not any(judged(ClassImbalanced(), [passed(e, lost, train=[500, 500, 250]) for e in range(4)]))
    early = [passed(e, lost, train=[500, 500, 20], step=25) for e in range(2)]  # the first counts and says nothing
    assert [f and f.severity for f in judged(ClassImbalanced(), early)] == [None, Severity.WARNING]
    sooner = [passed(e, lost, train=[500, 500, 20], step=24) for e in range(2)]
    assert not any(judged(ClassImbalanced(), sooner))
    for different, severity in ((29.0, Severity.INFO), (30.0, Severity.WARNING)):  # of so few some have none by chance
        few = Reading(1, 0, {"data/samples": np.float64(different)})
        said = judged(ClassImbalanced(), [few, *(passed(e, lost, train=[500, 500, 20]) for e in range(4))])
        assert said[-1] is not None and said[-1].severity == severity
    with pytest.raises(NotMeasurable, match="sampled training samples"):
        ClassImbalanced().update(passed(0, lost, train=[5, 5, 1]))


def test_what_is_small_in_every_picture_is_a_note_and_nothing_is_said_in_the_first_tenth_of_a_plan() -> None:
    lost = uniform(3, 100, 0.05)
    lost[2] = [40, 40, 20]

    def severity(batch: int, planned: int) -> Severity | None:
        passes = [passed(e, lost, train=[500, 500, 20]) for e in range(4)]
        known = Facts(planned_steps=planned, batch_size=batch)
        said = judged(ClassImbalanced(), [dataclasses.replace(p, facts=known) for p in passes])
        return said[-1].severity if said[-1] else None

    assert severity(16, 1000) == Severity.WARNING  # 4 passes of 1,020 labels in 400 steps: less than one a sample
    assert severity(4, 1000) == Severity.INFO
    assert severity(16, 4001) is None


def test_classes_a_few_times_rarer_that_are_missed_are_a_warning_together() -> None:
    def passes(missed: float, train: list[int], different: float = 2000.0, count: int = 6) -> list[Reading]:
        matrix = uniform(6, 60, 0.03)
        for k in (1, 3, 5):
            matrix[k] = 0
            matrix[k, k], matrix[k, 0] = 60 * (1 - missed), 60 * missed
        samples = Reading(1, 0, {"data/samples": np.float64(different)})
        return [samples, *(passed(e, matrix, train=train) for e in range(count))]

    rare = [100, 20, 100, 20, 100, 20]
    said = judged(ClassImbalanced(), passes(0.2, rare))
    assert said[:4] == [None] * 4 and said[4] is not None  # early on rare classes are only learned later
    assert said[4].severity == Severity.WARNING and set(said[4].where) == {"class 1", "class 3", "class 5"}
    assert "3 of 6 classes" in said[4].message and "20 % of their 180" in said[4].message
    assert not any(judged(ClassImbalanced(), passes(0.2, [100, 34, 100, 34, 100, 34])))  # hardly rarer
    assert not any(judged(ClassImbalanced(), passes(0.08, rare)))  # hardly missed more
    assert not any(judged(ClassImbalanced(), passes(0.2, rare, different=100.0)))  # little data altogether


def test_a_class_that_comes_last_is_not_neglected() -> None:
    def growing(e: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        matrix = uniform(6, 60, max(0.05, 0.6 * 0.7**e))
        if e < 8:
            matrix[5] = [60, 0, 0, 0, 0, 0]
        return matrix

    readings = [passed(e, growing(e)) for e in range(14)]
    assert not any(judged(ClassNeglected(), readings[:6])) and not any(judged(ClassConfused(), readings[:6]))


def test_of_two_classes_there_is_no_pair_to_confuse() -> None:
    two = np.array([[40.0, 60.0], [5.0, 95.0]])
    with pytest.raises(NotMeasurable, match="two classes"):
        ClassConfused().update(passed(3, two))
