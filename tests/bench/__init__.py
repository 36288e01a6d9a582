"""Benchmarks, each with its bars. With `--smoke` it only goes through everything once, small."""

import sys
from typing import TypeVar

Size = TypeVar("Size")

SMOKE = "--smoke" in sys.argv


def sized(whole: Size, smoke: Size) -> Size:
    """How much of something there is: of the benchmark, or of a walk through it."""
    return smoke if SMOKE else whole


def verdict(missed: object) -> int:
    """The exit code."""
    if SMOKE:
        print("gone through once; no bar was judged")
    return int(bool(missed) and not SMOKE)
