"""From embeddings to ranked galleries, block by block of queries, with exact handling of ties."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from core.background.cores import cores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK = 1 << 18  # elements of one (queries × gallery) block: 2 MiB of cosines stay in a core's cache
GRID_BITS = 46  # scores that agree on a grid of 2⁻⁴⁶ ≈ 1.4e-14, the rounding error of a dot product, are tied
COARSE_BITS = 28  # of the grid that `ranked` sorts first: 29 bits for −1 … 1 and 3 for the level make 32
COARSE_SIZE = 1 << 13  # up to this many gallery images, two rarely share one coarse step
THREADS = 8  # at most; each holds a few blocks
PROTOCOLS = ("paper", "imbriaco")
QUERY_SHARE = 0.2  # `imbriaco`, when neither queries nor gallery are given


@dataclass(frozen=True)
class Task:
    """Which images query which: `queries` (Q,) and `gallery` (G,) index the N images.

    `self_column` (Q,) is the query's own column in the gallery, −1 where it has none.
    """

    queries: Ints
    gallery: Ints
    self_column: Ints

    def blocks(self) -> Iterator[slice]:
        """Consecutive slices of the queries, each small enough for one (queries × gallery) block."""
        rows = max(1, BLOCK // max(1, len(self.gallery)))
        for start in range(0, len(self.queries), rows):
            yield slice(start, min(start + rows, len(self.queries)))


def make_task(n: int, protocol: str, queries: object | None, gallery: object | None) -> Task:
    """The protocol's queries and gallery among n images.

    Args:
        n: Number of images N.
        protocol: `paper`: every image queries the others. `imbriaco`: disjoint queries and gallery; if only
            one is given the other is the rest, if neither a fixed random 20 % query the other 80 %.
        queries: Indices (Q,), or None.
        gallery: Indices (G,), or None.

    Raises:
        ValueError: Unknown protocol; indices out of range or repeated; `imbriaco` with overlapping sets.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"need protocol {' or '.join(PROTOCOLS)}, got {protocol!r}")
    q = None if queries is None else _indices(queries, n, "queries")
    g = None if gallery is None else _indices(gallery, n, "gallery")
    everything = np.arange(n)
    if protocol == "imbriaco" and q is None and g is None:
        shuffled = np.random.default_rng(0).permutation(n)
        q = np.sort(shuffled[: max(1, round(QUERY_SHARE * n))])
    if q is None:
        q = everything if protocol == "paper" or g is None else np.setdiff1d(everything, g)
    if g is None:
        g = everything if protocol == "paper" else np.setdiff1d(everything, q)
    column = np.full(n, -1)
    column[g] = np.arange(len(g))
    self_column = column[q]
    if protocol == "imbriaco" and (self_column >= 0).any():
        raise ValueError(
            f"need disjoint queries and gallery, got {int((self_column >= 0).sum())} images in both"
        )
    return Task(q, g, self_column)


def _indices(values: object, n: int, name: str) -> Ints:
    index = np.asarray(values)
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise ValueError(f"need {name} as a row of indices, got {index.dtype} of shape {index.shape}")
    if index.size and (index.min() < 0 or index.max() >= n):
        raise ValueError(f"need {name} within 0 … {n - 1}, got {index.min()} … {index.max()}")
    if len(np.unique(index)) != len(index):
        raise ValueError(f"need each image once in {name}, got repeated indices")
    return index.astype(np.int64)


def unit_rows(z: object) -> Floats:
    """Rows of z (N, D) divided by their length, as float64; a row of zeros stays one (cosine 0 to all).

    Raises:
        ValueError: z is not a finite matrix of numbers.
    """
    x = np.asarray(z)
    if x.ndim != 2 or x.dtype.kind not in "fiu":
        raise ValueError(f"need z (N, D) as real numbers, got {x.dtype} of shape {x.shape}")
    x = x.astype(np.float64)
    largest = np.abs(x).max(axis=1, initial=0.0, keepdims=True)  # (N, 1)
    if not np.isfinite(largest).all():
        raise ValueError(
            f"need finite z, got {int((~np.isfinite(x)).any(axis=1).sum())} rows with nan or inf"
        )
    x /= np.where(largest > 0, largest, 1.0)  # first, so that no square overflows
    length = np.sqrt(np.einsum("nd,nd->n", x, x))[:, None]
    return np.asarray(x / np.where(length > 0, length, 1.0) + 0.0)  # + 0.0 turns −0.0 into 0.0


def cosine_scores(z: Floats, task: Task) -> Callable[[slice], Floats]:
    """A function that gives the cosines (b, G) of a slice of the task's queries; z (N, D) unit rows.

    Matrix products may differ in the last bit between columns, so equal gallery rows are computed once and
    copied: duplicates tie exactly.
    """
    first: dict[bytes, int] = {}
    copy_of = np.array([first.setdefault(z[i].tobytes(), len(first)) for i in task.gallery], dtype=np.int64)
    rows = z[task.gallery]
    if len(first) == len(rows):
        return lambda block: z[task.queries[block]] @ rows.T
    distinct = rows[np.unique(copy_of, return_index=True)[1]]
    return lambda block: (z[task.queries[block]] @ distinct.T)[:, copy_of]


