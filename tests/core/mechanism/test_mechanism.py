"""The numpy forms equal the torch losses; hand-worked points, loops, optima against a solver, and CSV."""

import csv
import io
import math
import time
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from core import mechanism
from core.labels import jaccard
from core.losses import LOSSES, check_params, make_loss
from core.mechanism import Batch
from tests.loss_batches import random_batch

force, macl, maps = (import_module(f"core.mechanism.{name}") for name in ("force", "macl", "maps"))
LABELS = (np.random.default_rng(0).random((200, 6)) < 0.3).astype(np.uint8)


def variants() -> list[tuple[str, dict]]:
    found = []
    for key, spec in LOSSES.items():
        found.append((key, {}))
        for p in spec.parameters:
            if p.kind == "bool":
                found.append((key, {p.name: not p.default}))
            elif p.kind == "choice":
                found += [(key, {p.name: value}) for value in p.choices if value != p.default]
            else:
                found.append((key, {p.name: 0.7}))
        if key in ("lreg", "lworeg"):
            found.append((key, {"alpha": -1.0}))
        if key in mechanism.MACL:
            found.append((key, {"use_w": False, "use_T": False}))
            found.append((key, {"denominator": "own", "normalize_w": True, "overlap_weight": True}))
            found.append((key, {"frequency": "share", "cooccurrence": "mean", "rarity": "min"}))
    return found


@pytest.mark.parametrize(("key", "given"), variants(), ids=lambda value: str(value).replace(" ", ""))
def test_weights_and_forces_equal_the_torch_losses(key: str, given: dict) -> None:
    for seed in (0, 1):
        z, y = random_batch(seed, images=18)
        loss = make_loss(key, LABELS, 8, **given).double()
        s = loss.similarities(z).detach().requires_grad_()
        loss.from_similarities(s, y.double()).backward()
        size, batch, params = len(y), y.numpy().astype(np.uint8), check_params(key, given)

        factors = mechanism.factors(key, batch, LABELS, params)
        weights = factors.weights
        forces = mechanism.forces(key, s.detach().numpy()[:size], batch, params, factors)

        np.testing.assert_allclose(weights, loss.weights(y.double())[:size], rtol=0, atol=1e-10)
        np.testing.assert_allclose(forces, -s.grad[:size], rtol=0, atol=1e-10)
        assert np.abs(forces).max() > 1e-6


@pytest.mark.parametrize("given", [given for key, given in variants() if key == "macl"], ids=str)
def test_pair_terms_equal_the_torch_loss(given: dict) -> None:
    _, y = random_batch(2, images=18)
    theirs = make_loss("macl", LABELS, 8, **given).pair_terms(y.double())
    ours = mechanism.pair_terms(y.numpy().astype(np.uint8), LABELS, check_params("macl", given))
    for name in ("f", "h", "J", "w", "T"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-12, err_msg=name)


def test_printed_and_corrected_eq7_equal_the_loss() -> None:
    z, y = random_batch(3)
    batch, params = y.numpy().astype(np.uint8), check_params("macl", {})
    loss, s = make_loss("macl", LABELS, 8), z @ z.T
    found = mechanism.maps("macl", Batch(batch, LABELS, z.numpy()), params).values
    for name, printed in (("force", False), ("printed", True)):
        expected = -loss.eq7(s, y.double(), printed=printed) / y.sum()
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found["difference"], found["printed"] - found["force"])
    assert np.abs(found["difference"]).max() > 1e-4


def test_own_and_baselines_have_no_printed_form() -> None:
    z, y = random_batch(3)
    batch = Batch(y.numpy().astype(np.uint8), LABELS, z.numpy())
    own = mechanism.maps("macl", batch, check_params("macl", {"denominator": "own"}))
    assert "printed" not in own.values
    assert "printed" not in mechanism.maps("mulsupcon", batch, check_params("mulsupcon", {})).values


