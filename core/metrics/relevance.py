"""How relevant every gallery image is to a query, through the few distinct label sets there are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from core.labels import distinct
from core.metrics.ranking import BLOCK, Floats, Ints, Task

LEVELS = ("map_sim", "map_easy", "map_medium", "map_hard")  # level 1 … 4; each contains the next
THRESHOLDS = {"map_easy": (2, 5), "map_medium": (3, 5), "map_hard": (4, 5)}  # Jaccard index, as a fraction


def check_labels(y: object, rows: int | None = None) -> NDArray[np.uint8]:
    """The label matrix y (N, L) as uint8.

    Raises:
        ValueError: y is no matrix, holds something other than 0 and 1, or not `rows` rows.
    """
    given = np.asarray(y)
    if given.ndim != 2 or given.dtype.kind not in "biuf" or 0 in given.shape:
        raise ValueError(f"need y (N, L) with N, L ≥ 1, got {given.dtype} of shape {given.shape}")
    if rows is not None and len(given) != rows:
        raise ValueError(f"need as many rows in y as in z, got {len(given)} and {rows}")
    labels = given.astype(np.uint8)
    if labels.max() > 1 or (given.dtype.kind not in "bu" and not np.array_equal(labels, given)):
        raise ValueError("need only 0 and 1 in y, got other values")
    return labels


@dataclass(frozen=True)
class Table:
    """Relevance of every gallery set to some query sets.

    Attributes:
        overlap: |∩| (b, S).
        union: |∪| (b, S).
    """

    overlap: Floats
    union: Floats

    @cached_property
    def jaccard(self) -> Floats:
        """J (b, S), 0 for two empty sets."""
        return self.overlap / np.maximum(self.union, 1.0)

    @cached_property
    def level(self) -> NDArray[np.uint8]:
        """How many of LEVELS each pair reaches (b, S); whole numbers are compared, so J = 0.6 is Medium."""
        level = (self.overlap > 0).astype(np.uint8)
        for numerator, denominator in THRESHOLDS.values():
            level += (level > 0) & (denominator * self.overlap >= numerator * self.union)
        return level

    @cached_property
    def shared_gain(self) -> Floats:
        """2^|∩| − 1 (b, S), eq. 12."""
        return np.ldexp(1.0, self.overlap.astype(np.int32)) - 1.0

    @cached_property
    def jaccard_gain(self) -> Floats:
        """2^J − 1 (b, S), eqs. 16 and 17."""
        return np.exp2(self.jaccard) - 1.0


class Relevance:
    """Labels of a task's queries and gallery.

    Attributes:
        query_set: (Q,) the label set of each query, among all distinct sets.
        gallery_set: (G,) the label set of each gallery image.
        counts: (S,) gallery images per set.
    """

    def __init__(self, y: NDArray[np.uint8], task: Task) -> None:
        sets, set_of = distinct(y)
        self._sets = sets.astype(np.float64)  # (S, L)
        self._sizes = self._sets.sum(1)  # (S,)
        self.query_set = set_of[task.queries]
        self.gallery_set = set_of[task.gallery]
        self.counts = np.bincount(self.gallery_set, minlength=len(sets))

    def table(self, query_sets: Ints) -> Table:
        """Relevance of all S sets to the given ones (b,)."""
        overlap = self._sets[query_sets] @ self._sets.T  # (b, S), whole numbers, so exact
        union = self._sizes[query_sets][:, None] + self._sizes - overlap
        return Table(overlap, union)


@dataclass(frozen=True)
class Galleries:
    """What the K kinds of queries face; a kind = one label set, in the gallery itself or not.

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
    """Count once per kind of query, instead of once per query, what its gallery holds; DCG cut at k."""
    unique, kind = np.unique(2 * relevance.query_set + (task.self_column >= 0), return_inverse=True)
    query_sets, inside = unique // 2, unique % 2  # (K,), (K,)
    images = len(task.gallery) - inside
    positives = np.zeros((len(unique), len(LEVELS)), dtype=np.int64)
    sums = np.zeros((5, len(unique)))
    rows = max(1, BLOCK // len(relevance.counts))
    for start in range(0, len(unique), rows):
        part = slice(start, start + rows)
        table = relevance.table(query_sets[part])
        counts = np.repeat(relevance.counts[None, :], len(query_sets[part]), axis=0)  # (b, S)
        counts[np.arange(len(counts)), query_sets[part]] -= inside[part]
        positives[part] = np.stack([((table.level >= i) * counts).sum(1) for i in range(1, 5)], axis=1)
        sums[0, part] = ideal_dcg(table.shared_gain, counts, k)
        sums[1, part] = ideal_dcg(table.jaccard_gain, counts, k)
        sums[2, part] = (table.shared_gain * counts).sum(1)
        sums[3, part] = (table.jaccard_gain * counts).sum(1)
        sums[4, part] = (table.jaccard * counts).sum(1)
    sums[2:4] /= np.maximum(images, 1)
    sums[4] /= np.maximum(positives[:, 0], 1)
    return Galleries(kind, images, positives, *sums)


def discounts(k: int) -> Floats:
    """1/log2(1 + i) for ranks i = 1 … k."""
    return np.asarray(1.0 / np.log2(np.arange(2.0, k + 2.0)))


def ideal_dcg(gain: Floats, counts: Ints, k: int) -> Floats:
    """Largest possible DCG@k of each row (b,), from gain and number of images per set (b, S).

    Images of equal gain are neighbours in the best order: a set adds its gain times the discounts it covers.
    """
    covered = np.concatenate([[0.0], np.cumsum(discounts(k))])  # (k + 1,) sum of the first n discounts
    best = np.argsort(-gain, axis=1)
    ends = np.minimum(np.cumsum(np.take_along_axis(counts, best, 1), axis=1), k)  # (b, S)
    share = np.diff(covered[ends], axis=1, prepend=0.0)
    return np.asarray((np.take_along_axis(gain, best, 1) * share).sum(1))
