"""The seven metrics against loops from the equations, hand-worked and golden values, other libraries."""

import csv
import io
import itertools
import math
import os
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import openpyxl
import pytest
import torch
from sklearn.metrics import average_precision_score, ndcg_score
from torchmetrics.retrieval import RetrievalMAP, RetrievalNormalizedDCG

from core import metrics
from core.files import PROJECT
from core.metrics import METRICS, chance, evaluate, oracle, per_query, ranking

LEVELS = {"map_easy": Fraction(2, 5), "map_medium": Fraction(3, 5), "map_hard": Fraction(4, 5)}
NAN = float("nan")


def batch(seed: int, n: int = 40, labels: int = 6, density: float = 0.35) -> tuple[np.ndarray, np.ndarray]:
    """Random embeddings and labels; some images without labels, some with the same embedding."""
    rng = np.random.default_rng(seed)
    y = (rng.random((n, labels)) < density).astype(int)
    y[rng.integers(n)] = 0
    z = rng.standard_normal((n, 7))
    z[rng.integers(n, size=n // 5)] = z[rng.integers(n, size=n // 5)]
    return z, y


def loops(z, y, protocol="paper", queries=None, gallery=None, ideal="gallery", k=100, map_k=5000):
    """Every metric of every query, one image after the other, as the equations read."""
    n = len(z)
    queries = range(n) if queries is None else queries
    gallery = range(n) if gallery is None else gallery
    unit = [row / math.sqrt(sum(v * v for v in row)) for row in z]
    labels = [frozenset(np.flatnonzero(row)) for row in y]
    values = {key: [] for key in METRICS}
    for q in queries:
        others = [i for i in gallery if i != q]
        cosine = {i: math.fsum(a * b for a, b in zip(unit[q], unit[i], strict=True)) for i in others}
        ranked = sorted(others, key=lambda i: -cosine[i])  # stable: ties stay in gallery order
        shared = [len(labels[q] & labels[i]) for i in ranked]
        union = [len(labels[q] | labels[i]) for i in ranked]
        jaccard = [Fraction(s, u) if u else Fraction(0) for s, u in zip(shared, union, strict=True)]
        gain_shared, gain_jaccard = [2**s - 1 for s in shared], [2 ** float(j) - 1 for j in jaccard]
        positive = {key: [j >= t for j in jaccard] for key, t in LEVELS.items()}
        any_shared = [s > 0 for s in shared]
        published = protocol == "imbriaco"

        values["map_sim"].append(precision(any_shared[:map_k]) if any(any_shared) else NAN)
        values["ndcg_sim"].append(dcg_ratio(gain_shared, k, ideal) if any(any_shared) else NAN)
        for key, hits in positive.items():
            if published:
                values[key].append(trapezoid(hits) if any(positive["map_hard"]) else NAN)
            else:
                values[key].append(precision(hits) if any(hits) else NAN)
        if published:
            ndcg = dcg_ratio(gain_shared, k, "retrieved", 1e-6)
            wap = weighted([float(s) for s in shared[:k]], 1e-6)
        else:
            ndcg, wap = dcg_ratio(gain_jaccard, k, ideal), weighted([float(j) for j in jaccard[:k]])
        values["ndcg"].append(ndcg if any(any_shared) else NAN)
        values["wap"].append(wap if any(any_shared) else NAN)
    return {key: np.array(row) for key, row in values.items()}


def precision(hits):
    """Eqs. 11 and 14."""
    total = sum(hits)
    return sum(sum(hits[: i + 1]) / (i + 1) for i in range(len(hits)) if hits[i]) / total if total else 0.0


def trapezoid(hits):
    area, found = 0.0, 0
    for rank, hit in enumerate(hits):
        if hit:
            before = found / rank if rank else 1.0
            area += (before + (found + 1) / (rank + 1)) / 2
            found += 1
    return area / found


def dcg(gain):
    return sum(g / math.log2(1 + i) for i, g in enumerate(gain, 1))


def dcg_ratio(gain, k, ideal, eps=0.0):
    """Eqs. 12 and 15–17."""
    best = dcg(sorted(gain if ideal == "gallery" else gain[:k], reverse=True)[:k])
    return dcg(gain[:k]) / (best + eps) if best else 0.0


def weighted(weight, eps=0.0):
    """Eq. 18."""
    total = sum(w > 0 for w in weight)
    return (
        sum(sum(weight[:i]) / i for i in range(1, len(weight) + 1) if weight[i - 1]) / (total + eps)
        if total
        else 0.0
    )


def assert_same(got: dict, want: dict, rtol: float = 1e-12) -> None:
    assert list(got) == list(METRICS)
    for key in METRICS:
        np.testing.assert_allclose(got[key], want[key], rtol=rtol, atol=1e-15, err_msg=key)


# ---- against the equations


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ideal", ["gallery", "retrieved"])
def test_equals_the_loops(seed: int, ideal: str) -> None:
    z, y = batch(seed)
    want = loops(z, y, ideal=ideal)
    assert_same(per_query(z, y, ideal=ideal), want)
    means = {key: np.nanmean(row) for key, row in want.items()}
    assert_same(evaluate(z, y, ideal=ideal), means)


def test_equals_the_loops_beyond_the_first_hundred() -> None:
    z, y = batch(7, n=130, density=0.2)
    assert_same(per_query(z, y), loops(z, y))


@pytest.mark.parametrize("protocol", ["paper", "imbriaco"])
def test_equals_the_loops_when_the_cuts_miss_positives(protocol: str, monkeypatch) -> None:
    monkeypatch.setattr("core.metrics.scores.CUT", 3)
    monkeypatch.setattr("core.metrics.scores.MAP_CUT", 5)
    z, y = batch(11, n=60, density=0.15)
    rng = np.random.default_rng(0)
    split = rng.permutation(60)
    queries, gallery = split[:20], split[20:]
    got = per_query(z, y, protocol, queries, gallery)
    assert_same(got, loops(z, y, protocol, queries, gallery, k=3, map_k=5))
    assert (got["wap"] == 0).any(), "some query should miss all its positives"


@pytest.mark.parametrize("protocol", ["paper", "imbriaco"])
def test_equals_the_loops_for_chosen_queries_and_gallery(protocol: str) -> None:
    z, y = batch(3, n=50)
    queries, gallery = np.arange(0, 30, 3), np.arange(49, 30, -1)  # the gallery's own order decides ties
    assert_same(per_query(z, y, protocol, queries, gallery), loops(z, y, protocol, queries, gallery))


def test_a_query_inside_a_chosen_gallery_is_not_its_own_match() -> None:
    z, y = batch(5)
    queries, gallery = [4, 0, 30, 7], [1, 4, 9, 30, 12, 20, 21]
    assert_same(per_query(z, y, queries=queries, gallery=gallery), loops(z, y, "paper", queries, gallery))


def test_more_labels_than_a_machine_word() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((30, 150)) < 0.5).astype(int)
    y[10:20] = y[:10]
    y[10:20, 149] ^= 1  # J near 1, told apart by the last label alone
    z = rng.standard_normal((30, 4))
    assert_same(per_query(z, y), loops(z, y))


def test_blocks_do_not_change_the_result(monkeypatch) -> None:
    z, y = batch(2, n=61)
    whole = per_query(z, y)
    chances = chance(y)
    for module in ("ranking", "relevance"):
        monkeypatch.setattr(f"core.metrics.{module}.BLOCK", 150)
    assert_same(per_query(z, y), whole, rtol=1e-14)
    assert_same(chance(y), chances, rtol=1e-14)


def test_sorting_coarsely_first_ranks_exactly(monkeypatch) -> None:
    """Scores that agree to the last bit, that share a coarse step, and that do not; the ends of the range."""
    rng = np.random.default_rng(0)
    for case in range(60):
        size, k = int(rng.integers(1, 90)), int(rng.integers(1, 40))
        values = rng.uniform(-1, 1, rng.integers(1, 30))
        values = np.concatenate([values, values + 2.0**-31, values - 1e-15, [-1.0, 1.0, 0.0]]).clip(-1, 1)
        scores = rng.choice(values, (12, size))
        own = rng.integers(-1, size, 12)
        level = rng.integers(0, 5, (12, size)).astype(np.uint8) if case % 3 else np.ones((12, size), np.uint8)
        inside = np.flatnonzero(own >= 0)
        level[inside, own[inside]] = 0
        want = ranking.order(scores.copy(), own)
        for largest in (size, size - 1):
            monkeypatch.setattr(ranking, "COARSE_SIZE", largest)
            levels, first = ranking.ranked(scores.copy(), own, level, k)
            np.testing.assert_array_equal(levels, np.take_along_axis(level, want, axis=1))
            np.testing.assert_array_equal(first, want[:, :k])


def test_the_coarse_sort_is_not_the_only_one() -> None:
    """Two images a tenth of a coarse step apart: the relevant one is the nearer, or the farther."""
    scores = np.array([[0.5, 0.5 + 2.0**-32, 0.1], [0.5, 0.5 - 2.0**-32, 0.1]])
    level = np.array([[1, 0, 0], [1, 0, 0]], np.uint8)
    levels, first = ranking.ranked(scores, np.array([-1, -1]), level, 2)
    assert levels.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert first.tolist() == [[1, 0], [0, 1]]


def test_one_core_and_several_give_the_same(monkeypatch) -> None:
    z, y = batch(4, n=70)
    monkeypatch.setattr(ranking, "BLOCK", 200)
    monkeypatch.setattr(ranking, "cores", lambda: 3)
    several = per_query(z, y)
    monkeypatch.setattr(ranking, "cores", lambda: 1)
    assert_same(per_query(z, y), several, rtol=0)


def test_a_fault_in_one_block_is_raised(monkeypatch) -> None:
    monkeypatch.setattr(ranking, "BLOCK", 10)
    monkeypatch.setattr(ranking, "cores", lambda: 2)

    def fail(block: slice, scores: np.ndarray) -> None:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        ranking.each_block(ranking.make_task(9, "paper", None, None), lambda block: np.ones((1, 9)), fail)


# ---- by hand


def test_worked_by_hand() -> None:
    """Five images on a quarter circle; image 0 asks, the others follow in order 1, 2, 3, 4."""
    angle = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    z = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    #             J to image 0: 1/2     0          1          2/5
    y = np.array([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
    got = {key: row[0] for key, row in per_query(z, y).items()}
    d = [1 / math.log2(1 + i) for i in range(1, 5)]
    assert got["map_sim"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3, rel=1e-14)
    assert got["map_easy"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3, rel=1e-14)  # J = 0.4 is Easy
    assert got["map_medium"] == got["map_hard"] == pytest.approx(1 / 3, rel=1e-14)
    assert got["ndcg_sim"] == pytest.approx(
        (d[0] + 3 * d[2] + 3 * d[3]) / (3 * d[0] + 3 * d[1] + d[2]), rel=1e-14
    )
    half, fifth = math.sqrt(2) - 1, 2**0.4 - 1
    assert got["ndcg"] == pytest.approx(
        (half * d[0] + d[2] + fifth * d[3]) / (d[0] + half * d[1] + fifth * d[2])
    )
    assert got["wap"] == pytest.approx((1 / 2 + (3 / 2) / 3 + (19 / 10) / 4) / 3, rel=1e-14)


@pytest.mark.parametrize(
    ("shared", "union", "level"),
    [
        (2, 5, 1),
        (3, 5, 2),
        (4, 5, 3),
        (3, 8, 0),
        (4, 7, 1),
        (7, 9, 2),
        (6, 10, 2),
        (12, 15, 3),
        (9, 15, 2),
        (5, 5, 3),
    ],
)
def test_thresholds_are_inclusive_and_exact(shared: int, union: int, level: int) -> None:
    y = np.zeros((2, 15), int)
    y[0, :shared], y[1, :union] = 1, 1
    got = evaluate(np.eye(2), y)
    for i, key in enumerate(LEVELS, start=1):
        assert got[key] == 1 if level >= i else math.isnan(got[key])


# ---- defined edges


def test_ties_stay_in_gallery_order() -> None:
    _, y = batch(1)
    z = np.ones((len(y), 3))  # every ranking is a tie from end to end
    assert_same(per_query(z, y), loops(z, y))


@pytest.mark.parametrize("dim", [3, 64, 128])
def test_duplicates_tie_exactly(dim: int) -> None:
    """Each embedding three times: where the copies stand in the gallery decides, not rounding."""
    rng = np.random.default_rng(dim)
    z = np.tile(rng.standard_normal((23, dim)), (3, 1)).astype(np.float32)
    y = (rng.random((69, 5)) < 0.4).astype(int)
    want = loops(z.astype(np.float64), y)
    assert_same(per_query(z, y), want)


def test_a_single_image_and_a_gallery_smaller_than_k() -> None:
    alone = evaluate(np.ones((1, 4)), np.ones((1, 2)))
    assert all(math.isnan(value) for value in alone.values())
    assert all(math.isnan(value) for value in chance(np.ones((1, 2))).values())
    assert all(math.isnan(value) for value in oracle(np.ones((1, 2))).values())
    two = evaluate(np.eye(2), np.ones((2, 3)))
    assert two == dict.fromkeys(METRICS, 1.0)


def test_no_positive_anywhere_is_nan() -> None:
    z, y = np.random.default_rng(0).standard_normal((5, 3)), np.eye(5)
    assert all(math.isnan(value) for value in evaluate(z, y).values())
    assert all(math.isnan(value) for value in chance(y).values())
    assert all(math.isnan(value) for value in evaluate(z, np.zeros((5, 2))).values())


def test_an_empty_gallery_is_nan() -> None:
    z, y = batch(0)
    none = np.array([], dtype=int)
    assert all(math.isnan(value) for value in evaluate(z, y, gallery=none).values())
    assert all(math.isnan(value) for value in evaluate(z, y, queries=none).values())
    assert all(math.isnan(value) for value in chance(y, gallery=none).values())


def test_a_zero_row_has_cosine_zero() -> None:
    z = np.array([[1.0, 0], [0, 0], [-1, 0], [1, 0.1]])
    y = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    assert per_query(z, y)["map_sim"][0] == pytest.approx(
        1 / 3
    )  # 3, 1, 2: the positive is behind the zero row


# ---- properties


def test_scale_type_and_container_do_not_matter() -> None:
    z, y = batch(9)
    z = z.astype(np.float32)
    want = evaluate(z, y)
    length = 2.0 ** np.random.default_rng(0).integers(-60, 60, size=(len(z), 1))
    assert evaluate(z.astype(np.float64) * length, y.astype(bool)) == want
    assert evaluate(torch.tensor(z, requires_grad=True), torch.tensor(y)) == want
    assert evaluate(z.tolist(), y.tolist()) == want
    half = torch.tensor(z).bfloat16()
    assert evaluate(half, y) == evaluate(half.double().numpy(), y)


def test_the_order_of_images_and_labels_does_not_matter_without_ties() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((50, 8)), (rng.random((50, 6)) < 0.3).astype(int)
    want, image, label = per_query(z, y), rng.permutation(50), rng.permutation(6)
    got = per_query(z[image], y[image][:, label])
    assert_same(got, {key: row[image] for key, row in want.items()})


def test_a_perfect_embedding_reaches_the_oracle() -> None:
    """One label each, one direction per label: the ranking by cosine is the ranking by J."""
    rng = np.random.default_rng(0)
    y = np.eye(4)[rng.integers(4, size=30)]
    got = evaluate(y, y)
    assert got == oracle(y)
    assert got == pytest.approx(dict.fromkeys(METRICS, 1.0), rel=1e-14)


def test_the_oracle_ranks_by_jaccard() -> None:
    """With embeddings whose cosines are the Jaccard indices, a positive definite kernel."""
    _, y = batch(4, n=25)
    y[y.sum(1) == 0, 0] = 1
    jaccard = (y @ y.T) / (y.sum(1)[:, None] + y.sum(1) - y @ y.T)
    values, vectors = np.linalg.eigh(jaccard)
    z = vectors * np.sqrt(np.maximum(values, 0))
    assert_same(oracle(y), evaluate(z, y), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_bounds(seed: int) -> None:
    z, y = batch(seed, n=80)
    got, best = per_query(z, y), oracle(y)
    for key in METRICS:
        kept = got[key][~np.isnan(got[key])]
        assert (kept >= 0).all()
        assert (kept <= 1 + 1e-12).all()
    for key in ("map_sim", *LEVELS, "ndcg"):
        assert evaluate(z, y)[key] <= best[key]
        assert best[key] == pytest.approx(1, rel=1e-12)
    assert 0.9 < best["ndcg_sim"] <= 1
    for key, value in chance(y).items():
        assert 0 < value < 1, key


# ---- other implementations


def test_torchmetrics_agrees() -> None:
    rng = np.random.default_rng(0)  # no duplicates: it compares in float32 and breaks ties differently
    z, y = rng.standard_normal((80, 7)), (rng.random((80, 5)) < 0.15).astype(int)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    shared = y @ y.T
    jaccard = shared / np.maximum(y.sum(1)[:, None] + y.sum(1) - shared, 1)
    others = ~np.eye(len(z), dtype=bool)
    score = torch.tensor((unit @ unit.T + 2)[others])  # it takes scores ≤ 0 for irrelevant
    query = torch.arange(len(z)).repeat_interleave(len(z) - 1)
    got = evaluate(z, y)
    for key, hits in {
        "map_sim": shared > 0,
        **{k: jaccard >= float(t) - 1e-9 for k, t in LEVELS.items()},
    }.items():
        peer = RetrievalMAP(empty_target_action="skip")(score, torch.tensor(hits[others]), indexes=query)
        assert got[key] == pytest.approx(float(peer), abs=1e-6), key
    peer = RetrievalNormalizedDCG(empty_target_action="skip", top_k=100)
    assert got["ndcg_sim"] == pytest.approx(
        float(peer(score, torch.tensor((2**shared - 1)[others]), indexes=query)), abs=1e-6
    )


def test_scikit_learn_agrees() -> None:
    z, y = batch(1, n=120, labels=5, density=0.3)
    z = z + 1e-3 * np.random.default_rng(1).standard_normal(z.shape)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    got = per_query(z, y)
    for q in range(0, 120, 7):
        others = np.arange(120) != q
        shared = (y @ y[q])[others]
        jaccard = shared / np.maximum((y | y[q]).sum(1)[others], 1)
        cosine = (unit @ unit[q])[others]
        for key, hits in {"map_sim": shared > 0, "map_medium": jaccard >= 0.6 - 1e-9}.items():
            if hits.any():
                assert got[key][q] == pytest.approx(average_precision_score(hits, cosine), abs=1e-6)
            else:
                assert np.isnan(got[key][q])
        if shared.any():
            for key, gain in {"ndcg_sim": 2.0**shared - 1, "ndcg": 2.0**jaccard - 1}.items():
                assert got[key][q] == pytest.approx(ndcg_score([gain], [cosine], k=100), abs=1e-6)


def test_ranx_agrees() -> None:
    """It brings a dozen packages along, so it is no dependency: where it is installed it is asked too."""
    ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((70, 7)), (rng.random((70, 5)) < 0.2).astype(int)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    shared, names = y @ y.T, [f"image{i}" for i in range(len(z))]
    jaccard = shared / np.maximum(y.sum(1)[:, None] + y.sum(1) - shared, 1)
    others = {q: np.flatnonzero(np.arange(len(z)) != q) for q in range(len(z))}
    cosines = {q: {names[i]: float(unit[q] @ unit[i]) for i in rest} for q, rest in others.items()}
    got = per_query(z, y)
    for key, worth, measure in [
        ("map_sim", shared > 0, "map"),
        *((key, jaccard >= float(t) - 1e-9, "map") for key, t in LEVELS.items()),
        ("ndcg_sim", 2**shared - 1, "ndcg@100"),
    ]:
        positive = {q: rest[worth[q, rest] > 0] for q, rest in others.items()}
        assert all(np.isnan(got[key][q]) for q in others if not positive[q].size)
        asked = [q for q in others if positive[q].size]
        judged = {names[q]: {names[i]: int(worth[q, i]) for i in positive[q]} for q in asked}
        run = ranx.Run({names[q]: cosines[q] for q in asked})
        peer = ranx.evaluate(ranx.Qrels(judged), run, measure, return_mean=False)
        by_name = sorted(asked, key=lambda q: names[q])
        np.testing.assert_allclose(got[key][by_name], peer, atol=1e-6, err_msg=key)


@pytest.fixture(scope="module")
def published() -> dict[str, np.ndarray]:
    folder = Path(os.environ.get("MACL_GOLDENS", PROJECT / "tests" / "goldens"))
    with np.load(folder / "metrics_imbriaco.npz") as archive:
        return dict(archive)


def test_imbriaco_golden_values(published: dict[str, np.ndarray], monkeypatch) -> None:
    arguments = (published["V"], published["Y"], "imbriaco", published["qr_idx"], published["db_idx"])
    got = per_query(*arguments)
    means = evaluate(*arguments)
    no_hard = np.isnan(published["ap_hard"])
    assert no_hard.any()
    for level in ("easy", "medium", "hard"):
        want = np.where(no_hard, np.nan, published[f"ap_{level}"])
        np.testing.assert_allclose(got[f"map_{level}"], want, rtol=1e-10)
        assert means[f"map_{level}"] == pytest.approx(float(published[f"map_{level}"]), rel=1e-10)
    for k in (100, 20):
        monkeypatch.setattr("core.metrics.scores.CUT", k)
        means = evaluate(*arguments)
        assert means["ndcg"] == pytest.approx(float(published[f"nDCG@{k}"]), rel=1e-10)
        assert means["wap"] == pytest.approx(float(published[f"wAP@{k}"]), rel=1e-10)


def test_imbriaco_keeps_the_two_similarity_metrics(published: dict[str, np.ndarray]) -> None:
    split = {"queries": published["qr_idx"], "gallery": published["db_idx"]}
    here = evaluate(published["V"], published["Y"], "imbriaco", **split)
    paper = evaluate(published["V"], published["Y"], **split)
    assert (here["map_sim"], here["ndcg_sim"]) == (paper["map_sim"], paper["ndcg_sim"])


def test_imbriaco_splits_by_itself() -> None:
    z, y = batch(0, n=100)
    got = per_query(z, y, "imbriaco")
    assert len(got["wap"]) == 20
    assert_same(got, per_query(z, y, "imbriaco"))
    queries = np.arange(0, 100, 9)
    rest = np.setdiff1d(np.arange(100), queries)
    want = per_query(z, y, "imbriaco", queries, rest)
    assert_same(per_query(z, y, "imbriaco", queries=queries), want)
    assert_same(per_query(z, y, "imbriaco", gallery=rest), want)


# ---- chance


def test_chance_is_the_mean_over_all_orders(monkeypatch) -> None:
    """Every order of a gallery of six, with cuts that the gallery exceeds."""
    for module in ("scores", "expected"):
        monkeypatch.setattr(f"core.metrics.{module}.CUT", 3)
        monkeypatch.setattr(f"core.metrics.{module}.MAP_CUT", 4)
    y = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0], [0, 0, 1]])
    for query, gallery in ((0, [1, 2, 3, 4, 5, 6]), (3, [2, 3, 4, 1, 6, 7])):
        totals: dict[str, list[np.ndarray]] = {key: [] for key in METRICS}
        for order in itertools.permutations(range(len(gallery))):
            z = np.zeros((8, 2))
            angle = 0.1 * (1 + np.array(order))
            z[gallery] = np.stack([np.cos(angle), np.sin(angle)], axis=1)
            z[query] = 1, 0
            for key, row in per_query(z, y, queries=[query], gallery=gallery).items():
                totals[key].append(row[0])
        got = chance(y, queries=[query], gallery=gallery)
        for key, row in totals.items():
            mean = np.mean(row)
            assert got[key] == pytest.approx(mean, rel=1e-12, nan_ok=True), key


def test_chance_agrees_with_shuffled_embeddings() -> None:
    _, y = batch(3, n=150, density=0.2)
    rng = np.random.default_rng(0)
    draws = [evaluate(rng.standard_normal((150, 40)), y) for _ in range(100)]
    for key, value in chance(y).items():
        row = np.array([draw[key] for draw in draws])
        assert abs(row.mean() - value) < 4 * row.std() / 10, key


def test_chance_without_a_closed_form_is_seeded_and_close() -> None:
    _, y = batch(3, n=150, density=0.2)
    rng = np.random.default_rng(1)
    for options in ({"protocol": "imbriaco"}, {"ideal": "retrieved"}):
        got = chance(y, **options)
        assert got == chance(y, **options)
        draws = [evaluate(rng.standard_normal((150, 40)), y, **options) for _ in range(60)]
        for key, value in got.items():
            row = np.array([draw[key] for draw in draws])
            assert abs(row.mean() - value) < 5 * row.std() * math.sqrt(1 / 60 + 1 / 20), key


def label_table(folder: Path, name: str) -> np.ndarray:
    if name == "WHDLD":
        with zipfile.ZipFile(folder / "WHDLD.zip") as archive:
            book = openpyxl.load_workbook(io.BytesIO(archive.read("WHDLD/multilabels.xlsx")), read_only=True)
            rows = [row for row in book.active.iter_rows(values_only=True) if row[0]]
    else:
        member = {"DLRSD": "DLRSD/multilabels.csv", "AID_multilabel": "AID_multilabel/multilabel.csv"}[name]
        with zipfile.ZipFile(folder / f"{name}.zip") as archive, archive.open(member) as file:
            rows = [row for row in csv.reader(io.TextIOWrapper(file, "utf-8-sig")) if row]
    return np.array([[int(float(value)) for value in row[1:]] for row in rows[1:]])


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("DLRSD", (64.51, 29.36, 12.69, 4.62)),
        ("AID_multilabel", (84.85, 57.88, 36.19, 14.24)),
        ("WHDLD", (97.60, 80.67, 64.47, 40.26)),
    ],
)
def test_chance_on_the_published_label_tables(archives: Path, name: str, percent: tuple[float, ...]) -> None:
    got = chance(label_table(archives, name))
    for key, want in zip(("map_sim", *LEVELS), percent, strict=True):
        assert got[key] == pytest.approx(want / 100, abs=1e-4), key


