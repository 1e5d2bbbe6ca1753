"""Whatever a log file holds, reading it ends in a log or in a RecordError."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_diag import check
from lightning_diag.errors import RecordError
from lightning_diag.logs import open_log
from tests.logs.writers import event, field, framed, write_events, write_wandb

SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = {"csv": "metrics.csv", "wandb": "run-a.wandb", "board": "events.out.tfevents.1.h"}


def whole(kind: str, path: Path) -> bytes:
    """A log of 30 losses."""
    if kind == "csv":
        path.write_text("step,epoch,train_loss\n" + "".join(f"{i},0,{1 / (i + 1)}\n" for i in range(30)))
    elif kind == "wandb":
        write_wandb(path, [{"train_loss": 1 / (i + 1), "trainer/global_step": i, "epoch": 0} for i in range(30)])
    else:
        write_events(path, [event(i, {"train_loss": 1 / (i + 1)}) for i in range(30)])
    return path.read_bytes()


@pytest.mark.parametrize("kind", NAMES)
@SLOW
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 20))
def test_damage_anywhere(kind: str, seed: int, changes: int, tmp_path: Path) -> None:
    path = tmp_path / NAMES[kind]
    data, rng = bytearray(whole(kind, path)), random.Random(seed)
    for _ in range(changes):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data[: rng.randrange(len(data))])
    with contextlib.suppress(RecordError):
        check(open_log(path))


@SLOW
@given(content=st.binary(max_size=200))
def test_records_that_are_framed_well_and_hold_anything(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / NAMES["wandb"]
    path.write_bytes(framed([content, field(2, content), field(2, field(1, field(2, "loss") + field(16, content)))]))
    check(open_log(path))
    path = tmp_path / NAMES["board"]
    write_events(path, [event(1, {"loss": 1.0}), content, field(5, content), field(5, field(1, content))])
    check(open_log(path))


@pytest.mark.parametrize("step", ["-5", "1e308", "nan", "inf", "9" * 400, "0x10", ""])
def test_steps_that_are_none(step: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(f"step,train_loss,epoch\n{step},1.0,{step}\n3,2.0,1\n")
    assert [row.step for row in open_log(tmp_path).rows] == [4]


def test_deep_json_and_huge_numbers(tmp_path: Path) -> None:
    path = tmp_path / NAMES["wandb"]
    deep = field(2, field(1, field(2, "x") + field(16, "[" * 100_000)))
    huge = field(2, field(1, field(2, "loss") + field(16, "9" * 400)) + field(2, field(1, 3)))
    path.write_bytes(framed([deep, huge]))
    log = open_log(path)
    assert log.table.damaged == 1 and not [r for r in log.readings() if "loss/train" in r]
