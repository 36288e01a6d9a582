"""Which images form a batch, and in which order its rows are shown."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.labels import counts, jaccard
from core.retrieval.search import rank

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]


def draw(y: Labels, size: int, seed: int, labels: list[int] | None = None) -> Ints:
    """Rows of a random batch, at most `size`, in random order.

    Args:
        y: (N, L) labels to draw from.
        size: Images in the batch.
        seed: Seed of the draw.
        labels: Only images with at least one of these labels; None or empty: all.
    """
    among = np.flatnonzero(y[:, labels].any(axis=1)) if labels else np.arange(len(y))
    return np.random.default_rng(seed).permutation(among)[:size]


def nearest(z: NDArray[np.float32], row: int, size: int) -> Ints:
    """An image and those most similar to it, at most `size` in all, the nearest first; z (N, D)."""
    if size < 2 or len(z) < 2:
        return np.array([row])
    others, _ = rank(z[row], z, min(size, len(z)) - 1, exclude=row)
    return np.concatenate([[row], others])


def order(
    how: Literal["label", "rarity", "cluster"], y: Labels, labels: Labels, s: Floats | None = None
) -> Ints:
    """Order of a batch's rows in a map; (B,).

    Args:
        how: "label": blocks of images with the same rarest label, rare blocks first; "rarity": by the mean
            training count of the labels, rare first; "cluster": similar images side by side.
        y: (B, L) labels.
        labels: (N, L) training labels, for the counts.
        s: (B, B) similarities for "cluster"; without them the overlap of the label sets.
    """
    count = counts(labels).astype(np.float64)  # (L,)
    if how == "cluster":
        return _bisect(np.clip(jaccard(y, y) if s is None else (1 + s) / 2, 0, None))
    rarity = (y @ count) / np.maximum(y.sum(1), 1)  # (B,)
    if how == "rarity":
        return np.argsort(rarity, kind="stable")
    by_count = np.argsort(count, kind="stable")  # (L,), rare first
    columns = y[:, by_count].astype(np.int64)  # sets sort like numbers whose first digit is the rarest label
    return np.lexsort((*(1 - columns.T[::-1]),))


def pictured(y: Labels, labels: Labels) -> Ints:
    """Rarest label of each image, its block when sorted by label; (B,), −1 without labels."""
    count = np.where(y.astype(bool), counts(labels), np.iinfo(np.int64).max)  # (B, L)
    return np.where(y.any(axis=1), count.argmin(axis=1), -1)


def _bisect(similarity: Floats) -> Ints:
    """Recursive spectral bisection: (B, B) similarities ≥ 0 -> an order in which neighbours are alike."""
    if len(similarity) < 3:
        return np.arange(len(similarity))
    root = 1 / np.sqrt(np.maximum(similarity.sum(1), 1e-12))
    _, vectors = np.linalg.eigh(similarity * root[:, None] * root)
    along = np.argsort(vectors[:, -2] * root, kind="stable")  # of the second largest eigenvalue
    cut = int(np.argmax(np.diff((vectors[:, -2] * root)[along]))) + 1
    cut = min(max(cut, 1), len(along) - 1)
    left, right = along[:cut], along[cut:]
    return np.concatenate(
        [left[_bisect(similarity[np.ix_(left, left)])], right[_bisect(similarity[np.ix_(right, right)])]]
    )
