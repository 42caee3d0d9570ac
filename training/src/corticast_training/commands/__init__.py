"""The commands of `corticast-train`: each module has `run(args)` and is imported when called.

Their options are in `options/`. A dash in a command's name is an underscore in its module's.
"""
