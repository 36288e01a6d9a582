"""Sim-Dis."""

import math

import pytest
import torch

from core.losses import make_loss
from tests import golden_cases as golden
from tests.loss_batches import random_batch

FILE = "macl_simdis_selfmade"


@golden.params(FILE, lambda args: args.startswith("simdis"))
def test_golden(case, args):
    settings = {"tau": golden.number(args, "t"), "position": args.split("/")[0].removeprefix("simdis_")}
    golden.check("simdis", FILE, case, args, **settings)


@pytest.mark.parametrize("position", ["outside", "inside"])
def test_equals_the_loop(position):
    z, y = random_batch()
    total = 0.0
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        denominator = sum(math.exp(z[i] @ z[a] / 0.2) for a in others)
        positives = [p for p in others if (y[i] & y[p]).any()]
        for p in positives:
            k = (y[i] & y[p]).sum().item() / y[i].sum().item() / (1 + (y[p] & ~y[i] & 1).sum().item())
            share = math.exp(z[i] @ z[p] / 0.2) / denominator
            term = k * math.log(share) if position == "outside" else math.log(k * share)
            total -= term / len(positives)
    value = make_loss("simdis", y, 8, tau=0.2, position=position)(z, y)
    assert value.item() == pytest.approx(total / len(z), rel=1e-12)


def test_inside_has_the_gradient_of_any():
    z, y = random_batch()
    gradients = []
    for key, settings in (("simdis", {"position": "inside"}), ("supcon_any", {})):
        leaf = z.clone().requires_grad_()
        make_loss(key, y, 8, **settings)(leaf, y).backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)


def test_factors_on_paper():
    """Anchor {1, 2}; {1, 2}: K = 1; {1}: K = 1/2; {1, 3, 4}: K = 1/2 · 1/3."""
    y = torch.tensor([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 1, 1]]).double()
    assert make_loss("simdis", y, 2).weights(y)[0].tolist() == pytest.approx([0, 1 / 12, 1 / 24, 1 / 72])
