"""Numbers about an embedding space: loops written from the definitions, closed forms, scikit-learn."""

import math

import numpy as np
import pytest
from scipy.stats import skew
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

from core.labels import jaccard
from core.metrics import space


@pytest.fixture
def z() -> np.ndarray:
    rows = np.random.default_rng(0).standard_normal((90, 12))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def y() -> np.ndarray:
    labels = (np.random.default_rng(1).random((90, 6)) < 0.3).astype(np.uint8)
    labels[:, 0] |= labels.sum(1) == 0
    return labels


@pytest.mark.parametrize("k", [1, 5, 10])
@pytest.mark.parametrize("dims", [2, 3])
def test_trustworthiness_equals_scikit_learn(z: np.ndarray, k: int, dims: int) -> None:
    x = z[:, :dims] + 0.1 * np.random.default_rng(2).standard_normal((90, dims))
    expected = sklearn_trustworthiness(z, x, n_neighbors=k)
    assert space.trustworthiness(z, x, k) == pytest.approx(expected, abs=1e-12)


def test_trustworthiness_of_a_faithful_and_of_a_random_picture(z: np.ndarray) -> None:
    flat = z[:, :2]
    assert space.trustworthiness(flat, 3 * flat + 1) == 1.0
    scattered = np.random.default_rng(3).standard_normal((90, 2))
    assert 0.4 < space.trustworthiness(flat, scattered) < 0.6


def test_trustworthiness_of_a_sample_is_near_that_of_all(z: np.ndarray) -> None:
    x = z[:, :2]
    whole = space.trustworthiness(z, x)
    assert space.trustworthiness(z, x, sample=45) == pytest.approx(whole, abs=0.05)
    assert space.trustworthiness(z, x, sample=45) == space.trustworthiness(z, x, sample=45)


@pytest.mark.parametrize(("rows", "expected"), [(2, math.nan), (3, 1.0)])
def test_trustworthiness_of_very_few(rows: int, expected: float) -> None:
    x = np.arange(2.0 * rows).reshape(rows, 2) ** 2
    assert space.trustworthiness(x, x) == pytest.approx(expected, nan_ok=True)


def test_alignment_is_the_mean_over_pairs_weighed_by_their_overlap(z: np.ndarray, y: np.ndarray) -> None:
    J = jaccard(y, y)
    weighted = total = 0.0
    for i in range(len(z)):
        for j in range(len(z)):
            if i != j:
                weighted += J[i, j] * float(((z[i] - z[j]) ** 2).sum())
                total += J[i, j]
    assert space.alignment(z, y) == pytest.approx(weighted / total, rel=1e-12)


def test_alignment_where_all_of_a_class_agree() -> None:
    z = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    assert space.alignment(z, [[1, 0], [1, 0], [0, 1], [0, 1]]) == 0.0
    assert space.alignment(z, [[1, 0], [0, 1], [1, 0], [0, 1]]) == 4.0  # opposite points of the sphere
    assert math.isnan(space.alignment(z, np.eye(4)))


def test_uniformity_from_its_definition(z: np.ndarray) -> None:
    terms = [
        math.exp(-2 * float(((z[i] - z[j]) ** 2).sum()))
        for i in range(len(z))
        for j in range(len(z))
        if i != j
    ]
    assert space.uniformity(z) == pytest.approx(math.log(sum(terms) / len(terms)), rel=1e-12)


def test_uniformity_of_one_place_and_of_a_simplex() -> None:
    assert space.uniformity(np.tile([1.0, 0.0], (5, 1))) == pytest.approx(0.0, abs=1e-12)
    assert space.uniformity(np.eye(4)) == pytest.approx(-4.0)  # all squared distances are 2
    assert math.isnan(space.uniformity(np.ones((1, 3))))


def test_effective_rank_closed_forms(z: np.ndarray) -> None:
    assert space.effective_rank(np.eye(7)) == pytest.approx(7.0)
    assert space.effective_rank(np.outer(np.arange(1.0, 6.0), [3.0, 4.0])) == pytest.approx(1.0)
    s = np.array([3.0, 1.0])  # entropy of (3/4, 1/4)
    assert space.effective_rank(np.diag(s)) == pytest.approx(
        math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    )
    p = np.linalg.svd(z, compute_uv=False)
    p /= p.sum()
    assert space.effective_rank(z) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-12)
    assert math.isnan(space.effective_rank(np.zeros((3, 2))))


def test_hubness_is_the_skewness_of_the_occurrences(z: np.ndarray) -> None:
    times = [0] * len(z)
    for i in range(len(z)):
        order = sorted((j for j in range(len(z)) if j != i), key=lambda j: ((z[i] - z[j]) ** 2).sum())
        for j in order[:10]:
            times[j] += 1
    assert space.hubness(z) == pytest.approx(skew(times), rel=1e-9)


def test_hubness_of_a_ring_is_zero_and_of_a_star_is_large() -> None:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert space.hubness(ring, k=2) == 0.0
    star = np.concatenate([np.zeros((1, 40)), 5 * np.eye(40)])
    assert space.hubness(star, k=1) > 5
    assert math.isnan(space.hubness(ring[:11], k=10))


def test_nearest_puts_equal_distances_in_row_order() -> None:
    assert space.nearest([[0.0], [1.0], [-1.0], [5.0]], 2).tolist() == [[1, 2], [0, 2], [0, 1], [1, 0]]


def test_blocks_change_nothing(z: np.ndarray, y: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, picture = space.measure(z, y), space.trustworthiness(z, z[:, :2])
    monkeypatch.setattr(space, "_BLOCK", 200)
    parts = space.measure(z, y)
    assert [parts.alignment, parts.uniformity, parts.hubness] == pytest.approx(
        [whole.alignment, whole.uniformity, whole.hubness], rel=1e-12
    )
    assert space.trustworthiness(z, z[:, :2]) == pytest.approx(picture, abs=1e-12)


def test_a_sample_of_many_images(z: np.ndarray, y: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = space.measure(z, y)
    assert whole.images == 90
    monkeypatch.setattr(space, "SAMPLE", 60)
    part = space.measure(z, y)
    assert part == space.measure(z, y)
    assert part.images == 60
    assert part.uniformity == pytest.approx(whole.uniformity, abs=0.1)


def test_wrong_shapes_say_what_was_needed() -> None:
    with pytest.raises(ValueError, match="need a matrix"):
        space.uniformity(np.ones(3))
    with pytest.raises(ValueError, match="need a row of y"):
        space.alignment(np.ones((3, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="as many places"):
        space.trustworthiness(np.ones((3, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="need 1 ≤ k"):
        space.nearest(np.ones((3, 2)), 3)
