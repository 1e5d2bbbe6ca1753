"""Looks once for what was non-finite first, when the first loss that isn't finite comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from lightning_diag._guard import Guard
from lightning_diag.probes.base import Values
from lightning_diag.probes.observer import Call
from lightning_diag.probes.origin import traced
from lightning_diag.probes.parameters import TrainedParameters


class Tracer:
    """Asks whether it was input, weight or module output.

    Args:
        guard: told when the search fails.
        know: takes in what becomes known of the run.

    Attributes:
        done: whether it has looked.
    """

    def __init__(self, guard: Guard, know: Callable[[Mapping[str, Any]], None]) -> None:
        self._guard, self._know = guard, know
        self.done = False

    def look(
        self, module: nn.Module, parameters: TrainedParameters, batch: Any, calls: Sequence[Call] | None
    ) -> Values:
        """Return what was found, to go with the step's values.

        Args:
            module: the user's.
            parameters: its trained parameters.
            batch: that led to the loss.
            calls: module calls that may be made again; None = they may not: a replay by one process could wait for the
                others for ever.
        """
        self.done = True
        try:
            values, learned = traced(module, parameters, batch, calls)
            self._know(learned)
        except Exception as error:
            self._guard.tell("the search for the first non-finite value", error)
            return []
        return values
