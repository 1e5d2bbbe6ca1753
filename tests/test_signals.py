from __future__ import annotations

import re
from typing import get_args

import pytest

from lightning_diag.signals import PREFIX, SIGNALS, Merge, Signal, Statistic, _table, logged_keys


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=list(SIGNALS))
def test_every_row_is_well_formed(signal: Signal) -> None:
    assert re.fullmatch(r"[a-z_]+(/[a-z_0-9]+)?", signal.name)
    assert signal.unit
    assert signal.doc
    assert not signal.doc.endswith(".")
    assert signal.merge in get_args(Merge)
    assert set(signal.logged) <= set(get_args(Statistic))


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=list(SIGNALS))
def test_scalars_leave_as_a_value_and_arrays_as_a_few_statistics(signal: Signal) -> None:
    if signal.axis is None:
        assert signal.logged in ((), ("value",))
    else:
        assert "value" not in signal.logged


def test_the_table_is_keyed_by_name_and_refuses_a_second_row() -> None:
    assert all(name == signal.name for name, signal in SIGNALS.items())
    row = SIGNALS["loss/train"]
    with pytest.raises(ValueError, match="listed twice"):
        _table(row, row)


def test_logged_keys_are_prefixed_unique_and_few() -> None:
    keys = logged_keys()
    assert all(key.startswith(PREFIX) for key in keys)
    assert sum(len(signal.logged) for signal in SIGNALS.values()) == len(keys)
    assert "diag/loss/train" in keys
    assert {"diag/grad/parameter_norm/min", "diag/grad/parameter_norm/max"} <= keys.keys()
    assert len(keys) <= 60, "charts a user gets without asking for them"


def test_a_signal_that_is_not_logged_has_no_key() -> None:
    assert logged_keys(("grad/missing",)) == {}


def test_an_unknown_signal_has_no_keys() -> None:
    with pytest.raises(KeyError):
        logged_keys(("loss/none",))
