"""MACL with nested comparison sets against a mask over all triples, golden values and Wg-MulSupCon."""

import numpy as np
import pytest
import torch

from core.labels import jaccard, overlap_ranks
from core.losses import make_loss, nested
from tests import golden_cases as golden
from tests.loss_batches import random_batch

GOLDEN = "macl_nested_selfmade"


def mask(z, y, tau, w=1.0, target="labels", alpha=6.0, every=False):
    """By all triples (anchor, positive, compared image), overlaps compared as whole numbers."""
    y = y.double()
    count, shared, size = len(y), y @ y.T, y.sum(1)
    union = size[:, None] + size - shared
    others = ~torch.eye(count, dtype=torch.bool)
    m = torch.stack(  # sum over shared labels of 1/|P_l(i)|
        [((y[i] * y) / (y.sum(0) - y[i]).clamp(min=1)).sum(1) for i in range(count)]
    )
    m = torch.where(others, m * w, 0)
    if target == "overlap":
        m = m * (alpha * shared / union.clamp(min=1)).exp()
        every = True
    q = m / m.sum(1, keepdim=True).clamp(min=1e-300)
    # J_ia < J_ip: |∩_ia|·|∪_ip| < |∩_ip|·|∪_ia|
    less = shared[:, None, :] * union[:, :, None] < shared[:, :, None] * union[:, None, :]
    compared = (less | torch.eye(count, dtype=torch.bool)[None] | every) & others[:, None, :]
    x = (z @ z.T / tau)[:, None, :].expand(count, count, count)
    log_sum = torch.where(compared, x, -torch.inf).logsumexp(2)  # (B, B)
    terms = torch.where(q > 0, q * (log_sum - z @ z.T / tau), 0)
    return terms.sum() / count


@pytest.mark.parametrize("case", ["s0", "s1"])
@pytest.mark.parametrize("tau", [0.03, 0.1, 0.5])
def test_golden(case, tau):
    values = golden.read(GOLDEN)
    if not values:
        pytest.skip(f"no {GOLDEN}.npz in {golden.FOLDER}")
    z, y = torch.tensor(values[f"{case}_z"]).requires_grad_(), values[f"{case}_y"]
    value = make_loss("macl_nested", y, z.shape[1], tau=tau)(z, torch.tensor(y))
    value.backward()
    expected = torch.tensor(values[f"{case}_tau{tau}_grad"])
    torch.testing.assert_close(
        value.detach(), torch.tensor(values[f"{case}_tau{tau}_loss"]), rtol=1e-10, atol=0
    )
    scale = expected.abs().max()
    torch.testing.assert_close(z.grad / scale, expected / scale, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", [1, 100, 1 << 18])
@pytest.mark.parametrize(
    "settings", [{}, {"use_w": True}, {"target": "overlap", "alpha": 3.0}, {"nested": False}], ids=str
)
def test_the_mask_over_all_triples(settings, block, monkeypatch):
    monkeypatch.setattr(nested, "_BLOCK", block)
    z, y = random_batch(images=40)
    loss = make_loss("macl_nested", y, 8, tau=0.2, **settings)
    w = make_loss("macl", y, 8).pair_terms(y.double()).w if settings.get("use_w") else 1.0
    a, b = z.clone().requires_grad_(), z.clone().requires_grad_()
    value = loss(a, y)
    expected = mask(
        b, y, 0.2, w, settings.get("target", "labels"), 3.0, every=not settings.get("nested", True)
    )
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    value.backward()
    expected.backward()
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)


def test_compared_with_all_it_is_wg_mulsupcon():
    z, _ = random_batch(images=24)
    y = torch.tensor(np.random.default_rng(0).permuted(np.tile([1, 1, 0, 0, 1], (24, 1)), axis=1))
    assert (y.sum(0) > 1).all()
    value = make_loss("macl_nested", y, 8, nested=False, tau=0.3)(z, y)
    torch.testing.assert_close(value, make_loss("wg_mulsupcon", y, 8, tau=0.3)(z, y), rtol=1e-12, atol=0)


def test_worked_on_paper():
    """Three images: the first two share both labels, the third one of them with each."""
    y = torch.tensor([[1, 1], [1, 1], [1, 0]])
    z = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], dtype=torch.float64)
    s01, s02, s12 = 0.6, 0.0, 0.8
    # m: label 1 has two other holders, label 2 one: m_01 = 1/2 + 1, m_02 = 1/2; the third has 1/2 for both
    term = 0.75 * (np.logaddexp(s01, s02) - s01)  # of anchor 0; its lesser positive is compared with nobody
    other = 0.75 * (np.logaddexp(s01, s12) - s01)
    value = make_loss("macl_nested", y, 2, tau=1.0)(z, y)
    assert value.item() == pytest.approx((term + other) / 3, rel=1e-12)


def test_equal_overlaps_are_not_compared():
    """All pairs alike: nobody is compared, and the loss is 0 wherever the images are."""
    y = torch.eye(6)[[0, 0, 0, 0]]
    z = random_batch(images=4)[0].requires_grad_()
    value = make_loss("macl_nested", y, 8)(z, y)
    value.backward()
    assert value.item() == 0
    assert not z.grad.any()


def test_overlaps_that_differ_in_the_last_digit_are_told_apart():
    """(m−1)/m against m/(m+1), and 1/3 against 2/6, up to sets of 300 labels."""
    ranks = overlap_ranks(300)
    m = np.arange(2, 300)
    assert (ranks[m - 1, m] < ranks[m, m + 1]).all()
    assert ranks[1, 3] == ranks[2, 6] == ranks[100, 300]
    assert ranks[0].max() == 0


def test_a_perfect_order_costs_nothing():
    """Similarities in the order of the overlaps, far apart in units of tau."""
    _, y = random_batch(images=20)
    s = torch.tensor(jaccard(y, y))
    loss = make_loss("macl_nested", y, 8, tau=0.001)
    assert loss.from_similarities(s, y.double()).item() < 1e-9
    assert loss.from_similarities(-s, y.double()).item() > 10


def test_more_labels_than_any_training_image_has():
    z, y = random_batch(images=20)
    few = torch.eye(6)
    a = make_loss("macl_nested", few, 8)(z, y)
    torch.testing.assert_close(a, make_loss("macl_nested", y, 8)(z, y), rtol=0, atol=0)


@pytest.mark.parametrize("tau", [0.001, 0.01])
def test_small_temperatures_keep_their_digits(tau):
    """Terms of one sum lie e^200 apart at 0.01: without logarithms they vanish in float32."""
    z, y = random_batch(images=40)
    a, b = z.clone().requires_grad_(), z.float().requires_grad_()
    loss = make_loss("macl_nested", y, 8, tau=tau)
    value, single = loss(a, y), loss(b, y)
    value.backward()
    single.backward()
    torch.testing.assert_close(single.double(), value, rtol=1e-4, atol=0)
    largest = a.grad.abs().max()
    torch.testing.assert_close(b.grad.double() / largest, a.grad / largest, rtol=0, atol=1e-2)
