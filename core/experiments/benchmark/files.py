"""Read the summaries of benchmarks: those that came with the product, and a person's own."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import MaclError
from core.files import PROJECT
from core.report import Result, flaw
from core.runs import RunConfig, contents

FILE = "summary.json"


@dataclass(frozen=True)
class Benchmark:
    """The content of a summary file.

    Attributes:
        name: Name of its folder or file.
        about: `made` (ISO date), `command`, `versions`, `devices`, `notes`, `tuned` (results of the search),
            `failures`.
        results: One per run, as `core.report.summary` takes them.
        recorded: Whether it came with the product.
    """

    name: str
    about: Mapping[str, Any]
    results: tuple[Result, ...]
    recorded: bool = False

    @property
    def prefix(self) -> str:
        """Prefix of the ids of its results: a person's own benchmark may have the name of a recorded one."""
        return f"benchmark/{'recorded' if self.recorded else 'own'}/{self.name}/"


class Joined(BaseModel):
    """A part of a benchmark that was measured elsewhere."""

    model_config = ConfigDict(strict=True)

    made: str = ""
    command: str = ""
    notes: list[str] | None = None


class About(BaseModel):
    """What a summary says of itself, as far as a page shows it."""

    model_config = ConfigDict(strict=True)

    study: str
    made: str = ""
    command: str = ""
    versions: dict[str, str] = {}
    devices: list[str] = []
    notes: list[str] = []
    joined: list[Joined] = []
    earlier: list[str] = []
    failures: list[str] = []
    tuned: dict[str, dict[str, Any]] = {}


class Split(BaseModel):
    """What a summary says of a split beside its chance and oracle, which `flaw` checks."""

    model_config = ConfigDict(strict=True)

    images: int | None = None
    train_images: int | None = None
    place: str | None = None
    label_counts: dict[str, int] = {}


class Scores(BaseModel):
    """The scores of a run beside its metrics, which `flaw` checks."""

    model_config = ConfigDict(strict=True)

    training_s: float | None = None
    device: str = ""
    label_ap: dict[str, float | None] = {}


class Line(BaseModel):
    """A run of a summary."""

    model_config = ConfigDict(strict=True)

    run: str
    split: str
    preset: str
    config: dict[str, Any]
    scores: Scores


class Summary(BaseModel):
    """The shape of a summary file."""

    model_config = ConfigDict(strict=True)

    about: About
    splits: dict[str, Split]
    runs: list[Line]


def read(path: Path) -> Benchmark:
    """A benchmark from its summary file; MaclError if the file is not a summary."""
    summary = content(path)
    name = path.parent.name if path.name == FILE else path.stem
    empty = Benchmark(name, summary["about"], (), recorded=path.name != FILE)
    results = tuple(
        Result(
            f"{empty.prefix}{row['run']}",
            config_of(row, summary["splits"][row["split"]].get("place")),
            summary["splits"][row["split"]] | row["scores"],
            recorded=empty.recorded,
            study=summary["about"]["study"],
            folder=False,
        )
        for row in summary["runs"]
    )
    return replace(empty, results=results)


def recorded() -> list[Path]:
    """The summaries of the benchmarks that came with the product, by name."""
    root = Path(os.environ.get("MACL_BENCHMARK_ROOT") or PROJECT / "assets" / "benchmarks")
    return sorted(root.glob("*.json"))


def own(run_root: Path) -> list[Path]:
    """The summaries of a person's own benchmarks, by name."""
    return sorted(run_root.glob(f"benchmarks/*/{FILE}"))


def content(path: Path) -> dict[str, Any]:
    """The whole content of a summary file; MaclError if it is not one."""
    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device would never end
            raise MaclError(f"cannot read the summary {path}: it is no file")
        summary = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        why = "its lists are nested too deeply" if isinstance(error, RecursionError) else error
        raise MaclError(f"cannot read the summary {path}: {why}") from None
    contents.future(summary, path)
    if not isinstance(summary, dict) or not {"about", "splits", "runs"} <= summary.keys():
        raise MaclError(f"{path} is no summary of a benchmark: need about, splits and runs")
    try:
        Summary.model_validate(summary)
    except ValidationError as error:
        why = contents.first(error)
        raise MaclError(f"{path} is no summary of a benchmark: {why}") from None
    try:
        sources = len(summary["about"].get("joined", ()))
        for row in summary["runs"]:
            _check(row, summary["splits"], sources)
    except (KeyError, TypeError, ValueError, AttributeError, MaclError) as error:
        raise MaclError(f"{path} is no summary of a benchmark: {error!r} in a run") from error
    return summary


def config_of(row: Mapping[str, Any], place: str | None = None) -> RunConfig:
    """Configuration of a row; for a person's own folder `place` stands in for the path of the images."""
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
