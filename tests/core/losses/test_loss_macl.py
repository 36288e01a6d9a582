"""MACL and Wg-MACL."""

import itertools
import math

import numpy as np
import pytest
import torch

from core.losses import grouped, make_loss, rarity
from core.losses.grouped import own_contrast
from tests import golden_cases as golden
from tests.loss_batches import random_batch

FILE = "macl_simdis_selfmade"
DEFAULTS = {
    "alpha": 1.5,
    "beta": 0.1,
    "eps": 1e-8,
    "use_w": True,
    "use_T": True,
    "tau": 0.3,
    "tau_scale": 1.0,
    "denominator": "paper",
    "frequency": "count",
    "cooccurrence": "support",
    "rarity": "mean",
    "normalize_w": False,
    "overlap_weight": False,
}


@golden.params(FILE, lambda args: "macl" in args)
def test_golden(case, args):
    golden.check(args, FILE, case, args)


def split(seed=1, images=60, labels=6):
    """A training split that has not seen all label sets of `random_batch`."""
    return (np.random.default_rng(seed).random((images, labels)) < 0.35).astype(np.uint8)


class Loop:
    """Eqs. 1 to 4 with Python sets and sums, and every open point as it reads."""

    def __init__(self, train, **settings):
        self.train = [frozenset(np.flatnonzero(row).tolist()) for row in train]
        self.o = DEFAULTS | settings

    def count(self, labels):
        return sum(labels <= image for image in self.train)

    def frequency(self, number):
        number = max(1, number)  # at least one image
        return number / len(self.train) if self.o["frequency"] == "share" else number

    def f(self, a, b):
        counts = [self.count({label}) for label in a & b]
        return self.frequency(
            {
                "support": lambda: self.count(a & b),
                "mean": lambda: sum(counts) / len(counts),
                "min": lambda: min(counts),
                "sum": lambda: sum(counts),
                "matrix": lambda: sum(self.count({j, k}) for j in a for k in b) / (len(a) * len(b)),
            }[self.o["cooccurrence"]]()
        )

    def h(self, a):
        counts = [self.count({label}) for label in a] or [0]
        return self.frequency(
            {
                "mean": lambda: sum(counts) / len(counts),
                "min": lambda: min(counts),
                "sum": lambda: sum(counts),
                "support": lambda: self.count(a),
            }[self.o["rarity"]]()
        )

    def j(self, a, b):
        return len(a & b) / len(a | b) if a | b else 0.0

    def w(self, a, b):
        w = 1 / (math.log(1 + self.f(a, b)) + self.o["eps"]) if self.o["use_w"] else 1.0
        return w * self.j(a, b) if self.o["overlap_weight"] else w

    def t(self, a, b):
        if not self.o["use_T"]:
            return self.o["tau"]
        rare = self.o["beta"] / math.log(1 + self.h(a))
        return self.o["tau_scale"] * (math.exp(-self.o["alpha"] * self.j(a, b)) + rare)

    def loss(self, z, y, weighted=False):
        sets, images = [frozenset(row.nonzero().flatten().tolist()) for row in y], range(len(y))
        pairs = [(i, p) for i in images for p in images if i != p and sets[i] & sets[p]]
        w = {(i, p): self.w(sets[i], sets[p]) for i, p in pairs}
        if self.o["normalize_w"]:
            mean = sum(w.values()) / len(w)
            w = {pair: value / mean for pair, value in w.items()}
        total = 0.0
        for i in images:
            others = [a for a in images if a != i]
            s = {a: (z[i] @ z[a]).item() for a in others}
            t = {a: self.t(sets[i], sets[a]) for a in others}
            for label in sets[i]:
                positives = [p for p in others if label in sets[p]]
                for p in positives:
                    if self.o["denominator"] == "paper":
                        log_sum = math.log(sum(math.exp(s[a] / t[a]) for a in others))
                    else:
                        log_sum = math.log(sum(math.exp(s[a] / t[p]) for a in others))
                    term = -w[i, p] * (s[p] / t[p] - log_sum) / len(positives)
                    total += term / (len(sets[i]) * len(y)) if weighted else term / y.sum().item()
        return total


