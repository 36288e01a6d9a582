"""Retrieval quality label by label: of every method, or against the baseline; head, middle and tail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.metrics import by_rarity
from core.metrics.ranking import Floats
from core.report.rows import Row

Quality = Mapping[str, float | None]  # label to its mean average precision, a fraction; None without a query


@dataclass(frozen=True)
class LabelTable:
    """Methods × labels, in percent or percentage points.

    Attributes:
        classes: L labels, most frequent first.
        counts: (L,) images that hold each.
        rows: M methods.
        values: (M, L) mean over seeds; nan where no image could query.
        groups: Head, middle, tail: mean over a third of the labels each, (M,).
        difference: The values are method − baseline.
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
        rows: Methods of one block; those of whose results none is in `quality` are left out.
        quality: Id of a result to its labels.
        counts: Images per label, for their order and for head, middle and tail.
    """
    classes = sorted(counts, key=lambda name: (-counts[name], name))
    known = [row for row in rows if not row.reference and any(result.id in quality for result in row.results)]
    base = next((row for row in known if row.baseline), None)
    shown = tuple(row for row in known if row is not base) if base else tuple(known)
    values = np.full((len(shown), len(classes)), np.nan)
    for i, row in enumerate(shown):
        mine = _by_seed(row, quality, classes)
        if base is not None:
            theirs = _by_seed(base, quality, classes)
            mine = {seed: mine[seed] - theirs[seed] for seed in mine.keys() & theirs.keys()}
        if mine:
            values[i] = _mean(np.stack([mine[seed] for seed in sorted(mine)]))
    held = np.array([counts[name] for name in classes], dtype=np.float64)
    parts = [by_rarity(row, held) for row in values]
    groups = {name: np.array([part[name] for part in parts]) for name in ("head", "middle", "tail")}
    return LabelTable(tuple(classes), held, shown, values, groups, base is not None)


def _by_seed(row: Row, quality: Mapping[str, Quality], classes: Sequence[str]) -> dict[int, Floats]:
    """Seed to percent per label (L,)."""
    found = {}
    for result in row.results:
        if result.id in quality:
            mine = [quality[result.id].get(name) for name in classes]
            found[result.config.seed] = np.array([np.nan if v is None else 100 * v for v in mine])
    return found


def _mean(values: Floats) -> Floats:
    """Mean over the seeds (S, L) -> (L,), without nan; nan where there is nothing else."""
    kept = ~np.isnan(values)
    total = np.where(kept, values, 0.0).sum(0)
    return np.asarray(np.where(kept.any(0), total / np.maximum(kept.sum(0), 1), np.nan))
