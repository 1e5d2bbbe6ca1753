"""A small terminal: what a person sees after everything was written."""

from __future__ import annotations

import io
import re

_TOKEN = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|(\r|\n)|([^\x1b\r\n]+)")


class Screen(io.StringIO):
    r"""A stream that claims to be a terminal and lays out carriage returns, cursor moves up and line erasing.

    >>> screen = Screen()
    >>> _ = screen.write("50 %\rdone\nnext\x1b[31m!\x1b[0m\x1b[1A\r\x1b[2K")
    >>> screen.lines()
    ['', 'next!']
    """

    def isatty(self) -> bool:
        """A terminal, as far as anybody can tell."""
        return True

    def lines(self) -> list[str]:
        """Return the lines on the screen."""
        rows: list[list[str]] = [[]]
        row = column = 0
        for numbers, command, move, text in _TOKEN.findall(self.getvalue()):
            if move == "\r":
                column = 0
            elif move == "\n":
                row, column = row + 1, 0
                rows += [[] for _ in range(row + 1 - len(rows))]
            elif command == "A":
                row = max(0, row - int(numbers or 1))
            elif command == "K":
                rows[row] = [] if numbers == "2" else rows[row][:column]
            for character in text:
                rows[row] += " " * (column + 1 - len(rows[row]))
                rows[row][column] = character
                column += 1
        return ["".join(characters).rstrip() for characters in rows]