def test_label_parts_of_a_pair_worked_on_paper() -> None:
    # 4 training images: label 0 in three, label 1 in two, both in two
    labels = np.array([[1, 0], [1, 1], [1, 1], [0, 0]], np.uint8)
    y = np.array([[1, 1], [1, 1], [1, 0]], np.uint8)
    terms = mechanism.pair_terms(y, labels, check_params("macl", {}))
    w = 1 / (math.log(3) + 1e-8)
    T = math.exp(-1.5) + 0.1 / math.log(1 + 2.5)
    assert terms.w[0, 1] == pytest.approx(w, rel=1e-14)
    assert terms.T[0, 1] == pytest.approx(T, rel=1e-14)
    first, second = mechanism.label_parts(y, terms, 0, 1)
    assert (first.label, first.positives) == (0, 2)
    assert (second.label, second.positives) == (1, 1)
    assert first.weight == pytest.approx(w / 2)
    assert first.pull == pytest.approx(w / T / 2)
    pull = mechanism.maps("macl", Batch(y, labels), check_params("macl", {})).values["pull"]
    assert first.pull + second.pull == pytest.approx(pull[0, 1] * y.sum())


@pytest.mark.parametrize("weighted", [False, True])
def test_label_shares_equal_loops(weighted: bool) -> None:
    _, y = random_batch(4)
    batch = y.numpy().astype(np.uint8)
    gamma = np.random.default_rng(0).random((len(batch), len(batch))) * (batch @ batch.T > 0)
    expected = np.zeros(batch.shape[1])
    for i, row in enumerate(batch):
        for label in np.flatnonzero(row):
            positives = [p for p in range(len(batch)) if p != i and batch[p, label]]
            for p in positives:
                share = 1 / (row.sum() * len(batch)) if weighted else 1 / batch.sum()
                expected[label] += share * gamma[i, p] / len(positives)
    np.testing.assert_allclose(mechanism.label_shares(batch, gamma, weighted), expected / expected.sum())


def test_mulsupcon_gives_every_label_its_images() -> None:
    _, y = random_batch(4)
    batch = y.numpy().astype(np.uint8)
    shares = mechanism.label_shares(batch, (batch @ batch.T > 0).astype(float), False)
    held = np.where(batch.sum(0) > 1, batch.sum(0), 0)
    np.testing.assert_allclose(shares, held / held.sum())


@pytest.mark.parametrize("own", [False, True])
def test_asked_similarities_are_the_optimum(own: bool) -> None:
    _, y = random_batch(5, images=16)
    batch, params = y.numpy().astype(np.uint8), check_params("macl", {})
    w, T, _ = mechanism.factors("macl", batch, LABELS, params)
    optimal = mechanism.optimal_similarities(w, T, own)
    assert (np.isfinite(optimal) == (w > 0)).all()
    for i in np.flatnonzero((w > 0).any(1)):
        positive, c = w[i] > 0, w[i][w[i] > 0] / w[i].sum()

        def loss(x: np.ndarray, i: int = i, positive: np.ndarray = positive, c: np.ndarray = c) -> float:
            s = np.full(len(w), -1.0)
            s[positive] = x
            total = 0.0
            for share, p in zip(c, np.flatnonzero(positive), strict=True):
                t = np.full(len(w), T[i, p]) if own else T[i]
                others = np.arange(len(w)) != i
                total -= share * (s[p] / t[p] - math.log(np.exp(s[others] / t[others]).sum()))
            return total

        bounds = [(-1, 1)] * int(positive.sum())
        other = minimize(loss, np.zeros(len(bounds)), bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-10})
        assert loss(optimal[i, positive]) <= other.fun + 1e-12
        np.testing.assert_allclose(optimal[i, positive], other.x, atol=1e-3)


def test_eq4_asks_less_of_exact_matches_and_own_does_not() -> None:
    # one anchor, an exact match, two partial ones of the same weight, and negatives
    w = np.array([[0, 1, 1, 1, 0, 0, 0, 0.0]])
    T = np.array([[0.24, 0.24, 0.4, 0.6, 1, 1, 1, 1.0]])
    eq4, own = mechanism.optimal_similarities(w, T, False)[0], mechanism.optimal_similarities(w, T, True)[0]
    assert eq4[1] / 0.24 == pytest.approx(eq4[2] / 0.4, abs=1e-6)  # s = T (log share + C)
    assert eq4[1] < eq4[2] < eq4[3] <= 1
    assert own[1] > own[2] > own[3]


