"""OML."""

import math

import pytest
import torch

from core.losses import make_loss, oml
from tests import golden_cases as golden
from tests.loss_batches import random_batch


@golden.params("oml_imbriaco")
def test_golden(case, args):
    golden.check("oml", "oml_imbriaco", case, args, temperature=golden.number(args, "anneal"))


def sigmoid(x):
    return 1 / (1 + math.exp(-max(-50, min(50, x))))


@pytest.mark.parametrize("denominator", ["official", "smoothap"])
@pytest.mark.parametrize("temperature", [0.01, 0.2])
def test_equals_the_loop(denominator, temperature):
    z, y = random_batch(images=9)
    s = z @ z.T
    losses = []
    for label in range(y.shape[1]):
        having = y[:, label].nonzero().flatten().tolist()
        if len(having) < 2:
            continue
        ap = 0.0
        for i in having:
            for p in having:
                soft = {j: sigmoid((s[i, j] - s[i, p]).item() / temperature) for j in range(len(z)) if j != p}
                ap += (1 + sum(soft[j] for j in having if j != p)) / (1 + sum(soft.values()))
        losses.append(1 - ap / (len(having) * (len(z) if denominator == "official" else len(having))))
    loss = make_loss("oml", y, 8, temperature=temperature, denominator=denominator)
    assert loss(z, y).item() == pytest.approx(sum(losses) / len(losses), rel=1e-12)


def test_a_perfect_ranking_by_smoothap_costs_nothing():
    y = torch.tensor([[1, 0]] * 3 + [[0, 1]] * 3)
    assert make_loss("oml", y, 2, denominator="smoothap")(y.double(), y).item() == pytest.approx(0, abs=1e-12)
    # the official denominator counts B images where |S| can be positive: 1 − 3/6
    assert make_loss("oml", y, 2)(y.double(), y).item() == pytest.approx(0.5, rel=1e-12)


def test_identical_images():
    """Every sigmoid is 1/2: R = 1 + (B−1)/2 and R⁺ = 1 + (n−1)/2."""
    y = torch.tensor([[1], [1], [1], [0], [0]])
    z = torch.tensor([[0.6, 0.8]] * 5, dtype=torch.float64)
    assert make_loss("oml", y, 2, denominator="smoothap")(z, y).item() == pytest.approx(1 - 2 / 3, rel=1e-12)


def test_labels_of_one_image_give_zero():
    z = torch.eye(3).requires_grad_()
    value = make_loss("oml", torch.eye(3), 3)(z, torch.eye(3))
    value.backward()
    assert value.item() == 0
    assert not z.grad.any()


def test_blocks_do_not_matter(monkeypatch):
    z, y = random_batch(images=30)
    loss = make_loss("oml", y, 8)
    results = []
    for block in (1, 500, 1 << 20):
        monkeypatch.setattr(oml, "_BLOCK", block)
        leaf = z.clone().requires_grad_()
        value = loss(leaf, y)
        value.backward()
        results.append((value.detach(), leaf.grad))
    for value, gradient in results[1:]:
        torch.testing.assert_close(value, results[0][0], rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-9, atol=1e-12)
