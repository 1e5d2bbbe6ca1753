from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import lightning_diag.demo
from lightning_diag.demo import command, mistake
from lightning_diag.demo.telling import Teller


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys, lightning_diag.demo as d\n"
        "try: d.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'lightning', 'sklearn', 'PIL', 'wandb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "lightning-diag demo" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("right", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_is_the_diagnosis_being_right(
    right: bool, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def tell(folder: Path, seed: int, teller: Teller) -> bool:
        seen.append((folder, seed))
        return right

    monkeypatch.setattr(mistake, "tell", tell)
    assert lightning_diag.demo.main(["--out", str(tmp_path / "new"), "--seed", "4"]) == code
    assert seen == [((tmp_path / "new").resolve(), 4)]
    assert (tmp_path / "new").is_dir()


def test_the_default_folder_is_under_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mistake, "tell", lambda folder, seed, teller: True)
    command.main([])
    (made,) = (tmp_path / "lightning_diag_runs").iterdir()
    assert made.name.startswith("demo-")


def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "sklearn" else object())
    assert command.main([]) == 2
    assert "scikit-learn is not installed: pip install 'lightning-diag[demo]'" in capsys.readouterr().out


@pytest.mark.slow
def test_the_whole_demo_is_right_quiet_and_soon_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lightning")
    start = time.process_time()
    assert lightning_diag.demo.main(["--out", str(tmp_path)]) == 0
    assert time.process_time() - start < 60  # of one core; 7 s were measured
    printed, errors = capfd.readouterr()
    assert errors == ""  # no word of Lightning or W&B
    shown = [line.split(": ", 1)[1] for line in printed.splitlines() if line.startswith(("healthy ", "stuck "))]
    assert len(shown) == 4
    assert all(Path(path).exists() for path in shown)
    healthy, stuck = printed.split("2  The same training")
    assert "WARNING" not in healthy
    assert "the learning rate is too high" in stuck.split("What we had done")[0]
