"""The one error that ends a command with a message instead of a traceback."""


class TrainingError(Exception):
    """Something the user can put right: says what was found and what was expected."""
