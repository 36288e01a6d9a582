"""Nearest images by cosine similarity: exact search, numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.labels import distinct, jaccard
from core.metrics.scores import MAP_CUT, METRICS, average_precision, per_query

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BLOCK = 1 << 24  # cosines in memory at once, 64 MiB
BY_RANK = 50  # ranks of precision and Jaccard by rank
FEW = 3  # at most this many images share a rare combination
RARITIES = {
    "label": "with one of the rarest quarter of the labels",
    "few": f"whose combination of labels at most {FEW} images have",
    "single": "whose combination of labels no other image has",
}


@dataclass(frozen=True)
class Neighbour:
    """One retrieved image.

    Attributes:
        row: Its row in the gallery.
        cosine: Similarity with the query, −1 … 1.
        jaccard: |y_q ∩ y_i| / |y_q ∪ y_i|.
        shared: Column numbers of the labels that both hold, ascending.
        missing: Those that only the query holds.
        extra: Those that only this image holds.
    """

    row: int
    cosine: float
    jaccard: float
    shared: tuple[int, ...]
    missing: tuple[int, ...]
    extra: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """The answer of one run to one query.

    Attributes:
        neighbours: The k nearest images, best first.
        ap: Average precision (sim, eq. 11) over the whole gallery; nan without a positive in it, or without
            labels of the query.
        precision: Share of the neighbours that hold a label of the query; nan without neighbours or labels.
        jaccard: Mean Jaccard index of the neighbours; nan likewise.
        precisions: The precision among the first 1, 2, … images, at most `BY_RANK`; empty without labels.
        jaccards: The mean Jaccard index, likewise.
    """

    neighbours: tuple[Neighbour, ...]
    ap: float
    precision: float
    jaccard: float
    precisions: tuple[float, ...] = ()
    jaccards: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Gallery:
    """The images searched.

    Attributes:
        z: Embeddings (N, D), unit rows.
        y: Labels (N, L), 0 or 1.
        names: Names of the N images.
        splits: Split of each image: test, train or val.
        rows: Row of each image by its name.
    """

    z: NDArray[np.float32]
    y: NDArray[np.uint8]
    names: tuple[str, ...]
    splits: tuple[str, ...]
    rows: dict[str, int]


def search(z: ArrayLike, y: ArrayLike, row: int, k: int) -> Answer:
    """Let one image query all others.

    Args:
        z: Embeddings (N, D), unit rows.
        y: Labels (N, L), 0 or 1.
        row: The query, 0 … N − 1; never in its own gallery.
        k: How many neighbours, ≥ 1.

    Raises:
        ValueError: Shapes that disagree, a row out of range, or as in `rank`.
    """
    z, labels = np.asarray(z), np.asarray(y).astype(bool)
    if labels.ndim != 2 or len(labels) != len(z) or not 0 <= row < len(z):
        raise ValueError(f"need z (N, D), y (N, L), row < N, got {z.shape}, {labels.shape}, {row}")
    return search_for(z[row], labels[row], z, labels, k, exclude=row)


def search_for(
    query: ArrayLike,
    own: ArrayLike | None,
    z: ArrayLike,
    y: ArrayLike,
    k: int,
    exclude: int | None = None,
) -> Answer:
    """Search a gallery for the images nearest to an embedding.

    Args:
        query: (D,), a unit row.
        own: Labels (L,) of the query; None if unknown: every label of a neighbour is then `extra`, and
            Jaccard index, precision and AP are nan.
        z: Embeddings (N, D), unit rows.
        y: Labels (N, L), 0 or 1.
        k: How many neighbours, ≥ 1.
        exclude: The query's own row; None if it is not in the gallery.

    Raises:
        ValueError: Shapes that disagree, or as in `rank`.
    """
    gallery, labels = np.asarray(z), np.asarray(y).astype(bool)
    if k < 1:
        raise ValueError(f"need k ≥ 1, got {k}")
    order, cosines = rank(query, gallery, max(1, len(gallery) - (exclude is not None)), exclude)  # (n,)
    query_labels = np.zeros(labels.shape[1], bool) if own is None else np.asarray(own).astype(bool)  # (L,)
    similarity = jaccard(query_labels[None], labels)[0, order]  # (n,)
    has_labels, k = own is not None, min(k, len(order))
    if not has_labels:
        similarity = np.full(len(order), np.nan)
    neighbours = tuple(
        Neighbour(
            int(i),
            float(cosines[n]),
            float(similarity[n]),
            *(tuple(np.flatnonzero(part).tolist()) for part in _differences(query_labels, labels[i])),
        )
        for n, i in enumerate(order[:k])
    )
    if not neighbours or not has_labels:
        return Answer(neighbours, float("nan"), float("nan"), float("nan"))
    hits = similarity[None, :MAP_CUT] > 0
    ap = float(average_precision(hits)[0]) if (similarity > 0).any() else float("nan")
    first = similarity[: max(k, BY_RANK)]
    ranks = np.arange(1, len(first) + 1)
    precisions, jaccards = np.cumsum(first > 0) / ranks, np.cumsum(first) / ranks
    return Answer(
        neighbours,
        ap,
        float(precisions[k - 1]),
        float(jaccards[k - 1]),
        tuple(precisions[:BY_RANK].tolist()),
        tuple(jaccards[:BY_RANK].tolist()),
    )


def metrics_of(
    query: ArrayLike, own: ArrayLike, z: ArrayLike, y: ArrayLike, exclude: int | None = None
) -> dict[str, float]:
    """The 7 metrics of one query, as `core.metrics.per_query` computes them; arguments as in `search_for`."""
    gallery, labels = np.asarray(z), np.asarray(y)
    if exclude is not None:
        scores = per_query(gallery, labels, queries=[exclude])
    else:
        scores = per_query(
            np.vstack([np.asarray(query)[None], gallery]),
            np.vstack([np.asarray(own)[None].astype(labels.dtype), labels]),
            queries=[0],
            gallery=np.arange(1, len(gallery) + 1),
        )
    return {key: float(scores[key][0]) for key in METRICS}


def rare(y: ArrayLike, kind: str) -> NDArray[np.bool_]:
    """Which images (N,) are rare by their labels (N, L), in one of the ways of `RARITIES`.

    Raises:
        ValueError: Unknown kind.
    """
    labels = np.asarray(y).astype(bool)
    if kind == "label":
        counts = labels.sum(0)  # (L,)
        present = np.sort(counts[counts > 0])
        few = present[max(0, len(present) // 4 - 1)] if len(present) else 0
        return np.asarray(labels[:, (counts > 0) & (counts <= few)].any(axis=1))
    if kind not in RARITIES:
        raise ValueError(f"need a rarity of {', '.join(RARITIES)}, got {kind!r}")
    _, inverse = distinct(labels.astype(np.uint8))
    most = 1 if kind == "single" else FEW
    return np.asarray(np.bincount(inverse)[inverse] <= most)


def worst_first(values: Floats, over: Floats | None = None) -> Ints:
    """Order (N,) of queries: lowest value first, or largest lead of `values` over `over`; nan last."""
    key = values if over is None else over - values
    return np.argsort(np.where(np.isnan(key), np.inf, key), kind="stable")


def _differences(
    query: NDArray[np.bool_], image: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Labels (L,) held by both, by the query only, and by the image only."""
    return query & image, query & ~image, image & ~query


