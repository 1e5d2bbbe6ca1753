"""Logs of runs that never had us on: Lightning's ``metrics.csv``, W&B's offline file, TensorBoard's event files.

A log holds what the user happened to log, usually every 50th step. What it holds becomes readings; everything else
is said to be not measured, and rules that need every step are not judged.
"""

from lightning_diag.logs.log import Log, open_log

__all__ = ["Log", "open_log"]
