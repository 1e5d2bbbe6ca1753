"""The sink for Weights & Biases: a few charts on their own axis, one table, deduplicated alerts, a verdict."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_diag.diagnosis import Diagnosis
from lightning_diag.errors import ConfigurationError, MissingExtraError
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.sinks._charts import (
    AXIS,
    CLASS_MAP,
    CLASSES,
    CONFUSIONS,
    DOMAIN_CHART,
    DOMAINS,
    MEDIA,
    REPORT,
    SHOWN,
    SUSPECTS,
    TABLE,
)
from lightning_diag.sinks._class_history import CLASS_COLUMNS, PAIR_COLUMNS, ClassHistory
from lightning_diag.sinks._domain_history import DOMAIN_COLUMNS, DomainHistory
from lightning_diag.sinks._metrics import RowLimit, metrics
from lightning_diag.sinks._news import News, clean
from lightning_diag.sinks._suspect_pictures import PICTURE_COLUMNS, SuspectPictures
from lightning_diag.sinks._wandb_words import COLUMNS, rows, summary, text, title
from lightning_diag.sinks.base import RunInfo, Sink

MAX_REPORT_BYTES = 20_000_000  # what is larger nobody would open in a panel
_HOUR_S = 3600.0


class WandbSink(Sink):
    """Logs readings, findings and the verdict into a W&B run that somebody else made and will finish.

    Charts are named as in :func:`lightning_diag.signals.logged_keys` and lie over ``diag/step``, the optimizer step
    that was measured; those that stand in no panel of :mod:`~lightning_diag.sinks._charts` are hidden.
    ``diag/findings`` holds one row a rule; ``diag/classes``, ``diag/confusions`` and the heat map
    ``diag/class_error_by_epoch`` show at most 50 classes and 100 validation passes; ``diag/report`` is the report,
    logged at the end, as is ``diag/suspicious_labels``: at most 16 pictures of samples whose label is probably wrong.
    A finding of warning or worse becomes an alert, once a severity. The summary tells ``diag/worst_severity``,
    ``diag/open_findings``, ``diag/overhead_frac``; at the end the ``verdict``, ``cause`` and ``next_experiment``, too.

    Each key is tied to the axis by its exact name: W&B resolves overlapping globs in random order, and Lightning's
    logger defines ``*``. Rows are logged without ``step=``, which would drop rows behind the run's own counter. A
    disabled run gets nothing, and one that the user finished nothing more. A pickled or copied sink has no run.

    Args:
        run: a W&B run, such as ``WandbLogger.experiment``; None makes the sink do nothing.
        log_every_n_steps: spacing of rows that hold only the training loss and what is made of it; sampled readings
            always get a row. Higher means fewer rows.
        max_rows: rows after which a long run is logged more sparsely; higher means more rows.
        alerts_per_hour: alerts of one level in an hour; what is beyond is counted in the next alert. 0 sends none.
        table_every_s: shortest time between two versions of the table, in seconds; the last is logged at the end.
        clock: seconds that only grow (for tests).

    Raises:
        MissingExtraError: from ``open``, when wandb is not installed.

    Examples:
        >>> class Run:  # what is asked of a run
        ...     disabled, summary = False, {}
        ...     def define_metric(self, name, **kwargs): print("define", name, kwargs)
        ...     def log(self, row): print("log", row)
        >>> sink = WandbSink(Run())
        >>> sink.open(RunInfo(None, "example"))
        define diag/step {'hidden': True}
        >>> sink.reading(Reading(1, 0, {"loss/train": 2.5}))
        define diag/loss/train {'step_metric': 'diag/step'}
        log {'diag/loss/train': 2.5, 'diag/step': 1}
    """

    def __init__(
        self,
        run: Any | None,
        log_every_n_steps: int = 10,
        max_rows: int = 10_000,
        alerts_per_hour: int = 5,
        table_every_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, value in (("alerts_per_hour", alerts_per_hour), ("table_every_s", table_every_s)):
            if value < 0:
                raise ConfigurationError(f"{name} must be at least 0, got {value!r}")
        self.run = run
        self.log_every_n_steps = log_every_n_steps
        self.max_rows = max_rows
        self.alerts_per_hour = alerts_per_hour
        self.table_every_s = table_every_s
        self.clock = clock
        self._reset()

    def _reset(self) -> None:
        self._wandb: Any = None  # the package, from open to close
        self._limit = RowLimit(self.log_every_n_steps, self.max_rows)
        self._news = News()
        self._defined: set[str] = set()
        self._latest: dict[str, Finding] = {}
        self._step = self._held = 0
        self._names: tuple[str, ...] = ()
        self._overhead: float | None = None
        self._run_dir: Path | None = None
        self._sent: dict[Severity, deque[float]] = {}
        self._classes = ClassHistory()
        self._domains = DomainHistory()
        self._suspects = SuspectPictures()
        self._table_at = self._classes_at = -float("inf")
        self._table_due = self._classes_due = self._suspects_due = False
        self._refused: Exception | None = None  # by a table, a picture or a page

    def __reduce__(self) -> tuple[Any, ...]:
        own = (self.log_every_n_steps, self.max_rows, self.alerts_per_hour, self.table_every_s, self.clock)
        return type(self), (None, *own)

    def open(self, run: RunInfo) -> None:
        """Import wandb and define the axis."""
        self._reset()
        if self.run is None or getattr(self.run, "disabled", False):
            return
        try:
            import wandb  # noqa: PLC0415 - takes a second, and only this sink needs it
        except ImportError as error:
            raise MissingExtraError("wandb") from error
        self._wandb, self._run_dir = wandb, run.run_dir
        self._call("define_metric", AXIS, hidden=True)

    def reading(self, reading: Reading) -> None:
        """Log one row, if its turn has come."""
        self._step, self._names = reading.step, reading.names("class")
        if "system/overhead_frac" in reading.values:
            self._overhead = reading.scalar("system/overhead_frac")
        if self._wandb is None or not self._limit.admits(reading):
            return
        self._log(metrics(reading))
        self._suspects_due |= self._suspects.add(reading)
        self._classes_due |= self._classes.add(reading) | self._domains.add(reading)
        if self._classes_due and self.clock() - self._classes_at >= self.table_every_s:
            self._log_classes()
        if self._table_due and self.clock() - self._table_at >= self.table_every_s:
            self._log_table()

    def finding(self, finding: Finding) -> None:
        """Send an alert for what is new, renew summary and table."""
        self._latest[finding.rule] = finding
        if self._wandb is None:
            return
        if finding.severity >= Severity.WARNING and self._news.is_new(finding):
            self._alert(finding)
        self._table_due = True
        if self.clock() - self._table_at >= self.table_every_s:
            self._log_table()
        self._summarize()

    def close(self, diagnosis: Diagnosis) -> None:
        """Log the whole table, the report and the verdict; the run itself is left open."""
        if self._wandb is None:
            return
        self._latest.update({finding.rule: finding for finding in diagnosis.findings})
        self._log_table()
        if self._classes_due:
            self._log_classes()
        self._log_suspects()
        self._log_report()
        self._summarize(diagnosis)
        self._wandb = None
        if self._refused is not None:
            raise self._refused

    def _log(self, row: Mapping[str, object]) -> None:
        if not row or (self._refused is not None and not MEDIA.isdisjoint(row)):
            return
        for key in row.keys() - self._defined - MEDIA:
            self._call("define_metric", key, step_metric=AXIS, **({} if key in SHOWN else {"hidden": True}))
            self._defined.add(key)
        try:
            self._call("log", {**row, AXIS: self._step})
        except Exception as error:
            if MEDIA.isdisjoint(row):
                raise
            # W&B asks its server whether it takes a table, for seconds if that is away: once, told at the end
            self._refused = error

    def _log_table(self) -> None:
        if self._wandb is None or not self._latest:
            return
        table = self._wandb.Table(columns=list(COLUMNS), data=rows(list(self._latest.values())))
        self._log({TABLE: table})
        self._table_at, self._table_due = self.clock(), False

    def _log_classes(self) -> None:
        if self._wandb is None:
            return
        media: dict[str, object] = {}
        for key, columns, cells in (
            (CLASSES, CLASS_COLUMNS, self._classes.class_rows()),
            (CONFUSIONS, PAIR_COLUMNS, self._classes.pair_rows()),
            (DOMAINS, DOMAIN_COLUMNS, self._domains.rows()),
        ):
            if cells:
                data = [[clean(cell) if isinstance(cell, str) else cell for cell in row] for row in cells]
                media[key] = self._wandb.Table(columns=list(columns), data=data)
        for key, picture in ((CLASS_MAP, self._classes.heat_map()), (DOMAIN_CHART, self._domains.chart())):
            if picture:
                media[key] = self._wandb.Html(picture, inject=False)
        self._log(media)
        self._classes_at, self._classes_due = self.clock(), False

    def _log_suspects(self) -> None:
        """Log the newest pictures of labels that are probably wrong, once: at the end, when they are surest."""
        if self._wandb is None or not self._suspects_due:
            return
        data = [[*(clean(str(cell)) for cell in cells[:3]), cells[3], self._wandb.Image(cells[4])]
                for cells in self._suspects.rows(self._names)]  # fmt: skip
        if data:
            self._log({SUSPECTS: self._wandb.Table(columns=list(PICTURE_COLUMNS), data=data)})

    def _log_report(self) -> None:
        """Log the page that was drawn from the record, if there is one."""
        path = None if self._run_dir is None else self._run_dir / "report.html"
        if self._wandb is not None and path is not None and path.is_file() and path.stat().st_size <= MAX_REPORT_BYTES:
            self._log({REPORT: self._wandb.Html(str(path), inject=False)})

    def _alert(self, finding: Finding) -> None:
        now = self.clock()
        sent = self._sent.setdefault(finding.severity, deque())
        while sent and now - sent[0] >= _HOUR_S:
            sent.popleft()
        if len(sent) >= self.alerts_per_hour:
            self._held += 1
            return
        sent.append(now)
        held, self._held = self._held, 0
        level = "ERROR" if finding.severity == Severity.CRITICAL else "WARN"
        self._call("alert", title=title(finding), text=text(finding, held), level=level)

    def _summarize(self, diagnosis: Diagnosis | None = None) -> None:
        told = summary(list(self._latest.values()), self._overhead, diagnosis)
        if self._wandb is not None:
            self._guard(lambda run: run.summary.update(told))

    def _call(self, method: str, *args: object, **kwargs: object) -> None:
        self._guard(lambda run: getattr(run, method)(*args, **kwargs))

    def _guard(self, call: Callable[[Any], object]) -> None:
        """Call the run; fall silent when the user has finished it."""
        if self._wandb is None:
            return
        try:
            call(self.run)
        except self._wandb.errors.UsageError as error:
            if "finished" not in str(error):
                raise
            self._wandb = None
