"""The one exception for what a person can fix: shown as a message, never as a traceback."""


class MaclError(Exception):
    """What was wrong, what was expected, and what to do next, in one line."""
