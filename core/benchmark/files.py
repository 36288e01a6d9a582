"""Read the summary of a benchmark: those that came with the product, and a person's own."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import MaclError
from core.report import Result
from core.runs import RunConfig

FILE = "summary.json"
PROJECT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Benchmark:
    """A summary, read.

    Attributes:
        name: Of its folder or file.
        about: `made` (ISO date), `command`, `versions`, `devices`, `notes`, `tuned` (what the search found),
            `failures`.
        results: One per run, as `core.report.summary` takes them.
    """

    name: str
    about: Mapping[str, Any]
    results: tuple[Result, ...]


def read(path: Path) -> Benchmark:
    """A benchmark from its summary file; MaclError if it is none."""
    found = content(path)
    name = path.parent.name if path.name == FILE else path.stem
    recorded = path.name != FILE
    try:
        results = tuple(
            Result(
                f"benchmark/{name}/{row['run']}",
                RunConfig.build(row["preset"], **row["config"]),
                found["splits"][row["split"]] | row["scores"],
                recorded=recorded,
                study=found["about"]["study"],
                folder=False,
            )
            for row in found["runs"]
        )
    except (KeyError, TypeError) as error:
        raise MaclError(f"{path} is no summary of a benchmark: {error!r} in a run") from error
    return Benchmark(name, found["about"], results)


def recorded() -> list[Benchmark]:
    """The benchmarks that came with the product, by name."""
    root = Path(os.environ.get("MACL_BENCHMARK_ROOT") or PROJECT / "assets" / "benchmarks")
    return [read(path) for path in sorted(root.glob("*.json"))]


def own(run_root: Path) -> list[Path]:
    """The summaries of a person's own benchmarks, by name."""
    return sorted(run_root.glob(f"benchmarks/*/{FILE}"))


def content(path: Path) -> dict[str, Any]:
    """All of a summary file, as it was written; MaclError if it is none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise MaclError(f"cannot read the summary {path}: {error}") from error
    if not isinstance(found, dict) or not {"about", "splits", "runs"} <= found.keys():
        raise MaclError(f"{path} is no summary of a benchmark: need about, splits and runs")
    return found
