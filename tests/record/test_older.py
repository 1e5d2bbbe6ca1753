"""A record of an older version is read, judged again, drawn and compared.

``older/`` was written by an early state of the first version, which knew 23 rules; the learning rate was 1.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lightning_diag import check, load, report
from lightning_diag.cli.front import main

OLDER = Path(__file__).parent / "older"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLDER, tmp_path / "older"))


def test_it_is_read(older: Path) -> None:
    record = load(older)
    assert record.damaged == 0 and record.info["status"] == "finished" and record.info["last_step"] == 48
    assert [r.step for r in record.readings() if "loss/train" in r] == list(range(1, 49))
    assert [f.rule for f in record.findings] == ["updates/too-large"]


def test_it_is_judged_by_the_rules_of_today(older: Path) -> None:
    found = check(older)
    assert "updates/too-large" in {f.rule for cause in found.causes for f in cause.findings}
    assert len(found.coverage.ran) > 11, "more rules than there were"
    assert found.coverage.skipped["activations/dead"], "what nobody measured then is said not to be measured"


def test_it_is_drawn_and_compared(older: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "updates/too-large" in report.write(older).read_text(encoding="utf-8")
    assert main(["check", str(older)]) == 1
    assert main(["compare", str(older), str(older)]) == 0
    capsys.readouterr()
