"""The nearest rows: exactly, by a product over the file of vectors, or among what the index suggests."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.archive.columns import Bools, Floats
from core.archive.table import Index, Table
from core.retrieval.search import best_of

REFINE, LEAST = 10, 200  # candidates for each answer, and for all; their cosines come from the file
RECALL_AT, QUERIES = 20, 100  # how recall is measured

Found = tuple[NDArray[np.int64], NDArray[np.float64]]  # rows and cosines, best first


def query_of(z: ArrayLike, dim: int, k: int) -> Floats:
    """What is asked, as an array (D,); ValueError if it is not of length 1, or k is less than 1."""
    query = np.asarray(z, np.float32)
    if query.shape != (dim,):
        raise ValueError(f"need z ({dim},), got {query.shape}")
    if not abs(float(np.linalg.norm(query)) - 1) < 1e-3:  # nor for nan
        raise ValueError("need z of length 1")
    if k < 1:
        raise ValueError(f"need k ≥ 1, got {k}")
    return query


def exact(vectors: Floats, z: Floats, k: int, allowed: Bools) -> Found:
    """The best among the allowed rows.

    Args:
        vectors: (N, D), of all rows.
        z: The query (D,).
        k: How many; fewer if fewer are allowed.
        allowed: (N,).
    """
    number = int(np.count_nonzero(allowed))
    if number == 0:
        return np.zeros(0, np.int64), np.zeros(0)
    if 4 * number > len(allowed):
        coarse = vectors @ z  # (N,): faster in one piece than to pick most of them
        coarse[~allowed] = -np.inf
        return best_of(z, vectors, coarse, min(k, number))
    return _among(vectors, z, k, np.flatnonzero(allowed))


def near(table: Table, vectors: Floats, z: Floats, k: int, allowed: Bools, index: Index) -> Found | None:
    """As `exact`, among the candidates of the index and all rows after it; None if they are too few.

    The condition is applied to the candidates, as many more as it leaves out: within the index it costs
    recall that no number of probes brings back.
    """
    number = int(np.count_nonzero(allowed))
    if number == 0:
        return None
    wanted = math.ceil(max(LEAST, REFINE * k) * len(allowed) / number)
    candidates = table.near(z, min(index.rows, wanted), index.probes)
    after = np.arange(min(index.rows, len(allowed)), len(allowed))
    rows = np.union1d(candidates[candidates < len(allowed)], after)
    rows = rows[allowed[rows]]
    return _among(vectors, z, k, rows) if len(rows) >= min(k, number) else None


def measured(table: Table, vectors: Floats, allowed: Bools, index: Index) -> Index:
    """The index with its recall: rows ask for their neighbours, themselves left out."""
    live = np.flatnonzero(allowed)
    queries = live[np.linspace(0, len(live) - 1, min(QUERIES, len(live))).astype(np.int64)]
    recalls = []
    for row in queries.tolist():
        z = np.array(vectors[row])
        rows, cosines = exact(vectors, z, index.k + 1, allowed)
        kept = rows != row
        if not kept.any():
            continue
        found = near(table, vectors, z, index.k + 1, allowed, index)
        least = cosines[kept].min()  # equal cosines are equally right
        hits = 0 if found is None else np.count_nonzero((found[0] != row) & (found[1] >= least))
        recalls.append(min(1.0, hits / np.count_nonzero(kept)))
    mean, worst = (float(np.mean(recalls)), float(np.min(recalls))) if recalls else (1.0, 1.0)
    return replace(index, recall=mean, worst=worst)


def _among(vectors: Floats, z: Floats, k: int, rows: NDArray[np.int64]) -> Found:
    picked = vectors[rows]
    best, cosines = best_of(z, picked, picked @ z, min(k, len(rows)))
    return rows[best], cosines
