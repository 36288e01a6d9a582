"""Retrieval quality label by label, by rarity, and by the number of labels of the query."""

import numpy as np
from numpy.typing import NDArray

from core.metrics.ranking import Floats, Ints, cosine_scores, each_block, make_task, order, unit_rows
from core.metrics.relevance import check_labels
from core.metrics.scores import METRICS, as_array, means, per_query

GROUPS = ("head", "middle", "tail")


def per_label(z: object, y: object, queries: object | None = None, gallery: object | None = None) -> Floats:
    """Mean average precision of each label (L,), a fraction of 1.

    The images with the label query; the gallery images with the label are the positives, over the full list.
    nan for a label without a query that has a positive.

    Args:
        z: Embeddings (N, D), as in `core.metrics.evaluate`.
        y: Labels (N, L), 0 or 1.
        queries: Indices of the images that query; all by default.
        gallery: Indices of the images searched; all by default, the query itself always left out.

    Raises:
        ValueError: As `core.metrics.evaluate`.
    """
    unit = unit_rows(as_array(z))
    labels = check_labels(as_array(y), rows=len(unit))
    task = make_task(len(unit), "paper", queries, gallery)
    scores = cosine_scores(unit, task)
    gallery_has, query_has = labels[task.gallery] > 0, labels[task.queries] > 0  # (G, L), (Q, L)
    # (Q, L), meaningful where the query has the label
    positives = gallery_has.sum(0) - (query_has & (task.self_column >= 0)[:, None])
    counted = query_has & (positives > 0)
    if len(task.gallery) == 0:
        return np.full(labels.shape[1], np.nan)
    packed = np.packbits(gallery_has, axis=1, bitorder="little")  # (G, ⌈L/8⌉): one look-up for eight labels
    sums: dict[int, Floats] = {}

    def work(block: slice, values: Floats) -> None:
        own = task.self_column[block]
        ranks = order(values, own)  # (b, G)
        precision_of = np.zeros(labels.shape[1])
        for byte in range(packed.shape[1]):
            ranked = packed[:, byte][ranks]  # (b, G)
            ranked[own >= 0, -1] = 0
            for label in range(8 * byte, min(8 * byte + 8, labels.shape[1])):
                rows = np.flatnonzero(counted[block, label])
                if rows.size:
                    precision_of[label] = _precision(ranked[rows] & np.uint8(1 << label % 8)).sum()
        sums[block.start] = precision_of

    each_block(task, scores, work)
    # summed in order: the same on any number of threads
    total = np.sum([sums[start] for start in sorted(sums)], axis=0)
    queries_of = counted.sum(0)
    return np.where(queries_of > 0, total / np.maximum(queries_of, 1), np.nan)


def _precision(hits: NDArray[np.uint8]) -> Floats:
    """`average_precision` of each row (b,) from the ranks of its hits alone; hits (b, G), ≠ 0 in each row."""
    row, column = np.nonzero(hits)
    count = np.bincount(row, minlength=len(hits))
    nth = np.arange(1, len(row) + 1) - np.repeat(np.cumsum(count) - count, count)
    return np.bincount(row, nth / (column + 1), minlength=len(hits)) / count


def rarity_groups(counts: object) -> dict[str, Ints]:
    """Labels (indices), from frequent to rare, in three parts of equal size: head, middle, tail.

    Args:
        counts: (L,) images per label. Equal counts stay in label order; a remainder goes to the front.
    """
    rare_last = np.argsort(-np.asarray(counts, dtype=np.float64), kind="stable")
    return dict(zip(GROUPS, np.array_split(rare_last, len(GROUPS)), strict=True))


def by_rarity(values: object, counts: object) -> dict[str, float]:
    """Mean of `per_label` values (L,) over head, middle and tail of the counts (L,), nan left out."""
    row = np.asarray(values, dtype=np.float64)
    return means({group: row[labels] for group, labels in rarity_groups(counts).items()})


def by_label_count(
    z: object,
    y: object,
    protocol: str = "paper",
    queries: object | None = None,
    gallery: object | None = None,
) -> dict[int, dict[str, float]]:
    """The 7 metrics of the queries with 1, 2, … labels; only numbers that occur, in ascending order.

    Arguments and errors as in `core.metrics.evaluate`.
    """
    values = per_query(z, y, protocol, queries, gallery)
    labels = check_labels(as_array(y))
    count = labels[make_task(len(labels), protocol, queries, gallery).queries].sum(1)  # (Q,)
    return {
        int(n): means({key: values[key][count == n] for key in METRICS}) for n in np.unique(count) if n > 0
    }
