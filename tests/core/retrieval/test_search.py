"""Exact search against brute force, with ties on the k-th place."""

import numpy as np
import pytest

from core.metrics import per_query
from core.retrieval.search import rank, search


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def brute_force(query: np.ndarray, gallery: np.ndarray, k: int, exclude: int = -1) -> list[int]:
    cosine = [float((row.astype(np.float64) * query.astype(np.float64)).sum()) for row in gallery]
    return sorted((i for i in range(len(gallery)) if i != exclude), key=lambda i: -cosine[i])[:k]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dim", [2, 17, 128])
def test_equals_brute_force(seed: int, dim: int) -> None:
    rng = np.random.default_rng(seed)
    gallery = unit(rng.standard_normal((200, dim)))
    for q in range(0, 200, 23):
        index, cosine = rank(gallery[q], gallery, 9, exclude=q)
        assert index.tolist() == brute_force(gallery[q], gallery, 9, q)
        np.testing.assert_allclose(cosine, gallery[index].astype(np.float64) @ gallery[q], rtol=1e-12)
        assert (np.diff(cosine) <= 0).all()


@pytest.mark.parametrize("k", [1, 3, 4, 5, 11, 12, 40])
def test_ties_keep_gallery_order_across_the_last_place(k: int) -> None:
    """Few different rows, many copies: the k-th place nearly always falls inside a tie."""
    rng = np.random.default_rng(k)
    gallery = unit(rng.standard_normal((6, 33)))[rng.integers(6, size=50)]
    for q in range(50):
        index, _ = rank(gallery[q], gallery, k, exclude=q)
        assert index.tolist() == brute_force(gallery[q], gallery, k, q)


def test_cosines_closer_than_float32_can_tell_are_told_apart() -> None:
    angle = np.array([3e-5, 1e-5, 2e-5, 0.0, 4e-5])
    gallery = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # cosines differ by 1e-10
    assert rank(np.array([1.0, 0.0]), gallery, 3)[0].tolist() == [3, 1, 2]


def test_several_queries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    gallery, queries = unit(rng.standard_normal((60, 16))), unit(rng.standard_normal((7, 16)))
    exclude = np.array([-1, 3, 59, 0, -1, 8, 8])
    index, cosine = rank(queries, gallery, 5, exclude=exclude)
    assert index.shape == cosine.shape == (7, 5)
    for i in range(7):
        assert index[i].tolist() == brute_force(queries[i], gallery, 5, exclude[i])
    monkeypatch.setattr("core.retrieval.search.BLOCK", 100)  # one query per block
    np.testing.assert_array_equal(rank(queries, gallery, 5, exclude=exclude)[0], index)
    assert 3 not in rank(queries, gallery, 60, exclude=3)[0]


def test_a_gallery_smaller_than_k() -> None:
    gallery = np.eye(3, dtype=np.float32)
    assert rank(gallery[1], gallery, 9)[0].tolist() == [1, 0, 2]
    assert rank(gallery[1], gallery, 9, exclude=1)[0].tolist() == [0, 2]
    assert rank(gallery[1], gallery[1:2], 9, exclude=0)[0].shape == (0,)
    assert rank(gallery[:2], gallery[:0], 4)[0].shape == (2, 0)
    assert rank(gallery[:0], gallery, 2)[0].shape == (0, 2)


def test_the_arguments_stay_as_they_are() -> None:
    gallery = unit(np.random.default_rng(0).standard_normal((20, 4)))
    copy = gallery.copy()
    gallery.flags.writeable = False
    rank(gallery[2], gallery, 3, exclude=2)
    np.testing.assert_array_equal(gallery, copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "need k ≥ 1"),
        ({"query": np.array([1.0, 0])}, r"need query \(D,\)"),
        ({"gallery": np.ones(3)}, r"need query \(D,\)"),
        ({"query": np.array([2.0, 0, 0])}, "need unit rows"),
        ({"gallery": 3 * np.eye(3)}, "need unit rows"),
        ({"query": np.array([np.nan, 0, 0])}, "need finite"),
        ({"gallery": np.array([[1.0, 0, 0], [np.inf, 0, 0]])}, "need finite"),
        ({"exclude": 3}, "need exclude within −1 … 2"),
        ({"exclude": [0, 1]}, "need exclude as one index or one per query"),
        ({"exclude": 1.0}, "need exclude as one index"),
    ],
)
def test_bad_arguments(change: dict, message: str) -> None:
    arguments = {"query": np.array([1.0, 0, 0]), "gallery": np.eye(3), "k": 2} | change
    with pytest.raises(ValueError, match=message):
        rank(**arguments)


def labelled(seed: int, size: int, labels: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Random unit rows, some of them twice, and labels of which some rows have none."""
    rng = np.random.default_rng(seed)
    z = unit(rng.standard_normal((size, 8)))
    z[size // 2 :: 3] = z[0]
    return z, (rng.random((size, labels)) < 0.3).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_search_says_what_loops_over_sets_say(seed: int) -> None:
    z, y = labelled(seed, 40)
    sets = [set(np.flatnonzero(row).tolist()) for row in y]
    for q in range(40):
        answer = search(z, y, q, 6)
        assert [found.row for found in answer.neighbours] == brute_force(z[q], z, 6, q)
        for found in answer.neighbours:
            mine, other = sets[q], sets[found.row]
            assert found.shared == tuple(sorted(mine & other))
            assert found.missing == tuple(sorted(mine - other))
            assert found.extra == tuple(sorted(other - mine))
            assert found.jaccard == len(mine & other) / max(1, len(mine | other))
        similar = [bool(sets[q] & sets[found.row]) for found in answer.neighbours]
        assert answer.precision == pytest.approx(sum(similar) / 6)
        assert answer.jaccard == pytest.approx(sum(found.jaccard for found in answer.neighbours) / 6)


def test_the_ap_of_a_query_is_that_of_the_metrics() -> None:
    z, y = labelled(9, 150)
    y[:20] = 0
    expected = per_query(z, y)["map_sim"]
    assert np.isnan(expected[:20]).all()
    for q in range(150):
        np.testing.assert_allclose(search(z, y, q, 3).ap, expected[q], rtol=1e-12)


def test_search_in_small_galleries() -> None:
    z, y = labelled(1, 3)
    assert len(search(z, y, 0, 50).neighbours) == 2
    alone = search(z[:1], y[:1], 0, 6)
    assert alone.neighbours == ()
    assert all(np.isnan([alone.ap, alone.precision, alone.jaccard]))


@pytest.mark.parametrize(
    ("row", "k", "labels", "message"),
    [(3, 1, 3, "row < N"), (-1, 1, 3, "row < N"), (0, 0, 3, "need k ≥ 1"), (0, 1, 2, r"need z \(N, D\)")],
)
def test_search_refuses(row: int, k: int, labels: int, message: str) -> None:
    z, y = labelled(0, 3)
    with pytest.raises(ValueError, match=message):
        search(z, y[:labels], row, k)
