"""``lightning-diag preflight`` over real programs: verdict, exit codes, and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightning_diag import _environment
from lightning_diag.cli import main, preflight
from lightning_diag.cli.base import FINE, FOUND, NOT_JUDGED
from tests.packages import ROOT, install, own_entry_points

PROGRAM = """
import sys
if "--crash" in sys.argv:
    raise SystemExit("no data")
import lightning.pytorch as pl
import torch
from lightning_diag import Diagnostics
from torch import nn
from tests.training import Classifier, loader

class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x):
        h = self.body(x).relu()
        return self.head(h.view(h.shape[1], h.shape[0]).T if "--mix" in sys.argv else h)

torch.manual_seed(0)
module = Classifier()
module.net = Mixing()
pl.Trainer(max_epochs=50, accelerator="cpu", callbacks=[Diagnostics()]).fit(module, loader(), loader(train=False))
open("went-on", "w").close()
"""


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in an environment that has this package's entry points."""
    site = install(tmp_path / "site", "lightning-diag", own_entry_points())
    monkeypatch.setenv("PYTHONPATH", f"{site}:{ROOT}")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    script = tmp_path / "train.py"
    script.write_text(PROGRAM)
    return script


def test_the_variables_are_those_that_the_entry_point_asks_for() -> None:
    assert preflight.PREFLIGHT == _environment.PREFLIGHT
    assert preflight.PREFLIGHT_STEPS == _environment.PREFLIGHT_STEPS


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_healthy_program(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["preflight", "--json", "--", str(program)]) == FINE
    told = json.loads(capfd.readouterr().out)
    assert told["exit_code"] == FINE and told["run_status"] == "finished"
    ran = set(told["coverage"]["ran"])
    assert {"sanity/input-ignored", "sanity/batch-mixing", "sanity/cannot-overfit-batch", "gradients/unreached"} <= (
        ran | set(told["coverage"]["skipped"])
    )
    assert {"sanity/input-ignored", "sanity/batch-mixing", "sanity/cannot-overfit-batch"} <= ran
    assert list(Path().iterdir()) == []  # no checkpoint, no log, no record of the program's own, and it ended there
    assert (Path(told["run"]) / "report.html").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_samples_that_mix(program: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    record = tmp_path / "record"
    assert main(["preflight", "--run-dir", str(record), "-v", str(program), "--mix"]) == FOUND
    said = capfd.readouterr().out
    assert "sanity/batch-mixing" in said and "they mix in net, before net.head" in said
    assert main(["preflight", "--run-dir", str(record), str(program)]) == NOT_JUDGED
    assert "holds a record already" in capfd.readouterr().err


def test_a_program_that_comes_to_nothing(program: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["preflight", str(program), "--crash"]) == NOT_JUDGED
    assert "ended with exit code 1 before a fit" in capfd.readouterr().err
    assert main(["preflight", "no-such-command", "fit"]) == NOT_JUDGED
    assert "can't be started" in capfd.readouterr().err
    assert main(["preflight"]) == NOT_JUDGED
    assert "needs a program" in capfd.readouterr().err
    assert main(["preflight", "--timeout", "0.2", str(program)]) == NOT_JUDGED
    assert "took more than 0.2 s" in capfd.readouterr().err
