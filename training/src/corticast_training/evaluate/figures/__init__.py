"""The figures of an evaluation, each from the results of one repeat.

Each module has `measure_…(repeat, truth, …)`, which returns its figures by key; `catalog`
explains the keys. A figure that could not be computed is `NotComputed` with the reason.
"""
