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


def test_conditional_and_lift_equal_the_counts() -> None:
    rng = np.random.default_rng(5)
    y = (rng.random((60, 5)) < 0.4).astype(np.uint8)
    y[:, 4] = 0  # a label that no image holds
    share, lift = labels.conditional(y), labels.lift(y)
    for i in range(4):
        for j in range(4):
            both = sum(1 for row in y if row[i] and row[j])
            assert share[i, j] == pytest.approx(both / y[:, j].sum(), rel=1e-14)
            assert lift[i, j] == pytest.approx(
                60 * both / (int(y[:, i].sum()) * int(y[:, j].sum())), rel=1e-14
            )
    np.testing.assert_array_equal(share[:, 4], np.nan)
    np.testing.assert_array_equal(share[4, :4], 0)
    assert np.isnan(lift[4]).all()
    assert np.isnan(lift[:, 4]).all()


def test_independent_labels_have_a_lift_of_one() -> None:
    y = np.array([[a, b] for a in (0, 1) for b in (0, 0, 1)])
    np.testing.assert_allclose(labels.lift(y), [[2, 1], [1, 3]])


def test_clustered_puts_together_what_appears_together() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(2, size=200)
    y = np.stack([group == c % 2 for c in range(6)], axis=1) & (rng.random((200, 6)) < 0.8)
    order = labels.clustered(y)
    assert sorted(order) == list(range(6))
    assert len({label % 2 for label in order[:3]}) == 1
    assert labels.clustered(y[:, :2]).tolist() == [0, 1]
    assert sorted(labels.clustered(np.zeros((4, 5)))) == list(range(5))  # labels that no image holds


def test_combinations_from_frequent_to_rare() -> None:
    y = np.array([[1, 0, 0], [0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 0]])
    sets, images = labels.combinations(y)
    assert sets.tolist() == [[1, 0, 0], [0, 1, 1], [1, 1, 0]]
    assert images.tolist() == [3, 2, 1]
