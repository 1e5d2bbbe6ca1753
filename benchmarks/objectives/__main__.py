"""See the package's docstring."""

from __future__ import annotations

import argparse
import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.objectives.watch import OBJECTIVES, train
from lightning_diag import Finding, Severity


def told(run: dict[str, Any]) -> list[Finding]:
    """What was found, worst first."""
    return sorted((Finding.from_dict(f) for f in run["findings"]), key=lambda f: -f.severity)


def line(name: str, runs: list[dict[str, Any]]) -> tuple[str, ...]:
    """A row of the table: one objective, all seeds that worked."""
    worked = [r for r in runs if r["score"] >= r["good"]]
    said = [f for r in worked for f in told(r)]
    alarms = Counter(f.rule for f in said if f.severity >= Severity.WARNING)
    notes = sorted({f.rule for f in said} - alarms.keys())
    alarmed = sum(any(f.severity >= Severity.WARNING for f in told(r)) for r in worked)
    what = (OBJECTIVES[name].__doc__ or name).partition("\n")[0].rstrip(".")
    scores = ", ".join(f"{r['score']:.2f}" for r in runs)
    counted = ", ".join(f"`{rule}` {n}" for rule, n in alarms.items()) or "-"
    noted = ", ".join(f"`{rule}`" for rule in notes) or "-"
    least = f"{scores} (at least {runs[0]['good']})"
    return what, str(runs[0]["steps"]), least, f"{alarmed} of {len(worked)}", counted, noted


def main() -> None:
    """Train all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--verbose", action="store_true", help="print each finding")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    names = [n for n in OBJECTIVES if not args.only or n in args.only]
    runs = []
    with ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for run in pool.map(train, [(name, seed) for name in names for seed in args.seeds]):
            runs.append(run)
            print(f"{run['name']} {run['seed']}: {run['score']:.3f} (at least {run['good']}), {run['seconds']:.0f} s")
            for f in told(run) if args.verbose else ():
                print(f"    {f.severity} {f.rule} at step {f.step}, {f.status}: {f.message}", flush=True)
    head = ("training", "steps", "score of each seed", "alarmed, of those that worked", "alarms", "notes")
    rows = [line(name, [r for r in runs if r["name"] == name]) for name in names]
    text = "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
