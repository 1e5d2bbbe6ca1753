"""``metrics.csv`` of Lightning's ``CSVLogger``, and any other table with a ``step`` column."""

from __future__ import annotations

import csv
from pathlib import Path

from lightning_diag.errors import RecordError
from lightning_diag.logs import hparams
from lightning_diag.logs.rows import Row, Table, number, whole

FILE = "metrics.csv"
STEPS = ("step", "trainer/global_step", "global_step", "_step")


def read(path: Path) -> Table:
    """Read a table.

    Lightning counts steps from 0 and names the last that was done; a validation or an epoch's mean stands with it.

    Args:
        path: the file.

    Raises:
        RecordError: it can't be read, or has no column that counts steps.
    """
    rows: list[Row] = []
    damaged = 0
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            axis = next((name for name in STEPS if name in columns), None)
            if axis is None:
                raise RecordError(f"{path} has no column that counts steps ({', '.join(STEPS)})")
            for line in reader:
                numbers = {key: number(text) for key, text in line.items() if key is not None and text}
                step = whole(numbers.get(axis), -1)
                if step < 0:
                    damaged += 1
                    continue
                epoch = whole(numbers.get("epoch"), -1)
                values = {key: x for key, x in numbers.items() if x is not None and key not in (axis, "epoch")}
                rows.append(Row(step + 1, epoch, values))
    except (OSError, csv.Error) as error:
        raise RecordError(f"{path} can't be read: {error}") from error
    return Table("CSV log", tuple(rows), path.parent.name, None, hparams.read(path.parent), damaged)
