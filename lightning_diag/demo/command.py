"""The command ``lightning-diag demo``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from lightning_diag.errors import MissingExtraError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 when the diagnosis was right and its advice helped, 1 when not, 2 when it can't run.

    Args:
        argv: arguments without the program's name; None = ``sys.argv[1:]``.
    """
    start = time.perf_counter()
    options = _parser().parse_args(argv)
    from lightning_diag.demo import gap, mistake  # noqa: PLC0415 - not before --help
    from lightning_diag.demo.telling import Teller  # noqa: PLC0415

    teller = Teller()
    try:
        _need("PIL", "pillow")
        _need("sklearn", "scikit-learn")
    except MissingExtraError as error:
        teller.say(str(error))
        return 2
    folder = _folder(options.out)
    told = [part.tell(folder, options.seed, teller) for part in ((mistake,) if options.quick else (mistake, gap))]
    teller.reports(*[run for _, runs in told for run in runs])
    teller.title(f"Done in {time.perf_counter() - start:.0f} s.")
    return 0 if all(right for right, _ in told) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lightning-diag demo",
        description="Train a classifier of handwritten digits on the CPU: once as it should be, once with a mistake in "
        "it, once on drawn digits that don't look like handwriting, and once more as the diagnosis advises. Takes half "
        "a minute and no network.",
    )
    parser.add_argument("--quick", action="store_true", help="only the first two trainings")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for records (default: lightning_diag_runs/demo-<time>)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of data, weights and order (default: 0)")
    return parser


def _folder(out: Path | None) -> Path:
    now = datetime.now().astimezone()
    folder = out or Path("lightning_diag_runs") / f"demo-{now:%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _need(module: str, package: str) -> None:
    if find_spec(module) is None:
        raise MissingExtraError(package, "demo")
