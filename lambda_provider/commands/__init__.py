"""The commands of `lambda-provider`, one module each: `run(options)` does it and returns the exit status."""


class CommandError(Exception):
    """What went wrong, in words for the user; the command ends with 1."""
