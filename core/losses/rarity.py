"""How often labels occur together in the training split: MACL's f and h, as whole counts. numpy only."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.labels import cooccurrence, counts, distinct, identical, support

Ints = NDArray[np.int64]

_TABLE_SETS = (
    2048  # a table of 2048² counts has 17 MB; splits with more label sets are counted batch by batch
)


class Counts(NamedTuple):
    """Counts of the distinct label sets of a training split.

    Attributes:
        sets: (S, L) the label sets.
        shared: (S, S) count of each pair of sets, see `pair_counts`.
        anchor: (S,) count of each set, see `anchor_counts`.
    """

    sets: NDArray[np.uint8]
    shared: Ints
    anchor: Ints


def split_counts(labels: NDArray[np.uint8], cooccurrence: str, rarity: str) -> Counts:
    """Counts of all distinct label sets of a split (N, L); of only one if they are too many for a table."""
    return _cached_counts(labels.tobytes(), labels.shape, cooccurrence, rarity)


@lru_cache(maxsize=16)
def _cached_counts(data: bytes, shape: tuple[int, int], cooccurrence: str, rarity: str) -> Counts:
    labels = np.frombuffer(data, np.uint8).reshape(shape)
    sets, _ = distinct(labels)
    if len(sets) > _TABLE_SETS:
        sets = sets[:1]
    return Counts(sets, pair_counts(labels, sets, cooccurrence), anchor_counts(labels, sets, rarity))


def pair_counts(labels: NDArray[np.uint8], sets: NDArray[np.uint8], how: str) -> Ints:
    """Numerator of f for every pair of label sets: (N, L), (S, L) -> (S, S).

    "support": training images that hold all shared labels. "sum" and "mean": sum of the shared labels' counts
    (the mean divides it by their number). "min": smallest of them. "matrix": sum of the co-occurrence over
    y_i × y_p (the mean divides it by |y_i|·|y_p|).
    """
    y = sets.astype(np.float64)  # sums stay exact up to 2^53
    if how == "support":
        return _pair_support(labels, sets)
    if how == "matrix":
        return np.rint(y @ cooccurrence(labels).astype(np.float64) @ y.T).astype(np.int64)  # (S, S)
    count = counts(labels)  # (L,)
    if how in ("sum", "mean"):
        return np.rint((y * count) @ y.T).astype(np.int64)  # (S, S)
    if how == "min":
        f = np.zeros((len(sets), len(sets)), np.int64)
        for label in np.argsort(-count, kind="stable"):  # the rarest label writes last
            holds = np.flatnonzero(sets[:, label])
            f[np.ix_(holds, holds)] = count[label]
        return f
    raise ValueError(f"cooccurrence: need support, mean, min, sum or matrix, got {how!r}")


def anchor_counts(labels: NDArray[np.uint8], sets: NDArray[np.uint8], how: str) -> Ints:
    """Numerator of h for every label set: (N, L), (S, L) -> (S,); "mean" divides the sum by |y_i|."""
    if how == "support":
        return support(labels, sets)
    count = counts(labels)  # (L,)
    if how in ("sum", "mean"):
        return np.asarray(sets.astype(np.int64) @ count)
    if how == "min":
        smallest = np.where(sets.astype(bool), count, len(labels)).min(axis=1)  # (S,)
        return np.asarray(np.where(sets.any(axis=1), smallest, 0), dtype=np.int64)
    raise ValueError(f"rarity: need mean, min, sum or support, got {how!r}")


def _pair_support(labels: NDArray[np.uint8], sets: NDArray[np.uint8]) -> Ints:
    row, column = np.triu_indices(len(sets))  # (M,)
    packed = np.packbits(sets, axis=1)  # (S, bytes)
    # pairs share few distinct intersections: count each of those once
    _, first, which = np.unique(
        identical(packed[row] & packed[column]), return_index=True, return_inverse=True
    )
    intersections = sets[row[first]] & sets[column[first]]
    f = np.zeros((len(sets), len(sets)), np.int64)
    f[row, column] = f[column, row] = support(labels, intersections)[which]
    return f
