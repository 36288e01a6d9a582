"""LReg and L-W/O-Reg."""

import math

import pytest
import torch

from core.losses import make_loss
from core.losses.pairs import contrast
from tests import golden_cases as golden
from tests.loss_batches import random_batch


@pytest.mark.parametrize("key", ["lreg", "lworeg"])
@golden.params("lreg_audibert")
def test_golden(key, case, args):
    settings = {"tau": golden.number(args, "t"), "alpha": golden.number(args, "alpha")}
    golden.check(key, f"{key}_audibert", case, args, **settings)


def test_the_files_have_the_same_cases():
    assert list(golden.entries("lreg_audibert")) == list(golden.entries("lworeg_audibert"))


def loop(z, y, c, tau, alpha, regularise):
    z, y = torch.cat([z, c]), torch.cat([y, torch.eye(len(c)).long()])
    rows, labels = range(len(z)), range(y.shape[1])

    def f(i, j):
        share = (y[i] & y[j]).sum().item() / max(1, y[j].sum().item())
        return float(share == 1) if alpha < 0 else share**alpha

    total, anchors = 0.0, 0
    for i in rows:
        others = [j for j in rows if j != i]
        log_sum = math.log(sum(math.exp(z[i] @ z[j] / tau) for j in others))
        norm = [sum(f(i, k) * y[k, label].item() for k in others) for label in labels]
        w = {
            j: sum(f(i, j) / norm[label] for label in labels if y[i, label] and y[j, label] and f(i, j))
            / max(1, y[i].sum().item())
            for j in others
        }
        anchors += any(w.values())
        for j in others:
            log_p = (z[i] @ z[j]).item() / tau - log_sum
            total -= w[j] * log_p
            if regularise and w[j]:
                total -= max(math.exp(log_p) - w[j], 0) * (z[i] @ z[j]).item() / tau
    return total / anchors


@pytest.mark.parametrize("alpha", [0, 1, 0.5, -1])
@pytest.mark.parametrize("key", ["lreg", "lworeg"])
def test_equals_the_loop(key, alpha):
    z, y = random_batch(images=10)
    loss = make_loss(key, y, 8, tau=0.2, alpha=alpha).double()
    expected = loop(z, y, golden.unit(loss.prototypes.detach()), 0.2, alpha, key == "lreg")
    assert loss(z, y).item() == pytest.approx(expected, rel=5e-8)  # the published code guards with 1e-8


def test_gradient_is_that_of_a_frozen_sigma():
    """The regulariser's softmax is a constant: a finite difference agrees when r is kept."""
    z, y = random_batch(images=7)
    loss = make_loss("lreg", y, 8, tau=0.1).double().requires_grad_(False)
    y = y.double()
    weights = loss._row_weights(y)
    anchors = (weights != 0).any(1).sum()
    kept = loss.excess(loss.similarities(z), weights)
    assert (kept > 0).any()

    def frozen(z):
        logits = loss.similarities(z) / loss.tau
        return (contrast(logits, weights) - (kept * logits).sum()) / anchors

    leaf = z.clone().requires_grad_()
    loss(leaf, y).backward()
    step = 1e-6
    numeric = torch.zeros_like(z)
    for i in range(z.shape[0]):
        for d in range(z.shape[1]):
            move = torch.zeros_like(z)
            move[i, d] = step
            numeric[i, d] = (frozen(z + move) - frozen(z - move)) / (2 * step)
    torch.testing.assert_close(leaf.grad, numeric, rtol=1e-6, atol=1e-8)


def test_no_positive_is_pushed_away():
    """−∂L/∂s of every positive pair is at least 0 with the regulariser; without it some are below."""
    z, y = random_batch()
    lowest = {}
    for key in ("lreg", "lworeg"):
        torch.manual_seed(0)
        loss = make_loss(key, y, 8, tau=0.1).double()
        s = loss.similarities(z).detach().requires_grad_()
        loss.from_similarities(s, y.double()).backward()
        lowest[key] = -s.grad[loss.weights(y.double()) > 0].max()
    assert lowest["lreg"] > -1e-12
    assert lowest["lworeg"] < -1e-4
