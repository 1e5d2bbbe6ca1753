"""The score sheet: replay every record of a set and write what was caught, missed, and said without reason."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import multiprocessing
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.zoo import versus
from benchmarks.zoo.comparison import comparison, said
from benchmarks.zoo.curves import alarm_rate, severity_curves
from benchmarks.zoo.detectors import shipped_rules
from benchmarks.zoo.digest import package_digest
from benchmarks.zoo.grid import SEEDS, Config
from benchmarks.zoo.harm import UNLABELLED, label
from benchmarks.zoo.intervals import bootstrap, share
from benchmarks.zoo.live import live_table, read
from benchmarks.zoo.outcome import Outcome, outcome
from benchmarks.zoo.replay import replay
from benchmarks.zoo.sweep import load_all
from benchmarks.zoo.tables import (
    detail_lines,
    expected,
    operator_table,
    percent,
    quiet_table,
    rule_table,
    severity_table,
    table,
)

Results = Mapping[Config, Mapping[str, Any]]  # stored results of runs
PROVISIONAL = "**Provisional**: groups with fewer than 3 seeds are labelled by the size of the change alone."
FEW = 100  # records that one process replays sooner than two have started


def outcomes(results: Results, cache: Path, jobs: int = 2, *, provisional: bool = False) -> list[Outcome]:
    """Replay every stored run that has a record, in this many processes."""
    harms = label(results, provisional=provisional)
    watched = {c: cache / c.name / r["record"] for c, r in results.items() if r["record"] and c.watched}
    if jobs > 1 and len(watched) > FEW:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            verdicts = list(pool.map(replay, watched.values(), chunksize=16))
    else:
        verdicts = [replay(record) for record in watched.values()]
    return [
        outcome(config, results[config], harms.get(config.group, UNLABELLED), verdict)
        for config, verdict in zip(watched, verdicts, strict=True)
    ]


def score(
    chosen: Sequence[Config], cache: Path, *, runs: bool = False, jobs: int = 2, provisional: bool = False,
    scores: Path | None = None, peers: bool = False, program: Path | None = None, save: Path | None = None,
    before: Path | None = None, held: Sequence[int] = (), live: Path | None = None,
) -> str:  # fmt: skip
    """The whole sheet as Markdown.

    ``scores`` takes each rule's figures as JSON, ``peers`` adds the other tools, ``live`` those that :mod:`live` ran;
    ``save`` keeps what counts of a run, ``before`` compares with such a file, ``held`` are the seeds that chose no
    limit.
    """
    results = load_all(cache, chosen)
    found = outcomes(results, cache, jobs, provisional=provisional)
    if not found:
        raise SystemExit(f"no records under {cache}: run `python -m benchmarks.zoo run` first")
    if scores is not None:
        scores.write_text(json.dumps(figures(found), indent=1) + "\n")
    if save is not None:
        versus.save(found, save)
    head = [PROVISIONAL] if provisional else []
    parts = [
        _head(found, chosen, results),
        *head,
        "## Summary\n\n" + summary(found),
        "## Rules\n\n" + rule_table(found),
        "## Harmful faults\n\n" + operator_table(found),
        "## Recall against severity\n\n" + severity_table(found),
        "## Alarms on healthy and benign runs\n\n" + quiet_table(found),
    ]
    if before is not None:
        parts.insert(1, "## Before and after\n\n" + versus.versus(found, before, held))
    if peers:
        records = [cache / o.config.name / results[o.config]["record"] for o in found]
        others = "## Other tools\n\n" + comparison(found, said(found, records, jobs, program))
        if live is not None:
            others += "\n\n### Tools that hook into a training\n\n" + live_table(found, read(live))
        parts.insert(3 + len(head), others)
    if runs:
        parts.append("## Runs\n\n" + "\n".join(detail_lines(found)))
    return "\n\n".join(parts)


def figures(found: Sequence[Outcome]) -> dict[str, Any]:
    """Figures for the documentation: each rule's, those of all together, and recall against severity.

    A rule's: alarms and runs, hits and runs where it is expected, median delay, alarms per 10,000 healthy steps.
    """
    kinds = {kind: [o for o in found if o.harm.label == kind] for kind in ("healthy", "benign", "harmful")}
    rules: dict[str, Any] = {}
    for rule in sorted(shipped_rules()):
        row: dict[str, Any] = {}
        for kind in ("healthy", "benign"):
            runs = [o for o in kinds[kind] if rule in o.verdict.ran]
            row[kind] = [sum(any(a.rule == rule for a in o.verdict.alarms) for o in runs), len(runs)]
        wanted, delays = expected(found, rule)
        row["recall"] = [len(delays), wanted]
        row["delay"] = round(median(delays), 3) if delays else None
        row["per_10k_steps"] = alarm_rate(found, rule)
        rules[rule] = row
    sets = {name for o in found for name, seeds in SEEDS.items() if o.config.seed in seeds}
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    runs_of = {kind: len(runs) for kind, runs in kinds.items()}
    hits = sum(o.hit is not None for o in kinds["harmful"])
    together = {"recall": [hits, len(kinds["harmful"])], "per_10k_steps": alarm_rate(found)}
    return {
        "set": " and ".join(sorted(sets)), "date": date, "runs": runs_of, "together": together,
        "rules": rules, "severity": severity_curves(found),
    }  # fmt: skip


def _head(found: Sequence[Outcome], chosen: Sequence[Config], results: Results) -> str:
    old = sum(results[o.config].get("package") != package_digest() for o in found)
    packages = ("lightning", "torch", "numpy", "scikit-learn")
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
    seeds = sorted({o.config.seed for o in found})
    counts = Counter(o.harm.label for o in found)
    kinds = ", ".join(f"{n} {name}" for name, n in counts.most_common())
    groups = len({o.config.group for o in found})
    return (
        f"# Fault zoo: {datetime.datetime.now(datetime.timezone.utc).date().isoformat()}\n\n"
        f"Python {platform.python_version()}, {versions}; {len(found)} of {len(chosen)} runs, {groups} groups, seeds "
        f"{seeds}: {kinds}. Alarm = warning or critical. 95 % intervals: [Wilson] (bootstrap over groups)."
        f"\n{old} records were made by another version of the measuring code."
        f"\nRules judged: {', '.join(sorted(shipped_rules()))}."
    )


def summary(found: Sequence[Outcome]) -> str:
    """The headline numbers, beside the baselines."""
    healthy = [o for o in found if o.harm.label == "healthy"]
    benign = [o for o in found if o.harm.label == "benign"]
    harmful = [o for o in found if o.harm.label == "harmful"]
    covered = [o for o in harmful if set(o.verdict.ran) & set(o.truth.must)]
    placed = [o for o in harmful if o.place is not None]
    alarmed = [o for o in harmful if o.first_alarm]
    delays = [o.delay for o in harmful if o.delay is not None]
    rows = [
        ("healthy runs with an alarm", _rate(healthy, lambda o: bool(o.verdict.alarms))),
        ("healthy runs with a critical", _rate(healthy, lambda o: any(a.severity == 2 for a in o.verdict.alarms))),
        ("benign runs with an alarm", _rate(benign, lambda o: bool(o.verdict.alarms))),
        ("harmful runs with any alarm", _rate(harmful, lambda o: o.first_alarm is not None)),
        ("harmful: expected alarm on time", _rate(harmful, lambda o: o.on_time)),
        ("harmful: expected alarm, ever", _rate(harmful, lambda o: o.hit is not None)),
        ("harmful: expected rule at least as a note", _rate(harmful, lambda o: o.hinted)),
        ("harmful, an expected rule was judged: on time", _rate(covered, lambda o: o.on_time)),
        *((f"on time, {size} harm", _rate([o for o in harmful if o.harm.size == size], lambda o: o.on_time))
          for size in ("small", "medium", "large")),
        ("harmful: first cause right", _rate(harmful, lambda o: o.cause)),
        ("first cause right where there is an alarm", _rate(alarmed, lambda o: o.cause)),
        ("place right where it is defined and hit", _rate(placed, lambda o: bool(o.place))),
        ("median delay of a hit", percent(median(delays)) + " of the run" if delays else "-"),
        ("unrelated rules a harmful run", f"{sum(len(o.unrelated) for o in harmful) / max(1, len(harmful)):.2f}"),
        ("harmful runs with a misleading rule", _rate(harmful, lambda o: bool(o.misleading))),
        ("alarm before the onset, where there is one", _rate([o for o in harmful if o.onset], lambda o: bool(o.early))),
        *baselines(found, harmful),
    ]  # fmt: skip
    return table(("measure", "value"), rows)


def _rate(runs: Sequence[Outcome], test: Callable[[Outcome], bool]) -> str:
    values = [bool(test(o)) for o in runs]
    low, high = bootstrap([float(v) for v in values], [o.config.group for o in runs]) if runs else (0.0, 1.0)
    return f"{share(sum(values), len(values))} ({100 * low:.0f}, {100 * high:.0f})"


def baselines(found: Sequence[Outcome], harmful: Sequence[Outcome]) -> list[tuple[str, str]]:
    """What no detector at all would score: a constant answer, and as many alarms at random steps."""
    if not harmful:
        return []
    answers = Counter(cause for o in harmful for cause in o.truth.cause)
    name, right = answers.most_common(1)[0]
    rate = sum(len(o.verdict.alarms) for o in found) / sum(o.steps for o in found)
    lucky = [1 - (1 - rate) ** (o.truth.deadline * o.steps) for o in harmful]
    return [
        ("baseline: always alarm", "recall 100 %, false alarms 100 %"),
        (f"baseline: always answer '{name}'", f"first cause right {percent(right / len(harmful))}"),
        ("baseline: as many alarms at random steps", f"any alarm on time {percent(sum(lucky) / len(lucky))}"),
    ]
