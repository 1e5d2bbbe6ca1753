"""Lightning callbacks that users add to a trainer. The only room that imports Lightning."""

from lightning_diag.monitors.activation import ActivationMonitor
from lightning_diag.monitors.base import Monitor, findings
from lightning_diag.monitors.class_error import ClassErrorMonitor
from lightning_diag.monitors.data import DataMonitor
from lightning_diag.monitors.diagnostics import Diagnostics
from lightning_diag.monitors.domain_gap import DomainGapMonitor
from lightning_diag.monitors.gradient import GradientMonitor
from lightning_diag.monitors.sanity import SanityMonitor
from lightning_diag.monitors.stability import StabilityMonitor
from lightning_diag.monitors.throughput import ThroughputMonitor

__all__ = [
    "ActivationMonitor",
    "ClassErrorMonitor",
    "DataMonitor",
    "Diagnostics",
    "DomainGapMonitor",
    "GradientMonitor",
    "Monitor",
    "SanityMonitor",
    "StabilityMonitor",
    "ThroughputMonitor",
    "findings",
]
