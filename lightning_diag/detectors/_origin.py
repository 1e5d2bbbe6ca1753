"""What the pipeline found when it traced the first non-finite loss (signals ``origin/*``)."""

from __future__ import annotations

import numpy as np

from lightning_diag.reading import Reading

NAMED = 8  # places listed


def origin(reading: Reading) -> tuple[str, list[str]]:
    """Return a clause saying where the value was born, and the places, worst first; empty where it was not traced.

    Order of the search: an input that was already bad, a weight that was (its gradient was, the step before; the last
    in registration order is nearest to where backward made it), the first module that made a bad output from good
    inputs, or was given a bad one that no module made; none of these leaves the loss function.
    """
    inputs = _marked(reading, "origin/input", "input")
    if inputs:
        return f"the input {inputs[0]} already held one", inputs
    weights = _marked(reading, "origin/weight", "parameter")[::-1]
    if weights:
        return f"the weights of {weights[0]} already held one, so the step before made it", weights
    if "origin/module" not in reading:
        return "", []
    modules = _marked(reading, "origin/module", "submodule")
    if modules:
        return f"{modules[0]} made it from finite inputs", modules
    given = list(reading.names("submodule"))
    if given:
        return f"{given[0]} was given one, which what is done between the batch and it made of finite numbers", given
    return "all inputs, weights and module outputs were finite, so the loss function made it", []


def _marked(reading: Reading, signal: str, axis: str) -> list[str]:
    marks, names = reading.vector(signal), reading.names(axis)
    if marks is None or len(names) != marks.size:
        return []
    return [names[i] for i in np.flatnonzero(marks > 0)[:NAMED]]
