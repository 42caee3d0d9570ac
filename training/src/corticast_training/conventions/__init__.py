"""What other packages mean by motion parameters, DVARS, drifts and responses, and what we mean.

docs/conventions.md has the table. `tests/test_conventions.py` compares every function here with the
package that it converts from.
"""
