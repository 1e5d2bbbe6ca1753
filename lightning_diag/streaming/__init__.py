"""Running statistics with bounded memory: pure Python and NumPy, every one with a plain-data state."""

from lightning_diag.streaming.loss_health import LossHealth
from lightning_diag.streaming.loss_trace import LossTrace, Trend, trend
from lightning_diag.streaming.sorted_window import SortedWindow
from lightning_diag.streaming.state import restore, snapshot
from lightning_diag.streaming.window import Window

__all__ = ["LossHealth", "LossTrace", "SortedWindow", "Trend", "Window", "restore", "snapshot", "trend"]
