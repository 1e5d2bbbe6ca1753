"""Many runs: skip what the cache holds, train the rest in niced processes of one thread each."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.zoo.digest import package_digest
from benchmarks.zoo.grid import Config
from benchmarks.zoo.train import RESULT, planned, run

CACHE = Path("build/zoo")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def load(cache: Path, config: Config) -> dict[str, Any] | None:
    """The stored result of a run, None when there is none, the run raised, or its plan has changed since."""
    path = cache / config.name / RESULT
    if not path.exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    stale = result.get("fingerprint") != planned(config).fingerprint()
    return None if result["error"] or stale else result


def load_all(cache: Path, chosen: Iterable[Config]) -> dict[Config, dict[str, Any]]:
    """The stored results of these runs; those that were not run are left out."""
    loaded = ((config, load(cache, config)) for config in chosen)
    return {config: result for config, result in loaded if result is not None}


def one(config: Config, cache: Path, watch: bool) -> dict[str, Any]:
    """Train one configuration into the cache (in a worker process)."""
    folder = cache / config.name
    shutil.rmtree(folder, ignore_errors=True)
    return run(config, folder, watch)


def _nice(level: int) -> None:
    os.nice(level)


@contextmanager
def _cancelling(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Drop what has not begun when the sweep is interrupted."""
    try:
        yield
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def sweep(
    chosen: Iterable[Config], cache: Path, *, jobs: int = 2, plain: bool = False, fresh: bool = False,
    refresh: bool = False, nice: int = 15,
) -> int:  # fmt: skip
    """Train what is missing; return the number of runs made.

    Runs that are to be watched leave a record, unless ``plain``; a stored one without is made again. With ``refresh``
    also one whose record was made by another version of the measuring code.
    """
    todo = []
    for config in chosen:
        watch = config.watched and not plain
        old = None if fresh else load(cache, config)
        if old is None or (watch and (not old["watched"] or (refresh and old.get("package") != package_digest()))):
            todo.append(config)
    for name in THREADS:
        os.environ[name] = "1"
    start, broken = time.perf_counter(), list[str]()
    context = multiprocessing.get_context("spawn")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else the workers outlive us
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_nice, initargs=(nice,)) as pool, _cancelling(pool):
        futures = {pool.submit(one, config, cache, config.watched and not plain): config for config in todo}
        for done, future in enumerate(as_completed(futures), 1):
            config = futures[future]
            if future.exception() is not None:  # the zoo's own fault: tell at the end, lose no other run
                broken.append(f"{config.name}: {future.exception()!r}")
                continue
            result = future.result()
            note = f"  ERROR {result['error']}" if result["error"] else ""
            if note or done % 25 == 0 or done == len(todo):
                took = time.perf_counter() - start
                print(f"{done}/{len(todo)} {took:.0f} s {config.name} {result['metric']:.4g}{note}", flush=True)
    if broken:
        raise RuntimeError("runs that could not be made:\n" + "\n".join(broken))
    return len(todo)
