"""Every way to train: bit-identical with and without us, and what is measured of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_diag import Diagnostics, MemorySink
from tests.setups.catalog import SETUPS
from tests.setups.harness import Left, differences, train, training
from tests.training import Classifier, fit

IGNORED = (  # what Lightning says of such a setup, with and without us
    ".training_step. returned .None.:UserWarning",
    ".*configure_optimizers. returned .None.:UserWarning",
    ".*enabled train dataloader shuffling:UserWarning",
    ".*have no .val_dataloader.:UserWarning",
    ".*:DeprecationWarning",
)
pytestmark = [pytest.mark.filterwarnings(f"ignore:{words}") for words in IGNORED]
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if s.slow else []) for name, s in SETUPS.items()]
_watched: dict[str, tuple[Left, MemorySink]] = {}


def watched(name: str, root: Path) -> tuple[Left, MemorySink]:
    """Train once with every step sampled, for both tests."""
    if name not in _watched:
        sink = MemorySink()
        diag = Diagnostics(every_n_steps=1, strict=True, sinks=[sink])
        _watched[name] = train(SETUPS[name], [diag], root), sink
    return _watched[name]


@pytest.mark.parametrize("name", NAMES)
def test_bit_identical(name: str, tmp_path: Path) -> None:
    bare = train(SETUPS[name], [], tmp_path / "bare")
    every = watched(name, tmp_path / "every")[0]
    third = train(SETUPS[name], [Diagnostics(every_n_steps=3, strict=True)], tmp_path / "third")
    for left in (every, third):
        for part in ("weights", "streams", "logged", "checkpoint"):
            assert differences(getattr(bare, part), getattr(left, part), part) == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_measured(name: str, tmp_path: Path) -> None:
    setup = SETUPS[name]
    sink = watched(name, tmp_path)[1]
    steps = training(sink.readings)
    assert len(steps) == (setup.steps if setup.readings is None else setup.readings)
    assert [r.step for r in steps] == list(range(1, len(steps) + 1))
    seen: set[Any] = {signal for reading in sink.readings for signal in reading.values}
    assert set(setup.measured) - seen == set()


def test_the_module_carries_no_trace_of_us_afterwards(tmp_path: Path) -> None:
    module = Classifier()
    fit(module, [Diagnostics(strict=True)], tmp_path, steps=5)
    for part in module.modules():
        assert not part._forward_hooks and not part._forward_pre_hooks and not part._backward_hooks
    assert not module.trainer.optimizers[0]._optimizer_step_post_hooks
