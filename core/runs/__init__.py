"""Runs: their configuration, and the folder that holds all their results."""

from core.runs.config import DEVICE, PRESETS, RunConfig
from core.runs.curve import curve_row, without_nan
from core.runs.folder import (
    Run,
    State,
    create,
    delete,
    empty_trash,
    find,
    list_runs,
    restore,
    trashed,
)
from core.runs.more import changes, extend, results_of, take_back

__all__ = [
    "DEVICE",
    "PRESETS",
    "Run",
    "RunConfig",
    "State",
    "changes",
    "create",
    "curve_row",
    "delete",
    "empty_trash",
    "extend",
    "find",
    "list_runs",
    "restore",
    "results_of",
    "take_back",
    "trashed",
    "without_nan",
]
