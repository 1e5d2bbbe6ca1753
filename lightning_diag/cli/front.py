"""The front of the command: which commands there are, and where errors become exit codes.

Exit codes: 0 fine; 1 ``check`` found something at or above ``--fail-on``; 2 nothing could be judged, or misuse.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from lightning_diag import __version__
from lightning_diag.cli import check, compare, demo, flight, preflight, report, rules, watch
from lightning_diag.cli.base import FINE, NOT_JUDGED, Command, complain
from lightning_diag.errors import DiagnosticsError

INTERRUPTED = 130  # as shells say it

COMMANDS: dict[str, Command] = {
    "demo": demo.COMMAND,
    "preflight": preflight.COMMAND,
    "check": check.COMMAND,
    "compare": compare.COMMAND,
    "watch": watch.COMMAND,
    "flight": flight.COMMAND,
    "report": report.COMMAND,
    "rules": rules.COMMAND,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: arguments without the program's name; None = ``sys.argv[1:]``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["demo"]:  # it has options of its own
        return demo.run(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except DiagnosticsError as error:
        complain(str(error))
        return NOT_JUDGED
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:  # a crash of ours is no finding: Python's own exit code would be 1
        traceback.print_exc()
        return NOT_JUDGED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lightning-diag", description="A linter for training runs.")
    parser.add_argument("--version", action="version", version=f"lightning-diag {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        text = command.description or f"{command.help[:1].upper()}{command.help[1:]}."
        own = commands.add_parser(
            name,
            help=command.help,
            description=text,
            epilog=command.epilog or None,
            formatter_class=argparse.RawDescriptionHelpFormatter if "\n" in text else argparse.HelpFormatter,
        )
        command.arguments(own)
        own.set_defaults(run=command.run)
    return parser