# ---- label by label


def test_per_label_equals_the_loops() -> None:
    z, y = batch(6)
    y[:, 3] = 0
    y[5, 3] = 1  # a label that only one image has
    got = metrics.per_label(z, y)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    for label in range(y.shape[1]):
        values = []
        for q in np.flatnonzero(y[:, label]):
            others = [i for i in range(len(z)) if i != q]
            key = {i: round(float(unit[q] @ unit[i]), 12) for i in others}
            hits = [bool(y[i, label]) for i in sorted(others, key=lambda i, key=key: -key[i])]
            values += [precision(hits)] if any(hits) else []
        assert got[label] == pytest.approx(np.mean(values) if values else NAN, rel=1e-12, nan_ok=True)
    assert np.isnan(got[3])


def test_per_label_of_disjoint_queries_and_gallery() -> None:
    z = np.array([[1.0, 0], [1, 0.1], [1, 0.2], [1, 0.3]])
    y = np.array([[1, 0], [0, 1], [1, 1], [1, 0]])
    got = metrics.per_label(z, y, queries=[0], gallery=[1, 2, 3])
    np.testing.assert_allclose(got, [(1 / 2 + 2 / 3) / 2, np.nan])


def test_rarity_groups() -> None:
    counts = [5, 100, 7, 7, 50, 1, 2]
    groups = metrics.rarity_groups(counts)
    assert {key: list(value) for key, value in groups.items()} == {
        "head": [1, 4, 2],
        "middle": [3, 0],
        "tail": [6, 5],
    }
    values = [0.1, 0.9, 0.3, 0.5, 0.6, NAN, 0.2]
    assert metrics.by_rarity(values, counts) == pytest.approx({"head": 0.6, "middle": 0.3, "tail": 0.2})


