"""Command line: see the package's text."""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path

import torch

import benchmarks.overhead
from benchmarks.overhead.alternating import VARIANTS, alternating
from benchmarks.overhead.footprint import footprint
from benchmarks.overhead.growth import CURVES, growth
from benchmarks.overhead.nets import NETS
from benchmarks.overhead.paired import paired

CPU = [name for name, net in NETS.items() if not net.gpu]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead",
        description=benchmarks.overhead.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    pairs = commands.add_parser("paired")
    pairs.add_argument("--net", nargs="+", choices=list(NETS), help="default: those of the device")
    pairs.add_argument("--variant", nargs="+", help="default: all")
    pairs.add_argument("--blocks", type=int, default=7)
    pairs.add_argument("--steps", type=int, default=0, help="measured steps a block; 0 = the net's own number")
    pairs.add_argument("--warmup", type=int, default=-1, help="steps before them; -1 = the net's own number")
    pairs.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    steps = commands.add_parser("alternating")
    steps.add_argument("--net", nargs="+", choices=CPU, default=CPU)
    steps.add_argument("--variant", nargs="+", choices=list(VARIANTS), help="default: all")
    steps.add_argument("--samples", type=int, default=20, help="measured steps; each costs four")
    steps.add_argument("--warmup", type=int, default=4, help="periods of four steps before them")
    curves = commands.add_parser("growth")
    curves.add_argument("--curve", nargs="+", choices=list(CURVES), default=list(CURVES))
    foot = commands.add_parser("footprint")
    foot.add_argument("--steps", type=int, default=100_000)
    for command in (pairs, steps, curves, foot):
        command.add_argument("--out", type=Path, help="write the tables to this Markdown file, too")
    return parser


def main() -> None:
    """Measure and print."""
    args = _parser().parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for logger in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    logging.getLogger("lightning_diag").setLevel(logging.ERROR)
    if args.command == "paired":
        names = args.net or (CPU if args.device == "cpu" else [n for n in NETS if n not in CPU])
        lines = paired(names, args.variant, args.blocks, args.steps, args.warmup, args.device)
    elif args.command == "alternating":
        lines = alternating(args.net, args.variant, args.samples, args.warmup)
    elif args.command == "growth":
        lines = growth(args.curve)
    else:
        lines = footprint(args.steps)
    if args.out:
        args.out.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
