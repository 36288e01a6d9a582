"""The queries that two runs answer most differently."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.metrics.ranking import Floats, Ints


@dataclass(frozen=True)
class Disagreement:
    """Where two runs with one test split differ in one metric.

    Attributes:
        difference: (Q,) first − second, in percentage points; nan if one of them leaves the query out.
        first: Rows that the first run answers better, largest difference first.
        second: Rows that the second answers better, largest difference first.
        better: Total number of queries that the first answers better.
        worse: Total number that the second answers better.
    """

    difference: Floats
    first: Ints
    second: Ints
    better: int
    worse: int


def disagreement(first: ArrayLike, second: ArrayLike, k: int) -> Disagreement:
    """The k queries on either side with the largest difference; equal ones in row order.

    Args:
        first: Values of one metric (Q,), fractions, nan where a query is left out.
        second: Those of the other run, for the same images in the same order.
        k: How many on each side, at most.

    Raises:
        ValueError: Rows of different length.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"need two rows of equal length, got {a.shape} and {b.shape}")
    difference = 100 * (a - b)
    comparable = np.where(np.isnan(difference), 0.0, difference)
    order = np.argsort(-comparable, kind="stable")
    reverse = np.argsort(comparable, kind="stable")
    better, worse = int((comparable > 0).sum()), int((comparable < 0).sum())
    return Disagreement(difference, order[: min(k, better)], reverse[: min(k, worse)], better, worse)
