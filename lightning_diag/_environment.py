"""``LIGHTNING_DIAG=1`` in the environment: what Lightning's entry point ``callbacks_factory`` calls for every trainer.

Loaded in every Lightning program of an environment that has this package, so nothing heavy is imported before the
variable is set, and nothing here may raise.
"""

from __future__ import annotations

import os
from typing import Any

from lightning_diag._guard import Guard

VARIABLE = "LIGHTNING_DIAG"
PREFLIGHT = "LIGHTNING_DIAG_PREFLIGHT"  # of `lightning-diag preflight`: where the record goes ...
PREFLIGHT_STEPS = "LIGHTNING_DIAG_PREFLIGHT_STEPS"  # ... and after how many steps the program ends
ON = ("1", "true", "on", "yes")
OFF = ("", "0", "false", "off", "no")

_guard = Guard()  # of the process: a program may make many trainers


def callbacks() -> list[Any]:
    """Return the callbacks for a new trainer: none while the variable is unset, empty or ``0``.

    >>> callbacks()
    []
    """
    value = os.environ.get(VARIABLE, "").strip().lower()
    folder = os.environ.get(PREFLIGHT, "")
    if value in OFF and not folder:
        return []
    try:
        if folder:
            from lightning_diag.monitors.preflight import prepared  # noqa: PLC0415 - loads torch and Lightning

            return [prepared(folder, int(os.environ.get(PREFLIGHT_STEPS, "12")))]
        if value not in ON:
            raise ValueError(f"{VARIABLE} must be 1 or 0, got {value!r}")
        from lightning_diag.monitors.stand_in import StandIn  # noqa: PLC0415 - loads torch and Lightning

        return [StandIn()]
    except Exception as error:
        _guard.tell(f"Diagnostics() for {VARIABLE}", error)
        return []
