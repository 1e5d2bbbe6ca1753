"""Records are data, and what belongs to the user's environment stays there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger, WandbLogger

import lightning_diag
from lightning_diag import Diagnostics
from lightning_diag.cli.front import main
from tests.training import Classifier, fit

ROOM = Path(lightning_diag.__file__).parent
FILES = {str(path.relative_to(ROOM)): path for path in sorted(ROOM.rglob("*.py"))}
UNSAFE_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "cPickle", "yaml"}
UNSAFE_CALLS = {"eval", "exec", "compile", "torch.load", "torch.jit.load", "np.load", "numpy.load", "os.system"}
KEY = "f00dfeed" * 5


def imported(tree: ast.Module) -> set[str]:
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_loaded_that_could_run(name: str) -> None:
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not imported(tree) & UNSAFE_MODULES
    assert not calls & UNSAFE_CALLS
    keywords = [k.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for k in node.keywords]
    assert "allow_pickle" not in keywords


def test_the_network_is_no_business_of_ours() -> None:
    network = {"aiohttp", "ftplib", "http", "httpx", "requests", "smtplib", "socket", "urllib3", "websockets"}
    found = {name: imported(ast.parse(path.read_text(encoding="utf-8"))) & network for name, path in FILES.items()}
    assert {name: modules for name, modules in found.items() if modules} == {}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_key_in_the_environment_reaches_no_file_and_no_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "MY_PASSWORD"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    diag = Diagnostics(run_dir=tmp_path / "run")
    loggers = [WandbLogger(save_dir=str(tmp_path), offline=True), CSVLogger(tmp_path)]
    try:
        trainer = fit(Classifier(lr=1.0), [diag], tmp_path, steps=80, logger=loggers)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
    finally:
        import wandb

        wandb.finish()
    assert diag.findings
    for command in (["check", str(tmp_path / "run"), "--json"], ["report", str(tmp_path / "run")]):
        main(command)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files}
    assert {".json", ".jsonl", ".html", ".csv", ".ckpt", ".wandb"} <= kinds
    assert [path.name for path in files if KEY.encode() in path.read_bytes()] == []
    assert all(KEY not in text for text in capfd.readouterr())
