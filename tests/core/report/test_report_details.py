"""Label by label and query by query: tables and lists worked by hand."""

import math

import numpy as np
import pytest

from core import report
from core.metrics import METRICS
from core.report import Result, Row
from core.report.labels import count_table, label_table
from core.report.queries import disagreement
from core.runs import RunConfig

COUNTS = {"ship": 9, "tree": 1000, "road": 500, "court": 500}


def block(baseline: str = "") -> list[Row]:
    """MACL and OML on seeds 0 and 1, LMsc on seed 1."""
    scores = {part: dict.fromkeys(METRICS, 0.5) for part in ("metrics", "chance", "oracle")}
    results = [
        Result(f"{loss}{seed}", RunConfig.build("instant", dataset="dlrsd", loss=loss, seed=seed), scores)
        for loss, seed in (("macl", 0), ("macl", 1), ("oml", 0), ("oml", 1), ("lmsc", 1))
    ]
    rows = report.summary(results)
    return report.pin(rows, next(row for row in rows if row.loss == baseline)) if baseline else rows


def quality(**values: tuple[float | None, ...]) -> dict[str, dict[str, float | None]]:
    return {name: dict(zip(COUNTS, row, strict=True)) for name, row in values.items()}


GIVEN = quality(
    macl0=(0.1, 0.9, 0.8, None),
    macl1=(0.3, 0.7, 0.6, None),
    oml0=(0.2, 0.9, 0.9, 0.5),
    oml1=(0.6, 0.9, 0.5, None),
    lmsc1=(0.4, 0.8, 0.7, 0.6),
)


def test_labels_from_frequent_to_rare_as_means_over_seeds() -> None:
    table = label_table(block(), GIVEN, COUNTS)
    assert table.classes == ("tree", "court", "road", "ship")
    assert table.counts.tolist() == [1000, 500, 500, 9]
    assert [row.method for row in table.rows] == ["LMsc", "OML", "MACL"]
    nan = math.nan
    wanted = [[80, 60, 70, 40], [90, 50, 70, 40], [80, nan, 70, 20]]
    np.testing.assert_allclose(table.values, wanted)
    np.testing.assert_allclose(table.groups["head"], [70, 70, 80])  # tree and court; nan left out
    np.testing.assert_allclose(table.groups["tail"], [40, 40, 20])
    assert not table.difference


def test_labels_against_the_baseline_on_common_seeds() -> None:
    table = label_table(block("macl"), GIVEN, COUNTS)
    assert table.difference
    assert [row.method for row in table.rows] == ["LMsc", "OML"]
    nan = math.nan
    np.testing.assert_allclose(table.values, [[10, nan, 10, 10], [10, nan, 0, 20]], atol=1e-12)
    np.testing.assert_allclose(table.groups["middle"], [10, 0], atol=1e-12)


def test_the_number_of_labels_of_the_query() -> None:
    given = {"macl0": {1: 0.5, 3: 0.1}, "macl1": {1: 0.7}, "oml0": {1: 0.8, 3: 0.4}, "oml1": {1: 0.8}}
    table = count_table(block(), given)
    assert table.numbers == (1, 3)
    assert [row.method for row in table.rows] == ["OML", "MACL"]
    np.testing.assert_allclose(table.values, [[80, 40], [60, 10]])
    against = count_table(block("macl"), given)
    assert against.difference
    np.testing.assert_allclose(against.values, [[20, 30]])
    assert not count_table(block(), {}).rows


def test_methods_without_labels_are_left_out() -> None:
    known = {name: row for name, row in GIVEN.items() if not name.startswith("macl")}
    table = label_table(block("macl"), known, COUNTS)
    assert [row.method for row in table.rows] == ["LMsc", "OML"]
    assert not table.difference
    assert label_table(block(), {}, COUNTS).values.shape == (0, 4)


def test_the_queries_that_differ_most() -> None:
    a = [0.5, 0.9, np.nan, 0.2, 0.7, 0.7]
    b = [0.5, 0.1, 0.3, 0.6, 0.6, 0.6]
    found = disagreement(a, b, 2)
    np.testing.assert_allclose(found.difference, [0, 80, np.nan, -40, 10, 10], atol=1e-12)
    assert found.first.tolist() == [1, 4]
    assert found.second.tolist() == [3]
    assert (found.better, found.worse) == (3, 1)
    same = disagreement(a, a, 5)
    assert (len(same.first), len(same.second), same.better) == (0, 0, 0)
    with pytest.raises(ValueError, match="equal length"):
        disagreement(a, b[1:], 2)