OPTIONS = [
    *({"cooccurrence": c, "rarity": r} for c, r in itertools.product(
        ("support", "mean", "min", "sum", "matrix"), ("mean", "min", "sum", "support"))),
    *({"frequency": "share", "cooccurrence": c} for c in ("support", "mean", "min", "sum", "matrix")),
    {"frequency": "share", "rarity": "support"},
    {"denominator": "own"},
    {"denominator": "own", "use_T": False},
    {"denominator": "own", "use_w": False, "tau_scale": 0.5, "overlap_weight": True},
    {"use_w": False},
    {"use_T": False, "tau": 0.2},
    {"normalize_w": True},
    {"normalize_w": True, "overlap_weight": True},
    {"use_w": False, "overlap_weight": True},
    {"tau_scale": 0.4, "alpha": 0.0, "beta": 2.0, "eps": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("key", ["macl", "wg_macl"])
@pytest.mark.parametrize("settings", OPTIONS, ids=lambda s: "-".join(f"{k}={v}" for k, v in s.items()))
def test_equals_the_loop(key, settings):
    z, y = random_batch(images=10)
    loss = make_loss(key, split(), 8, **settings)
    expected = Loop(split(), **settings).loss(z, y, weighted=key == "wg_macl")
    assert loss(z, y).item() == pytest.approx(expected, rel=1e-11)


def test_defaults_are_those_of_the_table():
    """The loop's defaults are the documented ones, so the table's must agree."""
    from core.losses import check_params

    assert check_params("macl", {}) == check_params("wg_macl", {}) == DEFAULTS


def test_pair_terms_on_paper():
    """Training sets {1, 2} four times, {1} twice, {3} once; anchor {1, 2} against {1, 2}, {1} and {3}."""
    train = np.array([[1, 1, 0]] * 4 + [[1, 0, 0]] * 2 + [[0, 0, 1]])
    y = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]]).double()
    terms = make_loss("macl", train, 2, alpha=1.0, beta=0.5).pair_terms(y)
    assert terms.J[0].tolist() == [1, 1, 0.5, 0]
    assert terms.f[0].tolist() == [4, 4, 6, 0]  # four images hold 1 and 2, six hold 1
    assert terms.h.tolist() == [5, 5, 6, 1]  # (6 + 4) / 2, 6, 1
    assert terms.w[0].tolist() == pytest.approx(
        [1 / math.log(5), 1 / math.log(5), 1 / math.log(7), 0], rel=1e-7
    )
    rare = 0.5 / math.log(6)
    expected = [math.exp(-1) + rare, math.exp(-1) + rare, math.exp(-0.5) + rare, 1 + rare]
    assert terms.T[0].tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("macl", "mulsupcon"), [("macl", "mulsupcon"), ("wg_macl", "wg_mulsupcon")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("normalize_w", [False, True])
def test_without_w_and_t_it_is_mulsupcon(macl, mulsupcon, dtype, normalize_w):
    z, y = random_batch(images=40)
    results = []
    for key, settings in (
        (macl, {"use_w": False, "use_T": False, "normalize_w": normalize_w}),
        (mulsupcon, {}),
    ):
        leaf = z.to(dtype).requires_grad_()
        value = make_loss(key, y, 8, tau=0.2, **settings)(leaf, y)
        value.backward()
        results.append((value, leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_eq7_corrected_is_the_gradient_and_the_printed_form_is_not():
    """Eq. 5 for one anchor, the others held fixed: autograd against the coefficients of z_a."""
    z, y = random_batch(seed=3, images=12)
    loss = make_loss("macl", split(), 8)
    terms, s = loss.pair_terms(y.double()), z @ z.T
    corrected, printed = loss.eq7(s, y.double()), loss.eq7(s, y.double(), printed=True)
    cosines = []
    for i in range(2, len(z)):
        others = [a for a in range(len(z)) if a != i]
        anchor = z[i].clone().requires_grad_()
        logits = torch.stack([anchor @ z[a] / terms.T[i, a] for a in others])
        log_p = dict(zip(others, logits - logits.logsumexp(0), strict=True))
        eq5 = 0 * anchor.sum()
        for label in y[i].nonzero().flatten():
            positives = [p for p in others if y[p, label]]
            eq5 = eq5 - sum(terms.w[i, p] * log_p[p] for p in positives) / max(1, len(positives))
        eq5.backward()
        torch.testing.assert_close(corrected[i] @ z, anchor.grad, rtol=1e-12, atol=1e-14)
        cosines.append(torch.cosine_similarity(printed[i] @ z, anchor.grad, dim=0).item())
    assert np.median(cosines) < 0.9  # with counts w is about 0.2, so |y_i| pushes about five times too hard


def test_the_force_is_eq7_averaged():
    """−∂L/∂s with the similarities as leaves is −(corrected eq. 7) / Σ|y|."""
    z, y = random_batch()
    y = y.double()
    loss = make_loss("macl", split(), 8)
    s = (z @ z.T).requires_grad_()
    loss.from_similarities(s, y).backward()
    torch.testing.assert_close(s.grad, loss.eq7(s.detach(), y) / y.sum(), rtol=1e-12, atol=1e-15)


def test_eq7_is_for_the_printed_denominator_only():
    with pytest.raises(ValueError, match="need denominator 'paper', got 'own'"):
        make_loss("macl", split(), 8, denominator="own").eq7(torch.eye(2), torch.ones(2, 6))


def test_own_gradient_equals_the_dense_sum():
    """Every positive's softmax written out, (B, B, B), against the sum by distinct temperatures."""
    z, y = random_batch(images=30)
    terms = make_loss("macl", split(), 8).pair_terms(y.double())
    weights = terms.w.fill_diagonal_(0)
    s = (z @ z.T).requires_grad_()
    dense = (s[:, None, :] / terms.T[:, :, None]).masked_fill(
        torch.eye(30, dtype=torch.bool)[:, None], -torch.inf
    )
    expected = (weights * (dense.logsumexp(2) - s / terms.T)).sum()
    value = own_contrast(s, terms.T, weights)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(v, s, retain_graph=True)[0] for v in (value, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)


def test_blocks_of_own_do_not_matter(monkeypatch):
    z, y = random_batch(images=30)
    loss = make_loss("macl", split(), 8, denominator="own")
    results = []
    for block in (1, 100, 1 << 18):
        monkeypatch.setattr(grouped, "_BLOCK", block)
        leaf = z.clone().requires_grad_()
        value = loss(leaf, y)
        value.backward()
        results.append((value.detach(), leaf.grad))
    for value, gradient in results[1:]:
        torch.testing.assert_close(value, results[0][0], rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-10, atol=1e-14)


def test_sets_that_the_split_never_saw_are_counted_on_demand():
    """A split without a single set of the batch against the loop; then the batch's own sets among others."""
    z, y = random_batch()
    train = np.ones((5, 6), np.uint8)
    loss = make_loss("macl", train, 8)
    assert loss(z, y).item() == pytest.approx(Loop(train).loss(z, y), rel=1e-11)
    both = np.concatenate([train, y.numpy()])
    assert make_loss("macl", both, 8)(z, y).item() == pytest.approx(Loop(both).loss(z, y), rel=1e-11)


@pytest.mark.parametrize("labels", [1, 60, 63, 130])
def test_any_number_of_labels(labels):
    rng = np.random.default_rng(0)
    train = (rng.random((80, labels)) < min(0.5, 3 / labels)).astype(np.uint8)
    z, _ = random_batch(images=12)
    y = torch.tensor(train[:12]).long()
    y[0] = torch.tensor(rng.random(labels) < 0.5)  # not in the split
    for cooccurrence in ("support", "mean"):
        loss = make_loss("macl", train, 8, cooccurrence=cooccurrence)
        expected = Loop(train, cooccurrence=cooccurrence).loss(z, y)
        assert loss(z, y).item() == pytest.approx(expected, rel=1e-11)


def test_more_sets_than_a_table_holds(monkeypatch):
    z, y = random_batch()
    train = split(seed=7)
    expected = make_loss("macl", train, 8)(z, y)
    monkeypatch.setattr(rarity, "_TABLE_SETS", 3)
    rarity._cached_counts.cache_clear()
    loss = make_loss("macl", train, 8)
    rarity._cached_counts.cache_clear()  # leave no short table behind
    assert len(loss._sets) == 1
    torch.testing.assert_close(loss(z, y), expected, rtol=1e-13, atol=0)


def test_known_sets_are_looked_up_and_not_counted_again(monkeypatch):
    z, y = random_batch()
    loss = make_loss("macl", y, 8)
    monkeypatch.setattr("core.losses.macl.pair_counts", None)  # would fail if it were called
    assert loss(z, y).isfinite()
    with pytest.raises(TypeError):
        loss(z, 1 - y)


def test_unused_parameters_have_no_effect():
    z, y = random_batch()
    same = [make_loss("macl", y, 8, tau=tau)(z, y) for tau in (0.1, 0.5)]
    assert torch.equal(*same)  # T replaces τ
    same = [make_loss("macl", y, 8, use_T=False, alpha=a, tau_scale=a)(z, y) for a in (0.1, 0.5)]
    assert torch.equal(*same)
