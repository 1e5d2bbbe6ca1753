from __future__ import annotations

from pathlib import Path

import pytest

from lightning_diag.errors import RecordError
from lightning_diag.logs.csv_log import read
from lightning_diag.logs.rows import Row


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_lightnings_table(tmp_path: Path) -> None:
    table = read(
        write(tmp_path / "metrics.csv", "epoch,lr-SGD,step,train_loss\n,0.1,0,\n0,,49,2.5\n0,,99,nan\n1,,149,inf\n")
    )
    assert table.kind == "CSV log"
    assert table.rows[0] == Row(1, -1, {"lr-SGD": 0.1})
    assert table.rows[1] == Row(50, 0, {"train_loss": 2.5})
    assert str(table.rows[2].values["train_loss"]) == "nan"
    assert table.rows[3].values["train_loss"] == float("inf")


def test_damage_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    table = read(
        write(tmp_path / "a.csv", "step,train_loss,note\n0,1.0,fine\nx,2.0,\n-3,2.0,\n2,oops,\n3,0.5,a,b,c\n4")
    )
    assert [(row.step, dict(row.values)) for row in table.rows] == [
        (1, {"train_loss": 1.0}),
        (3, {}),
        (4, {"train_loss": 0.5}),
        (5, {}),
    ]
    assert table.damaged == 2


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n"])
def test_a_table_without_steps_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no column that counts steps"):
        read(write(tmp_path / "a.csv", text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="can't be read"):
        read(tmp_path / "none.csv")
