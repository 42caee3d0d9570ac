"""The figures of an evaluation, each from the results of one repeat.

A module has `measure_…(repeat, truth, …)`, which gives its figures by key; `catalog` says what
the keys stand for. A figure that could not be computed is `NotComputed` with the reason.
"""
