"""What W&B shows by default: a few panels in the reader's order, not every key.

A key that is logged but stands in no panel is kept and hidden: it can be looked up, it just doesn't make a chart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lightning_diag.signals import PREFIX

MAX_PANELS = 25
AXIS = f"{PREFIX}step"
TABLE, REPORT = f"{PREFIX}findings", f"{PREFIX}report"
CLASSES, CONFUSIONS, CLASS_MAP = f"{PREFIX}classes", f"{PREFIX}confusions", f"{PREFIX}class_error_by_epoch"
SUSPECTS = f"{PREFIX}suspicious_labels"
DOMAINS, DOMAIN_CHART = f"{PREFIX}domains", f"{PREFIX}error_by_domain"

Kind = Literal["line", "table", "page"]


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: what it is called.
        keys: what it shows; several lines may share one.
        kind: ``line``, ``table`` or ``page`` (HTML).
        log_y: whether its values span decades.
    """

    title: str
    keys: tuple[str, ...]
    kind: Kind = "line"
    log_y: bool = False


@dataclass(frozen=True)
class Section:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


def _line(title: str, *signals: str, log_y: bool = False) -> Panel:
    return Panel(title, tuple(f"{PREFIX}{signal}" for signal in signals), log_y=log_y)


SECTIONS: tuple[Section, ...] = (
    Section("What is wrong", (Panel("Findings", (TABLE,), "table"), Panel("Report", (REPORT,), "page"))),
    Section(
        "Does it learn?",
        (
            _line("Loss, training and validation", "loss/train", "loss/val"),
            _line("Accuracy, training and validation", "accuracy/train", "accuracy/val"),
            _line("Loss over what guessing costs (1 = guessing)", "loss/relative"),
            _line("Learning rate", "lr/max"),
        ),
    ),
    Section(
        "How it moves",
        (
            _line("Gradient norm before clipping", "grad/norm", log_y=True),
            _line("Largest gradient norm of a parameter", "grad/parameter_norm/max", log_y=True),
            _line(
                "Update over weight, parameters",
                "update/parameter_ratio/median",
                "update/parameter_ratio/max",
                log_y=True,
            ),
        ),
    ),
    Section(
        "Inside the network",
        (
            _line("Dead units, worst layer", "activation/dead_frac/max"),
            _line("Saturated values, worst layer", "activation/saturated_frac/max"),
        ),
    ),
    Section(
        "Classes",
        (
            _line("Validation error, median and worst class", "class/error/median", "class/error/max"),
            Panel("Classes", (CLASSES,), "table"),
            Panel("Confusions", (CONFUSIONS,), "table"),
            Panel("Error by class and epoch", (CLASS_MAP,), "page"),
            Panel("Labels that are probably wrong", (SUSPECTS,), "table"),
        ),
    ),
    Section(
        "Domains",
        (
            Panel("Domains", (DOMAINS,), "table"),
            Panel("Error by domain", (DOMAIN_CHART,), "page"),
            _line("How well features tell a domain (0.5 = not)", "domain/probe_auc/max"),
        ),
    ),
    Section(
        "Time",
        (
            _line("Share of step time spent waiting for data", "time/wait_frac"),
            _line("Our own share of step time", "system/overhead_frac"),
        ),
    ),
)

SHOWN = frozenset(key for section in SECTIONS for panel in section.panels for key in panel.keys)
MEDIA = frozenset(key for section in SECTIONS for panel in section.panels if panel.kind != "line" for key in panel.keys)
