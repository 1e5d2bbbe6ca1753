from __future__ import annotations

import copy
import dataclasses
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_diag.diagnosis import Coverage, Diagnosis, diagnose
from lightning_diag.errors import ConfigurationError, MissingExtraError
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.signals import SIGNALS, logged_keys
from lightning_diag.sinks._charts import AXIS, MAX_PANELS, REPORT, SHOWN, TABLE
from lightning_diag.sinks._metrics import metrics
from lightning_diag.sinks._wandb_words import COLUMNS
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.wandb import WandbSink
from tests.wandb_file import RunLog, read_finished

INFO = RunInfo(None, "run")
SPIKE = Finding(
    "loss/spike", Severity.WARNING, 41, 0, ("net.0", "net.1"), "a \x1b[31mspike", {}, ("look at the batch",)
)
CRITICAL = dataclasses.replace(SPIKE, severity=Severity.CRITICAL, step=50)
NOTE = Finding("setup/tiny-batch-norm", Severity.INFO, 1, 0, (), "a note")


class FakeRun:
    """Notes what it is told; like a W&B run it raises ``UsageError`` once it is finished."""

    disabled = False

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []
        self.defined: list[tuple[str, dict[str, Any]]] = []
        self.summary: dict[str, Any] = {}
        self.finished = False

    def _told(self) -> None:
        if self.finished:
            import wandb

            raise wandb.errors.UsageError("Run (abc) is finished. The call will be ignored.")

    def log(self, row: dict[str, Any]) -> None:
        self._told()
        self.rows.append(row)

    def alert(self, **alert: Any) -> None:
        self._told()
        self.alerts.append(alert)

    def define_metric(self, name: str, **how: Any) -> None:
        self._told()
        self.defined.append((name, how))

    @property
    def tables(self) -> list[list[list[Any]]]:
        return [row[TABLE].data for row in self.rows if TABLE in row]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(run: Any, **kwargs: Any) -> WandbSink:
    sink = WandbSink(run, **kwargs)
    sink.open(INFO)
    return sink


def rule(k: int, severity: Severity = Severity.WARNING) -> Finding:
    return Finding(f"test/rule-{k}", severity, k, 0, (), "x")


# ---------------------------------------------------------------------- rows


def test_each_key_is_tied_to_the_axis_once_by_its_name() -> None:
    run = FakeRun()
    sink = opened(run)
    for step in (1, 2, 3):
        sink.reading(Reading(step, 0, {"loss/train": 1.0, "grad/norm": 2.0}))
    assert run.defined[0] == (AXIS, {"hidden": True})
    assert sorted(name for name, _ in run.defined[1:]) == ["diag/grad/norm", "diag/loss/train"]
    assert all(how == {"step_metric": AXIS} for _, how in run.defined[1:])
    assert [row[AXIS] for row in run.rows] == [1, 2, 3]


def test_losses_alone_are_spaced() -> None:
    run = FakeRun()
    sink = opened(run, log_every_n_steps=5)
    for step in range(1, 13):
        sink.reading(Reading(step, 0, {"loss/train": float(step)}))
    assert run.rows == [{"diag/loss/train": float(s), AXIS: s} for s in (1, 6, 11)]


# ---------------------------------------------------------------------- alerts


def test_an_alert_for_each_new_severity_of_warning_or_worse() -> None:
    run = FakeRun()
    sink = opened(run)
    for finding in (NOTE, SPIKE, SPIKE, dataclasses.replace(SPIKE, status="resolved"), SPIKE, CRITICAL, CRITICAL):
        sink.finding(finding)
    assert [(a["title"], a["level"]) for a in run.alerts] == [
        ("warning: loss/spike", "WARN"),
        ("critical: loss/spike", "ERROR"),
    ]
    assert run.alerts[0]["text"] == "a spike (since step 41)\nWhere: net.0, net.1\nNext: look at the batch"


