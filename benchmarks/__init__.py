"""Measurements of the package: not shipped with it, run from the repository root."""
