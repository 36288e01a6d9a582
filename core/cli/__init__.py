"""The command line `macl`."""

from core.cli.main import app, main

__all__ = ["app", "main"]
