"""One fault, or one healthy variation, each: ``operator(plan, severity)`` edits a plan in place."""

from benchmarks.zoo.operators import controls, data, model, optimization, variations
from benchmarks.zoo.operators.base import OPERATORS, apply

__all__ = ["OPERATORS", "apply", "controls", "data", "model", "optimization", "variations"]