def test_titles_are_shorter_than_64_characters() -> None:
    run = FakeRun()
    opened(run).finding(Finding("test/" + "x" * 100, Severity.WARNING, 1, 0, (), ""))
    assert len(run.alerts[0]["title"]) == 63


def test_alerts_of_one_level_are_limited_by_the_hour_and_the_rest_is_counted() -> None:
    run, clock = FakeRun(), Clock()
    sink = opened(run, alerts_per_hour=2, clock=clock)
    for k in range(5):
        sink.finding(rule(k))
    assert len(run.alerts) == 2
    sink.finding(rule(9, Severity.CRITICAL))
    assert len(run.alerts) == 3, "a critical one has its own budget"
    assert "3 more alerts were held back" in run.alerts[2]["text"]
    clock.now = 3600.0
    sink.finding(rule(10))
    assert len(run.alerts) == 4
    assert "held back" not in run.alerts[3]["text"]


def test_no_alerts_at_all() -> None:
    run = FakeRun()
    opened(run, alerts_per_hour=0).finding(CRITICAL)
    assert run.alerts == []


# ---------------------------------------------------------------------- table and summary


def test_the_table_is_logged_at_once_then_seldom_and_at_the_end() -> None:
    run, clock = FakeRun(), Clock()
    sink = opened(run, table_every_s=60.0, clock=clock)
    sink.finding(SPIKE)
    sink.finding(NOTE)
    sink.reading(Reading(50, 0, {"loss/train": 1.0}))
    assert [len(table) for table in run.tables] == [1]
    clock.now = 61.0
    sink.reading(Reading(60, 0, {"loss/train": 1.0}))
    assert [len(table) for table in run.tables] == [1, 2]
    clock.now = 200.0
    sink.reading(Reading(70, 0, {"loss/train": 1.0}))
    assert len(run.tables) == 2, "nothing new"
    sink.close(diagnose([CRITICAL, NOTE]))
    assert [row[0] for row in run.tables[-1]] == ["loss/spike", "setup/tiny-batch-norm"]
    assert run.tables[-1][0] == [
        "loss/spike", "critical", "open", 41, 50, "net.0, net.1", "a spike", "look at the batch",
    ]  # fmt: skip


def test_the_summary_follows_findings_and_ends_with_the_verdict() -> None:
    run = FakeRun()
    sink = opened(run)
    sink.finding(SPIKE)
    assert run.summary == {"diag/worst_severity": "warning", "diag/open_findings": 1}
    sink.finding(dataclasses.replace(SPIKE, status="resolved"))
    assert run.summary["diag/open_findings"] == 0
    sink.close(diagnose([CRITICAL], Coverage(("loss/spike",))))
    assert run.summary["diag/verdict"].startswith("CRITICAL: training is unstable at net.0, since step 41")
    assert (run.summary["diag/worst_severity"], run.summary["diag/open_findings"]) == ("critical", 1)
    assert run.summary["diag/cause"] == diagnose([CRITICAL]).causes[0].name
    assert run.summary["diag/next_experiment"] == diagnose([CRITICAL]).causes[0].experiment


def test_the_summary_tells_what_we_cost() -> None:
    run = FakeRun()
    sink = opened(run)
    sink.reading(Reading(5, 0, {"system/overhead_frac": np.float64(0.004)}))
    sink.reading(Reading(6, 0, {"loss/train": np.float64(1.0)}))
    sink.close(Diagnosis())
    assert run.summary["diag/overhead_frac"] == 0.004
    assert (run.summary["diag/cause"], run.summary["diag/next_experiment"]) == ("none", "")


def test_the_report_is_logged_at_the_end_if_there_is_one(tmp_path: Path) -> None:
    run = FakeRun()
    for name in ("without", "with"):
        (tmp_path / name).mkdir()
        sink = WandbSink(run)
        sink.open(RunInfo(tmp_path / name, "run"))
        if name == "with":
            (tmp_path / name / "report.html").write_text("<html>hello</html>")
        sink.close(Diagnosis())
    (row,) = run.rows
    assert row[REPORT].html == "<html>hello</html>"
    assert REPORT not in {name for name, _ in run.defined}


