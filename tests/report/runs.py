"""The runs the report is tested with: healthy, broken, empty, hostile and huge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lightning_diag.diagnosis import Coverage
from lightning_diag.finding import Finding, Severity
from tests.report.records import LAYERS, RAN, SKIPPED, curve, facts_for, write_record

CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HOSTILE = (
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    '"><svg/onload=window.pwned=1>',
    "net\x1b[31m.red\x1b[0m\nnext line\ttab",
    "\u202egnp.exe\u202c",
    "x" * 10_000,
    "{{ 7 * 7 }} {% raw %} `tick` &amp; \u2028 \ud83d\ude00",
    "",
    "__proto__",
)


def healthy(run_dir: Path, steps: int = 600) -> Path:
    """A run without findings."""
    return write_record(run_dir, curve(steps, 10, len(LAYERS)), facts=facts_for(LAYERS, steps), name="healthy")


def broken(run_dir: Path, steps: int = 2000) -> Path:
    """A learning rate that is too high, with symptoms, a finding nothing explains, notes, and one that healed."""
    fault = steps * 2 // 5
    warn, crit, info = Severity.WARNING, Severity.CRITICAL, Severity.INFO
    readings = curve(steps, 10, len(LAYERS), fault=fault)
    add_classes(readings, fault)
    places = tuple(n for n in LAYERS[: len(LAYERS) // 4])
    ratio = next(r["v"]["update/parameter_ratio"][0] for r in readings if r["s"] >= fault and "lr" in r["v"])
    findings = [
        Finding(
            "updates/too-large", crit, fault + 10, 4, places,
            f"a step changes net.0.weight by {ratio:.3f} of its norm, 27 times its own past and above the limit 0.02",
            {"value": ratio, "limit": 0.02, "confidence": 0.98},
            ("repeat the first 200 steps with a tenth of the learning rate", "clip the gradient at its median norm"),
            "worsening", fault, steps, 90),
        Finding(
            "loss/diverging", crit, fault + 160, 4, (), "loss level 1.92 is 2.7 times its best level 0.71",
            {"value": 1.92, "limit": 1.42}, ("look at `trainer.optimizers[0]`",), "open", fault + 120, steps, 700),
        Finding(
            "gradients/exploding", warn, fault + 30, 4, places[:2],
            "gradient norm of net.0.weight is 21 times its past",
            {"value": 21.0, "limit": 10.0}, (), "open", fault + 10, steps, 60),
        Finding(
            "classes/neglected", warn, fault + 400, 6, ("horse", "ship"),
            "class horse is never predicted rightly: recall 0.00 of 100",
            {"value": 0.0, "limit": 0.05}, ("weight the loss by class for one epoch",), "open", fault + 400, steps, 3),
        Finding(
            "activations/dead", warn, int(fault * 1.4) + 10, 5, ("net.4", "net.0"), "57 % of the units of net.4 died",
            {"value": 0.57, "limit": 0.4}, (), "open", int(fault * 1.4), steps, 20),
        Finding(
            "loss/spike", warn, steps // 5, 2, (), "loss 2.9 is 11 noise units above its level 1.02",
            {"value": 2.9, "limit": 1.4}, (), "resolved", steps // 5, steps // 5 + 4, 2),
        Finding("setup/decay-on-norm", info, 1, 0, ("net.1.weight",), "weight decay acts on a normalization weight"),
    ]  # fmt: skip
    names = {
        "parameter": list(LAYERS),
        "group": ["0"],
        "class": list(CLASSES),
        "module": [f"net.{i}" for i in range(6)],
    }
    facts = facts_for(LAYERS, steps, names=names, clip_val=1.0, unmeasured={"update/lost": "only with bf16 weights"})
    coverage = Coverage((*RAN, "classes/neglected", "setup/decay-on-norm"), SKIPPED)
    return write_record(run_dir, readings, findings, facts=facts, coverage=coverage, name="resnet-lr3e-1")


def accepted(finding: Finding) -> str | None:
    """Of the broken run's findings two, with a reason that tries to break out of the page."""
    return HOSTILE[0] if finding.rule in ("updates/too-large", "activations/dead") else None


