"""Numbers that a picture of an embedding space does not show, and one about the picture itself. numpy only.

References:
    Trustworthiness: Venna and Kaski, Neighborhood preservation in nonlinear projection methods, ICANN 2001.
    Alignment, uniformity: Wang and Isola, Understanding contrastive representation learning through alignment
        and uniformity on the hypersphere, ICML 2020.
    Effective rank: Roy and Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007.
    Hubness: Radovanović, Nanopoulos and Ivanović, Hubs in space, JMLR 2010.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.labels import jaccard

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEIGHBOURS = 10  # of an image, for trustworthiness and hubness
SAMPLE = 1000  # images used by `measure` at most: half a second
_BLOCK = 1 << 22  # distances in memory at once, 32 MiB


@dataclass(frozen=True)
class Numbers:
    """Measures of one embedding space; nan where there are too few images.

    Attributes:
        alignment: Mean squared distance of similar images, 0 … 4; lower: similar images lie closer.
        uniformity: Log of the mean Gaussian potential of all pairs, ≤ 0; lower: spread out more evenly.
        effective_rank: Dimensions in use, 1 … D.
        hubness: Skewness of how often an image is among the nearest of others; near 0: no hubs.
        images: Number of images they were computed on.
    """

    alignment: float
    uniformity: float
    effective_rank: float
    hubness: float
    images: int


def measure(z: ArrayLike, y: ArrayLike, seed: int = 0) -> Numbers:
    """All numbers of embeddings z (N, D), unit rows, with labels y (N, L).

    Beyond `SAMPLE` images, on a random sample of them.
    """
    z, y = np.asarray(z, dtype=np.float64), np.asarray(y)
    if len(z) > SAMPLE:
        rows = np.sort(np.random.default_rng(seed).choice(len(z), SAMPLE, replace=False))
        z, y = z[rows], y[rows]
    return Numbers(alignment(z, y), uniformity(z), effective_rank(z), hubness(z), len(z))


def alignment(z: ArrayLike, y: ArrayLike) -> float:
    """Σ J ‖z_i − z_j‖² / Σ J over all pairs, J the Jaccard index of their labels; nan without shared labels.

    Wang and Isola's alignment loss with α = 2. Their positive pairs are views of one image; here the weight
    of a pair is the agreement of its label sets: with single labels, the mean over pairs of the same class.
    """
    z, y = _rows(z), np.asarray(y)
    if len(y) != len(z):
        raise ValueError(f"need a row of y for each of z, got {len(y)} and {len(z)}")
    weighted = total = 0.0
    for part in _blocks(len(z)):
        weight = jaccard(y[part], y)  # (b, N)
        weight[np.arange(len(weight)), np.arange(part.start, part.stop)] = 0.0
        weighted += float((weight * _squares(z[part], z)).sum())
        total += float(weight.sum())
    return weighted / total if total > 0 else float("nan")


def uniformity(z: ArrayLike, t: float = 2.0) -> float:
    """Log of the mean of exp(−t ‖z_i − z_j‖²) over all pairs; nan for fewer than two rows."""
    z = _rows(z)
    if len(z) < 2:
        return float("nan")
    total = 0.0
    for part in _blocks(len(z)):
        total += float(np.exp(-t * _squares(z[part], z)).sum())
    mean = (total - len(z)) / (len(z) * (len(z) - 1))  # without the pairs of an image with itself
    return float(np.log(max(mean, np.finfo(float).tiny)))


def effective_rank(z: ArrayLike) -> float:
    """Exponential of the entropy of the singular values of z (N, D), scaled to sum to 1; nan for zeros."""
    z = _rows(z)
    s = np.linalg.svd(z if len(z) < z.shape[1] else np.linalg.qr(z, mode="r"), compute_uv=False)
    if not len(s) or s.sum() == 0:
        return float("nan")
    p = s[s > s[0] * 1e-12] / s.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def hubness(z: ArrayLike, k: int = NEIGHBOURS) -> float:
    """Skewness of the k-occurrence: how often each image is among the k nearest of the others.

    nan for k + 1 images or fewer; 0 where all images occur equally often.
    """
    z = _rows(z)
    if len(z) < k + 2:
        return float("nan")
    times = np.bincount(nearest(z, k).ravel(), minlength=len(z)).astype(np.float64)
    away = times - times.mean()
    spread = float(np.sqrt((away**2).mean()))
    return float((away**3).mean() / spread**3) if spread > 0 else 0.0


def trustworthiness(
    z: ArrayLike, x: ArrayLike, k: int = NEIGHBOURS, sample: int | None = None, seed: int = 0
) -> float:
    """How true neighbours in a picture are to the space, 0 … 1; false ones cost by their rank there.

    T = 1 − 2 / (n k (2N − 3k − 1)) Σ_i Σ_{j ∈ U_i} (r(i, j) − k): U_i holds those among the k nearest of i in
    the picture that are not among its k nearest in the space, r is their rank there.

    Args:
        z: Embeddings (N, D).
        x: Their places in the picture (N, 2) or (N, 3).
        k: Number of neighbours; fewer if there are fewer than 2k + 1 images.
        sample: Most images i to sum over, drawn at random; None: as many as take half a second.
        seed: Seed of the sample.

    Returns:
        T; nan for fewer than 3 images.
    """
    z, x = _rows(z), _rows(x)
    if len(z) != len(x):
        raise ValueError(f"need as many places as embeddings, got {len(x)} and {len(z)}")
    n = len(z)
    k = min(k, (n - 1) // 2)
    if k < 1:
        return float("nan")
    rows_of, sample = np.arange(n), sample or max(100, min(SAMPLE, 10_000_000 // n))
    if n > sample:
        rows_of = np.sort(np.random.default_rng(seed).choice(n, sample, replace=False))
    excess = 0.0
    for part in _blocks(len(rows_of), n):
        rows = rows_of[part]
        neighbours = _nearest(_squares(x[rows], x), rows, k)  # (b, k)
        distance = _squares(z[rows], z)  # (b, N)
        distance[np.arange(len(rows)), rows] = -np.inf  # rank 0: an image is its own first neighbour
        to_neighbour = np.take_along_axis(distance, neighbours, axis=1)  # (b, k)
        for column in range(k):
            rank = (distance < to_neighbour[:, column : column + 1]).sum(axis=1)  # (b,)
            excess += float(np.maximum(rank - k, 0).sum())
    return 1.0 - 2.0 * excess / (len(rows_of) * k * (2 * n - 3 * k - 1))


def nearest(z: ArrayLike, k: int) -> Ints:
    """The k nearest other rows of each row, (N, D) -> (N, k), nearest first."""
    z = _rows(z)
    if not 1 <= k < len(z):
        raise ValueError(f"need 1 ≤ k < {len(z)} rows, got {k}")
    parts = [_nearest(_squares(z[part], z), np.arange(part.start, part.stop), k) for part in _blocks(len(z))]
    return np.concatenate(parts)


def _nearest(squares: Floats, rows: Ints, k: int) -> Ints:
    """The columns of the k smallest entries of each line, except its own column, given by `rows`."""
    squares[np.arange(len(rows)), rows] = np.inf
    columns = np.sort(np.argpartition(squares, k - 1, axis=1)[:, :k], axis=1)  # (b, k)
    order = np.argsort(np.take_along_axis(squares, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _squares(a: Floats, b: Floats) -> Floats:
    """Squared distances (A, D), (B, D) -> (A, B)."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T)
    return np.asarray(np.maximum(squares, 0.0, out=squares))


def _blocks(rows: int, columns: int = 0) -> list[slice]:
    step = max(1, _BLOCK // max(1, columns or rows))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _rows(z: ArrayLike) -> Floats:
    rows = np.asarray(z, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"need a matrix of rows, got shape {rows.shape}")
    return rows
