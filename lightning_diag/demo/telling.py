"""What the demo prints: short paragraphs for a person, as wide as the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightning_diag.demo.data import SYNTHETIC

if TYPE_CHECKING:
    from lightning_diag.demo.training import Result


class Teller:
    """Prints results; every text is taken literally, none as markup.

    Args:
        console: where to; None = standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)

    def say(self, text: str, style: str = "") -> None:
        """Print one paragraph."""
        self.console.print(Text(text, style=style))

    def title(self, text: str) -> None:
        """Print a heading after an empty line."""
        self.console.print()
        self.say(text, style="bold")

    def result(self, result: Result) -> None:
        """Print how a training went. What is wrong with it was already said, by ``Diagnostics`` itself."""
        synthetic = result.accuracy(SYNTHETIC)
        also = "" if math.isnan(synthetic) else f", {100 * synthetic:.1f} % on synthetic digits"
        self.say(
            f"{result.steps} steps in {result.wall_s:.0f} s, {100 * result.accuracy():.1f} % right on real handwriting"
            f"{also}"
        )

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print rows of cells under their heads, as wide as they need to be."""
        table = Table(box=None, padding=(0, 3, 0, 0))
        for head in heads:
            table.add_column(Text(head))
        for row in rows:
            table.add_row(*[Text(cell) for cell in row])
        self.console.print(table)

    def reports(self, *results: Result) -> None:
        """Print where everything was written. Paths are not wrapped, so that they can be copied."""
        self.title("Written")
        for result in results:
            for what, path in (("report", result.run_dir / "report.html"), (result.logger, result.log_dir)):
                self.console.print(Text(f"{result.plan.name} {what}: {path}"), soft_wrap=True)
