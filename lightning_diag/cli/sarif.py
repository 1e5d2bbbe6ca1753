"""A judgement as SARIF 2.1.0, the format code hosts and editors read findings in.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html: modules, parameters, classes and domains are logical
locations; the record or log is the artifact; a suppression carries its reason; skipped checks are in the properties.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lightning_diag import __version__
from lightning_diag._plugins import known
from lightning_diag.cli.judgement import Judged, Judgement
from lightning_diag.detectors.base import Detector
from lightning_diag.finding import Severity
from lightning_diag.sinks._news import clean

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {Severity.INFO: "note", Severity.WARNING: "warning", Severity.CRITICAL: "error"}
KINDS = {"activations": "module", "gradients": "member", "updates": "member"}  # of logical locations, section 3.33.7


def to_sarif(judgement: Judgement) -> dict[str, Any]:
    """Return the whole log: one run of one tool."""
    found = {item.finding.rule for item in judgement.items}
    rules = [cls for cls in known() if cls.rule in found]
    index = {cls.rule: i for i, cls in enumerate(rules)}
    coverage = judgement.diagnosis.coverage
    run = {
        "tool": {
            "driver": {
                "name": "lightning-diag",
                "semanticVersion": __version__,
                "version": __version__,
                "rules": [_rule(cls) for cls in rules],
            }
        },
        "invocations": [{"executionSuccessful": bool(coverage.ran)}],
        "artifacts": [{"location": {"uri": _uri(judgement.path)}}],
        "results": [_result(item, index, judgement) for item in judgement.items],
        "columnKind": "unicodeCodePoints",
        "properties": {
            "verdict": clean(judgement.diagnosis.verdict),
            "checksRan": list(coverage.ran),
            "checksSkipped": dict(coverage.skipped),
            "caveats": judgement.caveats,
        },
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(cls: type[Detector]) -> dict[str, Any]:
    first = next((line.strip() for line in (cls.__doc__ or "").splitlines() if line.strip()), cls.title)
    return {
        "id": cls.rule,
        "name": cls.code,
        "shortDescription": {"text": cls.title},
        "fullDescription": {"text": first.replace("``", "`")},
        "defaultConfiguration": {"level": LEVELS[cls.severity]},
    }


def _result(item: Judged, index: dict[str, int], judgement: Judgement) -> dict[str, Any]:
    finding = item.finding
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "level": LEVELS[finding.severity],
        "kind": "fail",
        "message": {"text": clean(finding.message)},
        "locations": [_location(judgement.path, finding.rule, finding.where)],
        "partialFingerprints": {"ruleAndPlace/v1": " ".join(item.fingerprints)},
        "properties": {
            "status": finding.status,
            "step": finding.step,
            "firstStep": finding.first_step,
            "lastStep": finding.last_step,
            "epoch": finding.epoch,
            "evidence": dict(finding.evidence),
            "advice": [clean(text) for text in finding.advice],
        },
    }
    if finding.rule in index:
        result["ruleIndex"] = index[finding.rule]
    if judgement.has_baseline:
        result["baselineState"] = "unchanged" if item.state == "known" else "new"
    if item.state == "suppressed":
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": item.reason}]
    return result


def _location(path: Path, rule: str, where: Sequence[str]) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": _uri(path), "index": 0}}}
    if where:
        location["logicalLocations"] = list(_logical(rule.partition("/")[0], where))
    return location


def _logical(group: str, where: Iterable[str]) -> Iterable[dict[str, str]]:
    for place in where:
        name = clean(place)
        kind = KINDS.get(group)
        yield {"fullyQualifiedName": name, "name": name.rpartition(".")[2] or name, **({"kind": kind} if kind else {})}


def _uri(path: Path) -> str:
    """Return a path as a relative reference where it lies below the working directory, else as a file URI."""
    absolute = path.resolve()
    try:
        return quote(absolute.relative_to(Path.cwd().resolve()).as_posix())
    except ValueError:
        return absolute.as_uri()
