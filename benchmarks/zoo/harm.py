"""Was the run really harmed? Paired with the healthy twin of the same seed, never assumed.

Harmful: the mean paired change is worse than minus the margin (1 point of accuracy, 2 % of the loss, or one standard
deviation of the healthy runs, whichever is largest), one-sided paired t-test p < 0.05 and Cohen's d >= 0.5 (the kill
rule of DeepCrime, Humbatova et al., ISSTA 2021, with a practical margin). Benign: the mean change is within the
margin. Else grey, left out of recall and false alarms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.zoo.grid import CONTROLS, Config
from benchmarks.zoo.plan import SHARES
from benchmarks.zoo.truth import LEAKS

MIN_SEEDS = 3
P_LIMIT, D_LIMIT = 0.05, 0.5
ACCURACY_MARGIN, LOSS_MARGIN = 0.01, 0.02
GUESS_ACCURACY, GUESS_LOSS = 0.03, 0.08
CONTROL_ACCURACY, CONTROL_LOSS = 0.05, 0.15  # a "healthy" variation may cost this much and still be called healthy


@dataclass(frozen=True)
class Harm:
    """Label of a group of runs (all seeds of one task, operator and severity).

    Attributes:
        label: ``healthy``, ``benign``, ``grey``, ``harmful`` or ``unknown`` (too few seeds).
        change: mean paired change of the score: accuracy, or share of the healthy loss; negative is worse.
        p: p-value of the one-sided paired t-test.
        d: Cohen's d of the paired changes (positive = worse).
        seeds: number of pairs.
        size: ``small`` (< 5 points or percent), ``medium`` (< 20) or ``large``; empty unless harmful.
    """

    label: str
    change: float
    p: float
    d: float
    seeds: int

    @property
    def size(self) -> str:
        """How much harm."""
        if self.label != "harmful":
            return ""
        return "small" if self.change > -0.05 else "medium" if self.change > -0.2 else "large"


UNLABELLED = Harm("unknown", 0.0, 1.0, 0.0, 0)


def change(result: Mapping[str, Any], twin: Mapping[str, Any]) -> float:
    """Paired change: accuracy difference, or the loss difference over the twin's loss; at worst -10."""
    if result["operator"] in LEAKS:  # how much more the validation score promises than the twin's does
        promise = result["metric_val"] - result["metric_test"]
        return float(-(promise - (twin["metric_val"] - twin["metric_test"])))
    difference = result["metric"] - twin["metric"]
    if result["kind"] not in SHARES:
        difference /= abs(twin["metric"])
    return float(max(difference, -10.0))


def judge(changes: list[float], *, accuracy: bool, healthy_sd: float, control: bool) -> Harm:
    """Label a group from its paired changes."""
    values, n = np.asarray(changes, dtype=float), len(changes)
    mean = float(values.mean()) if n else 0.0
    spread = float(values.std(ddof=1)) if n > 1 else 0.0
    d = -mean / spread if spread > 0 else (np.inf if mean < 0 else 0.0)
    p = float(stats.ttest_1samp(values, 0.0, alternative="less").pvalue) if spread > 0 else (0.0 if mean < 0 else 1.0)
    if control:
        limit = CONTROL_ACCURACY if accuracy else CONTROL_LOSS
        return Harm("healthy" if mean >= -limit else "grey", mean, p, d, n)
    margin = max(ACCURACY_MARGIN if accuracy else LOSS_MARGIN, healthy_sd)
    if mean > -margin:
        label = "benign"
    elif n < MIN_SEEDS:
        label = "unknown"
    else:
        label = "harmful" if p < P_LIMIT and d >= D_LIMIT else "grey"
    return Harm(label, mean, p, d, n)


def healthy_sd(results: Mapping[Config, Mapping[str, Any]], task: str) -> float:
    """Standard deviation of the healthy score over seeds (over the mean loss where the score is a loss)."""
    rows = [r for c, r in results.items() if c.task == task and c.operator == "healthy"]
    scores = [r["metric"] for r in rows]
    if len(scores) < 2:
        return 0.0
    scale = 1.0 if rows[0]["kind"] in SHARES else abs(float(np.mean(scores)))
    return float(np.std(scores, ddof=1)) / scale


def guess(harm: Harm, *, accuracy: bool) -> Harm:
    """Provisional label of a group with too few seeds: harmful from 3 points or 8 % on, else grey."""
    if harm.label != "unknown":
        return harm
    large = harm.change < -(GUESS_ACCURACY if accuracy else GUESS_LOSS)
    return replace(harm, label="harmful" if large else "grey")


def label(
    results: Mapping[Config, Mapping[str, Any]], *, provisional: bool = False
) -> dict[tuple[str, str, float], Harm]:
    """Label every group that has runs with a twin; ``provisional`` also those with too few seeds."""
    changes: dict[tuple[str, str, float], list[float]] = defaultdict(list)
    accuracy: dict[str, bool] = {}
    for config, result in results.items():
        twin = results.get(config.twin)
        if twin is not None:
            changes[config.group].append(change(result, twin))
            accuracy[config.task] = result["kind"] in SHARES
    sds = {task: healthy_sd(results, task) for task in accuracy}
    labels = {
        group: judge(found, accuracy=accuracy[group[0]], healthy_sd=sds[group[0]], control=group[1] in CONTROLS)
        for group, found in changes.items()
    }
    if provisional:
        labels = {group: guess(harm, accuracy=accuracy[group[0]]) for group, harm in labels.items()}
    return labels
