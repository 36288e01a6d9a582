"""Runs that another machine has done: rows of its summary count as done, and go into the summary here."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core import metrics
from core.benchmark.files import content
from core.benchmark.plan import Plan, identity, split_name
from core.data import Dataset, load
from core.errors import MaclError
from core.runs import RunConfig

SOURCE = ("made", "command", "versions", "notes")  # what is kept of a summary whose rows were joined
SAME = 2e-6  # chance of one and the same test split agrees to this: a summary rounds


@dataclass(frozen=True)
class Joined:
    """A row of a summary that was made elsewhere.

    Attributes:
        row: As it stands in the summary.
        split: What the summary says of its split.
        source: The fields `SOURCE` of its summary.
    """

    row: dict[str, Any]
    split: dict[str, Any]
    source: dict[str, Any]


def read_joined(paths: Iterable[Path], plan: Plan) -> dict[str, Joined]:
    """Rows of these summaries by the identity of their configuration; of one that several hold, the first.

    Raises:
        MaclError: If a file is no summary, or a split that the plan shares with it has other images here.
    """
    found: dict[str, Joined] = {}
    for path in paths:
        summary = content(path)
        for name, about in summary["splits"].items():
            _check(path, name, about, plan)
        for config, row in _rows(path, summary):
            about = summary["about"]
            source = about["joined"][row["source"]] if "source" in row else about
            found.setdefault(
                identity(config),
                Joined(row, summary["splits"][row["split"]], {key: source.get(key) for key in SOURCE}),
            )
    return found


def label_counts(data: Dataset) -> dict[str, int]:
    """How many training images hold each label."""
    counts = np.asarray(data.labels[data.splits["train"]]).sum(0)
    return dict(zip(data.classes, counts.tolist(), strict=True))


def _rows(path: Path, summary: dict[str, Any]) -> Iterator[tuple[RunConfig, dict[str, Any]]]:
    for row in summary["runs"]:
        try:
            yield RunConfig.build(row["preset"], **row["config"]), row
        except (KeyError, TypeError, MaclError) as error:
            raise MaclError(f"{path} is no summary of a benchmark: {error!r} in a run") from error


def _check(path: Path, name: str, about: dict[str, Any], plan: Plan) -> None:
    for dataset in plan.roots:
        for seed in plan.seeds:
            config = plan.config(dataset, plan.methods[0], seed)
            if split_name(config) != name:
                continue
            data = load(dataset, config.data_root, image_size=config.image_size, seed=seed)
            here = metrics.chance(data.labels[data.splits["test"]])
            theirs = {key: math.nan if value is None else value for key, value in about["chance"].items()}
            alike = all(np.isclose(theirs[key], here[key], rtol=0, atol=SAME, equal_nan=True) for key in here)
            if not alike or label_counts(data) != about["label_counts"]:
                raise MaclError(
                    f"{path} was made with other images of {dataset} than these (seed {seed} splits them "
                    "differently): leave it out, or give the place of the same images"
                )
