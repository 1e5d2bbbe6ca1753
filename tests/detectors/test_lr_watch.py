from __future__ import annotations

import json

import numpy as np
import pytest

from lightning_diag.detectors._lr_watch import LrWatch
from lightning_diag.reading import Reading


def seen(*samples: tuple[int, float]) -> LrWatch:
    watch = LrWatch()
    for step, rate in samples:
        watch.see(Reading(step, 0, {"lr": np.array([rate / 10, rate])}))
    return watch


def test_nothing_seen() -> None:
    watch = LrWatch()
    assert watch.decay == 1.0 and not watch.rising(100, 50) and not watch.raised(0) and not watch.unknown_since(5)


def test_peak_decay_and_rise() -> None:
    watch = seen((1, 0.1), (10, 0.2), (20, 0.2), (30, 0.02))
    assert (watch.peak, watch.peak_step) == (0.2, 10) and watch.decay == pytest.approx(0.1)
    assert watch.rising(30, 21) and not watch.rising(30, 20)


def test_a_constant_rate_never_rises_wherever_the_watch_begins() -> None:
    assert not seen((5000, 0.1), (5010, 0.1)).rising(5010, 100)


def test_a_jump_counts_while_it_lasts() -> None:
    up = seen((1, 0.1), (10, 0.01), (20, 0.1))
    assert up.jump_step == 20 and up.raised(15) and not up.raised(21)
    assert not seen((1, 0.1), (10, 0.01), (20, 0.1), (30, 0.01)).raised(15)  # it went back
    assert not seen((1, 0.1), (10, 0.1)).raised(-50)  # it never jumped, however far one looks back
    assert seen((1, 0.1), (10, 0.15), (20, 0.25)).jump_step == -1  # a slope is no jump


def test_unknown_since_the_last_sample() -> None:
    watch = seen((10, 0.1))
    assert watch.unknown_since(11) and not watch.unknown_since(10)


def test_rates_that_are_not_finite_or_empty_are_skipped() -> None:
    watch = seen((1, 0.1), (10, np.nan), (20, np.inf))
    watch.see(Reading(30, 0, {"lr": np.zeros(0)}))
    assert (watch.last, watch.seen_step) == (0.1, 1)


def test_state_round_trip() -> None:
    watch, other = seen((1, 0.1), (10, 0.01), (20, 0.1)), LrWatch()
    other.load_state_dict(json.loads(json.dumps(watch.state_dict())))
    assert vars(other) == vars(watch)
