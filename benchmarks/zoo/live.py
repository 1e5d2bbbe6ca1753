"""Run the tools of :mod:`live_tools` on trainings of the zoo; count their alarms.

Which runs: drawn before any was made, by :func:`drawn`, from names alone. ``python -m benchmarks.zoo live --out FILE``
trains them in an environment that holds the tools and leaves one JSON file; ``score --peers --live FILE`` prints it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.zoo.comparison import HEAD, OURS, by_label
from benchmarks.zoo.grid import CONTROLS, SEEDS, Config, groups
from benchmarks.zoo.outcome import Outcome
from benchmarks.zoo.tables import table

SLOW = ("gru", "tfm", "gan")  # more than 3 s a plain training: only in the first round
ROUNDS = {True: 8, False: 4}  # of controls, of faults


@dataclass(frozen=True)
class Live:
    """What one row of the table (a tool, or a way to read it) said of one run.

    Attributes:
        config: the run.
        row: name of :data:`live_tools.ROWS`.
        names: what it named, each once; empty = no alarm.
        error: how the training died of it; None = it didn't.
    """

    config: Config
    row: str
    names: tuple[str, ...]
    error: str | None = None


def _digest(group: tuple[str, str, float]) -> str:
    return hashlib.sha256("{}__{}__{:g}".format(*group).encode()).hexdigest()


def drawn(which: str = "seen", seed: int | None = None) -> list[Config]:
    """The runs: round by round, from each task one control and one fault of an operator least drawn so far.

    Ties go by the SHA-256 of the group's name. One seed, by default the set's first. Eight rounds of controls and four
    of faults; the slow tasks take part in the first.

    Raises:
        ValueError: for an unknown set.
    """
    rest = [Config(*group, SEEDS[which][0] if seed is None else seed) for group in groups(which)]
    tasks = sorted({config.task for config in rest})
    chosen: list[Config] = []
    used: Counter[str] = Counter()
    for turn in range(max(ROUNDS.values())):
        for task in tasks:
            for control in (True, False):
                open_ = [c for c in rest if c.task == task and (c.operator in CONTROLS) == control]
                if turn >= ROUNDS[control] or (turn and task in SLOW) or not open_:
                    continue
                best = min(open_, key=lambda c: (used[c.operator], _digest(c.group)))
                used[best.operator] += 1
                rest.remove(best)
                chosen.append(best)
    return chosen


@contextmanager
def _inside(folder: str) -> Iterator[None]:
    """Some tools write into the working directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def one(config: Config, tools: Sequence[str]) -> list[dict[str, Any]]:
    """Train a run once with these tools on it; what each of their rows said.

    A run that dies is made again with each tool alone, to know which killed it.
    """
    from benchmarks.zoo.live_tools import ROWS_OF, TOOLS, merged
    from benchmarks.zoo.train import run

    made: dict[str, list[Any]] = {tool: [] for tool in tools}

    def callbacks() -> list[Any]:
        for tool in tools:
            made[tool].append(TOOLS[tool]())
        return [made[tool][-1] for tool in tools]

    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder, _inside(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = run(config, Path(folder) / config.name, watch=False, callbacks=callbacks)
    if result["error"] and len(tools) > 1:
        return [row for tool in tools for row in one(config, (tool,))]
    about = {"error": result["error"], "metric": result["metric"], "tools": list(tools)}
    about["cpu_s"] = round(time.process_time() - start, 2)
    rows = []
    for tool in tools:
        names = merged(callback.names for callback in made[tool])
        rows += [{**asdict(config), "row": row, "names": names.get(row, []), **about} for row in ROWS_OF[tool]]
    return rows


def train(chosen: Iterable[Config], out: Path, together: Sequence[Sequence[str]] = ()) -> int:
    """Make these runs with every tool; keep all in ``out`` after each, so that a stop loses nothing; return how many.

    Runs that ``out`` holds already are not made again.
    """
    from benchmarks.zoo.live_tools import TOGETHER, TOOLS

    kept: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"runs": []}
    kept["versions"] = {p: importlib.metadata.version(p) for p in (*TOOLS, "torch", "lightning")}
    done = {(r["task"], r["operator"], r["severity"], r["seed"]) for r in kept["runs"]}
    todo = [c for c in chosen if (*c.group, c.seed) not in done]
    for config in todo:
        rows = [row for tools in together or TOGETHER for row in one(config, tools)]
        kept["runs"] += rows
        out.write_text(json.dumps(kept, indent=1))
        seconds = sum({tuple(r["tools"]): r["cpu_s"] for r in rows}.values())
        print(f"{config.name} {seconds:.1f} s CPU", *{r["error"] for r in rows if r["error"]}, flush=True)
    return len(todo)


def read(path: Path) -> list[Live]:
    """What a file of :func:`train` holds."""
    rows = json.loads(path.read_text())["runs"]
    return [
        Live(Config(r["task"], r["operator"], r["severity"], r["seed"]), r["row"], tuple(r["names"]), r["error"])
        for r in rows
    ]


def live_table(found: Sequence[Outcome], lives: Sequence[Live]) -> str:
    """Alarms of the tools and ours on the runs that have a label; a run that a tool killed counts apart.

    The label is the group's. Ours is of the same run where it is among ``found``, else of the group's first.
    """
    exact = {o.config: o for o in found}
    first: dict[tuple[str, str, float], Outcome] = {}
    for o in found:
        first.setdefault(o.config.group, o)
    mine = {c: exact.get(c) or first[c.group] for c in dict.fromkeys(live.config for live in lives) if c.group in first}
    ours = [Live(c, OURS, tuple(a.rule for a in o.verdict.alarms)) for c, o in mine.items()]
    rows, names = [], []
    for row in dict.fromkeys(live.row for live in (*ours, *lives)):
        of_row = [live for live in (*ours, *lives) if live.row == row and live.config in mine]
        alive = [(mine[live.config].harm.label, live.names) for live in of_row if live.error is None]
        rows.append((row, *by_label((label, bool(said)) for label, said in alive), len(of_row) - len(alive)))
        most = Counter(name for label, said in alive if label == "healthy" for name in said).most_common(5)
        names.append((row, ", ".join(f"{name} {n}" for name, n in most) or "-"))
    other = sum(c not in exact for c in mine)
    note = f"{len(mine)} runs. Ours: from the records of {len(mine) - other} of them, of another seed for {other}."
    return "\n\n".join(
        (note, table((*HEAD, "runs killed"), rows), table(("alarms on healthy runs", "most often, runs"), names))
    )
