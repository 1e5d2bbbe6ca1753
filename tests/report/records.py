"""Run records made up for the report's tests, written in the record's format by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lightning_diag.diagnosis import Coverage, diagnose
from lightning_diag.finding import Finding

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
    """Write a record; the diagnosis is there unless the run is still running, the coverage is in any case."""
    run_dir.mkdir(parents=True, exist_ok=True)
    found, checked, ended = list(findings), coverage or Coverage(RAN, SKIPPED), status != "running"
    info = {
        "schema": 1, "name": name, "created": "2025-01-02T03:04:05+00:00", "status": status,
        "versions": {"lightning": "2.5.0", "torch": "2.6.0"}, "meta": meta or {"budget": 0.01}, "facts": facts or {},
        "coverage": None if ended else checked.to_dict(),
        "diagnosis": diagnose(found, checked).to_dict() if ended else None,
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


def facts_for(parameters: Iterable[str], steps: int, **more: Any) -> dict[str, Any]:
    """Facts of a plain classifier."""
    names = list(parameters)
    return {
        "planned_steps": steps, "steps_per_epoch": max(1, steps // 10), "precision": "32-true", "optimizers": ["AdamW"],
        "batch_size": 32, "device": "cpu", "task": "classification", "num_classes": 10, "chance_loss": 2.303,
        "names": {"parameter": names, "group": ["0"]}, "parameter_numel": [100] * len(names),
    } | more  # fmt: skip


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
