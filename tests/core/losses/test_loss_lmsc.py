"""LMsc."""

import math

import pytest
import torch

from core.losses import make_loss
from tests import golden_cases as golden
from tests.loss_batches import random_batch


@golden.params("lmsc_audibert")
def test_golden(case, args):
    settings = {"tau": golden.number(args, "t"), "beta": golden.number(args, "beta")}
    golden.check("lmsc", "lmsc_audibert", case, args, **settings)


def loop(z, y, c, tau, alpha, beta):
    total, images, labels = 0.0, range(len(z)), range(y.shape[1])
    for i in images:
        if not y[i].any():
            continue
        others = [j for j in images if j != i]
        a = {j: alpha / (y[i] | y[j]).sum().item() for j in others}
        n = [1 + sum(a[j] * y[j, k].item() for j in others) for k in labels]
        denominator = beta * sum(math.exp(z[i] @ z[j] / tau) for j in others)
        denominator += sum(math.exp(z[i] @ c[k] / tau) for k in labels)
        for j in others:
            weight = sum(y[i, k].item() * y[j, k].item() * a[j] / n[k] for k in labels)
            total -= weight * ((z[i] @ z[j]).item() / tau - math.log(denominator)) / y[i].sum().item()
        for k in labels:
            weight = y[i, k].item() / n[k]
            total -= weight * ((z[i] @ c[k]).item() / tau - math.log(denominator)) / y[i].sum().item()
    return total / len(z)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.1), (2.5, 1.0), (0.0, 0.5), (1.0, 0.0)])
def test_equals_the_loop(alpha, beta):
    z, y = random_batch()
    loss = make_loss("lmsc", y, 8, tau=0.2, alpha=alpha, beta=beta).double()
    expected = loop(z, y, golden.unit(loss.prototypes.detach()), 0.2, alpha, beta)
    assert loss(z, y).item() == pytest.approx(expected, rel=2e-8)  # the published code guards N with 1e-8


def test_without_images_it_is_lproto_with_every_label_counted_alike():
    z, y = random_batch()
    lmsc = make_loss("lmsc", y, 8, alpha=0, beta=0).double()
    lproto = make_loss("lproto", y, 8).double()
    lproto.prototypes.data.copy_(lmsc.prototypes.data)
    torch.testing.assert_close(lmsc(z, y), lproto(z, y), rtol=2e-8, atol=0)
