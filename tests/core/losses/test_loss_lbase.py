"""LBase."""

import math

import pytest
import torch

from core.losses import make_loss
from tests import golden_cases as golden
from tests.loss_batches import random_batch


@golden.params("lbase_audibert")
def test_golden(case, args):
    golden.check("lbase", "lbase_audibert", case, args, tolerance=1e-8, tau=golden.number(args, "t"))


def jaccard(a, b):
    return (a & b).sum().item() / max(1, (a | b).sum().item())


def test_equals_the_loop():
    z, y = random_batch()
    total, anchors = 0.0, 0
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        log_sum = math.log(sum(math.exp(z[i] @ z[a] / 0.2) for a in others))
        overlap = {p: jaccard(y[i], y[p]) for p in others}
        anchors += any(overlap.values())
        for p in others:
            weight = overlap[p] / (sum(overlap.values()) + 1e-8)
            total -= weight * ((z[i] @ z[p]).item() / 0.2 - log_sum)
    assert make_loss("lbase", y, 8, tau=0.2)(z, y).item() == pytest.approx(total / anchors, rel=1e-8)


def test_weight_grows_with_overlap():
    """Anchor {1, 2}, images {1, 2} and {1}: J = 1 and 1/2, so two thirds and one third of its weight."""
    y = torch.tensor([[1, 1], [1, 1], [1, 0]]).double()
    assert make_loss("lbase", y, 2).weights(y)[0].tolist() == pytest.approx([0, 2 / 9, 1 / 9], rel=1e-7)