def each_block(task: Task, scores: Callable[[slice], Floats], work: Callable[[slice, Floats], None]) -> None:
    """Call work(block, scores(block)) for all blocks of the task, on several cores if there are any.

    This thread computes the scores in order, so that a generator of random scores stays reproducible; work on
    different blocks overlaps, because numpy sorts without the GIL. Matrix products stay on one core: the
    waiting threads of BLAS would spin on the others.
    """
    blocks = list(task.blocks())
    threads = min(cores(), THREADS, len(blocks))
    if threads <= 1:
        for block in blocks:
            work(block, scores(block))
        return
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[None]] = deque()
        for block in blocks:
            if len(pending) > threads:  # keep no more scores in memory than are soon needed
                pending.popleft().result()
            pending.append(pool.submit(work, block, scores(block)))
        for future in pending:
            future.result()


def order(scores: Floats, self_column: Ints) -> Ints:
    """Gallery columns (b, G) by descending score, ties in gallery order, the query itself last.

    Args:
        scores: (b, G) in −1 … 1; overwritten.
        self_column: (b,) the query's own column, −1 for none.
    """
    return _sorted_columns(_on_grid(scores, self_column), np.arange(scores.shape[1]))


def ranked(
    scores: Floats, self_column: Ints, level: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.uint8], Ints]:
    """The levels of a gallery as `order` ranks it, and the columns of its first k images.

    Of the whole list only the level at each rank is needed, so coarse score and level are sorted together, in
    half the bits and half the time. A row in which images of different levels share a coarse step, or the
    k-th and the next image a key, is ranked again at full precision, so the result is always that of `order`.

    Args:
        scores: (b, G) in −1 … 1; overwritten.
        self_column: (b,) the query's own column, −1 for none.
        level: (b, G) relevance of each image, 0 … 7; 0 for the query itself.
        k: How many columns to return, at most G.

    Returns:
        (b, G) levels by rank, (b, k) columns by rank.
    """
    size, k = scores.shape[1], min(k, scores.shape[1])
    grid, columns = _on_grid(scores, self_column), np.arange(size)
    if size > COARSE_SIZE:
        ranks = _sorted_columns(grid, columns)
        return np.take_along_axis(level, ranks, axis=1), ranks[:, :k]
    coarse = grid * 2.0 ** (COARSE_BITS - GRID_BITS)
    np.minimum(
        coarse, 2.0 ** (COARSE_BITS + 1) - 1, out=coarse
    )  # the query itself and −1 share the last step
    keys = coarse.astype(np.uint32)
    keys <<= np.uint32(3)
    keys |= level
    best = np.sort(keys, axis=1)
    levels = (best & np.uint32(7)).astype(np.uint8)
    first = keys <= best[:, k - 1 : k]  # (b, G)
    best[:, 1:] ^= best[:, :-1].copy()  # 1 … 7: one coarse step, two levels
    best[:, 1:] -= np.uint32(1)
    undecided = (best[:, 1:] < 7).any(axis=1) | (np.count_nonzero(first, axis=1) != k)  # (b,)
    top = np.empty((len(scores), k), np.int64)
    rows = np.flatnonzero(~undecided)[:, None]
    chosen = np.flatnonzero(first[~undecided]).reshape(-1, k) - size * np.arange(len(rows))[:, None]
    top[~undecided] = _sorted_columns(grid[rows, chosen], chosen)
    if undecided.any():
        ranks = _sorted_columns(grid[undecided], columns)
        levels[undecided], top[undecided] = np.take_along_axis(level[undecided], ranks, axis=1), ranks[:, :k]
    return levels, top


def _on_grid(scores: Floats, self_column: Ints) -> Floats:
    """1 − score (b, G) in whole steps of the grid, in place; the query itself lies beyond all others."""
    own = np.flatnonzero(self_column >= 0)
    scores[own, self_column[own]] = -2.0
    scale = 2.0 ** min(GRID_BITS, 62 - _bits(scores.shape[1]))
    scores *= -scale
    scores += scale + 0.5
    np.floor(scores, out=scores)
    np.maximum(scores, 0.0, out=scores)  # a cosine a rounding error above 1
    return scores


def _sorted_columns(grid: Floats, columns: Ints) -> Ints:
    """Columns, (k,) or (b, k) < 2^32 and ascending, sorted by grid value (b, k).

    Both are packed into one integer: sorting it gives the same as a stable argsort, and is faster.
    """
    bits = _bits(int(columns.max(initial=0)) + 1)
    keys = grid.astype(np.uint64)
    keys <<= np.uint64(bits)
    keys |= columns.astype(np.uint64)
    keys.sort(axis=1)
    keys &= np.uint64((1 << bits) - 1)
    return keys.view(np.int64)


def _bits(count: int) -> int:
    """Bits needed to tell `count` columns apart."""
    return max(1, (count - 1).bit_length())
