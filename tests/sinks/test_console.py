from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_diag import Diagnostics
from lightning_diag.diagnosis import Cause, Coverage, Diagnosis, diagnose
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.sinks.base import RunInfo
from lightning_diag.sinks.console import ConsoleSink
from tests.sinks.screen import Screen
from tests.training import Classifier, fit

SPIKE = Finding("loss/spike", Severity.WARNING, 41, 0, ("a", "b", "c"), "loss 9.1 is 4 times its median 2.2")
LINE = "lightning_diag WARNING loss/spike at step 41 in a, b (+1): loss 9.1 is 4 times its median 2.2"
NOTE = Finding("setup/tiny-batch-norm", Severity.INFO, 1, 0, (), "a note")
FAST = Finding("updates/too-large", Severity.CRITICAL, 20, 0, ("net.0.weight",), "updates are too large")


def told(*findings: Finding, verbose: bool = False) -> list[str]:
    stream = io.StringIO()
    sink = ConsoleSink(verbose, stream)
    sink.open(RunInfo(None, "run"))
    for finding in findings:
        sink.finding(finding)
    return stream.getvalue().splitlines()


def closed(diagnosis: Diagnosis, run_dir: Path | None = None, verbose: bool = False) -> list[str]:
    stream = io.StringIO()
    sink = ConsoleSink(verbose, stream)
    sink.open(RunInfo(run_dir, "run"))
    sink.close(diagnosis)
    sink.close(diagnosis)  # told once
    return stream.getvalue().splitlines()


# ---------------------------------------------------------------------- what is printed


def test_one_line_for_a_new_finding() -> None:
    assert told(SPIKE, SPIKE) == [LINE]


def test_info_only_when_asked_for() -> None:
    assert told(NOTE) == []
    assert told(NOTE, verbose=True) == ["lightning_diag INFO setup/tiny-batch-norm at step 1: a note"]


def test_worse_is_told_and_its_end_once() -> None:
    worse = dataclasses.replace(SPIKE, severity=Severity.CRITICAL, status="worsening", last_step=50)
    over = dataclasses.replace(worse, status="resolved")
    assert told(SPIKE, worse, over, SPIKE, over) == [
        LINE,
        LINE.replace("WARNING", "CRITICAL"),
        "lightning_diag resolved loss/spike after step 50",
    ]


def test_the_end_of_what_was_never_told_is_not_told() -> None:
    assert told(dataclasses.replace(NOTE, status="resolved"), dataclasses.replace(SPIKE, status="resolved")) == []


def test_a_long_message_stays_on_one_line() -> None:
    (line,) = told(dataclasses.replace(SPIKE, message="word " * 200))
    assert line.endswith("word word ")


def test_users_strings_can_do_no_harm() -> None:
    evil = dataclasses.replace(SPIKE, where=("[red]x[/red]\x1b]0;pwn\x07",), message="a\x1b[2Jb\nc[/] :smile: \ud800")
    assert told(evil) == ["lightning_diag WARNING loss/spike at step 41 in [red]x[/red]: ab c[/] :smile:  "]


def test_readings_print_nothing() -> None:
    stream = io.StringIO()
    ConsoleSink(file=stream).reading(Reading(1, 0, {"loss/train": 1.0}))
    assert stream.getvalue() == ""


def test_the_verdict_with_causes(tmp_path: Path) -> None:
    late = dataclasses.replace(SPIKE, rule="loss/not-learning", first_step=60)
    diagnosis = diagnose([FAST, late], Coverage(("loss/spike",), {"fit/overfitting": "no validation"}))
    lines = closed(diagnosis, tmp_path)
    assert lines[0] == f"lightning_diag {diagnosis.verdict}"
    assert lines[0].startswith("lightning_diag CRITICAL: the learning rate is too high at net.0.weight, since step 20")
    assert lines[1].startswith(
        "  - critical: the learning rate is too high, since step 20, in net.0.weight (confidence "
    )
    assert lines[1].endswith("%: updates/too-large, loss/not-learning)")
    assert lines[2].startswith("    next: repeat the first 200 steps with a tenth of the learning rate")
    assert lines[3] == (
        "  checklist: 0 of 22 hold, not so: the learning rate is in a sane range (updates/too-large); "
        "it is better than guessing (loss/not-learning), 20 not measurable"
    )
    assert lines[4] == f"  run directory: {tmp_path}"
    assert len(lines) == 5


def test_only_the_first_causes_are_shown() -> None:
    one = Cause("x", "x", Severity.WARNING, 1.0, (), 41, (SPIKE,), "try it")
    diagnosis = Diagnosis((one,) * 5)
    lines = closed(diagnosis)
    assert sum(line.startswith("  - ") for line in lines) == 3
    assert lines[-1] == "  and 2 more"


def test_a_healthy_run_is_its_verdict_and_its_checklist() -> None:
    diagnosis = Diagnosis(coverage=Coverage(("loss/diverging",)))
    assert closed(diagnosis) == [
        f"lightning_diag {diagnosis.verdict}",
        "  checklist: 1 of 22 hold, 21 not measurable",
    ]
    listed = closed(diagnosis, verbose=True)
    assert "    ok: the learning rate is in a sane range" in listed
    assert "    not-measurable: nothing leaks (not among the rules of this run)" in listed
    assert "Healthy" in diagnosis.verdict


