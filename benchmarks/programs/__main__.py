"""See the package's docstring."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from lightning_diag.record import Record, load

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAMS = (("forecasting",), ("tabular",), ("single_cell", "scvi"), ("single_cell", "totalvi"))
LIMIT_S = 300


def make(venv: Path) -> None:
    """Make the environment; torch stays what it is here."""
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    here = sysconfig.get_paths()["purelib"]
    packages = next(venv.glob("lib/python*/site-packages"))
    (packages / "beside.pth").write_text(f"{here}\n")
    pin = venv / "constraints.txt"
    pin.write_text(f"torch=={metadata.version('torch').partition('+')[0]}\n")
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q"]
    subprocess.run([*pip, "-c", str(pin), "-r", str(HERE / "requirements.txt")], check=True)
    subprocess.run([*pip, "--no-deps", "-e", str(ROOT)], check=True)


def train(venv: Path, program: tuple[str, ...], folder: Path, *, watched: bool) -> dict[str, Any]:
    """Run a program in a folder of its own; returns its weights' hash and the numbers it reports."""
    folder.mkdir()
    env = {**os.environ, "OMP_NUM_THREADS": "1", "LIGHTNING_DIAG": "1" if watched else ""}
    env.pop("PYTHONPATH", None)
    command = [str(venv.absolute() / "bin" / "python"), str(HERE / f"{program[0]}.py"), *program[1:]]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise RuntimeError(f"{' '.join(program)} ended with {done.returncode}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    ours = [name for name in told["history"] if name.startswith("diag/")]
    return {**told, "history": {k: v for k, v in told["history"].items() if k not in ours}, "ours": len(ours)}


def row(program: tuple[str, ...], bare: dict[str, Any], watched: dict[str, Any], record: Record) -> str:
    """One line of the table."""
    same = "yes" if all(bare[key] == watched[key] for key in ("weights", "history")) else "NO"
    findings = "; ".join(f"`{f.rule}` ({f.severity.name.lower()})" for f in record.findings) or "none"
    coverage = (record.diagnosis or {}).get("coverage", {})
    judged = f"{len(coverage.get('ran', ()))} / {len(coverage.get('skipped', ()))}"
    return f"| {' '.join(program)} | {record.info['last_step']} | {same} | {judged} | {watched['ours']} | {findings} |"


def main() -> None:
    """Train all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if not args.venv.exists():
        make(args.venv)
    lines = [
        "| program | steps | same weights and numbers | rules that ran / could not | our keys in history | findings |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        for program in PROGRAMS:
            folders = [Path(scratch) / f"{'-'.join(program)}-{kind}" for kind in ("bare", "watched")]
            bare, watched = (train(args.venv, program, f, watched=k == 1) for k, f in enumerate(folders))
            if list(folders[0].rglob("run.json")):
                raise RuntimeError("a program that should not be watched left a record")
            (run,) = folders[1].rglob("run.json")
            lines.append(row(program, bare, watched, load(run.parent)))
            print(lines[-1], flush=True)
    if args.out is not None:
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
