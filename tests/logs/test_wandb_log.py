from __future__ import annotations

from pathlib import Path

import pytest

from lightning_diag.errors import RecordError
from lightning_diag.logs.wandb_log import read
from tests.logs.writers import field, framed, write_wandb

ROWS: list[dict[str, object]] = [
    {"train_loss": 1.0, "trainer/global_step": 49, "epoch": 0, "_timestamp": 1.7e9, "note": "text"},
    {"val_loss": 2.0, "trainer/global_step": 49, "epoch": 0},
    {"diag/loss/train": 3.0, "diag/step": 60},
    {"train_loss": "NaN", "trainer/global_step": 99, "epoch": 1},
]


def test_rows_over_lightnings_steps(tmp_path: Path) -> None:
    path = tmp_path / "run-abc.wandb"
    write_wandb(path, ROWS, {"lr": 0.1, "_wandb": {"x": 1}})
    table = read(path)
    assert (table.name, table.ended, table.config) == ("calm-sea-1", True, {"lr": 0.1})
    assert [(row.step, row.epoch) for row in table.rows] == [(50, 0), (50, 0), (60, 0), (100, 1)]
    assert [sorted(row.values) for row in table.rows] == [
        ["train_loss"],
        ["val_loss"],
        ["diag/loss/train"],
        ["train_loss"],
    ]
    assert str(table.rows[3].values["train_loss"]) == "nan"


def test_without_lightnings_steps_rows_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "run-abc.wandb"
    write_wandb(path, [{"loss": 1.0}, {"loss": 2.0}], ended=False)
    table = read(path)
    assert [row.step for row in table.rows] == [1, 2]
    assert table.ended is False


def test_records_over_several_blocks_and_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "run-abc.wandb"
    write_wandb(path, [{"loss": float(i), "x": "y" * 5000} for i in range(60)])
    assert len(read(path).rows) == 60
    path.write_bytes(path.read_bytes()[:-6000])
    table = read(path)
    assert 50 < len(table.rows) < 60
    assert table.ended is False


def test_a_record_that_is_none_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "run-abc.wandb"
    path.write_bytes(framed([field(2, field(1, b"\xff\xff")), b"\x0b", field(18, b"")]))
    table = read(path)
    assert (table.damaged, table.ended, table.rows) == (2, True, ())


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run-abc.wandb"
    path.write_bytes(b"something else")
    with pytest.raises(RecordError, match="another head"):
        read(path)


def test_what_the_package_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    from tests.wandb_file import read_finished

    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(dir=tmp_path, mode="offline", config={"lr": 0.5, "net": {"width": 8}}, reinit="finish_previous")
    for step in range(3):
        run.log({"train/loss": 1.0 / (step + 1), "trainer/global_step": step, "bad": float("nan")})
    run.finish()
    path = Path(run.settings.sync_file)
    theirs = read_finished(path)
    table = read(path)
    assert [row.values["train/loss"] for row in table.rows] == [row["train/loss"] for row in theirs.history]
    assert [row.step for row in table.rows] == [1, 2, 3]
    assert (table.ended, table.config["lr"]) == (True, 0.5)
    assert all(str(row.values["bad"]) == "nan" for row in table.rows)
