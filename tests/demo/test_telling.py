from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from lightning_diag.demo.data import REAL
from lightning_diag.demo.telling import Teller


def _teller(width: int = 60) -> tuple[Teller, io.StringIO]:
    out = io.StringIO()
    return Teller(Console(file=out, width=width, highlight=False)), out


def _result(name: str, folder: str, synthetic: float = float("nan")) -> Any:
    return SimpleNamespace(
        plan=SimpleNamespace(name=name),
        accuracy=lambda domain=REAL: 0.9776 if domain == REAL else synthetic,
        steps=464,
        wall_s=4.4,
        run_dir=Path(folder),
        logger="CSV",
        log_dir=Path(folder) / "csv",
    )


def test_a_result_is_one_line_of_numbers() -> None:
    teller, out = _teller(200)
    teller.result(_result("fine", "/tmp/x"))
    assert out.getvalue() == "464 steps in 4 s, 97.8 % right on real handwriting\n"
    teller, out = _teller(200)
    teller.result(_result("fine", "/tmp/x", 0.5))
    assert out.getvalue() == "464 steps in 4 s, 97.8 % right on real handwriting, 50.0 % on synthetic digits\n"


def test_brackets_are_text_and_no_markup() -> None:
    teller, out = _teller()
    teller.say("module[0] and [red]not red[/red]")
    assert out.getvalue() == "module[0] and [red]not red[/red]\n"


def test_a_table_keeps_its_cells_in_their_columns_and_brackets_as_they_are() -> None:
    teller, out = _teller()
    teller.table(("", "[red]a", "b"), [["worst", "one\ntwo", "[bold]"], ["x", "1", "2"]])
    lines = out.getvalue().splitlines()
    assert [line.split() for line in lines] == [["[red]a", "b"], ["worst", "one", "[bold]"], ["two"], ["x", "1", "2"]]
    column = lines[0].index("[red]a")
    assert {lines[1].index("one"), lines[2].index("two"), lines[3].index("1")} == {column}


def test_paths_are_not_broken_at_the_terminals_width() -> None:
    teller, out = _teller(40)
    folder = "/tmp/" + "long/" * 20 + "run"
    teller.reports(_result("a", folder), _result("b", folder))
    lines = out.getvalue().splitlines()
    assert f"a report: {folder}/report.html" in lines
    assert f"b CSV: {folder}/csv" in lines