def rank(
    query: ArrayLike, gallery: ArrayLike, k: int, exclude: int | ArrayLike | None = None
) -> tuple[Ints, Floats]:
    """The k gallery images most similar to a query, best first; equal cosines in gallery order.

    A float32 product finds the candidates, including all within rounding error of the k-th; float64 cosines,
    which are equal for equal rows, decide their order.

    Args:
        query: (D,), or (Q, D) for several queries; unit rows.
        gallery: (N, D) unit rows.
        k: How many to return, ≥ 1; fewer if the gallery holds fewer.
        exclude: Gallery index not to return, such as the query's own: one for all, or (Q,), −1 for none.

    Returns:
        Indices and cosines, (k,) for one query and (Q, k) for several.

    Raises:
        ValueError: Shapes that disagree, rows that are not finite or not of length 1, k < 1, bad `exclude`.
    """
    q, g = np.asarray(query), np.asarray(gallery)
    queries = np.atleast_2d(q)
    if g.ndim != 2 or q.ndim not in (1, 2) or queries.shape[1] != g.shape[1]:
        raise ValueError(f"need query (D,) or (Q, D) and gallery (N, D), got {q.shape} and {g.shape}")
    if k < 1:
        raise ValueError(f"need k ≥ 1, got {k}")
    excluded = None if exclude is None else _excluded(exclude, len(queries), len(g))
    k = min(k, len(g) - (excluded is not None and max(excluded, default=-1) >= 0))
    indices, cosines = np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k))
    if k == 0:
        return (indices[0], cosines[0]) if q.ndim == 1 else (indices, cosines)

    coarse_gallery = g.astype(np.float32, copy=False)
    rows = max(1, BLOCK // len(g))
    for start in range(0, len(queries), rows):
        with np.errstate(invalid="ignore", over="ignore"):  # raises below instead
            coarse = queries[start : start + rows].astype(np.float32, copy=False) @ coarse_gallery.T  # (b, N)
        if not np.isfinite(coarse.sum()):
            raise ValueError("need finite query and gallery, got nan or inf")
        for i, row in enumerate(coarse, start):
            if excluded is not None and excluded[i] >= 0:
                row[excluded[i]] = -np.inf
            indices[i], cosines[i] = best_of(queries[i], g, row, k)
    return (indices[0], cosines[0]) if q.ndim == 1 else (indices, cosines)


def _excluded(exclude: int | ArrayLike, queries: int, size: int) -> list[int]:
    """One gallery index per query, −1 for none."""
    indices = np.asarray(exclude)
    if indices.dtype.kind not in "iu" or indices.shape not in ((), (queries,)):
        raise ValueError(
            f"need exclude as one index or one per query, got {indices.dtype} of shape {indices.shape}"
        )
    per_query_index: list[int] = [int(indices)] * queries if indices.ndim == 0 else indices.tolist()
    if per_query_index and not (min(per_query_index) >= -1 and max(per_query_index) < size):
        raise ValueError(
            f"need exclude within −1 … {size - 1}, got {min(per_query_index)} … {max(per_query_index)}"
        )
    return per_query_index


def best_of(
    query: NDArray[np.generic], gallery: NDArray[np.generic], coarse: NDArray[np.float32], k: int
) -> tuple[Ints, Floats]:
    """The k best of one query (D,), from approximate cosines (N,) with −inf for what is excluded."""
    rounding = (len(query) + 8) * 2.0**-23  # bounds the error of a float32 dot product of unit rows
    kth = np.partition(coarse, len(coarse) - k)[len(coarse) - k]
    candidates = np.flatnonzero(coarse >= kth - 2 * rounding)  # (c,), at least k, in gallery order
    rows = gallery[candidates].astype(np.float64)  # (c, D)
    x = query.astype(np.float64)
    squares = np.append(np.einsum("cd,cd->c", rows, rows), x @ x)
    if np.abs(squares - 1.0).max() > 1e-3:
        worst = squares[np.abs(squares - 1.0).argmax()]
        raise ValueError(f"need unit rows in query and gallery, got one of length {worst**0.5:.3g}")
    exact = (rows * x).sum(1)  # row by row, so that equal rows give equal sums; a matrix product may not
    best = np.argsort(-exact, kind="stable")[:k]
    return candidates[best], exact[best]
