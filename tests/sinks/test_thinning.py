from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from lightning_diag.errors import RecordError
from lightning_diag.reading import Facts, Reading
from lightning_diag.record.lines import encode, encode_object, step_of
from lightning_diag.sinks import _thinning
from lightning_diag.sinks._thinning import MARGIN_STEPS, ROOM, thin_file

FACTS = encode_object({"facts": Facts().to_dict(), "session": 0})


def fill(path: Path, readings: list[Reading]) -> Path:
    path.write_bytes(FACTS + b"".join(map(encode, readings)))
    return path


def thinned(path: Path, max_bytes: int, findings_at: tuple[int, ...] = ()) -> list[int]:
    thin_file(path, max_bytes, findings_at).close()
    return [step for line in path.read_bytes().splitlines() if (step := step_of(line)) is not None]


def scalars(n: int, **kwargs: str) -> list[Reading]:
    return [Reading(step, 0, {"loss/train": 0.123456789}, **kwargs) for step in range(1, n + 1)]  # type: ignore[arg-type]


def test_the_oldest_half_loses_every_second_reading_first(tmp_path: Path) -> None:
    path = fill(tmp_path / "r", scalars(1000))
    steps = thinned(path, max_bytes=path.stat().st_size)
    newest = [s for s in steps if s > 520]
    assert newest == list(range(521, 1001))
    assert [s for s in steps if s <= 480] == list(range(1, 481, 2))


def test_readings_with_arrays_and_without_are_thinned_apart(tmp_path: Path) -> None:
    mixed = [Reading(s, 0, {"loss/train": 0.5, **({"lr": np.ones(2)} if s % 4 == 0 else {})}) for s in range(1, 1001)]
    path = fill(tmp_path / "r", mixed)
    steps = [s for s in thinned(path, path.stat().st_size) if s <= 400]
    assert [s for s in steps if s % 4 == 0] == list(range(4, 401, 8))
    assert len([s for s in steps if s % 4]) == 150


def test_readings_around_findings_stay(tmp_path: Path) -> None:
    path = fill(tmp_path / "r", scalars(5000))
    steps = set(thinned(path, path.stat().st_size // 2, findings_at=(500, 550, 2000)))
    for start, end in ((500 - MARGIN_STEPS, 550 + MARGIN_STEPS), (2000 - MARGIN_STEPS, 2000 + MARGIN_STEPS)):
        assert steps >= set(range(start, end + 1))
        assert not {start - 1, start - 2} <= steps
        assert not {end + 1, end + 2} <= steps


def test_facts_and_validation_stay(tmp_path: Path) -> None:
    path = fill(tmp_path / "r", [*scalars(100, stage="validation"), *scalars(2000)])
    thinned(path, path.stat().st_size)
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines[0].startswith(b'{"thinned"')
    assert lines[1] == FACTS
    assert sum(b'"validation"' in line for line in lines) == 100


@pytest.mark.parametrize("stage", ["train", "validation"])
def test_it_comes_below_the_limit_whatever_fills_the_file(tmp_path: Path, stage: str) -> None:
    path = fill(tmp_path / "r", scalars(3000, stage=stage))
    limit = path.stat().st_size // 10
    steps = thinned(path, limit, findings_at=tuple(range(0, 3000, 100)))
    assert path.stat().st_size <= ROOM * limit
    assert len(steps) > 100


def test_the_end_of_the_run_is_never_left_out(tmp_path: Path) -> None:
    path = fill(tmp_path / "r", [*scalars(100), *scalars(1, stage="end"), *scalars(1, stage="end")])
    thinned(path, 1)
    assert path.read_bytes().count(b'"g":"end"') == 2


def test_thinning_again_keeps_one_note(tmp_path: Path) -> None:
    path = fill(tmp_path / "r", scalars(1000))
    for _ in range(3):
        thinned(path, path.stat().st_size)
    assert path.read_bytes().count(b'{"thinned"') == 1


def test_the_returned_file_appends(tmp_path: Path) -> None:
    path = fill(tmp_path / "r", scalars(100))
    file = thin_file(path, 4096, ())
    assert file.size == path.stat().st_size
    file.write(b"x\n")
    file.close()
    assert path.read_bytes().endswith(b"x\n")


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fill(tmp_path / "r", scalars(100))
    before = path.read_bytes()

    def full(source: Path, target: Path, note: bytes, keep: object) -> None:
        target.write_bytes(note)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_thinning, "_rewrite", full)
    with pytest.raises(RecordError, match="No space left"):
        thin_file(path, 4096, ())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["r"]