def test_a_key_without_a_panel_is_hidden() -> None:
    run = FakeRun()
    opened(run).reading(Reading(1, 0, {"loss/train": 1.0, "grad/clipped": 0.0}))
    defined = dict(run.defined)
    assert defined["diag/grad/clipped"] == {"step_metric": AXIS, "hidden": True}
    assert defined["diag/loss/train"] == {"step_metric": AXIS}


def test_a_healthy_run_gets_a_verdict_and_no_table() -> None:
    run = FakeRun()
    sink = opened(run)
    sink.close(Diagnosis(coverage=Coverage(("loss/spike",))))
    assert run.tables == []
    assert run.summary["diag/verdict"].startswith("Healthy")
    assert run.summary["diag/worst_severity"] == "none"


# ---------------------------------------------------------------------- runs that take nothing


def use(sink: WandbSink) -> None:
    sink.open(INFO)
    sink.reading(Reading(1, 0, {"loss/train": 1.0, "grad/norm": 1.0}))
    sink.finding(CRITICAL)
    sink.close(diagnose([CRITICAL]))


def test_without_a_run_or_with_a_disabled_one_nothing_happens() -> None:
    run = FakeRun()
    run.disabled = True
    use(WandbSink(run))
    use(WandbSink(None))
    assert (run.rows, run.alerts, run.defined) == ([], [], [])


def test_a_copy_has_no_run() -> None:
    twin = copy.deepcopy(opened(FakeRun(), log_every_n_steps=3))
    use(twin)
    assert twin.run is None
    assert twin.log_every_n_steps == 3


def test_a_run_the_user_finished_is_left_in_peace() -> None:
    run = FakeRun()
    sink = opened(run)
    sink.reading(Reading(1, 0, {"grad/norm": 1.0}))
    run.finished = True
    sink.reading(Reading(2, 0, {"grad/norm": 1.0}))
    sink.finding(CRITICAL)
    sink.close(diagnose([CRITICAL]))
    assert len(run.rows) == 1


def test_other_usage_errors_are_raised() -> None:
    import wandb

    class Wrong(FakeRun):
        def log(self, row: dict[str, Any]) -> None:
            raise wandb.errors.UsageError("no such thing")

    with pytest.raises(wandb.errors.UsageError, match="no such thing"):
        opened(Wrong()).reading(Reading(1, 0, {"loss/train": 1.0}))


def test_a_table_that_is_refused_is_the_last_one_and_costs_no_chart() -> None:
    class Away(FakeRun):
        asked = 0

        def log(self, row: dict[str, Any]) -> None:
            if TABLE in row:
                self.asked += 1
                raise ConnectionError("the server is away")
            super().log(row)

    run, clock = Away(), Clock()
    sink = opened(run, clock=clock)
    for step in range(1, 6):
        clock.now += 1000.0
        sink.reading(Reading(step, 0, {"grad/norm": 1.0}))
        sink.finding(rule(step))
    with pytest.raises(ConnectionError, match="away"):
        sink.close(diagnose([rule(1)]))
    assert run.asked == 1 and len(run.rows) == 5 and run.summary["diag/verdict"]


def test_a_missing_package_is_named_when_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = WandbSink(FakeRun())
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match="wandb is not installed"):
        sink.open(INFO)


@pytest.mark.parametrize(
    "argument", [{"alerts_per_hour": -1}, {"table_every_s": -1.0}, {"log_every_n_steps": 0}, {"max_rows": 1}]
)
def test_arguments_are_checked(argument: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(argument))):
        WandbSink(None, **argument)


