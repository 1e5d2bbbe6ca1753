"""The sink that lists labels that are probably wrong in a table that pandas and cleanlab read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_diag.diagnosis import Diagnosis
from lightning_diag.finding import Finding
from lightning_diag.reading import Reading
from lightning_diag.sinks._append import replace_file
from lightning_diag.sinks.base import RunInfo, Sink

FILE = "suspicious_labels.csv"
RULE = "data/label-noise"
COLUMNS = (
    "sample_id", "content_key", "given_label", "predicted_label", "label_score", "is_label_issue", "margin",
    "times_seen",
)  # fmt: skip


class SuspectSink(Sink):
    """Writes ``suspicious_labels.csv`` into the run directory, the most suspicious first, at most 1,000 rows.

    Written when ``data/label-noise`` fires and at the end; without a suspect there is no file. ``sample_id`` is the
    user's own id where batches hold one, else empty; ``content_key`` is that of ``DataMonitor.content_keys``. Columns
    ``given_label``, ``predicted_label``, ``label_score`` (0 to 1, low = wrong) and ``is_label_issue`` are named as in
    cleanlab's table of label issues.

    Cost:
        One comparison a reading; a few ms a file.

    Raises:
        RecordError: from :meth:`finding` and :meth:`close`, when the file can't be written.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sink = SuspectSink()
        ...     sink.open(RunInfo(Path(folder), "example"))
        ...     sink.reading(Reading(9, 1, {"data/suspects": np.array([[5.0, 0, 0, 17, 3, 8, 0.1, -2.5, 4]])}))
        ...     sink.close(Diagnosis())
        ...     (Path(folder) / FILE).read_text().splitlines()[1]
        '17,0000000000000005,3,8,0.1,True,-2.5,4'
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._run_dir: Path | None = None
        self._table: NDArray[np.float64] | None = None

    def open(self, run: RunInfo) -> None:
        """Keep the folder."""
        self._reset()
        self._run_dir = run.run_dir

    def reading(self, reading: Reading) -> None:
        """Keep the newest table."""
        table = reading.vector("data/suspects")
        if table is not None:
            self._table = table

    def finding(self, finding: Finding) -> None:
        """Write when labels are told to be wrong: a killed run leaves the list."""
        if finding.rule == RULE:
            self._write()

    def close(self, diagnosis: Diagnosis) -> None:
        """Write the last table."""
        self._write()

    def _write(self) -> None:
        if self._run_dir is None or self._table is None or not len(self._table):
            return
        replace_file(self._run_dir / FILE, as_csv(self._table).encode())


def as_csv(table: NDArray[np.float64]) -> str:
    """Return rows ``(n, 9)`` of ``data/suspects`` as a table: plain numbers and hexadecimal keys, nothing to quote.

    >>> print(as_csv(np.array([[5.0, 0, 0, np.nan, 3, 8, 0.1, -2.5, 4]])), end="")
    sample_id,content_key,given_label,predicted_label,label_score,is_label_issue,margin,times_seen
    ,0000000000000005,3,8,0.1,True,-2.5,4
    """
    lines = [",".join(COLUMNS)]
    for low, middle, high, own, given, other, score, margin, times in table.tolist():
        key = f"{int(low) | int(middle) << 21 | int(high) << 42:016x}"
        cells = (whole(own), key, whole(given), whole(other), f"{score:.6g}", "True", f"{margin:.6g}", whole(times))
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def whole(value: float) -> str:
    """Return a whole number in words, empty where it isn't known."""
    return f"{value:.0f}" if math.isfinite(value) else ""
