"""PCA, and aligning one picture with another. numpy only."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def pca(z: ArrayLike, dims: int) -> Floats:
    """Places (N, dims) of embeddings z (N, D) along their principal axes, centred.

    The largest loading of an axis is positive, so that the same embeddings give the same picture. Axes beyond
    the dimensions of the embeddings are zero.
    """
    rows = np.asarray(z, dtype=np.float64)
    if rows.ndim != 2 or dims < 1:
        raise ValueError(f"need z (N, D) and dims ≥ 1, got {rows.shape} and {dims}")
    if len(rows) == 0:
        return np.zeros((0, dims))
    rows = rows - rows.mean(0)
    axes = np.linalg.eigh(rows.T @ rows)[1]  # (D, D), from the least to the most spread
    axes = axes[:, ::-1][:, :dims]
    largest = np.abs(axes).argmax(0)
    axes = axes * np.where(axes[largest, np.arange(axes.shape[1])] < 0, -1.0, 1.0)
    places = np.zeros((len(rows), dims))
    places[:, : axes.shape[1]] = rows @ axes
    return places


def align(x: ArrayLike, onto: ArrayLike | None = None, origin: ArrayLike | None = None) -> Floats:
    """A picture x (N, d), centred, of unit size, turned and mirrored onto another one (Procrustes).

    Distances change only by a common factor, neighbours not at all.

    Args:
        x: Places of N images.
        onto: Places (M, d) of the other picture, centred and of unit size; None: no turning.
        origin: (N,) row of each image in `onto`, −1 if it is not there; None: the same rows.

    Returns:
        Places (N, d) whose root mean square distance from 0 is 1.
    """
    x = np.asarray(x, dtype=np.float64)
    if onto is None:
        return _unit(x, x)
    onto = np.asarray(onto, dtype=np.float64)
    rows = np.arange(len(x)) if origin is None else np.asarray(origin)
    if len(rows) != len(x) or (origin is None and len(onto) != len(x)):
        raise ValueError(f"need a row of origin for each of x, got {len(rows)} and {len(x)}")
    shared = rows >= 0
    if shared.sum() <= x.shape[1]:
        return _unit(x, x)
    mine, other = x[shared] - x[shared].mean(0), onto[rows[shared]]
    centre = other.mean(0)
    u, _, v = np.linalg.svd(mine.T @ (other - centre))  # (d, d)
    turned = (x - x[shared].mean(0)) @ u @ v
    size = np.sqrt(((other - centre) ** 2).sum(1).mean())  # where all images are shared: 1
    return _unit(turned, turned[shared], size if size > 0 else 1.0, centre)


def _unit(x: Floats, of: Floats, size: float = 1.0, centre: Floats | float = 0.0) -> Floats:
    """Scale and move x so that its part `of` has this root mean square size and this centre."""
    if len(of) == 0:
        return x
    middle = of.mean(0)
    rms = np.sqrt(((of - middle) ** 2).sum(1).mean())
    return np.asarray((x - middle) * (size / rms if rms > 0 else 1.0) + centre)


def carry(onto: ArrayLike, origin: ArrayLike, z: ArrayLike) -> Floats | None:
    """Places to start from: those of the same images in another picture (M, d).

    An image that is not in it starts at the most similar image that is. None if fewer than a tenth are.

    Args:
        onto: The other picture.
        origin: (N,) row of each image in it, −1 if it is not there.
        z: Embeddings (N, D) of the images, unit rows.
    """
    onto, origin, z = np.asarray(onto), np.asarray(origin), np.asarray(z, dtype=np.float64)
    shared, others = np.flatnonzero(origin >= 0), np.flatnonzero(origin < 0)
    if len(shared) < max(10, len(origin) / 10):
        return None
    places = np.zeros((len(origin), onto.shape[1]))
    places[shared] = onto[origin[shared]]
    for start in range(0, len(others), 1000):
        part = others[start : start + 1000]
        places[part] = places[shared[(z[part] @ z[shared].T).argmax(1)]]
    return places