def test_by_label_count_splits_the_queries() -> None:
    z, y = batch(8, n=90)
    table = metrics.by_label_count(z, y)
    values, count = per_query(z, y), y.sum(1)
    assert list(table) == sorted(set(count[count > 0]))
    for n, row in table.items():
        assert_same(row, {key: np.nanmean(values[key][count == n]) for key in METRICS})


# ---- arguments


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": np.ones(4)}, r"need z \(N, D\)"),
        ({"z": np.ones((4, 2), complex)}, r"need z \(N, D\)"),
        ({"z": np.ones((3, 2))}, "need as many rows"),
        ({"z": np.array([[1, NAN], [1, 1], [1, 1], [1, 1]])}, "need finite z, got 1 row"),
        ({"y": np.full((4, 2), 2)}, "need only 0 and 1"),
        ({"y": np.full((4, 2), -1)}, "need only 0 and 1"),
        ({"y": np.full((4, 2), 256)}, "need only 0 and 1"),
        ({"y": np.full((4, 2), 0.5)}, "need only 0 and 1"),
        ({"y": np.full((4, 2), NAN)}, "need only 0 and 1"),
        ({"y": np.ones(4)}, r"need y \(N, L\)"),
        ({"y": np.ones((4, 0))}, r"need y \(N, L\)"),
        ({"protocol": "trec"}, "need protocol paper or imbriaco"),
        ({"ideal": "best"}, "need ideal gallery or retrieved"),
        ({"queries": [4]}, "need queries within 0 … 3"),
        ({"queries": [-1]}, "need queries within 0 … 3"),
        ({"gallery": [1, 1]}, "need each image once in gallery"),
        ({"gallery": [0.5]}, "need gallery as a row of indices"),
        ({"protocol": "imbriaco", "queries": [0, 1], "gallery": [1, 2]}, "need disjoint queries and gallery"),
    ],
)
def test_bad_arguments(change: dict, message: str) -> None:
    arguments = {"z": np.ones((4, 2)), "y": np.ones((4, 2))} | change
    with pytest.raises(ValueError, match=message):
        evaluate(**arguments)


def test_needs_no_torch() -> None:
    code = "import sys, core.metrics, core.retrieval.search; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
