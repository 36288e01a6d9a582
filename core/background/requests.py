"""What processes are asked for by files: one JSON object each, taken away when it is answered."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.files import write_atomic


def waiting(folder: Path) -> list[tuple[Path, int, dict[str, Any]]]:
    """Requests with the time at which each was wanted last, oldest first; damaged ones are thrown out."""
    requests = []
    for path in folder.glob("*.json"):
        with suppress(OSError):  # answered in the meantime
            wanted = path.stat().st_mtime_ns
            try:
                about = json.loads(path.read_bytes())
            except (ValueError, RecursionError):
                about = None
            if isinstance(about, dict):
                requests.append((path, wanted, about))
            else:
                path.unlink(missing_ok=True)
    return sorted(requests, key=lambda request: (request[1], request[0]))


def answered(path: Path) -> None:
    """Take a request away, and what is known of processes that died over it."""
    path.unlink(missing_ok=True)
    path.with_suffix(".deaths").unlink(missing_ok=True)


def count_death(path: Path, reached: int = 0) -> int:
    """Count that a process has died with something in its hands; how often, with no progress in between.

    Args:
        path: Where that is kept, "DEATHS REACHED".
        reached: How far it had got.
    """
    before, at = read_deaths(path)
    deaths = before + 1 if reached <= at else 1
    write_atomic(path, f"{deaths} {reached}")
    return deaths


def read_deaths(path: Path) -> tuple[int, int]:
    """What `count_death` has kept; zeros where there is nothing, or something damaged."""
    try:
        numbers = path.read_text(errors="replace").split()
    except OSError:
        return 0, 0
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        return 0, 0
    return int(numbers[0]), int(numbers[1])
