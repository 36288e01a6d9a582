"""LProto."""

import math

import pytest
import torch

from core.losses import make_loss
from tests import golden_cases as golden
from tests.loss_batches import random_batch


@golden.params("lproto_audibert")
def test_golden(case, args):
    golden.check("lproto", "lproto_audibert", case, args, tau=golden.number(args, "t"))


def test_equals_the_loop():
    z, y = random_batch()
    loss = make_loss("lproto", y, 8, tau=0.2).double()
    c = golden.unit(loss.prototypes.detach())
    total = 0.0
    for i in range(len(z)):
        log_sum = math.log(sum(math.exp(z[i] @ c[label] / 0.2) for label in range(6)))
        for label in y[i].nonzero().flatten():
            total -= ((z[i] @ c[label]).item() / 0.2 - log_sum) / y[i].sum().item()
    assert loss(z, y).item() == pytest.approx(total / len(z), rel=1e-12)


def test_worked_on_paper():
    """Prototypes on the axes; an image on the first with labels 1 and 2, one on the second with label 2."""
    loss = make_loss("lproto", torch.eye(2), 2, tau=0.5).double()
    loss.prototypes.data.copy_(3 * torch.eye(2))  # their length does not matter
    value = loss(torch.eye(2).double(), torch.tensor([[1, 1], [0, 1]]))
    first = math.log(1 + math.exp(2)) - 1  # half its labels at similarity 1, half at 0
    assert value.item() == pytest.approx((first + math.log(1 + math.exp(-2))) / 2, rel=1e-12)