# ---------------------------------------------------------------------- with wandb itself, offline


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place of its own, silent, and without a run left over."""
    import wandb

    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    yield
    if wandb.run is not None:
        wandb.finish()


def measured() -> list[Reading]:
    """Every signal of the table, also NaN, infinite and partly non-finite."""
    readings = []
    for step in range(1, 25):
        values: dict[str, Any] = {"loss/train": np.float64(1.0 / step), "loss/level": np.float64(2.0)}
        if step % 6 == 0:
            values |= {
                name: np.float64(step) if signal.axis is None else np.array([step, np.nan, 0.5, np.inf])
                for name, signal in SIGNALS.items()
            }
        if step == 18:
            values |= {"loss/train": np.float64(np.nan), "grad/norm": np.float64(np.inf), "lr": np.array([np.nan])}
        readings.append(Reading(step, 0, values))
    return readings


@pytest.fixture
def log_and_dir(tmp_path: Path, environment: None) -> tuple[RunLog, Path]:
    import wandb

    run = wandb.init(mode="offline", dir=str(tmp_path), project="p", settings=wandb.Settings(silent=True))
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)  # as Lightning's WandbLogger does
    sink = WandbSink(run, log_every_n_steps=4, table_every_s=0.0)
    sink.open(INFO)
    for reading in measured():
        run.log({"user/loss": 1.0, "trainer/global_step": reading.step - 1})
        sink.reading(reading)
        if reading.step == 10:
            sink.finding(SPIKE)
    sink.close(diagnose([SPIKE, NOTE], Coverage(("loss/spike",))))
    path = Path(run.settings.sync_file)
    files = Path(run.settings.files_dir)
    run.finish()
    return read_finished(path), files


def test_an_offline_run_holds_every_key_and_value(log_and_dir: tuple[RunLog, Path]) -> None:
    log, files = log_and_dir
    rows = [row for row in log.history if "diag/loss/train" in row]
    assert [row[AXIS] for row in rows] == [1, 5, 6, 10, 12, 16, 18, 22, 24]
    readings = {reading.step: reading for reading in measured()}
    seen: set[str] = set()
    for row in rows:
        mine = {k: v for k, v in row.items() if k.startswith("diag/") and k != AXIS}
        expected = metrics(readings[row[AXIS]])
        assert mine.keys() == expected.keys()
        for key, value in expected.items():
            assert mine[key] == value or (math.isnan(mine[key]) and math.isnan(value)), key
        seen |= mine.keys()
    assert seen == set(logged_keys()), "every key of the table was logged, and no other"
    assert not any("user/loss" in row for row in rows)
    assert {key: log.metrics[key] for key in seen} == {key: (AXIS, key not in SHOWN) for key in seen}
    assert sum(not hidden for key, (_, hidden) in log.metrics.items() if key.startswith("diag/")) <= MAX_PANELS
    assert log.metrics[AXIS] == ("", True)

    # alert, table, verdict
    assert [(title, level) for title, _, level in log.alerts] == [("warning: loss/spike", "WARN")]
    assert log.summary["diag/verdict"].startswith("WARNING: training is unstable at net.0, since step 41")
    assert (log.summary["diag/worst_severity"], log.summary["diag/open_findings"]) == ("warning", 2)
    tables = [row[f"{TABLE}/path"] for row in log.history if f"{TABLE}/path" in row]
    assert len(tables) == 2
    last = json.loads((files / tables[-1]).read_text())
    assert last["columns"] == list(COLUMNS)
    assert [row[0] for row in last["data"]] == ["loss/spike", "setup/tiny-batch-norm"]


@pytest.mark.parametrize("how", ["disabled", "finished"])
def test_a_real_run_that_takes_nothing(tmp_path: Path, environment: None, how: str) -> None:
    import wandb

    mode: Any = "disabled" if how == "disabled" else "offline"
    run = wandb.init(mode=mode, dir=str(tmp_path), settings=wandb.Settings(silent=True))
    sink = WandbSink(run)
    if how == "finished":
        sink.open(INFO)
        sink.reading(Reading(1, 0, {"grad/norm": 1.0}))
        run.finish()
        sink.reading(Reading(2, 0, {"grad/norm": 1.0}))
        sink.finding(CRITICAL)
        sink.close(diagnose([CRITICAL]))
    use(sink)
