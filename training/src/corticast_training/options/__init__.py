"""Options of `corticast-train`, a module for each command.

Each has `add_arguments(parser)` and, where an example helps, an `EPILOG`. These modules import the
standard library only, so that help and argument checks work whichever packages are installed.
"""
