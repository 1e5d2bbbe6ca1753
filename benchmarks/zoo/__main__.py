"""Command line: ``python -m benchmarks.zoo run | harm | score | live | list``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.zoo.grid import SEEDS, Config, configs
from benchmarks.zoo.sweep import CACHE, load_all, sweep


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, doc in (
        ("list", "print the configurations of a set"),
        ("run", "train what the cache lacks"),
        ("harm", "print the measured harm of every group"),
        ("score", "replay the detectors over the records and print the tables"),
        ("live", "train a drawn part of the set under other tools, in an environment that holds them"),
    ):
        sub = commands.add_parser(name, help=doc)
        sub.add_argument("--set", dest="which", choices=("smoke", *SEEDS), default="dev")
        sub.add_argument("--cache", type=Path, default=CACHE)
        sub.add_argument("--seeds", type=int, nargs="*", help="default: all seeds of the set")
        sub.add_argument("--only", nargs="*", default=[], help="tasks or operators")
        if name in ("run", "score"):
            sub.add_argument("--jobs", type=int, default=2, help="processes")
        if name == "run":
            sub.add_argument("--fresh", action="store_true", help="train again what the cache holds")
            sub.add_argument("--refresh", action="store_true", help="the same where other measuring code made it")
            sub.add_argument("--plain", action="store_true", help="without Diagnostics: for the harm alone")
        if name == "live":
            sub.add_argument("--out", type=Path, required=True, help="JSON file; what it holds is not made again")
        if name == "score":
            sub.add_argument("--out", type=Path, help="write the tables to this Markdown file")
            sub.add_argument("--scores", type=Path, help="write each rule's figures to this JSON file")
            sub.add_argument("--peers", action="store_true", help="other tools' rules over the same records")
            sub.add_argument(
                "--trainproof", type=Path, help="with --peers: trainproof's command, of its own environment"
            )
            sub.add_argument("--live", type=Path, help="with --peers: what 'live' left")
            sub.add_argument("--provisional", action="store_true", help="label groups with too few seeds by size")
            sub.add_argument("--save", type=Path, help="keep what counts of each run in this JSON file")
            sub.add_argument("--before", type=Path, help="such a file of other rules over the same records: compare")
            sub.add_argument("--held", type=int, nargs="*", default=[], help="with --before: seeds that chose no limit")
            sub.add_argument("--runs", action="store_true", help="print every miss and false alarm")
    return parser


def chosen(args: argparse.Namespace) -> list[Config]:
    """The configurations that the arguments name."""
    found = configs(args.which, args.seeds, every=args.command == "score")  # of what was run
    only = set(args.only)
    return [c for c in found if not only or c.task in only or c.operator in only]


def main(argv: list[str] | None = None) -> int:
    """Run a command; return the exit status."""
    args = _parser().parse_args(argv)
    todo = chosen(args)
    if args.command == "list":
        print("\n".join(c.name for c in todo))
    elif args.command == "run":
        how: dict[str, Any] = {"plain": args.plain, "fresh": args.fresh, "refresh": args.refresh}
        print(f"{sweep(todo, args.cache, jobs=args.jobs, **how)} runs made")
    elif args.command == "live":
        from benchmarks.zoo.live import drawn, train

        print(f"{train(drawn(args.which, *(args.seeds or [])[:1]), args.out)} runs made")
    elif args.command == "harm":
        from benchmarks.zoo.tables import harm_table

        print(harm_table(load_all(args.cache, todo)))
    else:
        from benchmarks.zoo.score import score

        how = {"runs": args.runs, "jobs": args.jobs, "provisional": args.provisional, "scores": args.scores}
        how |= {"save": args.save, "before": args.before, "held": args.held}
        text = score(todo, args.cache, **how, peers=args.peers, program=args.trainproof, live=args.live)
        print(text)
        if args.out is not None:
            args.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
