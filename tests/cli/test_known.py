from __future__ import annotations

from pathlib import Path

import pytest

from lightning_diag import Finding, Severity
from lightning_diag.cli.known import (
    HEAD,
    Known,
    Suppression,
    fingerprints,
    gather,
    read_baseline,
    write_baseline,
)
from lightning_diag.errors import ConfigurationError, DiagnosticsError


def found(rule: str, *where: str) -> Finding:
    return Finding(rule, Severity.WARNING, 10, 0, where, "message")


DEAD = found("activations/dead", "net.3", "net.1")


def test_fingerprints_know_no_order_and_no_numbers() -> None:
    assert fingerprints(DEAD) == fingerprints(found("activations/dead", "net.1", "net.3"))
    assert fingerprints(found("loss/spike")) == ("loss/spike::",)
    assert fingerprints(found("loss/spike", "a\nb\x1b[31m")) == ("loss/spike::a b",)


def test_a_baseline_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    assert write_baseline(path, [DEAD, found("loss/spike")]) == 3
    assert path.read_text() == f"{HEAD}\nactivations/dead::net.1\nactivations/dead::net.3\nloss/spike::\n"
    known = Known(read_baseline(path))
    assert known.is_known(DEAD) and known.is_known(found("loss/spike"))
    assert known.is_known(found("activations/dead", "net.1"))


def test_a_new_place_makes_news(tmp_path: Path) -> None:
    write_baseline(tmp_path / "known.txt", [DEAD])
    known = Known(read_baseline(tmp_path / "known.txt"))
    assert not known.is_known(found("activations/dead", "net.1", "net.5"))
    assert not known.is_known(found("activations/dead"))
    assert not known.is_known(found("activations/saturated", "net.1"))


def test_a_baseline_may_be_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_text("# why\n\n  loss/spike::  \n")
    assert read_baseline(path) == {"loss/spike::"}
    path.write_text("loss/spike\n")
    with pytest.raises(DiagnosticsError, match="is no fingerprint"):
        read_baseline(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DiagnosticsError, match="can't be read"):
        read_baseline(path)
    with pytest.raises(DiagnosticsError, match="can't be read"):
        read_baseline(tmp_path / "none")
    with pytest.raises(DiagnosticsError, match="can't be written"):
        write_baseline(tmp_path / "none" / "known.txt", [DEAD])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("activations/dead=sparse on purpose", "sparse on purpose"),
        ("activations::net.*=all of them", "all of them"),
        ("*::net.?=globs", "globs"),
        ("activations/dead::net.1=only one", None),
        ("activations/saturated=another", None),
        ("activations/dead::net=not a prefix", None),
    ],
)
def test_a_suppression_must_cover_every_place(text: str, reason: str | None) -> None:
    assert Known(suppressions=(Suppression.parse(text),)).reason(DEAD) == reason


def test_two_suppressions_share_the_places() -> None:
    both = gather(None, ["activations/dead::net.1=a", "activations/dead::net.3=b"], None)
    assert both.reason(DEAD) == "b; a"


def test_a_place_that_holds_a_globs_signs_is_taken_as_it_is() -> None:
    odd = found("activations/dead", "net[0]")
    assert Known(suppressions=(Suppression.parse("activations/dead::net[0]=x"),)).reason(odd) == "x"


@pytest.mark.parametrize("text", ["", "loss/spike", "loss/spike::a", "loss/spike=", "=reason", "::a=reason", "a= "])
def test_no_suppression_without_rule_and_reason(text: str) -> None:
    with pytest.raises(ConfigurationError, match="a suppression must be"):
        Suppression.parse(text)


def test_suppressions_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "accepted").write_text("# team's\nloss/spike = bad shard, known\n")
    known = gather(None, ["loss/plateau=long"], tmp_path / "accepted")
    assert known.reason(found("loss/spike")) == "bad shard, known"
    assert known.reason(found("loss/plateau")) == "long"
