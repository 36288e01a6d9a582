"""Counts, co-occurrence, overlap and distinct sets of labels; (rows, L) in {0, 1}."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]

_BLOCK = 1 << 24  # entries of a temporary matrix, 64 MiB of float32


def counts(y: ArrayLike) -> Ints:
    """Images that hold each label: (N, L) -> (L,)."""
    return np.asarray(np.asarray(y).astype(bool).sum(axis=0), dtype=np.int64)


def overlap(a: ArrayLike, b: ArrayLike) -> NDArray[np.int32]:
    """Labels that a query and an image share, |y_q ∩ y_i|: (Q, L), (N, L) -> (Q, N)."""
    return (_float(a) @ _float(b).T).astype(np.int32)  # (Q, N); exact in float32 below 2^24 labels


def jaccard(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """J = |y_q ∩ y_i| / |y_q ∪ y_i|: (Q, L), (N, L) -> (Q, N); 0 for two images without labels."""
    a, b = np.asarray(a).astype(bool), np.asarray(b).astype(bool)
    shared = overlap(a, b)
    union = a.sum(axis=1, dtype=np.int32)[:, None] + b.sum(axis=1, dtype=np.int32) - shared  # (Q, N)
    return np.asarray(shared / np.maximum(union, 1), dtype=np.float64)


def cooccurrence(y: ArrayLike) -> Ints:
    """Images that hold both labels: (N, L) -> (L, L), label counts on the diagonal."""
    y = np.asarray(y).astype(np.float64)
    return np.asarray(np.rint(y.T @ y), dtype=np.int64)


def conditional(y: ArrayLike) -> NDArray[np.float64]:
    """P(row | column), the share of the images with one label that hold another: (N, L) -> (L, L).

    nan in the column of a label that no image holds.
    """
    together = cooccurrence(y).astype(np.float64)
    images = together.diagonal()
    return np.asarray(np.divide(together, images, out=np.full_like(together, np.nan), where=images > 0))


def lift(y: ArrayLike) -> NDArray[np.float64]:
    """How much more often two labels meet than by chance, N n_ij / (n_i n_j): (N, L) -> (L, L).

    1: as often as if they were independent, 0: never; nan for a label that no image holds.
    """
    share = np.asarray(y).astype(bool).mean(axis=0)[:, None]  # (L, 1)
    unknown = np.full((len(share), len(share)), np.nan)
    return np.asarray(np.divide(conditional(y), share, out=unknown, where=share > 0))


def clustered(y: ArrayLike) -> Ints:
    """An order of the labels that puts side by side those that appear together: (N, L) -> (L,).

    Average linkage of the Jaccard distance of the sets of images that hold two labels, leaves ordered so that
    neighbours are close (Bar-Joseph et al., 2001).
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    columns = np.asarray(y).astype(bool).T  # (L, N)
    if len(columns) < 3:
        return np.arange(len(columns))
    distance = 1 - jaccard(columns, columns)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average", optimal_ordering=True)
    return np.asarray(leaves_list(tree), dtype=np.int64)


def combinations(y: ArrayLike) -> tuple[NDArray[np.uint8], Ints]:
    """Distinct label sets (S, L) from the most to the least frequent, and the images that hold each, (S,)."""
    sets, inverse = distinct(y)
    images = np.bincount(inverse, minlength=len(sets)).astype(np.int64)
    order = np.argsort(-images, kind="stable")
    return sets[order], images[order]


def distinct(y: ArrayLike) -> tuple[NDArray[np.uint8], Ints]:
    """Distinct label sets (S, L), and for each of the N images the index of its set, (N,)."""
    y = np.ascontiguousarray(np.asarray(y).astype(bool))
    index = identical(np.packbits(y, axis=1))
    _, first, inverse = np.unique(index, return_index=True, return_inverse=True)
    return y[first].astype(np.uint8), inverse.astype(np.int64)


def support(y: ArrayLike, sets: ArrayLike) -> Ints:
    """Images that hold all labels of a set: (N, L), (Q, L) -> (Q,); every image holds the empty set."""
    patterns, inverse = distinct(y)
    images = np.bincount(inverse, minlength=len(patterns))  # (S,)
    sets, patterns_t = _float(sets), _float(patterns).T  # (Q, L), (L, S)
    size = sets.sum(axis=1, keepdims=True)  # (Q, 1)
    rows = max(1, _BLOCK // max(1, patterns_t.shape[1]))
    parts = [
        (sets[i : i + rows] @ patterns_t == size[i : i + rows]) @ images for i in range(0, len(sets), rows)
    ]  # each (rows,)
    return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)


def identical(rows: NDArray[np.uint8]) -> Ints:
    """Give equal rows of bytes equal numbers, counted from 0 in sorted order: (M, K) -> (M,)."""
    padded = np.zeros((len(rows), -(-rows.shape[1] // 8) * 8), np.uint8)
    padded[:, : rows.shape[1]] = rows
    words = padded.view(">u8").astype(
        np.uint64
    )  # (M, W): sorting integers is much faster than sorting byte strings
    number = np.zeros(len(rows), np.int64)
    for word in words.T:
        values, position = np.unique(word, return_inverse=True)
        number = np.unique(number * len(values) + position, return_inverse=True)[1]
    return number


def _float(y: ArrayLike) -> NDArray[np.float32]:
    return np.asarray(y).astype(bool).astype(np.float32)  # floats, because integer products bypass BLAS


def overlap_ranks(most: int) -> NDArray[np.int32]:
    """Rank of every Jaccard index that two sets of at most so many labels can have; equal ones share a rank.

    Args:
        most: Number m of labels of the largest set.

    Returns:
        (m+1, 2m+1): [|y ∩ y'|, |y ∪ y'|] -> rank from 0, that of sets that share nothing.
    """
    shared, union = np.mgrid[: most + 1, : 2 * most + 1]
    # exact: quotients of whole numbers below 2^26 are equal in float64 only if the fractions are
    index = np.minimum(shared / np.maximum(union, 1), 1)
    return np.unique(index, return_inverse=True)[1].reshape(index.shape).astype(np.int32)
