from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import lightning_diag.demo
from lightning_diag.demo import command, gap, mistake
from lightning_diag.demo.telling import Teller
from lightning_diag.demo.training import Result


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


@pytest.mark.parametrize(
    ("right", "code", "quick_code"),
    [((True, True), 0, 0), ((False, True), 1, 1), ((True, False), 1, 0), ((False, False), 1, 1)],
)
def test_the_exit_code_is_the_diagnosis_being_right(
    right: tuple[bool, bool], code: int, quick_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, Path, int]] = []

    def teller_of(name: str, answer: bool) -> Callable[[Path, int, Teller], tuple[bool, list[Result]]]:
        def tell(folder: Path, seed: int, teller: Teller) -> tuple[bool, list[Result]]:
            seen.append((name, folder, seed))
            return answer, []

        return tell

    monkeypatch.setattr(mistake, "tell", teller_of("mistake", right[0]))
    monkeypatch.setattr(gap, "tell", teller_of("gap", right[1]))
    out = tmp_path / "new"
    assert lightning_diag.demo.main(["--out", str(out), "--seed", "4"]) == code
    assert seen == [("mistake", out.resolve(), 4), ("gap", out.resolve(), 4)]
    assert out.is_dir()
    seen.clear()
    assert lightning_diag.demo.main(["--out", str(out), "--quick"]) == quick_code
    assert seen == [("mistake", out.resolve(), 0)]


def test_the_default_folder_is_under_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mistake, "tell", lambda folder, seed, teller: (True, []))
    command.main(["--quick"])
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
    assert time.process_time() - start < 60  # of one core; 17 s were measured
    printed, errors = capfd.readouterr()
    assert errors == ""  # no word of Lightning or W&B
    written = printed.split("Written")[1].splitlines()
    shown = [line.split(": ", 1)[1] for line in written if ": " in line]
    assert [line.split()[0] for line in written if " report: " in line] == ["healthy", "mistaken", "stuck", "advised"]
    assert len(shown) == 8
    assert all(Path(path).exists() for path in shown)
    healthy, rest = printed.split("2  The same training")
    mistaken, stuck = rest.split("3  Stuck")
    assert "WARNING" not in healthy
    assert "the learning rate is too high" in mistaken.split("What we had done")[0]
    assert "does not look like the one that counts at real" in stuck.split("4  The next experiment")[0]