def test_nested_asks_for_the_order_of_the_overlaps() -> None:
    """The optimum is no worse than a general solver's, and rises with the overlap."""
    _, y = random_batch(5, images=16)
    batch, params = y.numpy().astype(np.uint8), check_params("macl_nested", {"tau": 0.3})
    w = mechanism.factors("macl_nested", batch, LABELS, params).weights
    optimal, J = mechanism.nested_optimum(batch, w, 0.3, len(batch)), jaccard(batch, batch)
    assert (np.isfinite(optimal) == (w > 0)).all()
    for i in np.flatnonzero((w > 0).any(1)):
        positive, sets = w[i] > 0, mechanism.compared(batch, int(i))

        def loss(
            x: np.ndarray, i: int = i, positive: np.ndarray = positive, sets: np.ndarray = sets
        ) -> float:
            s = np.full(len(w), -1.0)
            s[positive] = x
            rows = np.flatnonzero(positive)
            return float(
                sum(w[i, p] * (math.log(np.exp(s[sets[p]] / 0.3).sum()) - s[p] / 0.3) for p in rows)
                / w[i].sum()
            )

        bounds = [(-1, 1)] * int(positive.sum())
        other = minimize(loss, np.zeros(len(bounds)), bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-10})
        assert loss(optimal[i, positive]) <= other.fun + 1e-6
        assert (optimal[i, positive][J[i, positive] == J[i, positive].max()] > 1 - 1e-6).all()
    levels = np.unique(J[w > 0])
    means = [float(optimal[(w > 0) & (level == J)].mean()) for level in (levels[0], levels[-1])]
    assert means[0] < means[1]


def test_whom_a_positive_is_compared_with() -> None:
    y = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1]], np.uint8)
    sets = mechanism.compared(y, 0)  # overlaps with image 0: itself, 1, 1/2, 1/2, 2/3, 0
    assert [np.flatnonzero(row).tolist() for row in sets] == [
        [], [1, 2, 3, 4, 5], [2, 5], [3, 5], [2, 3, 4, 5], []
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["label", "rarity", "cluster"])
def test_order_is_a_permutation(how: str) -> None:
    z, y = random_batch(0)
    batch = y.numpy().astype(np.uint8)
    order = mechanism.order(how, batch, LABELS, (z @ z.T).numpy())
    assert sorted(order) == list(range(len(batch)))


def test_rows_by_label_stand_in_blocks_and_by_rarity_rise() -> None:
    batch = LABELS[:40]
    blocks = mechanism.pictured(batch, LABELS)[mechanism.order("label", batch, LABELS)]
    assert len(np.flatnonzero(np.diff(blocks))) == len(set(blocks)) - 1
    count = LABELS.sum(0)
    assert list(count[blocks[blocks >= 0]]) == sorted(count[blocks[blocks >= 0]])
    mean = (batch @ count) / np.maximum(batch.sum(1), 1)
    assert (np.diff(mean[mechanism.order("rarity", batch, LABELS)]) >= 0).all()


def test_clusters_stand_side_by_side() -> None:
    group = np.random.default_rng(0).permutation(np.repeat(np.arange(4), 6))
    similarity = np.where(group[:, None] == group, 0.9, 0.0)
    found = group[
        mechanism.order("cluster", np.ones((24, 1), np.uint8), np.ones((2, 1), np.uint8), similarity)
    ]
    assert len(np.flatnonzero(np.diff(found))) == 3


def test_draws_repeat_and_hold_the_chosen_labels() -> None:
    assert list(mechanism.draw(LABELS, 10, 3)) == list(mechanism.draw(LABELS, 10, 3))
    assert list(mechanism.draw(LABELS, 10, 3)) != list(mechanism.draw(LABELS, 10, 4))
    rows = mechanism.draw(LABELS, 10, 3, [1, 2])
    assert LABELS[rows][:, [1, 2]].any(axis=1).all()
    assert len(set(mechanism.draw(LABELS, 500, 0))) == len(LABELS)


def test_nearest_begins_with_the_image() -> None:
    z = random_batch(0)[0].numpy()
    rows = mechanism.nearest(z, 4, 6)
    assert rows[0] == 4
    cosines = z[rows] @ z[4]
    assert (np.diff(cosines) <= 1e-12).all()
    assert cosines[-1] >= np.sort(z @ z[4])[-6] - 1e-12


