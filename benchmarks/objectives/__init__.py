"""Healthy trainings of many kinds: what do the rules say where the loss is no plain classification or regression?

``python -m benchmarks.objectives --out benchmarks/results/objectives.md``; each training must have worked (its score)
to count, and every alarm in it is a false one.
"""
