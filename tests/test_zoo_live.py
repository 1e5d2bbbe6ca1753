"""Tools that hook into a training: what counts as an alarm of theirs, which runs are drawn, how they are counted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace as Thing
from typing import Any

import pytest

pytest.importorskip("sklearn")

from benchmarks.zoo import live, live_tools
from benchmarks.zoo.grid import CONTROLS, Config
from benchmarks.zoo.harm import Harm
from benchmarks.zoo.outcome import outcome
from benchmarks.zoo.replay import Alarm, Verdict
from lightning_diag.finding import Severity


def test_warnings_and_worse_are_alarms() -> None:
    report = [
        Thing(detector=d, severity=Thing(name=s)) for d, s in (("a", "INFO"), ("b", "WARNING"), ("c", "CRITICAL"))
    ]
    assert live_tools.mortem_names(report) == {live_tools.TORCHMORTEM: ["b", "c"], live_tools.CRITICAL: ["c"]}
    audit = [
        Thing(rule_id=rule, severity=Thing(value=s), step=step)
        for rule, s, step in (
            ("TA203", "INFO", 0),
            ("TA200", "WARN", 0),
            ("TA102", "WARN", 7),
            ("TA100", "ERROR", 1000),
        )
    ]
    assert live_tools.audit_names(audit) == {
        live_tools.AUDIT: ["TA100", "TA200"],
        live_tools.AUDIT_EVERY: ["TA100", "TA102", "TA200"],
        live_tools.AUDIT_RUNTIME: ["TA100", "TA102"],
    }
    dbg = Thing(
        first_failure_step={"gradient_vanishing": 3, "activation_saturated": 0},
        explain_failure=lambda kind: ["why"] if kind == "data_anomaly" else [],
    )
    assert live_tools.dbg_names(dbg) == {
        live_tools.NEURALDBG: ["activation_saturated", "gradient_vanishing"],
        live_tools.CHOSEN: ["gradient_vanishing"],
        live_tools.EXPLAINED: ["data_anomaly"],
    }
    assert live_tools.merged([{"x": ["b"]}, {"x": ["a", "b"], "y": []}]) == {"x": ["a", "b"], "y": []}


def test_the_draw_is_fixed_and_balanced() -> None:
    chosen = live.drawn("seen", 10)
    assert chosen == live.drawn("seen", 10) and len(set(chosen)) == len(chosen) == 78
    assert [c.group for c in chosen] == [c.group for c in live.drawn("seen", 20)]
    assert len({c.task for c in chosen}) == 12 and {c.seed for c in chosen} == {10}
    assert sum(c.operator in CONTROLS for c in chosen) == 39
    assert len({c.operator for c in chosen if c.operator not in CONTROLS}) >= 28
    assert all(sum(c.task == task for c in chosen) == 2 for task in live.SLOW)
    with pytest.raises(ValueError, match="set must be"):
        live.drawn("smoke")


class Loud(live_tools.Tool):
    """Says one thing, and kills the training if asked."""

    fatal = False
    row = live_tools.TORCHMORTEM

    def on_train_batch_start(self, *_: Any) -> None:
        if self.fatal:
            raise RuntimeError("killed")

    def finish(self) -> None:
        self.names = {self.row: ["spike"]}


class Fatal(Loud):
    fatal = True
    row = live_tools.NEURALDBG


def test_a_training_that_a_tool_kills_is_made_again_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_tools, "TOOLS", {"torchmortem": Loud, "neuraldbg": Fatal})
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    here, out, config = Path.cwd(), tmp_path / "live.json", Config("wine", "healthy", 0.0, 10)
    assert live.train([config], out, together=(("torchmortem", "neuraldbg"),)) == 1
    assert live.train([config], out) == 0 and Path.cwd() == here
    said = {x.row: x for x in live.read(out)}
    assert said[live_tools.TORCHMORTEM].names == ("spike",) and said[live_tools.TORCHMORTEM].error is None
    assert said[live_tools.CRITICAL].names == ()
    assert said[live_tools.NEURALDBG].error == "RuntimeError: killed"


def test_the_table_joins_by_group_and_counts_killed_runs_apart() -> None:
    result = {"onset_step": 0, "steps": 100, "where": []}
    alarm = Alarm("updates/too-large", Severity.WARNING, 10, (), "...")
    harmful, healthy = Harm("harmful", -0.5, 0.0, 9.0, 3), Harm("healthy", 0.0, 1.0, 0.0, 3)
    bad, good, gone = (
        Config("mlp", "lr-up", 100.0, 20),
        Config("mlp", "healthy", 0.0, 10),
        Config("ae", "healthy", 0.0, 10),
    )
    found = [outcome(bad, result, harmful, Verdict((alarm,))), outcome(good, result, healthy, Verdict())]
    other = Config("mlp", "lr-up", 100.0, 10)
    text = live.live_table(found, [
        live.Live(other, "loud", ("spike",)), live.Live(good, "loud", ("spike",)), live.Live(gone, "loud", ()),
        live.Live(other, "fatal", (), "died"), live.Live(good, "fatal", ()),
    ])  # fmt: skip
    assert "2 runs. Ours: from the records of 1 of them, of another seed for 1." in text
    assert "| lightning_diag | 0/1 = 0 % [0, 79] | - | 1/1 = 100 % [21, 100] | +1.00 | 0 |" in text
    assert "| loud | 1/1 = 100 % [21, 100] | - | 1/1 = 100 % [21, 100] | +0.00 | 0 |" in text
    assert "| fatal | 0/1 = 0 % [0, 79] | - | - | +0.00 | 1 |" in text
    assert "| loud | spike 1 |" in text
