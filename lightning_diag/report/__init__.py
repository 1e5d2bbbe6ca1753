"""The report: one HTML file a run, drawn from its record alone.

``page.py`` writes it, ``content.py`` gathers what stands on it, ``assets/`` holds template, style and scripts.
"""

from lightning_diag.report.page import write

__all__ = ["write"]