def add_classes(readings: list[dict[str, Any]], fault: int, seed: int = 3) -> None:
    """Add class counts to the validation readings and activation shares to the sampled ones."""
    rng = np.random.default_rng(seed)
    count = len(CLASSES)
    for reading in readings:
        late = reading["s"] > fault * 1.4
        if reading["g"] == "validation":
            right = 40 + 50 * min(1.0, reading["s"] / fault) * rng.uniform(0.7, 1.0, count)
            right[[7, 8]] = 0 if late else right[[7, 8]]
            confusion = np.diag(np.round(right))
            for k in range(count):
                confusion[k, (k + 3) % count] += np.round(0.8 * (100 - right[k]))
                confusion[k, (k + 1) % count] += 100 - confusion[k].sum()
            reading["v"] |= {
                "class/support": [100.0] * count, "class/right": np.diag(confusion).tolist(),
                "class/predicted": confusion.sum(0).tolist(), "class/confusion": confusion.tolist(),
            }  # fmt: skip
        elif "lr" in reading["v"]:
            dead = np.round(rng.random(6) * 0.1 + 0.5 * late, 3)
            dead[[1, 3]] = np.nan  # no gate there
            reading["v"]["activation/dead_frac"] = dead.tolist()


def empty(run_dir: Path) -> Path:
    """A run that died before its first step."""
    return write_record(run_dir, status="failed", coverage=Coverage(), name="empty")


def hostile(run_dir: Path) -> Path:
    """Names, texts and keys that try to break out of the page."""
    readings = curve(300, 5, len(HOSTILE), fault=100)
    for reading in readings:
        reading["v"][f"mine/{HOSTILE[0]}"] = 1.0
    findings = [
        Finding("updates/too-large", Severity.CRITICAL, 110, 3, HOSTILE, f"bad {HOSTILE[1]} and {HOSTILE[3]}",
                {HOSTILE[0]: HOSTILE[2], "value": float("nan"), "limit": 0.1}, (HOSTILE[1], f"`{HOSTILE[0]}`")),
        Finding(f"x/{HOSTILE[0]}", Severity.WARNING, 120, 3, (HOSTILE[5],), HOSTILE[5]),
    ]  # fmt: skip
    facts = facts_for(HOSTILE, 300, chance_source=HOSTILE[1], unmeasured={HOSTILE[0]: HOSTILE[1]})
    coverage = Coverage((*RAN, HOSTILE[1]), {HOSTILE[0]: HOSTILE[2]})
    meta = {HOSTILE[0]: {HOSTILE[1]: HOSTILE[3]}, "list": list(HOSTILE)}
    return write_record(run_dir, readings, findings, facts=facts, coverage=coverage, name=HOSTILE[0], meta=meta)


def running(run_dir: Path) -> Path:
    """A run that goes on: no diagnosis yet, a finding already, and a last line that is half written."""
    findings = [Finding("loss/spike", Severity.WARNING, 150, 2, (), "loss 9 is 11 noise units above its level 1.1")]
    facts = facts_for(LAYERS, 1000)
    write_record(run_dir, curve(300, 10, len(LAYERS)), findings, status="running", facts=facts, name="running")
    for name in ("readings.jsonl", "findings.jsonl"):
        with (run_dir / name).open("a") as file:
            file.write('{"s": 301, "rule": "loss/sp')
    return run_dir


def huge(run_dir: Path, steps: int = 100_000, every: int = 200, rows: int = 1000) -> Path:
    """A long run of a large model with a one-step spike, a divergence, and activation signals beside the usual ones."""
    names = [f"model.encoder.layers.{i // 16}.block.{i % 16}.self_attention.projection.weight" for i in range(rows)]
    fault = steps * 7 // 10
    readings = curve(steps, every, rows, fault=fault)
    spike = steps // 3
    readings[:] = [
        r | {"v": r["v"] | {"loss/train": 55.5}} if r["s"] == spike and r["g"] == "train" else r for r in readings
    ]
    rng = np.random.default_rng(1)
    for reading in readings:
        if "lr" in reading["v"]:
            reading["v"]["activation/dead_frac"] = np.round(rng.random(rows) ** 4, 4).tolist()
            reading["v"]["activation/saturated_frac"] = np.round(rng.random(rows) ** 6, 4).tolist()
    findings = [
        Finding("updates/too-large", Severity.CRITICAL, fault + 200, 7, tuple(names[: rows // 4]),
                "a step changes 250 tensors by more than a hundredth", {"value": 0.05, "limit": 0.01}, ("lower it",),
                "open", fault, steps, 150),
        Finding("loss/spike", Severity.WARNING, spike, 3, (), "loss 55.5 is 120 noise units above its level 0.9",
                {"value": 55.5, "limit": 2.0}, ("replay batch 33333",), "resolved", spike, spike, 1),
        Finding("activations/dead", Severity.WARNING, spike * 2, 6, tuple(names[40:60]), "half of the units are dead",
                {"value": 0.8, "limit": 0.5}, (), "open", spike * 2, steps, 20),
    ]  # fmt: skip
    return write_record(run_dir, readings, findings, facts=facts_for(names, steps), name="huge")
