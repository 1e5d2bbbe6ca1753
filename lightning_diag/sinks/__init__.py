"""Where readings and findings go: run record, flight recorder, W&B, any other Lightning logger, console, memory.

A sink of one's own is a subclass of :class:`Sink`, handed over as ``sinks=[...]``, which replaces the default ones;
:class:`MemorySink` is the test double.
"""

from lightning_diag.sinks.base import Sink
from lightning_diag.sinks.console import ConsoleSink
from lightning_diag.sinks.flight import FlightSink
from lightning_diag.sinks.logger import LoggerSink
from lightning_diag.sinks.memory import MemorySink
from lightning_diag.sinks.record import RecordSink
from lightning_diag.sinks.suspects import SuspectSink
from lightning_diag.sinks.wandb import WandbSink

__all__ = ["ConsoleSink", "FlightSink", "LoggerSink", "MemorySink", "RecordSink", "Sink", "SuspectSink", "WandbSink"]
