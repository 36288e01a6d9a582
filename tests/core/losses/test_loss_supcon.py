"""SupCon ALL and ANY."""

import math

import pytest
import torch

from core.losses import make_loss
from tests import golden_cases as golden
from tests.loss_batches import random_batch

FILE = "supcon_hobbitlong"


@golden.params(FILE, lambda args: "/v1/" in args)
def test_golden_one_view(case, args):
    golden.check(f"supcon_{args.split('/')[0]}", FILE, case, args, tau=golden.number(args, "t"))


@golden.params(FILE, lambda args: "/v2/" in args)
def test_golden_two_views(case, args):
    """Two views of B images are one batch of 2B images."""
    given = golden.inputs(FILE, case)
    z, z2 = (golden.unit(given[k]).requires_grad_() for k in ("x", "x2"))
    loss = make_loss(f"supcon_{args.split('/')[0]}", given["Y"], 32, tau=golden.number(args, "t"))
    value = loss(torch.cat([z, z2]), torch.cat([given["Y"], given["Y"]]))
    golden.compare(FILE, case, args, value, {"z": z, "z2": z2}, 1e-10)


def loop(z, y, tau, positive):
    total = 0.0
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        log_sum = math.log(sum(math.exp(z[i] @ z[a] / tau) for a in others))
        positives = [p for p in others if positive(y[i], y[p])]
        if positives:
            total -= sum((z[i] @ z[p]).item() / tau - log_sum for p in positives) / len(positives)
    return total / len(z)


@pytest.mark.parametrize(
    ("key", "positive"),
    [
        ("supcon_all", lambda a, b: bool((a == b).all())),
        ("supcon_any", lambda a, b: bool((a * b).any())),
    ],
)
def test_equals_the_loop(key, positive):
    z, y = random_batch()
    value = make_loss(key, y, z.shape[1], tau=0.2)(z, y)
    assert value.item() == pytest.approx(loop(z, y, 0.2, positive), rel=1e-12)


def test_worked_on_paper():
    """Images 1 and 2 are equal and share their label: 2/3 of log(1 + e^(-1/tau)); image 3 adds 0."""
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    y = torch.tensor([[1, 0], [1, 0], [0, 1]])
    for key in ("supcon_all", "supcon_any"):
        value = make_loss(key, y, 2, tau=0.5)(z, y)
        assert value.item() == pytest.approx(2 / 3 * math.log(1 + math.exp(-2)), rel=1e-14)


def test_all_and_any_differ_in_partial_overlap():
    z = torch.eye(3, dtype=torch.float64)
    y = torch.tensor([[1, 1], [1, 0], [0, 1]])
    assert make_loss("supcon_all", y, 3)(z, y).item() == 0  # no two label sets are equal
    assert make_loss("supcon_any", y, 3)(z, y).item() == pytest.approx(math.log(2), rel=1e-12)
