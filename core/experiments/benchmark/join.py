"""Runs done on another machine: rows of its summary count as done, and go into the summary here."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import metrics
from core.errors import MaclError
from core.experiments.benchmark.files import config_of, content
from core.experiments.benchmark.plan import Plan, identity
from core.experiments.benchmark.split import alike, label_counts, place
from core.training import recent

SOURCE = ("made", "command", "versions", "notes", "tuned")  # fields kept from a joined summary


@dataclass(frozen=True)
class Joined:
    """A row of a summary made elsewhere.

    Attributes:
        row: The row as in the summary.
        split: The summary's data on its split, with the place of the same images here.
        source: The fields `SOURCE` of its summary.
    """

    row: dict[str, Any]
    split: dict[str, Any]
    source: dict[str, Any]


def read_joined(paths: Iterable[Path], plan: Plan, say: Callable[[str], None] = print) -> dict[str, Joined]:
    """Rows of these summaries by the identity of their configuration; of equal ones the first.

    All rows of the plan's data sets, preset and study, whatever their seed and loss, so that parts of one
    benchmark become one table.

    Args:
        paths: Summary files.
        plan: What is run here.
        say: Called with one line for each file with rows that do not belong to the plan.

    Raises:
        MaclError: If a file is not a summary, or a split in it has other images here.
    """
    joined: dict[str, Joined] = {}
    for path in paths:
        summary = content(path)
        about, rows = summary["about"], summary["runs"]
        usable = [row for row in rows if about["study"] == plan.study and _belongs(row, plan)]
        if len(usable) < len(rows):
            say(
                f"{path}: {len(rows) - len(usable)} of {len(rows)} rows left out: they are of another data "
                "set or preset than this call, or of another --tune"
            )
        splits: dict[str, dict[str, Any]] = {}
        for row in usable:
            if row["split"] not in splits:
                splits[row["split"]] = _checked(path, row, summary["splits"][row["split"]], plan)
            source = about["joined"][row["source"]] if "source" in row else about
            source_fields = {key: source.get(key) for key in SOURCE}
            joined.setdefault(identity(config_of(row)), Joined(row, splits[row["split"]], source_fields))
    return joined


def _belongs(row: dict[str, Any], plan: Plan) -> bool:
    return row["preset"] == plan.preset and row["config"]["dataset"] in plan.roots


def _checked(path: Path, row: dict[str, Any], split: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """The summary's data on a split; MaclError if the images here are others."""
    dataset, seed = row["config"]["dataset"], config_of(row).seed
    config = plan.config(dataset, plan.methods[0], seed)
    data = recent.dataset(config)
    current = {"chance": metrics.chance(data.labels[data.splits["test"]]), "label_counts": label_counts(data)}
    try:
        same = alike(split, current)
    except (TypeError, AttributeError) as error:
        raise MaclError(f"{path} is no summary of a benchmark: {error!r} in {row['split']}") from error
    if not same:
        raise MaclError(
            f"{path} was made with other images of {dataset} than these (seed {seed} splits them "
            "differently): leave it out, or give the place of the same images"
        )
    return split | place(data, config)
