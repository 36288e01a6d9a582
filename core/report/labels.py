"""Retrieval quality by label and by number of labels, of every method or against the baseline."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from core.metrics import by_rarity
from core.metrics.ranking import Floats
from core.report.baseline import common, one_split
from core.report.rows import Row

Key = TypeVar("Key", bound=Hashable)  # of a column: a label, or a number of labels
Quality = Mapping[str, float | None]  # label to its mean average precision, a fraction; None without a query


@dataclass(frozen=True)
class LabelTable:
    """Methods × labels, in percent or percentage points.

    Attributes:
        classes: L labels, most frequent first.
        counts: (L,) images that hold each label.
        rows: M methods.
        values: (M, L) mean over seeds; nan where no image could query.
        groups: Head, middle, tail: mean over a third of the labels each, (M,).
        difference: Whether the values are method − baseline.
    """

    classes: tuple[str, ...]
    counts: Floats
    rows: tuple[Row, ...]
    values: Floats
    groups: dict[str, Floats]
    difference: bool


def label_table(
    rows: Sequence[Row], quality: Mapping[str, Quality], counts: Mapping[str, float]
) -> LabelTable:
    """The rows of one block label by label; against the pinned baseline if it is among them.

    Args:
        rows: Methods of one block; those without any result in `quality` are left out.
        quality: Values of each label by id of a result.
        counts: Images per label, for their order and for head, middle and tail.
    """
    classes = sorted(counts, key=lambda name: (-counts[name], name))
    methods, values, difference = _compared(rows, quality, classes)
    image_counts = np.array([counts[name] for name in classes], dtype=np.float64)
    parts = [by_rarity(row, image_counts) for row in values]
    groups = {name: np.array([part[name] for part in parts]) for name in ("head", "middle", "tail")}
    return LabelTable(tuple(classes), image_counts, methods, values, groups, difference)


@dataclass(frozen=True)
class CountTable:
    """Methods × number of labels of the query, in percent or percentage points.

    Attributes:
        numbers: The N numbers of labels that occur among queries, ascending.
        rows: M methods.
        values: (M, N) mean over seeds; nan where no such image could query.
        difference: Whether the values are method − baseline.
    """

    numbers: tuple[int, ...]
    rows: tuple[Row, ...]
    values: Floats
    difference: bool


def count_table(rows: Sequence[Row], quality: Mapping[str, Mapping[int, float]]) -> CountTable:
    """The rows of one block by the number of labels of the query; against the pinned baseline as above.

    Args:
        rows: Methods of one block; those without any result in `quality` are left out.
        quality: By id of a result, a metric by number of labels, as a fraction.
    """
    numbers = sorted({number for metric_by_number in quality.values() for number in metric_by_number})
    methods, values, difference = _compared(rows, quality, numbers)
    return CountTable(tuple(numbers), methods, values, difference)


def _compared(
    rows: Sequence[Row], quality: Mapping[str, Mapping[Key, float | None]], keys: Sequence[Key]
) -> tuple[tuple[Row, ...], Floats, bool]:
    """Methods (M), their means over seeds (M, K), and whether these are differences from the baseline."""
    with_quality = [
        row for row in rows if not row.reference and any(result.id in quality for result in row.results)
    ]
    base = next((row for row in with_quality if row.baseline), None)
    methods = tuple(row for row in with_quality if row is not base) if base else tuple(with_quality)
    values = np.full((len(methods), len(keys)), np.nan)
    for i, row in enumerate(methods):
        mine = _by_seed(row, quality, keys)
        if base is not None:
            theirs = _by_seed(base, quality, keys)
            same = {ours.config.seed for ours, other in common(base, row) if one_split(ours, other)}
            mine = {seed: mine[seed] - theirs[seed] for seed in mine.keys() & theirs.keys() & same}
        if mine:
            values[i] = _mean(np.stack([mine[seed] for seed in sorted(mine)]))
    return methods, values, base is not None


def _by_seed(
    row: Row, quality: Mapping[str, Mapping[Key, float | None]], keys: Sequence[Key]
) -> dict[int, Floats]:
    """By seed, percent per label or per number of labels (K,)."""
    by_seed = {}
    for result in row.results:
        if result.id in quality:
            row_values = [quality[result.id].get(key) for key in keys]
            by_seed[result.config.seed] = np.array([np.nan if v is None else 100 * v for v in row_values])
    return by_seed


def _mean(values: Floats) -> Floats:
    """Mean over the seeds, nan left out, (S, K) -> (K,); nan where nothing else is there."""
    counted = ~np.isnan(values)
    total = np.where(counted, values, 0.0).sum(0)
    return np.asarray(np.where(counted.any(0), total / np.maximum(counted.sum(0), 1), np.nan))
