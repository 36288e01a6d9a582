"""How relevant every gallery image is to a query, computed over the few distinct label sets."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.labels import distinct
from core.metrics.ranking import BLOCK, Floats, Ints, Task

LEVELS = ("map_sim", "map_easy", "map_medium", "map_hard")  # level 1 … 4; each contains the next
THRESHOLDS = {"map_easy": (2, 5), "map_medium": (3, 5), "map_hard": (4, 5)}  # Jaccard index, as a fraction


def check_labels(y: object, rows: int | None = None) -> NDArray[np.uint8]:
    """The label matrix y (N, L) as uint8.

    Raises:
        ValueError: y is not a matrix, holds values other than 0 and 1, or does not have `rows` rows.
    """
    matrix = np.asarray(y)
    if matrix.ndim != 2 or matrix.dtype.kind not in "biuf" or 0 in matrix.shape:
        raise ValueError(f"need y (N, L) with N, L ≥ 1, got {matrix.dtype} of shape {matrix.shape}")
    if rows is not None and len(matrix) != rows:
        raise ValueError(f"need as many rows in y as in z, got {len(matrix)} and {rows}")
    if not ((matrix == 0) | (matrix == 1)).all():
        raise ValueError("need only 0 and 1 in y, got other values")
    return matrix.astype(np.uint8)


class Relevance:
    """Labels of a task's queries and gallery, and the relevance of a pair of label sets.

    All that the metrics need to know of a pair follows from its *code* |∪|(|∪|+1)/2 + |∩|. The arrays indexed
    by code hold it, (C,) with C = (L+1)(L+2)/2.

    Attributes:
        query_set: (Q,) the label set of each query, among the S distinct ones.
        gallery_set: (G,) the label set of each gallery image.
        counts: (S,) gallery images per set.
        overlap: |∩| by code.
        jaccard: J by code, 0 for two empty sets.
        level: How many of LEVELS a pair reaches, by code; compared as integers, so J = 0.6 is exactly Medium.
        shared_gain: 2^|∩| − 1 by code, eq. 12.
        jaccard_gain: 2^J − 1 by code, eqs. 16 and 17.
    """

    def __init__(self, y: NDArray[np.uint8], task: Task) -> None:
        sets, set_of = distinct(y)
        self._words = np.ascontiguousarray(_words(sets).T)  # (W, S)
        self._sizes = sets.sum(1, dtype=np.int64)  # (S,)
        self.query_set = set_of[task.queries]
        self.gallery_set = set_of[task.gallery]
        self.counts = np.bincount(self.gallery_set, minlength=len(sets))

        union, overlap = np.tril_indices(y.shape[1] + 1)  # (C,), (C,): all |∩| ≤ |∪|
        self._first_code = np.flatnonzero(overlap == 0)  # (L + 1,) by |∪|
        self.overlap = overlap.astype(np.float64)
        self.jaccard = overlap / np.maximum(union, 1)
        self.level = (overlap > 0).astype(np.uint8)
        for numerator, denominator in THRESHOLDS.values():
            self.level += (overlap > 0) & (denominator * overlap >= numerator * union)
        self.shared_gain = np.exp2(self.overlap) - 1.0
        self.jaccard_gain = np.exp2(self.jaccard) - 1.0

    def codes(self, query_sets: Ints) -> Ints:
        """Codes (b, S) of the given query sets (b,) with all distinct sets."""
        overlap = np.zeros((len(query_sets), len(self._sizes)), np.int64)  # (b, S)
        for word in self._words:
            overlap += np.bitwise_count(word[query_sets][:, None] & word)
        union = self._sizes[query_sets][:, None] + self._sizes - overlap
        codes: Ints = self._first_code.take(union) + overlap
        return codes


@dataclass(frozen=True)
class Galleries:
    """The galleries of the K kinds of queries; a kind is one label set, itself in the gallery or not.

    Attributes:
        kind: (Q,) the kind of each query.
        images: (K,) images in the gallery, without the query itself.
        positives: (K, 4) positives of each of LEVELS.
        best_shared: (K,) ideal DCG@k of the gain 2^|∩| − 1.
        best_jaccard: (K,) ideal DCG@k of the gain 2^J − 1.
        mean_shared: (K,) mean gain 2^|∩| − 1 of the gallery.
        mean_jaccard: (K,) mean gain 2^J − 1 of the gallery.
        positive_jaccard: (K,) mean J of the images that share a label, 0 without any.
    """

    kind: Ints
    images: Ints
    positives: Ints
    best_shared: Floats
    best_jaccard: Floats
    mean_shared: Floats
    mean_jaccard: Floats
    positive_jaccard: Floats


def galleries(relevance: Relevance, task: Task, k: int) -> Galleries:
    """Count what a query's gallery holds once per kind of query instead of once per query; DCG cut at k."""
    unique, kind = np.unique(2 * relevance.query_set + (task.self_column >= 0), return_inverse=True)
    query_sets, inside = unique // 2, unique % 2  # (K,), (K,)
    width = len(relevance.level)  # C
    reached = relevance.level >= np.arange(1, len(LEVELS) + 1)[:, None]  # (4, C)
    values = [*reached, relevance.shared_gain, relevance.jaccard_gain, relevance.jaccard]
    per_code = np.stack(values, axis=1).astype(np.float64)  # (C, 7)
    sums, best = np.zeros((len(unique), len(values))), np.zeros((2, len(unique)))
    rows = max(1, BLOCK // max(width, len(relevance.counts)))
    for start in range(0, len(unique), rows):
        part = slice(start, start + rows)
        codes = relevance.codes(query_sets[part])  # (b, S)
        row = np.arange(len(codes))
        flat = (codes + row[:, None] * width).ravel()
        weights = np.broadcast_to(relevance.counts.astype(np.float64), codes.shape).ravel()
        images: NDArray[Any] = np.bincount(flat, weights, len(codes) * width).reshape(-1, width)  # (b, C)
        images[row, codes[row, query_sets[part]]] -= inside[part]
        sums[part] = images @ per_code
        best[0, part] = ideal_dcg(relevance.shared_gain, images, k)
        best[1, part] = ideal_dcg(relevance.jaccard_gain, images, k)
    positives, (shared, jaccard_gain, jaccard) = sums[:, :4].astype(np.int64), sums[:, 4:].T
    total = len(task.gallery) - inside
    return Galleries(
        kind,
        images=total,
        positives=positives,
        best_shared=best[0],
        best_jaccard=best[1],
        mean_shared=shared / np.maximum(total, 1),
        mean_jaccard=jaccard_gain / np.maximum(total, 1),
        positive_jaccard=jaccard / np.maximum(positives[:, 0], 1),
    )


def _words(sets: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Label sets (S, L) as the bits of W = ⌈L/64⌉ integers (S, W)."""
    packed = np.packbits(sets, axis=1)  # (S, ⌈L/8⌉)
    padded = np.zeros((len(sets), -(-packed.shape[1] // 8) * 8), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.uint64)


def discounts(k: int) -> Floats:
    """1/log2(1 + i) for ranks i = 1 … k."""
    return np.asarray(1.0 / np.log2(np.arange(2.0, k + 2.0)))


def ideal_dcg(gain: Floats, images: NDArray[Any], k: int) -> Floats:
    """Largest possible DCG@k of each gallery (b,), from gain (C,) and number of images (b, C) by code."""
    covered = np.concatenate([[0.0], np.cumsum(discounts(k))])  # (k + 1,) sum of the first n discounts
    best = np.argsort(-gain)
    ends = np.minimum(np.cumsum(images[:, best], axis=1), k).astype(np.int64)  # (b, C) last rank of each code
    drop = -np.diff(gain[best], append=0.0)  # (C,): a gain is the sum of the drops from it on
    return np.asarray(covered.take(ends) @ drop)
