"""Label counts against plain Python sets."""

import subprocess
import sys

import numpy as np
import pytest

from core import labels

A = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0], [1, 1, 0, 0]])
B = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1]])


def as_set(row):
    return set(np.flatnonzero(row).tolist())


def random_labels(seed, images, classes, density=0.3):
    return (np.random.default_rng(seed).random((images, classes)) < density).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.float64])
def test_worked_by_hand(dtype):
    a, b = A.astype(dtype), B.astype(dtype)
    assert labels.counts(a).tolist() == [2, 3, 1, 0]
    assert labels.cooccurrence(a).tolist() == [[2, 2, 0, 0], [2, 3, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert labels.overlap(a, b).tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 2], [1, 0, 1]]
    assert labels.jaccard(a, b).tolist() == [[1 / 2, 0, 1 / 4], [0, 0, 0], [0, 0, 2 / 3], [1 / 2, 0, 1 / 4]]


def test_types_and_shapes():
    assert labels.overlap(A, B).dtype.kind == "i"
    assert labels.jaccard(A, B).dtype == np.float64
    sets, inverse = labels.distinct(A)
    assert sets.shape == (3, 4)
    assert inverse.shape == (4,)


@pytest.mark.parametrize("classes", [1, 6, 17, 60, 64, 130])
def test_against_python_sets(classes):
    a, b = random_labels(0, 40, classes), random_labels(1, 30, classes)
    shared, j = labels.overlap(a, b), labels.jaccard(a, b)
    for q, x in enumerate(map(as_set, a)):
        for i, y in enumerate(map(as_set, b)):
            assert shared[q, i] == len(x & y)
            assert j[q, i] == (len(x & y) / len(x | y) if x | y else 0)


@pytest.mark.parametrize("classes", [1, 6, 17, 60, 64, 130])
def test_distinct_rebuilds_the_labels(classes):
    y = random_labels(2, 300, classes)
    y = y[np.random.default_rng(3).integers(300, size=700)]  # many repeats
    sets, inverse = labels.distinct(y)
    assert np.array_equal(sets[inverse], y)
    assert len(sets) == len({tuple(row) for row in y.tolist()})


def test_support_counts_images_with_all_labels(monkeypatch):
    y, sets = random_labels(4, 200, 9, 0.5), random_labels(5, 50, 9)
    sets[0] = 0
    expected = [sum(as_set(s) <= as_set(row) for row in y) for s in sets]
    assert labels.support(y, sets).tolist() == expected
    assert expected[0] == 200  # every image holds the empty set
    monkeypatch.setattr(labels, "_BLOCK", 300)  # a few rows at a time
    assert labels.support(y, sets).tolist() == expected


def test_nothing_at_all():
    none = np.zeros((0, 5))
    assert labels.counts(none).tolist() == [0] * 5
    assert labels.distinct(none)[0].shape == (0, 5)
    assert labels.support(none, A[:, [0, 1, 2, 3, 3]]).tolist() == [0] * 4
    assert labels.support(A, np.zeros((0, 4))).tolist() == []


def test_loads_without_torch():
    code = "import sys, core.labels; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
