"""Are the verdicts of ``loss/``, ``fit/`` and ``updates/`` the same whatever a run's length, batch, or interruption?

Run ``python -m benchmarks.run_lengths`` from the repository root (about five minutes): it writes
``results/run_lengths.md``. Runs are simulated, see :mod:`benchmarks.loss_curves`; here they carry the norms of four
parameters as well. Numpy only, every run a function of its seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.loss_curves import CHANCE, EVALS, Array, Run, decay, run
from lightning_diag import detectors
from lightning_diag._judge.judge import Judge
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Severity
from lightning_diag.reading import Reading

GROUPS = ("loss/", "fit/", "updates/")
LENGTHS = (200, 2_000, 20_000, 200_000)
LONG = (
    "healthy",
    "healthy, ends at 40 % of chance",
    "nothing is learned",
    "learning rate far too high",
)  # the longest, too
NAMES = ("body.0.weight", "body.0.bias", "body.2.weight", "head.weight")
KINDS = ("matrix", "vector", "matrix", "matrix")
NUMEL = (4096, 64, 4096, 640)
USUAL_RATIO = 2e-3
SAMPLES = 400  # of parameter norms in a run, at least every 5th step


def rules() -> list[Detector]:
    """Fresh detectors of the groups under test, with their default limits."""
    made = (getattr(detectors, name) for name in detectors.__all__ if name != "Detector")
    return [kind() for kind in made if kind.rule.startswith(GROUPS)]


@dataclass
class Simulated:
    """A run with the norms of its parameters: ``weight`` ``(n,)`` in times the first norm, ``ratio`` ``(P,)``.

    A parameter with a ratio of 0 has no gradient and stays as it is.
    """

    run: Run
    weight: Array
    ratio: Array

    def readings(self) -> Iterator[Reading]:
        """Yield what a monitor would."""
        n, rng = len(self.weight), np.random.default_rng(1)
        facts = dataclasses.replace(
            self.run.facts, names={"parameter": NAMES}, parameter_kind=KINDS, parameter_numel=NUMEL,
            in_optimizer=(True,) * len(NAMES),
        )  # fmt: skip
        norms, every, moves = 0.07 * np.sqrt(np.array(NUMEL)), max(5, n // SAMPLES), self.ratio > 0
        for reading in self.run.readings():
            values = dict(reading.values)
            if reading.stage == "train" and (reading.step % every == 0 or reading.step == 1):
                values["weight/parameter_norm"] = norms * np.where(moves, self.weight[reading.step - 1], 1.0)
                values["grad/parameter_norm"] = 0.03 * norms * moves * rng.lognormal(0, 0.3, len(NAMES))
                values["update/parameter_ratio"] = self.ratio * rng.lognormal(0, 0.3, len(NAMES))
                values["grad/missing"] = np.zeros(len(NAMES))
                values.setdefault("lr", np.array([1e-3]))
            yield dataclasses.replace(reading, values=values, facts=facts)


Make = Callable[[int, float, np.random.Generator], Simulated]


def _made(curve: Array, noise: float, rng: np.random.Generator, ratio: float = USUAL_RATIO) -> Simulated:
    n = len(curve)
    lr = np.full(n, 1e-3)
    made = run(curve, noise * rng.standard_normal(n), rng, lr=lr)
    return Simulated(made, np.linspace(1.0, 1.5, n), np.full(len(NAMES), ratio))


def _late(n: int) -> Array:
    """Steps after the middle of the run, ``(n,)``."""
    return np.maximum(0, np.arange(n) - n // 2)


def _hot(n: int, noise: float, rng: np.random.Generator) -> Simulated:
    made = _made(CHANCE * np.minimum(2.5, 1 + np.arange(n) / 20), noise, rng, 0.3)
    made.weight = np.minimum(30.0, 1.05 ** np.arange(n, dtype=float).clip(0, 200))
    return made


def _overfits(n: int, noise: float, rng: np.random.Generator) -> Simulated:
    made, i = _made(decay(n, 0.01, 0.1), noise, rng), np.arange(EVALS)
    made.run.val = 0.6 + np.exp(-i / 2) + 0.06 * np.maximum(0, i - 6) + 0.02 * rng.standard_normal(EVALS)
    worse = 0.02 * np.maximum(0, i - 6)
    made.run.accuracy = 0.7 * (1 - np.exp(-(i + 1) / 2)) - worse + 0.005 * rng.standard_normal(EVALS)
    made.run.train_accuracy = 1 - np.exp(-(i + 1) / 4)
    return made


def _frozen(n: int, noise: float, rng: np.random.Generator) -> Simulated:
    made = _made(decay(n, 0.98 * CHANCE), noise, rng)
    made.ratio[:2] = 0.0
    return made


def _oscillates(n: int, noise: float, rng: np.random.Generator) -> Simulated:
    made = _made(decay(n), noise, rng)
    made.run.loss += CHANCE * (0.25 + 0.2 * (-1.0) ** np.arange(n)) * (_late(n) > 0)
    return made


def _small(n: int, noise: float, rng: np.random.Generator) -> Simulated:
    made = _made(decay(n, 0.9 * CHANCE, 0.1), noise, rng)
    made.run.val, made.run.accuracy = np.full(EVALS, 0.92 * CHANCE), np.full(EVALS, 0.2)
    made.run.train_accuracy = made.run.accuracy
    return made


# name -> what to make, the rules of which one has to be said at warning or worse (none: a healthy run)
FAMILIES: dict[str, tuple[Make, tuple[str, ...]]] = {
    "healthy": (lambda n, s, g: _made(decay(n), s, g), ()),
    "healthy, ends at 40 % of chance": (lambda n, s, g: _made(decay(n, 0.4 * CHANCE, 0.25), s, g), ()),
    "nothing is learned": (lambda n, s, g: _made(np.full(n, CHANCE), s, g), ("loss/not-learning",)),
    "learning rate far too high": (_hot, ("updates/too-large",)),
    "learning rate far too low": (
        lambda n, s, g: _made(CHANCE * (1 - 0.1 * np.arange(n) / n), s, g, 1e-5),
        ("updates/too-small", "loss/not-learning"),
    ),
    "learning rate too low": (
        lambda n, s, g: _made(CHANCE * (1 - 0.7 * np.arange(n) / n), s, g), ("loss/too-slow",)
    ),
    "diverges": (lambda n, s, g: _made(decay(n) + 3 * CHANCE * _late(n) / n, s, g), ("loss/diverging",)),
    "spike, not recovered": (
        lambda n, s, g: _made(decay(n) * np.where(_late(n) > 0, 2.5 + 5 * np.exp(-_late(n) / 5), 1.0), s, g),
        ("loss/spike", "loss/diverging"),
    ),
    "oscillates": (_oscillates, ("loss/oscillating",)),
    "first loss 10 times chance": (lambda n, s, g: _made(decay(n, 1.0, 0.1, 10 * CHANCE), s, g), ("loss/bad-start",)),
    "overfits": (_overfits, ("fit/overfitting",)),
    "a layer is frozen": (_frozen, ("updates/frozen",)),
    "too small a model": (_small, ("fit/underfitting",)),
}  # fmt: skip


def alarms(simulated: Simulated, *, resume_at: float | None = None) -> dict[str, int]:
    """Rule -> step at which it was first said at warning or worse; stopped and resumed after this share of the run."""
    judge, said, cut = Judge(rules()), dict[str, int](), None
    if resume_at is not None:
        cut = int(resume_at * len(simulated.weight))
    for reading in simulated.readings():
        if cut is not None and reading.step > cut:
            state = json.loads(json.dumps(judge.state_dict()))
            judge, cut = Judge(rules()), None
            judge.load_state_dict(state)
        for finding in judge.update(judge.enrich(reading)):
            if finding.severity >= Severity.WARNING and finding.status != "resolved":
                said.setdefault(finding.rule, reading.step)
    return said


def one(family: str, length: int, *, batch: int = 1, resume_at: float | None = None, seed: int = 1) -> dict[str, int]:
    """Alarms of one run; a ``batch`` times as large has noise that is smaller by its root."""
    rng = np.random.default_rng([seed, length, *family.encode()])
    return alarms(FAMILIES[family][0](length, 0.15 / batch**0.5, rng), resume_at=resume_at)


def verdict(family: str, said: dict[str, int], length: int) -> str:
    """The first expected rule with its step as a share of the run, "quiet", or what is wrong with it."""
    expected = FAMILIES[family][1]
    if not expected:
        return "quiet" if not said else "ALARM " + ", ".join(said)
    hits = [(said[rule], rule) for rule in expected if rule in said]
    share = 100 * min(hits)[0] / length if hits else 0.0
    return f"{min(hits)[1]} at {share:.{2 + (share >= 99.5)}g} %" if hits else "MISSED"


def main() -> None:
    """Simulate, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=LENGTHS[-1], help="leave out longer runs; nothing is written")
    longest = parser.parse_args().longest
    lengths = [n for n in LENGTHS if n <= longest]
    rows = [
        "# Verdicts against a run's length, batch size and interruption",
        "",
        f"`python -m benchmarks.run_lengths`, {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, Python "
        f"{platform.python_version()}, NumPy {np.__version__}. Simulated runs, one seed that chose no limit; the noise "
        "of a loss is 0.15 in its logarithm, with a batch 10 times as large 0.047. Resumed: stopped in the middle, the "
        "state saved as JSON and loaded by a new process. "
        "Told is the first expected rule at warning or worse, and when; -: not run.",
        "",
        "| run | " + " | ".join(f"{n:,} steps" for n in lengths) + " | 2,000 steps, batch x10 | 2,000 steps, resumed |",
        "|---|" + "---|" * (len(lengths) + 2),
    ]
    for family in FAMILIES:
        judged = [n if n < LENGTHS[-1] or family in LONG else 0 for n in lengths]
        cells = [verdict(family, one(family, n), n) if n else "-" for n in judged]
        cells.append(verdict(family, one(family, 2_000, batch=10), 2_000))
        cells.append(verdict(family, one(family, 2_000, resume_at=0.5), 2_000))
        rows.append(f"| {family} | " + " | ".join(cells) + " |")
        print(rows[-1], flush=True)
    text = "\n".join(rows) + "\n"
    if longest == LENGTHS[-1]:
        (Path(__file__).parent / "results" / "run_lengths.md").write_text(text)


if __name__ == "__main__":
    main()
