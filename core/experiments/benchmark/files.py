"""Read the summary of a benchmark: those that came with the product, and a person's own."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import MaclError
from core.files import PROJECT
from core.report import Result, flaw
from core.runs import RunConfig

FILE = "summary.json"


@dataclass(frozen=True)
class Benchmark:
    """A summary, read.

    Attributes:
        name: Of its folder or file.
        about: `made` (ISO date), `command`, `versions`, `devices`, `notes`, `tuned` (what the search found),
            `failures`.
        results: One per run, as `core.report.summary` takes them.
        recorded: It came with the product.
    """

    name: str
    about: Mapping[str, Any]
    results: tuple[Result, ...]
    recorded: bool = False

    @property
    def prefix(self) -> str:
        """How the ids of its results begin: a person's own benchmark may be called like a recorded one."""
        return f"benchmark/{'recorded' if self.recorded else 'own'}/{self.name}/"


def read(path: Path) -> Benchmark:
    """A benchmark from its summary file; MaclError if it is none."""
    found = content(path)
    name = path.parent.name if path.name == FILE else path.stem
    empty = Benchmark(name, found["about"], (), recorded=path.name != FILE)
    results = tuple(
        Result(
            f"{empty.prefix}{row['run']}",
            config_of(row, found["splits"][row["split"]].get("place")),
            found["splits"][row["split"]] | row["scores"],
            recorded=empty.recorded,
            study=found["about"]["study"],
            folder=False,
        )
        for row in found["runs"]
    )
    return replace(empty, results=results)


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
        if path.exists() and not path.is_file():  # reading a pipe or a device would never end
            raise MaclError(f"cannot read the summary {path}: it is no file")
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise MaclError(f"cannot read the summary {path}: {error}") from error
    if not isinstance(found, dict) or not {"about", "splits", "runs"} <= found.keys():
        raise MaclError(f"{path} is no summary of a benchmark: need about, splits and runs")
    try:
        sources = len(found["about"].get("joined", ()))
        if not isinstance(found["about"]["study"], str):
            raise TypeError("need study as a text")
        for row in found["runs"]:
            _check(row, found["splits"], sources)
    except (KeyError, TypeError, AttributeError, MaclError) as error:
        raise MaclError(f"{path} is no summary of a benchmark: {error!r} in a run") from error
    return found


def config_of(row: Mapping[str, Any], place: str | None = None) -> RunConfig:
    """Configuration of a row; of a person's own folder, `place` stands for where the images were."""
    return RunConfig.build(row["preset"], **{**row["config"], "data_root": place})


def _check(row: Mapping[str, Any], splits: Mapping[str, Any], sources: int) -> None:
    config_of(row)
    if not isinstance(row["run"], str) or not isinstance(row["scores"], dict):
        raise TypeError("need the run's name and its scores")
    if not isinstance(splits[row["split"]], dict):
        raise TypeError(f"need what {row['split']} is")
    if wrong := flaw(splits[row["split"]] | row["scores"]):
        raise MaclError(f"{wrong} of {row['run']}")
    if "source" in row and row["source"] not in range(sources):
        raise MaclError(f"need a source below {sources}, got {row['source']!r}")
