"""Runs of a second, and waiting for what other processes do with them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.runs import RunConfig


def config(tiny: Path, **fields: Any) -> RunConfig:
    """Two epochs on the folder of drawn scenes."""
    given = {"image_size": 32, "batch_size": 16, "epochs": 2, "loss": "mulsupcon"} | fields
    return RunConfig.build("instant", dataset="folder", data_root=str(tiny), **given)


def wait(for_what: Callable[[], bool], seconds: float = 120) -> None:
    """Until it is true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
