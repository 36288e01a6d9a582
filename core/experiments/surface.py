"""Results of a sweep: a metric over its axes, mean and spread over seeds, and interpolated in between."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.experiments.sweep import Point
from core.losses import Value
from core.runs import Run

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """One place of a sweep, over all its seeds.

    Attributes:
        at: Value on each axis except the seed.
        mean: Mean of the metric over the finished seeds, percent.
        spread: Sample standard deviation; None for one seed.
        values: Value of each seed, percent, in the order of `runs`.
        runs: The finished runs.
    """

    at: Mapping[str, Value]
    mean: float
    spread: float | None
    values: tuple[float, ...]
    runs: tuple[Run, ...]


def cells(
    pairs: Sequence[tuple[Point, Run | None]], scores: Mapping[str, Mapping[str, float | None]], metric: str
) -> list[Cell]:
    """A metric at every place that has a finished run.

    Args:
        pairs: From `core.experiments.sweep.found`.
        scores: Metrics of finished runs by run id, as fractions.
        metric: Key of `core.metrics.METRICS`.
    """
    groups: dict[tuple[tuple[str, Value], ...], list[tuple[float, Run]]] = {}
    for point, run in pairs:
        value = scores.get(run.id, {}).get(metric) if run is not None else None
        if run is not None and value is not None:
            at = tuple((name, v) for name, v in point.at.items() if name != "seed")
            groups.setdefault(at, []).append((100 * value, run))
    all_cells = []
    for at, at_place in groups.items():
        values = tuple(value for value, _ in at_place)
        spread = statistics.stdev(values) if len(values) > 1 else None
        all_cells.append(
            Cell(dict(at), statistics.fmean(values), spread, values, tuple(run for _, run in at_place))
        )
    return all_cells


def matrix(
    found: Sequence[Cell], x: str, y: str, xs: Sequence[Value], ys: Sequence[Value]
) -> tuple[Floats, Floats]:
    """Means and spreads, (len(ys), len(xs)) each; nan where nothing is finished, spreads for one seed too."""
    means, spreads = np.full((2, len(ys), len(xs)), np.nan)
    for cell in found:
        place = ys.index(cell.at[y]), xs.index(cell.at[x])
        means[place] = cell.mean
        spreads[place] = np.nan if cell.spread is None else cell.spread
    return means, spreads


def between(xs: Sequence[float], ys: Sequence[float], values: Floats, x: float, y: float) -> float:
    """Bilinear interpolation on a rectangular grid, clamped to its edge; always within its four neighbours.

    Args:
        xs: (X,) ascending.
        ys: (Y,) ascending.
        values: (Y, X).
        x: Position along xs.
        y: Position along ys.

    Returns:
        nan if one of the neighbours that count is nan.
    """
    left, u = _place(xs, x)
    low, v = _place(ys, y)
    corners, weights = [], []
    for row, share in ((low, 1 - v), (low + 1, v)):
        for column, part in ((left, 1 - u), (left + 1, u)):
            if share * part > 0:
                corners.append(float(values[row, column]))
                weights.append(share * part)
    if np.isnan(corners).any():
        return float("nan")
    value = sum(weight * corner for weight, corner in zip(weights, corners, strict=True))
    return min(max(value, min(corners)), max(corners))


def nearest(xs: Sequence[float], ys: Sequence[float], x: float, y: float) -> tuple[int, int]:
    """Column and row of the nearest grid point, in units of the grid's own steps."""
    left, u = _place(xs, x)
    low, v = _place(ys, y)
    return left + round(u), low + round(v)


def _place(grid: Sequence[float], value: float) -> tuple[int, float]:
    """Index of the grid point below a value, and the share of the way to the next one."""
    if len(grid) == 1 or value <= grid[0]:
        return 0, 0.0
    if value >= grid[-1]:
        return len(grid) - 1, 0.0
    left = int(np.searchsorted(grid, value, side="right")) - 1
    return left, (value - grid[left]) / (grid[left + 1] - grid[left])