@pytest.mark.parametrize("broken", [True, False])
def test_a_run_that_broke_off_is_not_called_healthy_without_saying_so(tmp_path: Path, broken: bool) -> None:
    class Breaks(Classifier):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            if broken and self.global_step == 20:
                raise RuntimeError("the user's own")

    stream = io.StringIO()
    with contextlib.suppress(RuntimeError):
        fit(Breaks(), [Diagnostics(sinks=[ConsoleSink(file=stream)])], tmp_path, steps=30)
    verdict = next(line for line in stream.getvalue().splitlines() if "checks ran" in line)
    assert verdict.startswith("lightning_diag The run broke off. Until then: ") == broken


def test_nothing_checked_says_so_and_why_when_asked() -> None:
    coverage = Coverage((), {"loss/spike": "no loss"})
    assert closed(Diagnosis(coverage=coverage))[1:] == ["  checks: 0 ran, 1 skipped"]
    assert closed(Diagnosis(coverage=coverage), verbose=True)[2] == "    loss/spike: no loss"


def test_the_report_is_named_when_it_stands(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("")
    assert closed(Diagnosis(), tmp_path)[-1] == f"  report: {tmp_path / 'report.html'}"


# ---------------------------------------------------------------------- where it is printed


def test_standard_error_as_it_is_at_that_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = ConsoleSink()
    late = io.StringIO()
    monkeypatch.setattr(sys, "stderr", late)
    sink.finding(SPIKE)
    assert late.getvalue() == LINE + "\n"
    assert capsys.readouterr().out == ""


def test_a_program_without_a_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    ConsoleSink().finding(SPIKE)


def test_colour_only_on_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")  # must not colour a file
    assert told(SPIKE) == [LINE]
    screen = Screen()
    ConsoleSink(file=screen).finding(SPIKE)
    assert "\x1b[1;33mWARNING" in screen.getvalue()
    assert screen.lines()[0] == LINE
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Screen()
    ConsoleSink(file=plain).finding(SPIKE)
    assert "33m" not in plain.getvalue()


def test_an_encoding_that_lacks_a_character(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        ConsoleSink(file=stream).finding(dataclasses.replace(SPIKE, message="naïve µ"))
    assert "na?ve ?" in (tmp_path / "log").read_text()


# ---------------------------------------------------------------------- beside progress bars


def terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Put both standard streams, as two objects, onto one terminal. Called in the test: pytest swaps them before."""

    class Other(Screen):
        def write(self, text: str) -> int:
            return screen.write(text)

    screen = Screen()
    monkeypatch.setattr(sys, "stdout", Other())
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    return screen


@pytest.mark.parametrize("on", ["stdout", "stderr"])
def test_a_tqdm_bar_is_not_torn(monkeypatch: pytest.MonkeyPatch, on: str) -> None:
    tqdm = pytest.importorskip("tqdm").tqdm
    screen = terminal(monkeypatch)
    sink = ConsoleSink()
    with tqdm(total=3, file=getattr(sys, on), ncols=60, mininterval=0, desc="train") as bar:
        bar.update()
        sink.finding(SPIKE)
        bar.update()
        assert screen.lines()[0] == LINE
        assert screen.lines()[1].startswith("train:  67%")
        assert len(screen.lines()) == 2
    assert "train:  33%" not in "\n".join(screen.lines())


def test_a_line_after_the_bar_needs_no_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    tqdm = pytest.importorskip("tqdm").tqdm
    screen = terminal(monkeypatch)
    with tqdm(total=1, file=sys.stdout, ncols=60) as bar:
        bar.update()
    ConsoleSink().finding(SPIKE)
    assert screen.lines()[1:] == [LINE, ""]


def test_a_live_rich_display_is_not_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console
    from rich.progress import Progress

    screen = terminal(monkeypatch)
    console = Console(file=sys.stdout, force_terminal=True, width=150, legacy_windows=False)
    with Progress(console=console, auto_refresh=False) as progress:
        task = progress.add_task("train", total=3)
        progress.refresh()
        ConsoleSink().finding(SPIKE)
        progress.update(task, completed=2, refresh=True)
        assert screen.lines()[0] == LINE
        assert screen.lines()[1].startswith("train ")
        assert " 67%" in screen.lines()[1]
        assert len(screen.lines()) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning's own, of PyTorch's trees
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_lightnings_rich_progress_bar_is_not_torn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    import rich
    from lightning.pytorch.callbacks import RichProgressBar
    from lightning.pytorch.demos.boring_classes import BoringModel

    class Tell(lightning.Callback):  # type: ignore[misc, name-defined]
        def on_train_batch_end(self, *args: Any) -> None:
            if args[-1] == 1:
                ConsoleSink().finding(SPIKE)

    screen = terminal(monkeypatch)
    old = rich.get_console().__dict__.copy()
    monkeypatch.setenv("COLUMNS", "150")
    try:
        trainer = lightning.Trainer(
            default_root_dir=tmp_path,
            max_epochs=1,
            limit_train_batches=4,
            limit_val_batches=0,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[RichProgressBar(refresh_rate=1, leave=True), Tell()],
        )
        trainer.fit(BoringModel())
    finally:
        rich.get_console().__dict__.update(old)
    lines = screen.lines()
    assert lines.count(LINE) == 1
    assert sum("4/4" in line for line in lines) == 1
    assert not any(f"{k}/4" in line for line in lines for k in (1, 2, 3))
