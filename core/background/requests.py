"""Requests to other processes: files with one JSON object each, removed when answered."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.files import write_atomic


def waiting(folder: Path) -> list[tuple[Path, int, dict[str, Any]]]:
    """Requests with the time at which each was last asked for, oldest first; damaged ones are removed."""
    requests = []
    for path in folder.glob("*.json"):
        with suppress(OSError):  # answered in the meantime
            asked_at = path.stat().st_mtime_ns
            try:
                content = json.loads(path.read_bytes())
            except (ValueError, RecursionError):
                content = None
            if isinstance(content, dict):
                requests.append((path, asked_at, content))
            else:
                path.unlink(missing_ok=True)
    return sorted(requests, key=lambda request: (request[1], request[0]))


def answered(path: Path) -> None:
    """Remove a request, and the count of processes that died over it."""
    path.unlink(missing_ok=True)
    path.with_suffix(".deaths").unlink(missing_ok=True)


def count_death(path: Path, reached: int = 0) -> int:
    """Count one more death over a piece of work; returns the deaths since it last made progress.

    Args:
        path: File that keeps the count, "DEATHS REACHED".
        reached: How far the work had got.
    """
    earlier, earlier_reached = read_deaths(path)
    deaths = earlier + 1 if reached <= earlier_reached else 1
    write_atomic(path, f"{deaths} {reached}")
    return deaths


def read_deaths(path: Path) -> tuple[int, int]:
    """Deaths and progress as `count_death` wrote them; zeros if the file is missing or damaged."""
    try:
        numbers = path.read_text(errors="replace").split()
    except OSError:
        return 0, 0
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        return 0, 0
    return int(numbers[0]), int(numbers[1])
