"""MulSupCon and Wg-MulSupCon."""

import math

import pytest
import torch

from core.losses import make_loss
from core.losses.mulsupcon import mulsupcon_weights
from core.losses.pairs import contrast, positive_share
from core.losses.supcon import same_set, share_label
from tests import golden_cases as golden
from tests.loss_batches import random_batch

OFFICIAL = "mulsupcon_official"
WEIGHTED = {"MulSupCon": False, "MulSupCon_w": True}


@golden.params("mulsupcon_audibert")
def test_golden(case, args):
    golden.check("mulsupcon", "mulsupcon_audibert", case, args, tau=golden.number(args, "t"))


@golden.params(OFFICIAL, lambda args: args.startswith("batch_excl_self_glue"))
def test_golden_official_without_self(case, args):
    key = "wg_mulsupcon" if WEIGHTED[args.split("/")[1]] else "mulsupcon"
    golden.check(key, OFFICIAL, case, args, tolerance=1e-7, tau=golden.number(args, "t"))


@golden.params(OFFICIAL, lambda args: not args.startswith("batch_excl_self_glue"))
def test_golden_official_keys(case, args):
    """The same sums with keys from the batch (self included), a second view, or a view and a queue."""
    given = golden.inputs(OFFICIAL, case)
    source, method, _ = args.split("/")
    z = golden.unit(given["x"]).requires_grad_()
    y = given["Y"]
    z2, queue = golden.unit(given["x2"]), golden.unit(given["qx"])
    keys, y_keys = {
        "batch_incl_self": (z, y),
        "view2": (z2, y),
        "view2+queue": (torch.cat([z2, queue]), torch.cat([y, given["Yq"]])),
    }[source]
    if method in WEIGHTED:
        weights = mulsupcon_weights(y, WEIGHTED[method], y_keys)
    else:
        positive = {"all": same_set, "any": share_label}[method](y, y_keys)
        weights = positive_share(positive.double()) / len(y)
    logits = z @ keys.T / golden.number(args, "t")
    golden.compare(OFFICIAL, case, args, contrast(logits, weights, self_in=True), {"z": z}, 1e-7)


def loop(z, y, tau, weighted):
    """Every (i, l) by itself, as the definition reads."""
    total = 0.0
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        log_sum = math.log(sum(math.exp(z[i] @ z[a] / tau) for a in others))
        labels = y[i].nonzero().flatten().tolist()
        for label in labels:
            positives = [p for p in others if y[p, label]]
            if positives:
                term = -sum((z[i] @ z[p]).item() / tau - log_sum for p in positives) / len(positives)
                total += term / (len(labels) * len(z)) if weighted else term / y.sum().item()
    return total


@pytest.mark.parametrize(("key", "weighted"), [("mulsupcon", False), ("wg_mulsupcon", True)])
def test_equals_the_loop(key, weighted):
    z, y = random_batch()
    value = make_loss(key, y, z.shape[1], tau=0.2)(z, y)
    # the published code of the unweighted loss has 1e-8 beside |P_l| and a mean in float32
    assert value.item() == pytest.approx(loop(z, y, 0.2, weighted), rel=1e-12 if weighted else 7e-8)


def test_worked_on_paper():
    """Labels {1, 2}, {1}, {2} and orthogonal images: all softmaxes are 1/2, so every (i, l) term is log 2."""
    z, y = torch.eye(3, dtype=torch.float64), torch.tensor([[1, 1], [1, 0], [0, 1]])
    for key in ("mulsupcon", "wg_mulsupcon"):
        assert make_loss(key, y, 3)(z, y).item() == pytest.approx(math.log(2), rel=1e-7)


def test_weighted_gives_every_image_the_same_weight():
    z, y = random_batch()
    y = torch.cat([y, y])[2:]  # every label now has a positive, but for the image without labels
    size = y.sum(1).double()
    for key, expected in (("mulsupcon", size / size.sum()), ("wg_mulsupcon", (size > 0) / len(y))):
        weights = make_loss(key, y, z.shape[1]).weights(y.double())
        torch.testing.assert_close(weights.sum(1)[:12], expected[:12].double(), rtol=7e-8, atol=0)
