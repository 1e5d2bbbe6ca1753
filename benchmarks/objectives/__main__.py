"""See the package's docstring."""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.objectives.watch import OBJECTIVES, train
from lightning_diag import Finding, Severity


def line(name: str, runs: list[dict[str, Any]]) -> str:
    """A row of the table: one objective, all seeds."""
    worked = sum(r["score"] >= r["good"] for r in runs)
    said: dict[str, list[Severity]] = {}
    for finding in (Finding.from_dict(f) for r in runs for f in r["findings"]):
        said.setdefault(finding.rule, []).append(finding.severity)
    loud = {rule: [s for s in given if s >= Severity.WARNING] for rule, given in said.items()}
    alarms = "; ".join(f"`{rule}` {len(given)}" for rule, given in sorted(loud.items()) if given) or "-"
    notes = ", ".join(f"`{rule}`" for rule in sorted(said) if not loud[rule]) or "-"
    scores = ", ".join(f"{r['score']:.2f}" for r in runs)
    alarmed = sum(any(Finding.from_dict(f).severity >= Severity.WARNING for f in r["findings"]) for r in runs)
    what = (OBJECTIVES[name].__doc__ or name).partition("\n")[0].rstrip(".")
    return f"| {name}: {what} | {runs[0]['steps']} | {scores} (good: {runs[0]['good']}) | {worked}/{len(runs)} | {alarmed} | {alarms} | {notes} |"


def main() -> None:
    """Train all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--verbose", action="store_true", help="print each alarm")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    names = [n for n in OBJECTIVES if not args.only or n in args.only]
    jobs = [(name, seed) for name in names for seed in args.seeds]
    with ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = []
        for run in pool.map(train, jobs):
            runs.append(run)
            if args.verbose:
                told = [Finding.from_dict(f) for f in run["findings"]]
                print(
                    f"{run['name']} {run['seed']}: {run['score']:.3f} ({run['good']}) {run['seconds']:.0f} s, judged {run['judged']}",
                    run["causes"],
                    flush=True,
                )
                for f in told:
                    print(f"    {f.severity} {f.rule} @{f.step}-{f.last_step} {f.status}: {f.message}")
    head = "| training | steps | score of each seed | worked | with an alarm | alarms | notes |\n|---|---|---|---|---|---|---|"
    rows = [line(name, [r for r in runs if r["name"] == name]) for name in names]
    print("\n".join((head, *rows)))
    if args.out is not None:
        args.out.write_text("\n".join((head, *rows)) + "\n")


if __name__ == "__main__":
    main()
