"""W&B that can't be started, or whose server goes away: a training ends as it would without us."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from lightning_diag import Diagnostics, load
from tests.packages import ROOT
from tests.training import Classifier, fit


def test_init_that_fails_is_lightnings_error_and_leaves_nothing_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise wandb.errors.CommError("planted: no such entity")

    diag = Diagnostics(run_dir=tmp_path / "run", every_n_steps=5)
    with monkeypatch.context() as patched:
        patched.setattr(wandb, "init", refused)
        for callbacks in ([], [diag]):  # Lightning asks its logger for the run before any callback is called
            with pytest.raises(wandb.errors.CommError, match="planted"):
                fit(Classifier(), callbacks, tmp_path, steps=10, logger=WandbLogger(save_dir=str(tmp_path)))
    assert not (tmp_path / "run").exists() and diag.run_dir is None
    assert not [r for r in caplog.records if r.name == "lightning_diag"]
    fit(Classifier(), [diag], tmp_path, steps=10)  # the same callback on the next trainer
    assert load(tmp_path / "run").info["status"] == "finished"


ONLINE = """
import json, os, sys, time
from pathlib import Path
import wandb
from lightning.pytorch import Callback
from lightning.pytorch.loggers import WandbLogger
from lightning_diag import Diagnostics
from tests.training import Classifier, fit
from tests.wandb_server import serving

root, watched = Path(sys.argv[1]), sys.argv[2] == "watched"
with serving() as server:
    run = wandb.init(project="p", dir=str(root), settings=wandb.Settings(
        base_url=server.url, api_key="0" * 40, silent=True, console="off", init_timeout=30, x_disable_stats=True))

class Cable(Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 1:
            started.append(time.monotonic())

started = []
diag = Diagnostics(run_dir=root / "run", every_n_steps=2)
callbacks = [Cable(), diag] if watched else [Cable()]
fit(Classifier(), callbacks, root, steps=120, logger=WandbLogger(experiment=run), log_every_n_steps=1)
print(json.dumps({"took_s": time.monotonic() - started[0]}), flush=True)
os._exit(0)  # W&B itself would wait for its server
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_server_that_went_away_holds_up_nobody(tmp_path: Path) -> None:
    def trained(how: str) -> tuple[float, str]:
        (tmp_path / how).mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "_WANDB"))}
        process = subprocess.Popen(
            [sys.executable, "-c", ONLINE, str(tmp_path / how), how], cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            out, err = process.communicate(timeout=80)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # W&B's own service, too
        assert process.returncode == 0, err[-4000:]
        return float(json.loads(out.splitlines()[-1])["took_s"]), err

    bare_s, _ = trained("bare")
    watched_s, told = trained("watched")
    record = load(tmp_path / "watched" / "run")
    assert record.info["status"] == "finished"
    assert {r.step for r in record.readings() if "loss/train" in r} == set(range(1, 121))
    assert told.count("WandbSink failed") <= 1, told  # a table asks the server, and is refused
    assert watched_s < bare_s + 60, "W&B's own patience with its server, once"
