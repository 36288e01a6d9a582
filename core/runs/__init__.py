"""Runs: what they are asked to be, and the folder that holds all that came of it."""

from core.runs.config import DEVICE, PRESETS, RunConfig, explain
from core.runs.folder import (
    Run,
    State,
    create,
    curve_row,
    delete,
    empty_trash,
    find,
    list_runs,
    restore,
    trashed,
    without_nan,
)

__all__ = [
    "DEVICE",
    "PRESETS",
    "Run",
    "RunConfig",
    "State",
    "create",
    "curve_row",
    "delete",
    "empty_trash",
    "explain",
    "find",
    "list_runs",
    "restore",
    "trashed",
    "without_nan",
]
