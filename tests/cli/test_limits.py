from __future__ import annotations

import json
from pathlib import Path

import pytest

from lightning_diag import cli
from lightning_diag._plugins import shipped
from lightning_diag.cli.limits import detectors
from lightning_diag.errors import ConfigurationError
from tests.test_replay import BROKEN, falling, readings, write


def test_without_any_the_defaults_hold() -> None:
    assert detectors([]) is None


def test_one_limit_changes_and_nothing_else() -> None:
    made = detectors(["loss/plateau.limit=0.4", "loss/plateau.min_steps=60"])
    assert made is not None and [d.rule for d in made] == [cls.rule for cls in shipped()]
    changed = {d.rule: d.parameters() for d in made}
    assert (changed["loss/plateau"]["limit"], changed["loss/plateau"]["min_steps"]) == (0.4, 60)
    assert {r: p for r, p in changed.items() if r != "loss/plateau"} == {
        cls.rule: cls().parameters() for cls in shipped() if cls.rule != "loss/plateau"
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("limit=3", "must be RULE.LIMIT=VALUE"),
        ("loss/spike.limit", "must be RULE.LIMIT=VALUE"),
        ("loss/spikes.limit=3", "did you mean loss/spike"),
        ("loss/spike.limits=3", "has no limit 'limits'; it has limit, confirm"),
        ("loss/spike.limit=much", "must be float, got 'much'"),
        ("loss/spike.repeats=2.5", "must be int, got '2.5'"),
        ("loss/spike.limit=-3", "limit must be"),
    ],
)
def test_what_is_wrong_is_said(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        detectors([text])


def test_a_run_judged_with_another_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    losses = falling(300)
    losses[200:] = [loss * 4 for loss in losses[200:]]
    write(tmp_path / "spike", readings(losses))
    for limit in (8, 9.5):
        cli.main(
            ["check", str(tmp_path / "spike"), "--json", "--select", "loss/spike", "--set", f"loss/spike.limit={limit}"]
        )
        (finding,) = json.loads(capsys.readouterr().out)["findings"]
        assert finding["evidence"]["limit"] == limit
    write(tmp_path / "broken", readings(BROKEN))
    assert cli.main(["check", str(tmp_path / "broken"), "--set", "loss/spike.limit=x"]) == 2
    assert "must be float" in capsys.readouterr().err
