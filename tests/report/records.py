"""Run records made up for the report's tests, written in the record's format by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lightning_diag.diagnosis import Coverage, diagnose
from lightning_diag.finding import Finding, Severity

LAYERS = tuple(f"net.{i}.{kind}" for i in range(0, 12, 2) for kind in ("weight", "bias"))
RAN = (
    "gradients/exploding", "gradients/non-finite", "gradients/vanishing", "loss/bad-start", "loss/diverging",
    "loss/non-finite", "loss/not-learning", "loss/plateau", "loss/spike", "updates/too-large", "updates/too-small",
)  # fmt: skip
SKIPPED = {
    "fit/overfitting": "no validation loss was measured",
    "gradients/underflow": "only in 16-bit precision",
    "loss/oscillating": "needs 400 steps, the run has 300",
}
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


def write_record(
    run_dir: Path,
    readings: Iterable[dict[str, Any]] = (),
    findings: Iterable[Finding] = (),
    *,
    status: str = "finished",
    facts: dict[str, Any] | None = None,
    coverage: Coverage | None = None,
    name: str = "demo",
    meta: dict[str, Any] | None = None,
) -> Path:
    """Write a record; the diagnosis is there unless the run is still running."""
    run_dir.mkdir(parents=True, exist_ok=True)
    found = list(findings)
    info = {
        "schema": 1, "name": name, "created": "2025-01-02T03:04:05+00:00", "status": status,
        "versions": {"lightning": "2.5.0", "torch": "2.6.0"}, "meta": meta or {"budget": 0.01}, "facts": facts or {},
        "diagnosis": None if status == "running" else diagnose(found, coverage or Coverage(RAN, SKIPPED)).to_dict(),
    }  # fmt: skip
    (run_dir / "run.json").write_text(json.dumps(info))
    with (run_dir / "readings.jsonl").open("w") as file:
        file.write(json.dumps({"facts": facts or {}, "session": 0}) + "\n")
        file.writelines(json.dumps(line) + "\n" for line in readings)
    with (run_dir / "findings.jsonl").open("w") as file:
        file.writelines(json.dumps(f.to_dict()) + "\n" for f in found)
    return run_dir


def line(step: int, epoch: int, values: dict[str, Any], stage: str = "train") -> dict[str, Any]:
    """One reading."""
    return {"s": step, "e": epoch, "b": step, "g": stage, "v": values}


def facts_for(names: Iterable[str], steps: int, **more: Any) -> dict[str, Any]:
    """Facts of a plain classifier."""
    names = list(names)
    return {
        "planned_steps": steps, "steps_per_epoch": max(1, steps // 10), "precision": "32-true", "optimizers": ["AdamW"],
        "batch_size": 32, "device": "cpu", "task": "classification", "num_classes": 10, "chance_loss": 2.303,
        "names": {"parameter": names, "group": ["0"]}, "parameter_numel": [100] * len(names), **more,
    }  # fmt: skip


def curve(
    steps: int, every: int, rows: int, *, seed: int = 0, fault: int | None = None, lr: float = 1e-3
) -> list[dict[str, Any]]:
    """Readings of a run that learns; from step ``fault`` on its updates are too large and its loss grows."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-2.5, 0.0, rows)
    lines = []
    for step in range(1, steps + 1):
        share = step / steps
        loss = 0.25 + 2.1 * np.exp(-6 * share) + 0.05 * rng.standard_normal() * np.exp(-2 * share)
        broken = fault is not None and step >= fault
        if broken:
            loss += 1.8 * min(1.0, (step - fault) / (0.2 * steps)) * (1 + 0.3 * rng.standard_normal())  # type: ignore[operator]
        values: dict[str, Any] = {"loss/train": float(abs(loss))}
        if step % every == 0 or step == 1:
            grad = scale * np.exp(0.25 * rng.standard_normal(rows)) * (1 - 0.7 * share)
            ratio = lr * np.exp(0.3 * rng.standard_normal(rows)) * (1 - 0.8 * share)
            if broken:
                ratio[: max(1, rows // 4)] *= 60
                grad[: max(1, rows // 4)] *= 20
            values |= {
                "grad/parameter_norm": grad.tolist(), "update/parameter_ratio": ratio.tolist(),
                "weight/parameter_norm": (5 * scale + share).tolist(), "grad/norm": float(np.linalg.norm(grad)),
                "lr": [lr * (min(1.0, share * 10) if share < 0.1 else 0.5 * (1 + float(np.cos(3.1 * share))))],
                "system/overhead_frac": 0.006 + 0.002 * float(rng.random()), "system/interval_steps": float(every),
            }  # fmt: skip
        epoch = min(9, int(share * 10))
        lines.append(line(step, epoch, values))
        if step % max(1, steps // 10) == 0:
            val = {"loss/val": float(abs(loss)) + 0.1, "accuracy/val": 0.9 - 0.3 * float(abs(loss)) / 2.3}
            lines.append(line(step, epoch, val, "validation"))
    return lines


def healthy(run_dir: Path, steps: int = 600) -> Path:
    """A run without findings."""
    return write_record(run_dir, curve(steps, 10, len(LAYERS)), facts=facts_for(LAYERS, steps), name="healthy")


def broken(run_dir: Path, steps: int = 2000) -> Path:
    """A learning rate that is too high, with symptoms, a finding nothing explains, notes, and one that healed."""
    fault = steps * 2 // 5
    warn, crit, info = Severity.WARNING, Severity.CRITICAL, Severity.INFO
    places = tuple(n for n in LAYERS[: len(LAYERS) // 4])
    readings = curve(steps, 10, len(LAYERS), fault=fault)
    ratio = next(r["v"]["update/parameter_ratio"][0] for r in readings if r["s"] >= fault and "lr" in r["v"])
    findings = [
        Finding("updates/too-large", crit, fault + 10, 4, places,
                f"a step changes net.0.weight by {ratio:.3f} of its norm, 27 times its own past and above the limit 0.02",
                {"value": ratio, "limit": 0.02, "confidence": 0.98},
                ("repeat the first 200 steps with a tenth of the learning rate", "clip the gradient at its median norm"),
                "worsening", fault, steps, 90),
        Finding("loss/diverging", crit, fault + 160, 4, (), "loss level 1.92 is 2.7 times its best level 0.71",
                {"value": 1.92, "limit": 1.42}, ("look at `trainer.optimizers[0]`",), "open", fault + 120, steps, 700),
        Finding("gradients/exploding", warn, fault + 30, 4, places[:2], "gradient norm of net.0.weight is 21 times its past",
                {"value": 21.0, "limit": 10.0}, (), "open", fault + 10, steps, 60),
        Finding("classes/neglected", warn, fault + 400, 6, ("7", "9"), "class 7 is never predicted: recall 0.00 of 412",
                {"value": 0.0, "limit": 0.05}, ("weight the loss by class for one epoch",), "open", fault + 400, steps, 3),
        Finding("loss/spike", warn, steps // 5, 2, (), "loss 2.9 is 11 noise units above its level 1.02",
                {"value": 2.9, "limit": 1.4}, (), "resolved", steps // 5, steps // 5 + 4, 2),
        Finding("setup/decay-on-norm", info, 1, 0, ("net.1.weight",), "weight decay acts on a normalization weight"),
    ]  # fmt: skip
    facts = facts_for(LAYERS, steps, clip_val=1.0, unmeasured={"update/lost": "only with bf16 weights"})
    coverage = Coverage((*RAN, "classes/neglected", "setup/decay-on-norm"), SKIPPED)
    return write_record(run_dir, readings, findings, facts=facts, coverage=coverage, name="resnet-lr3e-1")


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


def huge(run_dir: Path, steps: int = 100_000, every: int = 200, rows: int = 1000) -> Path:
    """A long run of a large model with a one-step spike, a divergence, and activation signals beside the usual ones."""
    names = [f"model.encoder.layers.{i // 16}.block.{i % 16}.self_attention.projection.weight" for i in range(rows)]
    fault = steps * 7 // 10
    readings = curve(steps, every, rows, fault=fault)
    spike = steps // 3
    readings[:] = [r | {"v": r["v"] | {"loss/train": 55.5}} if r["s"] == spike and r["g"] == "train" else r for r in readings]
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
