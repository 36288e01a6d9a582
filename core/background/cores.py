"""How many processor cores this process may use."""

import os


def cores() -> int:
    """Cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # macOS has no affinity
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
