"""The sink for people at a terminal: a line when something goes wrong, a verdict at the end."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from lightning_diag.diagnosis import Cause, Diagnosis
from lightning_diag.finding import Finding, Severity
from lightning_diag.reading import Reading
from lightning_diag.sinks._news import News, clean, places
from lightning_diag.sinks.base import RunInfo, Sink

SHOWN_CAUSES = 3
REPORT = "report.html"
INDENT = " " * 6  # of what goes on in the next line
MIN_COLUMNS = 40  # in a narrower terminal lines are left to it
STYLE = {Severity.INFO: "cyan", Severity.WARNING: "bold yellow", Severity.CRITICAL: "bold red"}


class ConsoleSink(Sink):
    """Prints one line for each new finding of warning or worse, one when it is over, and a compact verdict at the end.

    It writes to standard error, so that what a program prints for others stays clean, coloured only on a terminal. A
    progress bar isn't torn: tqdm's bars are cleared and drawn again around the line, and while a rich display is live
    the line goes through rich's stand-in for standard error, which prints above it. Users' strings lose control
    characters and are never read as markup.

    Args:
        verbose: also print findings of severity info, and why checks were skipped.
        file: where to write; None takes ``sys.stderr`` as it is when the line is written.

    Examples:
        >>> sink = ConsoleSink(file=sys.stdout)
        >>> sink.finding(Finding("loss/spike", Severity.WARNING, 41, 0, (), "loss 9.1 is 4 times its median 2.2"))
        lightning_diag WARNING loss/spike at step 41: loss 9.1 is 4 times its median 2.2
        >>> sink.close(Diagnosis())
        lightning_diag Not checked: no check had the data it needs.
    """

    def __init__(self, verbose: bool = False, file: TextIO | None = None) -> None:
        self.verbose = verbose
        self.file = file
        self._reset()

    def _reset(self) -> None:
        self._news = News()
        self._run: RunInfo | None = None
        self._closed = False

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.verbose,)  # an open stream is not copied

    def open(self, run: RunInfo) -> None:
        """Start afresh."""
        self._reset()
        self._run = run

    def reading(self, reading: Reading) -> None:
        """Take no notice: numbers are for charts."""

    def finding(self, finding: Finding) -> None:
        """Print a finding that is new or got more severe, and the end of one that was printed."""
        if finding.severity < Severity.WARNING and not self.verbose:
            return
        head = Text.assemble(("lightning_diag ", "dim"))
        if self._news.is_over(finding):
            self._print(head.append(f"resolved {clean(finding.rule)} after step {finding.last_step}", "green"))
        elif self._news.is_new(finding):
            head.append(f"{str(finding.severity).upper()} ", STYLE[finding.severity])
            head.append(clean(finding.rule), "bold")
            place = f" in {places(finding.where)}" if finding.where else ""
            self._print(head.append(f" at step {finding.step}{place}: {clean(finding.message)}"))

    def close(self, diagnosis: Diagnosis) -> None:
        """Print the verdict, once an opening."""
        if self._closed:
            return
        self._closed = True
        well = diagnosis.healthy and not self.broke_off
        style = "green" if well else STYLE.get(diagnosis.severity or Severity.INFO, "")
        until = "The run broke off. Until then: " if self.broke_off else ""
        lines = [Text.assemble(("lightning_diag ", "dim"), (until + clean(diagnosis.verdict), style))]
        for cause in diagnosis.causes[:SHOWN_CAUSES]:
            lines += _card(cause)
        if len(diagnosis.causes) > SHOWN_CAUSES:
            lines.append(Text(f"  and {len(diagnosis.causes) - SHOWN_CAUSES} more"))
        if diagnosis.coverage.ran:
            lines += _ticked(diagnosis, self.verbose)
        skipped = diagnosis.coverage.skipped
        if skipped and (self.verbose or not diagnosis.coverage.ran):
            lines.append(Text(f"  checks: {len(diagnosis.coverage.ran)} ran, {len(skipped)} skipped"))
        if self.verbose:
            lines += [Text(f"    {clean(rule)}: {clean(reason)}", "dim") for rule, reason in skipped.items()]
        if self._run is not None and self._run.run_dir is not None:
            report = self._run.run_dir / REPORT
            shown = report if report.exists() else self._run.run_dir
            lines.append(Text(f"  {'report' if shown is report else 'run directory'}: {clean(str(shown))}", "dim"))
        self._print(*lines)

    def _print(self, *lines: Text) -> None:
        stream = self.file or sys.stderr
        if stream is None:  # a program without a console
            return
        terminal = bool(getattr(stream, "isatty", bool)())
        text = _render(lines, _columns(stream) if terminal else None, terminal)
        encoding = getattr(stream, "encoding", None) or "utf-8"
        with _bars_cleared(stream):
            stream.write(text.encode(encoding, "replace").decode(encoding))
            stream.flush()


def _card(cause: Cause) -> list[Text]:
    """Return what is told of a cause: what, how sure, since when, where, by which rules; and what to try."""
    place = f", in {places(cause.where, 3)}" if cause.where else ""
    rules = ", ".join(clean(finding.rule) for finding in cause.findings)
    head = Text.assemble("  - ", (f"{cause.severity}", STYLE[cause.severity]), f": {clean(cause.title)}")
    head.append(f", since step {cause.first_step}{place} (confidence {cause.confidence:.0%}: {rules})")
    return [head, Text(f"    next: {clean(cause.experiment)}")]


def _ticked(diagnosis: Diagnosis, verbose: bool) -> list[Text]:
    """Return the checklist in a line: how much holds, and what doesn't; with ``verbose`` also a line for each item."""
    items = diagnosis.checklist
    counts = {state: sum(i.state == state for i in items) for state in ("ok", "failed", "not-measurable")}
    failed = "; ".join(f"{item.item} ({', '.join(map(clean, item.rules))})" for item in items if item.state == "failed")
    text = f"  checklist: {counts['ok']} of {len(items)} hold"
    text += f", not so: {failed}" if failed else ""
    lines = [Text(text + (f", {counts['not-measurable']} not measurable" if counts["not-measurable"] else ""))]
    if verbose:
        lines += [Text(f"    {item.state}: {item.item}{f' ({clean(item.why)})' if item.why else ''}") for item in items]
    return lines


def _columns(stream: TextIO) -> int | None:
    """Columns of the terminal behind a stream; None where it doesn't say."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return None
    return columns if columns >= MIN_COLUMNS else None


def _render(lines: Iterable[Text], columns: int | None, terminal: bool) -> str:
    """Return lines as text, with colours when the terminal and the environment (``NO_COLOR``) allow them.

    Where the terminal's width is known, a long line goes on indented, broken between words.
    """
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=terminal, force_jupyter=False, legacy_windows=False)
    for line in lines:
        parts = [line]
        if columns is not None and line.cell_len > columns:
            parts = [*line.wrap(console, columns - len(INDENT), no_wrap=False)]
            parts[1:] = [Text(INDENT) + part for part in parts[1:]]
            for part in parts:
                part.rstrip()
        for part in parts:
            console.print(part, soft_wrap=True, highlight=False)
    return buffer.getvalue()


def _bars_cleared(stream: TextIO) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which no live tqdm bar stands on the terminal; tqdm itself is never imported."""
    bar = getattr(sys.modules.get("tqdm"), "tqdm", None)
    if bar is None or not getattr(bar, "_instances", ()):
        return contextlib.nullcontext()
    cleared: contextlib.AbstractContextManager[Any] = bar.external_write_mode(file=stream)
    return cleared
