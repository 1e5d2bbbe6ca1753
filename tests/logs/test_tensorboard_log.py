from __future__ import annotations

import struct
from pathlib import Path

import pytest

from lightning_diag.errors import RecordError
from lightning_diag.logs.tensorboard_log import read
from tests.logs.writers import event, field, write_events


@pytest.mark.parametrize("tensor", [False, True])
def test_scalars_by_step_with_the_epoch_that_follows_them(tensor: bool, tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    write_events(path, [event(49, {"train_loss": 0.5}, tensor=tensor), event(49, {"epoch": 2}, tensor=tensor)])
    (row,) = read([path]).rows
    assert (row.step, row.epoch, dict(row.values)) == (50, 2, {"train_loss": 0.5})


def test_a_torn_end_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    write_events(path, [event(0, {"loss": 1.0}), event(1, {"loss": 2.0})])
    whole = path.read_bytes()
    for cut in (1, 5, 20, 30):
        path.write_bytes(whole[:-cut])
        assert [row.step for row in read([path]).rows] == [1]
    path.write_bytes(whole + struct.pack("<QI", 2**60, 0) + b"x")
    assert len(read([path]).rows) == 2


def test_other_summaries_are_passed_over_and_damage_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    image = field(2, 3) + field(5, field(1, field(1, "image") + field(4, field(1, 8))))
    many = field(2, 3) + field(5, field(1, field(1, "many") + field(8, field(1, 1) + field(4, bytes(8)))))
    write_events(path, [event(0, {"loss": 1.0}), image, many, b"\x0b"])
    table = read([path])
    assert [dict(row.values) for row in table.rows] == [{"loss": 1.0}]
    assert table.damaged == 1


def test_what_holds_no_event_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(b"no event")
    with pytest.raises(RecordError, match="holds no event"):
        read([path])


def test_what_the_package_writes(tmp_path: Path) -> None:
    writers = pytest.importorskip("tensorboard.summary.writer.event_file_writer", reason="tensorboard is not installed")
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2")
    summary_pb2 = pytest.importorskip("tensorboard.compat.proto.summary_pb2")
    writer = writers.EventFileWriter(str(tmp_path))
    value = summary_pb2.Summary.Value(tag="train/loss", simple_value=0.25)
    writer.add_event(event_pb2.Event(wall_time=1.0, step=9, summary=summary_pb2.Summary(value=[value])))
    writer.close()
    table = read(list(tmp_path.iterdir()))
    assert [(row.step, dict(row.values)) for row in table.rows] == [(10, {"train/loss": 0.25})]
    assert table.damaged == 0
