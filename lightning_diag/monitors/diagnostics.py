"""The one-line pack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning_diag import _plugins
from lightning_diag._judge.judge import chosen
from lightning_diag._pipeline.schedule import Schedule
from lightning_diag.errors import ConfigurationError
from lightning_diag.finding import Finding, Severity
from lightning_diag.monitors.activation import ActivationMonitor
from lightning_diag.monitors.base import Monitor
from lightning_diag.monitors.class_error import ClassErrorMonitor
from lightning_diag.monitors.data import DataMonitor
from lightning_diag.monitors.domain_gap import DomainGapMonitor
from lightning_diag.monitors.gradient import GradientMonitor
from lightning_diag.monitors.sanity import SanityMonitor
from lightning_diag.monitors.session import Options, Parts
from lightning_diag.monitors.stability import StabilityMonitor
from lightning_diag.monitors.throughput import ThroughputMonitor
from lightning_diag.observation import Observation
from lightning_diag.sinks.base import Sink

DEFAULT: tuple[Callable[[], Monitor], ...] = (
    GradientMonitor,
    ActivationMonitor,
    StabilityMonitor,
    ClassErrorMonitor,
    DomainGapMonitor,
    DataMonitor,
    SanityMonitor,
    ThroughputMonitor,
)


class Diagnostics(Monitor):
    """Every monitor that applies, with sensible defaults and no other change to the user's code.

    Args:
        monitors: monitors to run instead of the default ones. With the default ones run the rules of other installed
            packages, too (entry points ``lightning_diag.detectors``).
        select: globs of rules to run, such as ``gradients`` or ``loss/sp*``.
        ignore: globs of rules not to run.
        budget: share of step time our own work may take; the sampling interval follows from it.
        every_n_steps: sample every so many optimizer steps; ``auto`` keeps the budget.
        observe: ``observe(module, batch, outputs) -> Observation | None`` where predictions can't be found by
            themselves.
        run_dir: folder of the record; default ``<default_root_dir>/lightning_diag_runs/<time>-<id>``. A folder that
            holds a record is never written again: the next free ``-2``, ``-3`` is taken.
        sinks: where readings and findings go, instead of the record, the trainer's loggers, the console and those
            of other installed packages (entry points ``lightning_diag.sinks``).
        on_finding: called with every finding that opens, worsens, comes back or resolves (on every rank).
        sanity: ``full`` also trains copies of the module on the first batch, before the run's own first step: see
            :class:`~lightning_diag.SanityMonitor`.
        stop_on: severity from which a finding stops training (``"critical"``); None = never.
        strict: raise our own errors instead of switching off what failed; for tests.
        seed: seed of whatever is drawn at random (own generator; the user's streams are never touched).

    Raises:
        ConfigurationError: an argument is wrong.

    Example:
        >>> Diagnostics(budget=2)
        Traceback (most recent call last):
        lightning_diag.errors.ConfigurationError: budget must be above 0 and at most 1, got 2
    """

    def __init__(
        self,
        monitors: Sequence[Monitor] | None = None,
        *,
        select: Sequence[str] | str = ("*",),
        ignore: Sequence[str] | str = (),
        budget: float = 0.01,
        every_n_steps: int | Literal["auto"] = "auto",
        observe: Callable[[Any, Any, Any], Observation | None] | None = None,
        run_dir: str | Path | None = None,
        sinks: Sequence[Sink] | None = None,
        on_finding: Callable[[Finding], None] | None = None,
        stop_on: Severity | str | None = None,
        sanity: Literal["quick", "full"] = "quick",
        strict: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in (("observe", observe), ("on_finding", on_finding)):
            if value is not None and not callable(value):
                raise ConfigurationError(f"{name} must be callable or None, got {value!r}")
        for sink in sinks or ():
            if not isinstance(sink, Sink):
                raise ConfigurationError(
                    f"sinks must be lightning_diag sinks, got {sink!r}; loggers get theirs unasked"
                )
        Schedule(every_n_steps, budget)  # validates both
        given: object = sanity  # whatever a user may hand over
        if given not in ("quick", "full"):
            raise ConfigurationError(f"sanity must be 'quick' or 'full', got {sanity!r}")
        self._all = monitors is None
        self.monitors = [make() for make in DEFAULT] if monitors is None else list(monitors)
        if sanity == "full":
            self.monitors = [m for m in self.monitors if not isinstance(m, SanityMonitor)] + [SanityMonitor(full=True)]
        for monitor in self.monitors:
            if not isinstance(monitor, Monitor):
                raise ConfigurationError(f"monitors must be lightning_diag monitors, got {monitor!r}")
        self._options = Options(
            select=_globs("select", select),
            ignore=_globs("ignore", ignore),
            budget=budget,
            every_n_steps=every_n_steps,
            observe=observe,
            run_dir=run_dir,
            sinks=sinks,
            on_finding=on_finding,
            stop_on=None if stop_on is None else _severity(stop_on),
            strict=strict,
            seed=seed,
        )
        chosen(
            self.parts().detectors, self._options.select, self._options.ignore
        )  # a pattern that matches no rule raises

    def options(self) -> Options:
        """Return the settings for the run."""
        return self._options

    def parts(self) -> Parts:
        """Return fresh probes and detectors of all its monitors."""
        parts = Parts()
        for monitor in self.monitors:
            brought = monitor.parts()
            parts.probes += brought.probes
            parts.detectors += brought.detectors
        if self._all:
            parts.detectors += [cls() for cls in _plugins.detectors()]
        return parts


def _globs(name: str, value: Sequence[str] | str) -> tuple[str, ...]:
    globs = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(g, str) for g in globs):
        raise ConfigurationError(f"{name} must be a glob or a sequence of globs, got {value!r}")
    return globs


def _severity(value: Severity | str) -> Severity:
    try:
        return Severity.parse(value)
    except ValueError as error:
        raise ConfigurationError(f"stop_on: {error}") from None
