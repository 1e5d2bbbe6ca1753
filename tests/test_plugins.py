"""Rules and sinks of other packages: found by their entry points; a broken one is told once and harms nothing."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_diag import Diagnostics, GradientMonitor, _plugins, check
from lightning_diag.cli import limits
from lightning_diag.cli.front import main
from lightning_diag.reading import Reading
from tests.packages import ROOT, install
from tests.training import Classifier, fit

EXAMPLE = ROOT / "examples" / "own_detector_package"
JUMP = [Reading(step, 0, {"lr": [rate]}) for step, rate in enumerate((1e-3, 1e-3, 0.5), 1)]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """The packages of each test are its own."""
    _plugins.detectors.cache_clear()
    _plugins.sinks.cache_clear()
    yield
    sys.modules.pop("mine", None)
    sys.modules.pop("rate_jump", None)
    _plugins.detectors.cache_clear()
    _plugins.sinks.cache_clear()


SOURCE = """
from lightning_diag import Detector, Severity, Sink


class Good(Detector):
    '''Always silent.'''

    rule, code, title = "mine/quiet", "MINE1", "Says nothing"
    reads, severity = ("loss/train",), Severity.INFO

    def _reset(self):
        self.seen = 0

    def update(self, reading):
        self.seen += 1


class Taken(Good):
    rule, code = "loss/spike", "MINE2"


class TakenCode(Good):
    rule, code = "mine/code", "L001"


class NoGroup(Good):
    rule, code = "quiet", "MINE3"


class NeedsArgument(Good):
    rule, code = "mine/argument", "MINE4"

    def __init__(self, limit):
        self.limit = limit
        super().__init__()


class HidesArgument(Good):
    rule, code = "mine/hidden", "MINE5"

    def __init__(self, limit=1):
        super().__init__()


class Abstract(Detector):
    rule, code, title = "mine/abstract", "MINE6", "No verb"
    reads, severity = ("lr",), Severity.INFO


class Counting(Sink):
    taken = []

    def reading(self, reading):
        self.taken.append(reading.step)

    def finding(self, finding):
        pass


class Raising(Sink):
    def reading(self, reading):
        raise RuntimeError("planted")

    def finding(self, finding):
        pass


def a_function():
    pass
"""
BROKEN = ["Taken", "TakenCode", "NoGroup", "NeedsArgument", "HidesArgument", "Abstract", "a_function", "not_there"]


def test_the_example_package_installs_and_its_rule_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("setuptools")
    shutil.copytree(EXAMPLE, tmp_path / "source")  # a build writes beside its source
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", tmp_path / "site", tmp_path / "source"], check=True, timeout=100)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert list(_plugins.detectors().values()) == ["rate-jump"]
    assert [finding.rule for finding in check(JUMP).findings] == ["updates/rate-jump"]
    assert "updates/rate-jump" in {d.rule for d in Diagnostics(select="updates/rate-jump").parts().detectors}
    assert main(["rules"]) == 0
    assert "updates/rate-jump" in capsys.readouterr().out
    assert main(["rules", "MINE001"]) == 0
    assert "(rate-jump)" in capsys.readouterr().out
    made = limits.detectors(["updates/rate-jump.limit=1000"])
    assert made is not None and check(JUMP, detectors=made, select="updates/rate-jump").healthy


def test_the_test_of_the_example_package_passes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", "-c", "/dev/null"]
    done = subprocess.run(
        [*command, f"--rootdir={EXAMPLE}", EXAMPLE],
        env={"PYTHONPATH": f"{ROOT}:{EXAMPLE}", "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_a_broken_one_is_told_once_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [f"{name} = mine:{name}" for name in ["Good", *BROKEN]]
    exits = ["exits = leaves:Anything", "absent = no_such_module_here:Anything"]
    install(tmp_path, "my-rules", {_plugins.DETECTORS: [*lines, *exits]}, mine=SOURCE, leaves="raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    caplog.set_level(logging.WARNING, logger="lightning_diag")
    for _ in range(2):
        assert [(cls.rule, package) for cls, package in _plugins.detectors().items()] == [("mine/quiet", "my-rules")]
        assert "mine/quiet" in {d.rule for d in Diagnostics().parts().detectors}
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(BROKEN) + 2
    for name in [*BROKEN, "exits", "absent"]:
        assert sum(text.startswith(f"{name} of my-rules (lightning_diag.detectors)") for text in told) == 1, name
    assert [text for text in told if "'loss/spike' is a rule of lightning-diag" in text]


def test_monitors_that_were_named_stay_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "my-rules", {_plugins.DETECTORS: ["good = mine:Good"]}, mine=SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    assert "mine/quiet" in {d.rule for d in Diagnostics().parts().detectors}
    assert "mine/quiet" not in {d.rule for d in Diagnostics([GradientMonitor()]).parts().detectors}


def test_rules_and_sinks_take_part_in_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    groups = {_plugins.DETECTORS: ["good = mine:Good"], _plugins.SINKS: ["a = mine:Counting", "b = mine:Raising"]}
    install(tmp_path / "site", "my-rules", {**groups, "x": ["y = z"]}, mine=SOURCE)
    monkeypatch.syspath_prepend(tmp_path / "site")
    caplog.set_level(logging.WARNING, logger="lightning_diag")
    diag = Diagnostics()
    fit(Classifier(), [diag], tmp_path, steps=20)
    assert "mine/quiet" in diag.diagnosis.coverage.ran
    assert set(range(1, 21)) <= set(sys.modules["mine"].Counting.taken)
    assert [r.getMessage().partition(" ")[0] for r in caplog.records] == ["Raising"]
    assert diag.run_dir is not None and "mine/quiet" in (diag.run_dir / "run.json").read_text()
