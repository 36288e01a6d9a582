"""Benchmarks, each with its bars. With `--smoke` it only goes through everything once, small."""

import json
import math
import os
import sys
from pathlib import Path
from typing import TypeVar

Size = TypeVar("Size")

SMOKE = "--smoke" in sys.argv
FIGURES = "MACL_BENCH_FIGURES"  # file in which `python -m tests.bench` collects what is measured


def sized(whole: Size, smoke: Size) -> Size:
    """How much of something there is: of the benchmark, or of a walk through it."""
    return smoke if SMOKE else whole


def measured(
    name: str, value: float, unit: str, bar: float | None = None, *, least: bool = False, **about: object
) -> bool:
    """Put a figure into the table of all benchmarks; whether it keeps its bar.

    Args:
        name: What was measured.
        value: How much.
        unit: Of value and bar.
        bar: What it may be at most; None where there is none.
        least: The bar is what it has to be at least.
        about: Seed, device, preset.
    """
    met = bar is None or not math.isfinite(bar) or (value >= bar if least else value <= bar)
    if path := os.environ.get(FIGURES):
        figure = {"name": name, "value": float(f"{value:.6g}"), "unit": unit}
        if bar is not None and math.isfinite(bar):
            figure |= {"bar": f"{'≥' if least else '≤'} {bar:g}", "met": None if SMOKE else met}
        with Path(path).open("a") as file:
            file.write(json.dumps(figure | about) + "\n")
    return met


def verdict(missed: object) -> int:
    """The exit code."""
    if SMOKE:
        print("gone through once; no bar was judged")
    return int(bool(missed) and not SMOKE)
