from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_diag.errors import ConfigurationError, RecordError
from lightning_diag.logs import Log, open_log
from lightning_diag.logs.names import match
from lightning_diag.logs.rows import Row, Table
from tests.logs.writers import event, write_events, write_wandb


def made(*rows: tuple[int, dict[str, float]], **more: Any) -> Log:
    """A log of (step, values)."""
    table = Table("CSV log", tuple(Row(step, 0, values) for step, values in rows), **more)
    return Log(Path("log"), table, match(dict.fromkeys(name for _, values in rows for name in values)))


def told(log: Log) -> list[tuple[int, str, dict[str, Any]]]:
    return [(r.step, r.stage, {k: np.asarray(v).tolist() for k, v in r.values.items()}) for r in log.readings()]


def test_rows_become_readings() -> None:
    log = made(
        (1, {"lr-Adam": 0.1, "other": 3.0}),
        (50, {"train_loss": 2.0}),
        (50, {"grad_norm": 5.0}),
        (50, {"val_loss": 1.0, "val_acc": 0.5, "train_loss_epoch": 9.0}),
    )
    assert told(log) == [
        (1, "train", {"lr": [0.1]}),
        (50, "train", {"loss/train": 2.0, "grad/norm": 5.0}),
        (50, "validation", {"loss/val": 1.0, "accuracy/val": 0.5}),
        (50, "end", {"run/ended": 1.0}),
    ]


def test_a_run_that_goes_on_has_no_end_and_no_plan() -> None:
    log = made((50, {"loss": 2.0}), ended=False)
    assert [stage for _, stage, _ in told(log)] == ["train"]
    assert log.facts.planned_steps is None
    assert any("no end" in caveat for caveat in log.caveats)
    assert made((50, {"loss": 2.0})).facts.planned_steps == 50


def test_what_is_absent_is_said_to_be_not_measured() -> None:
    facts = made((50, {"loss": 2.0})).facts
    assert "loss/train" not in facts.unmeasured and "loss/z" not in facts.unmeasured
    assert facts.unmeasured["grad/parameter_norm"] == "the CSV log holds no column that is known to be it"
    assert "loss/level" in made((50, {"val_loss": 2.0})).facts.unmeasured


def test_steps_that_were_logged_again_count_once() -> None:
    log = made(*((step, {"loss": 1.0}) for step in (10, 20, 30, 40)), *((step, {"loss": 2.0}) for step in (30, 40, 50)))
    assert [(step, v["loss/train"]) for step, stage, v in told(log) if stage == "train"] == [
        (10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0), (50, 2.0),
    ]  # fmt: skip
    assert any("2 rows were logged again" in caveat for caveat in log.caveats)


def test_a_test_at_step_0_takes_nothing_away() -> None:
    log = made((10, {"loss": 1.0}), (20, {"loss": 1.0}), (1, {"val_loss": 3.0}))
    assert [step for step, stage, _ in told(log) if stage == "train"] == [10, 20]


def test_percent_becomes_a_share() -> None:
    log = made((10, {"val_acc": 55.0}), (20, {"val_acc": 0.5}), (30, {"val_acc": float("nan")}))
    values = [v["accuracy/val"] for _, stage, v in told(log) if stage == "validation"]
    assert values[:2] == [0.55, 0.005] and np.isnan(values[2])
    assert told(made((10, {"val_acc": 0.55})))[0][2] == {"accuracy/val": 0.55}


@pytest.mark.parametrize(("steps", "interval"), [((), 1), ((50,), 1), ((1, 2, 3), 1), ((50, 100, 150, 160), 50)])
def test_the_interval_is_that_of_the_losses(steps: tuple[int, ...], interval: int) -> None:
    assert made(*((step, {"loss": 1.0}) for step in steps)).interval_steps == interval


@pytest.mark.parametrize("name", ["train_loss", "train/loss", "Train/Loss", "loss", "training_loss", "train_loss_step"])
def test_usual_names_of_the_training_loss(name: str) -> None:
    assert match([name])["loss/train"] == (name,)


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("val/loss", "loss/val"), ("eval_loss", "loss/val"), ("valid_loss", "loss/val"), ("val_acc", "accuracy/val"),
        ("val/accuracy", "accuracy/val"), ("train_acc", "accuracy/train"), ("lr-AdamW/pg1", "lr"),
        ("learning_rate", "lr"), ("grad_norm", "grad/norm"), ("train/grad_norm", "grad/norm"),
    ],
)  # fmt: skip
def test_usual_names_of_other_signals(name: str, signal: str) -> None:
    assert match([name]) == {signal: (name,)}


@pytest.mark.parametrize("name", ["test_loss", "val_loss_component_3", "lr-Adam-momentum", "generator_loss", "epoch"])
def test_other_names_are_nobody(name: str) -> None:
    assert match([name]) == {}


def test_the_users_word_counts() -> None:
    assert match(["loss", "nll"], {"loss/train": "nll"}) == {"loss/train": ("nll",)}
    with pytest.raises(ConfigurationError, match="has no such column; it has loss"):
        match(["loss"], {"loss/train": "nll"})
    with pytest.raises(ConfigurationError, match="can be one of"):
        match(["loss"], {"loss/level": "loss"})


def test_every_kind_is_found_by_its_file_and_by_its_folder(tmp_path: Path) -> None:
    for kind in ("csv", "wandb", "board"):
        (tmp_path / kind).mkdir()
    (tmp_path / "csv" / "metrics.csv").write_text("step,loss\n49,2.0\n")
    write_wandb(tmp_path / "wandb" / "run-a.wandb", [{"loss": 2.0, "trainer/global_step": 49}])
    write_events(tmp_path / "board" / "events.out.tfevents.1.h.0", [event(49, {"loss": 2.0})])
    for kind in ("csv", "wandb", "board"):
        (file,) = (tmp_path / kind).iterdir()
        for path in (file, tmp_path / kind):
            assert told(open_log(path))[0] == (50, "train", {"loss/train": 2.0})


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="does not exist"):
        open_log(tmp_path / "none")
    with pytest.raises(RecordError, match=r"holds no run\.json, nor the log of one run"):
        open_log(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps({}))
    with pytest.raises(RecordError, match="no log that can be read"):
        open_log(tmp_path / "a.json")
