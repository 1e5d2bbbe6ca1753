from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lightning_diag
from lightning_diag import cli
from lightning_diag._plugins import shipped
from lightning_diag._replay import check
from lightning_diag.cli.front import COMMANDS
from tests.test_replay import BROKEN, falling, readings, write

ROOT = Path(lightning_diag.__file__).parents[1]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("broken")
    write(run, readings(BROKEN))
    return run


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("healthy")
    write(run, readings(falling()))
    return run


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    try:
        code = cli.main([str(a) for a in arguments])
    except SystemExit as leave:  # argparse
        code = int(leave.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def fresh(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "lightning_diag", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


# ---------------------------------------------------------------------------------------------- check


def test_check_finds_what_is_wrong_and_fails(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", broken)
    assert (code, err) == (1, "")
    assert "CRITICAL loss/non-finite at step 20" in out
    assert check(broken).verdict in out
    assert check(broken).causes[0].experiment in out


def test_check_is_content_with_a_healthy_run(healthy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", healthy)
    assert (code, err) == (0, "")
    assert "Healthy: nothing of warning or worse" in out
    assert "could not be judged" in out


def test_verbose_says_why_checks_were_skipped(healthy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skipped = check(healthy).coverage.skipped
    assert skipped["gradients/vanishing"].startswith("no reading of")
    assert skipped["gradients/vanishing"] not in run(capsys, "check", healthy)[1]
    assert skipped["gradients/vanishing"] in run(capsys, "check", healthy, "-v")[1]


def test_fail_on_sets_the_severity_that_fails(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def code(limit: str, *more: str) -> int:
        return run(capsys, "check", broken, "--fail-on", limit, *more)[0]

    severity = str(check(broken).severity)
    assert severity == "critical"
    assert [code(s) for s in ("info", "warning", "critical")] == [1, 1, 1]
    assert code("critical", "--ignore", "loss/non-finite") == 0
    assert run(capsys, "check", broken, "--fail-on", "fatal")[0] == 2


def test_select_and_ignore_may_be_given_often(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    selected = ("--select", "loss/non-finite", "--select", "loss/spike", "--json")
    found = json.loads(run(capsys, "check", broken, *selected)[1])
    assert sorted([*found["coverage"]["ran"], *found["coverage"]["skipped"]]) == ["loss/non-finite", "loss/spike"]
    found = json.loads(run(capsys, "check", broken, *selected, "--ignore", "loss/spike")[1])
    assert sorted([*found["coverage"]["ran"], *found["coverage"]["skipped"]]) == ["loss/non-finite"]


def test_a_typo_in_a_pattern_is_misuse(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", broken, "--select", "los/*")
    assert (code, out) == (2, "")
    assert err.startswith("lightning-diag: select='los/*' matches no rule")


def test_json_is_one_object_with_a_schema(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", broken, "--json", "--fail-on", "info")
    found: dict[str, Any] = json.loads(out)
    assert (code, err) == (1, "")
    assert list(found) == [
        "schema", "version", "run", "source", "run_status", "fail_on", "exit_code", "verdict", "severity", "causes",
        "findings", "coverage", "caveats",
    ]  # fmt: skip
    assert (found["schema"], found["version"]) == (1, lightning_diag.__version__)
    assert (found["run"], found["run_status"]) == (str(broken), "finished")
    assert (found["fail_on"], found["exit_code"], found["severity"]) == ("info", 1, "critical")
    assert found["verdict"] == check(broken).verdict
    assert found["causes"][0]["name"] == "non-finite"
    added = {"fingerprints", "state"}
    assert [{k: v for k, v in f.items() if k not in added} for f in found["findings"]] == [
        f.to_dict() for f in check(broken).findings
    ]
    assert {f["state"] for f in found["findings"]} == {"new"}
    assert found["findings"][0]["fingerprints"] == ["loss/non-finite::"]
    assert found["caveats"] == []


def test_nothing_to_judge_is_not_a_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, [])
    code, out, _ = run(capsys, "check", tmp_path)
    assert code == 2
    assert "Not checked" in out


def test_no_record_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith(
        f"lightning-diag: {tmp_path} is not a run record: it holds no run.json, nor the log of one run"
    )
    assert err.count("\n") == 1


def test_caveats_stand_under_the_verdict(healthy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("run.json", "readings.jsonl", "findings.jsonl"):
        (tmp_path / name).write_bytes((healthy / name).read_bytes())
    info = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**info, "status": "running"}))
    with (tmp_path / "readings.jsonl").open("a") as file:
        file.write("not json\n")
    code, out, _ = run(capsys, "check", tmp_path)
    assert code == 0
    assert "note: the run has no end in this record" in out
    assert "note: 1 line of the record could not be read" in out
    assert len(json.loads(run(capsys, "check", tmp_path, "--json")[1])["caveats"]) == 2


def test_a_name_from_the_run_can_not_speak_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = tmp_path / "\x1b[31mred"
    write(evil, readings(BROKEN))
    assert "\x1b" not in run(capsys, "check", evil)[1]
    assert "\x1b" not in run(capsys, "report", evil)[1]
    assert "\x1b" not in run(capsys, "check", evil / "none")[2]


# ---------------------------------------------------------------------------------------------- rules


def test_rules_lists_every_rule_once(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "rules")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == [cls.rule for cls in shipped()]


@pytest.mark.parametrize("name", ["loss/spike", "L001", "l001", "*/spike"])
def test_rules_says_all_about_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "rules", name)
    assert code == 0
    assert out.startswith("loss/spike (L001): ")
    for section in ("Catches:", "Formula:", "Args:", "False alarms:", "Examples:"):
        assert f"\n{section}\n" in out
    assert "``" not in out


def test_rules_of_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "rules", "gradients")
    assert {line.split()[1].split("/")[0] for line in out.splitlines()} == {"gradients"}


def test_an_unknown_rule_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "rules", "loss/spikes")
    assert (code, out) == (2, "")
    assert err.startswith("lightning-diag: no rule is called 'loss/spikes'; did you mean loss/spike")


# ---------------------------------------------------------------------------------------------- the rest


def test_report_is_written_again_and_its_path_printed(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (broken / "report.html").unlink(missing_ok=True)
    code, out, err = run(capsys, "report", broken)
    assert (code, err) == (0, "")
    assert Path(out.strip()) == broken / "report.html"
    assert "<html" in (broken / "report.html").read_text(encoding="utf-8")


def test_what_is_accepted_stands_in_the_report_with_its_reason(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "accepted.txt").write_text("# ours\nloss/non-finite = an <experiment>\n")
    assert run(capsys, "report", broken, "--suppressions", tmp_path / "accepted.txt")[0] == 0
    page = (broken / "report.html").read_text(encoding="utf-8")
    assert 'id="accepted"' in page and "an &lt;experiment&gt;" in page
    assert run(capsys, "report", broken)[0] == 0
    assert 'id="accepted"' not in (broken / "report.html").read_text(encoding="utf-8")
    code, _, err = run(capsys, "report", broken, "--suppress", "loss/non-finite")
    assert code == 2 and "'rule::place=reason'" in err


def test_report_of_no_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "report", tmp_path)
    assert (code, out) == (2, "")
    assert "holds no run.json" in err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[:2] == (0, f"lightning-diag {lightning_diag.__version__}\n")


def test_no_command_is_misuse_and_help_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys)[0] == 2
    _, out, _ = run(capsys, "--help")
    assert all(command in out for command in COMMANDS)
    assert {"demo", "report", "check", "rules", "watch", "compare"} <= COMMANDS.keys()
    for command in COMMANDS:
        code, out, err = run(capsys, command, "--help")
        assert (code, err) == (0, "") and out.startswith(f"usage: lightning-diag {command}")


@pytest.mark.parametrize(("error", "code"), [(ZeroDivisionError("oh"), 2), (KeyboardInterrupt(), 130)])
def test_a_crash_is_no_finding(
    error: BaseException, code: int, healthy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("lightning_diag.cli.check.check", broken)
    found, out, err = run(capsys, "check", healthy)
    assert (found, out) == (code, "")
    assert ("ZeroDivisionError: oh" in err) == (code == 2)


def test_demo_gets_its_own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []

    def demo(arguments: list[str]) -> int:
        given.append(arguments)
        return 7

    monkeypatch.setattr("lightning_diag.demo.main", demo)
    assert cli.main(["demo", "--seed", "3"]) == 7
    assert given == [["--seed", "3"]]


def test_the_module_is_the_command(healthy: Path) -> None:
    done = fresh("check", healthy, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["exit_code"] == 0


@pytest.mark.parametrize("command", ["rules", "check", "compare", "watch", "report"])
def test_no_command_but_the_demo_loads_torch(command: str, healthy: Path) -> None:
    arguments = {"rules": [command], "compare": [command, str(healthy), str(healthy)]}.get(
        command, [command, str(healthy)]
    )
    code = f"import sys; from lightning_diag.cli import main; main({arguments!r}); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "lightning_diag" in loaded
    assert loaded.isdisjoint({"torch", "lightning", "pytorch_lightning", "torchmetrics", "wandb"})


def test_a_closed_pipe_is_no_crash() -> None:
    command = f"'{sys.executable}' -m lightning_diag rules loss/spike | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("loss/spike (L001)")