@pytest.mark.parametrize("key", LOSSES)
def test_shares_of_an_anchor(key: str) -> None:
    _, y = random_batch(0)
    batch = Batch(y.numpy().astype(np.uint8), LABELS)
    row = mechanism.shares(key, batch, check_params(key, {}), 3)
    assert row.shape == (len(y) + y.shape[1],)
    assert row.sum() == pytest.approx(1)
    assert row[3] == 0


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("macl", {}),
        ("macl", {"alpha": 3.0, "beta": 0.5}),
        ("macl", {"use_T": False, "tau": 0.1}),
        ("wg_macl", {"use_w": False, "tau_scale": 0.5}),
        ("mulsupcon", {"tau": 0.1}),
        ("lmsc", {}),
    ],
    ids=str,
)
def test_shares_are_those_of_the_map_of_the_pull(key: str, given: dict) -> None:
    _, y = random_batch(0)
    batch, params = Batch(y.numpy().astype(np.uint8), LABELS), check_params(key, given)
    pull = mechanism.maps(key, batch, params).values["pull"][3]
    shares = mechanism.shares(key, batch, params, 3)
    np.testing.assert_allclose(shares[: len(pull)], pull / pull.sum(), atol=1e-12)


@pytest.mark.parametrize("key", ["macl", "lreg", "lproto", "oml"])
def test_csv_holds_the_arrays(key: str) -> None:
    z, y = random_batch(0)
    batch = y.numpy().astype(np.uint8)
    classes = ["=sum(A1)", *(f"label {n}" for n in range(1, 6))]
    names = [f"image {n}" for n in range(len(batch))]
    prototypes = mechanism.centroids(z.numpy(), batch)
    found = mechanism.maps(key, Batch(batch, LABELS, z.numpy(), prototypes), check_params(key, {}))
    text = mechanism.pairs_csv(found, batch, names, classes)
    rows = list(csv.DictReader(io.StringIO(text)))
    others = (names if found.images else []) + [f"prototype of {name}" for name in classes]
    assert len(rows) == found.values["J"].size - (len(names) if found.images else 0)
    assert not any(cell.startswith("=") for row in rows for cell in row.values())
    for row in rows:
        place = names.index(row["anchor"]), others.index(row["other"])
        for name, values in found.values.items():
            assert float(row[name]) == values[place]
        if key == "macl":
            assert float(row["f"]) == found.terms.f[place]


def test_centroids_are_unit_rows_and_0_for_a_label_that_nobody_has() -> None:
    z, y = random_batch(0)
    found = mechanism.centroids(z.numpy(), y.numpy().astype(np.uint8))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1] * 5 + [0])


def test_maps_without_embeddings_hold_what_labels_alone_give() -> None:
    batch = Batch(LABELS[:20], LABELS)
    found = mechanism.maps("macl", batch, check_params("macl", {})).values
    assert set(found) == {"T", "w", "gamma", "J", "pull"}
    np.testing.assert_array_equal(found["J"], jaccard(LABELS[:20], LABELS[:20]))


@pytest.mark.parametrize("key", mechanism.MACL)
def test_the_terms_of_a_batch_are_computed_once(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are most of a redraw, and every map needs them."""
    counted = []

    def once(*given: Any) -> Any:
        counted.append(key)
        return macl.pair_terms(*given)

    for module in (force, maps):
        monkeypatch.setattr(module, "pair_terms", once, raising=False)
    z, y = random_batch(0)
    mechanism.maps(key, Batch(y.numpy().astype(np.uint8), LABELS, z.numpy()), check_params(key, {}))
    assert counted == [key]


def test_a_batch_of_128_takes_less_than_150_ms() -> None:
    labels = (np.random.default_rng(1).random((1500, 17)) < 0.2).astype(np.uint8)
    z = torch.nn.functional.normalize(torch.randn(128, 128, dtype=torch.float64), dim=1).numpy()
    batch, times = Batch(labels[:128], labels, z), []
    for alpha in (0.0, 1.0, 2.0, 3.0, 1.5):
        started = time.thread_time()  # of this thread alone: other processes of the machine do not count
        mechanism.maps("macl", batch, check_params("macl", {"alpha": alpha}))
        times.append(time.thread_time() - started)
    assert min(times) < 0.15
