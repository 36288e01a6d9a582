"""What all built-in losses promise, and what their table says."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import normalize

from core.losses import LOSSES, check_params, make_loss
from tests.loss_batches import random_batch

TITLES = {
    "supcon_all": "SupCon ALL",
    "supcon_any": "SupCon ANY",
    "lbase": "LBase",
    "lproto": "LProto",
    "lmsc": "LMsc",
    "oml": "OML",
    "mulsupcon": "MulSupCon",
    "wg_mulsupcon": "Wg-MulSupCon",
    "simdis": "Sim-Dis",
    "lreg": "LReg",
    "lworeg": "L-W/O-Reg",
    "macl": "MACL",
    "wg_macl": "Wg-MACL",
    "macl_nested": "MACL-nested",
}
WITH_PROTOTYPES = {"lproto", "lmsc", "lreg", "lworeg"}
CONTRASTIVE = [key for key in LOSSES if key != "oml"]
VARIANTS = [
    *((key, {}) for key in LOSSES),
    ("macl", {"denominator": "own"}),
    ("wg_macl", {"denominator": "own", "normalize_w": True, "overlap_weight": True}),
    ("oml", {"denominator": "smoothap", "temperature": 0.1}),
    ("simdis", {"position": "inside"}),
    ("lreg", {"alpha": -1.0}),
    ("macl_nested", {"target": "overlap", "use_w": True}),
]
every_loss = pytest.mark.parametrize(
    ("key", "settings"), VARIANTS, ids=["-".join([k, *map(str, s.values())]) for k, s in VARIANTS]
)


def build(key, settings, labels, dim=8, seed=0):
    torch.manual_seed(seed)
    return make_loss(key, labels, dim, **settings).double()


# the table


def test_the_losses_in_order():
    assert {key: spec.title for key, spec in LOSSES.items()} == TITLES
    assert list(LOSSES) == list(TITLES)
    assert all(spec.key == key for key, spec in LOSSES.items())


def test_the_table_loads_without_torch():
    code = (
        "import sys, core.losses as c; c.check_params('macl', {}); raise SystemExit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("key", LOSSES)
def test_a_form_can_show_every_parameter(key):
    spec = LOSSES[key]
    assert spec.source
    assert spec.summary.endswith(".")
    assert "\n" not in spec.summary
    for p in spec.parameters:
        assert p.check(p.default) == p.default
        assert p.help.endswith(".")
        assert "\n" not in p.help
        assert len(p.help) < 160
        assert (p.kind == "choice") == bool(p.choices)
        assert p.kind == "float" or (p.low is None and p.high is None)


@pytest.mark.parametrize("key", LOSSES)
def test_defaults_are_filled_in_and_nothing_is_converted(key):
    spec = LOSSES[key]
    assert check_params(key, {}) == {p.name: p.default for p in spec.parameters}
    given = {p.name: 1 for p in spec.parameters if p.kind == "float"}
    checked = check_params(key, given)
    assert all(type(checked[name]) is int for name in given)


@pytest.mark.parametrize("key", LOSSES)
def test_wrong_parameters_are_named(key):
    with pytest.raises(TypeError, match=r"need one of .*, got 'taus'"):
        check_params(key, {"taus": 0.3})
    for p in LOSSES[key].parameters:
        with pytest.raises(TypeError, match=f"{p.name}: need .*, got None"):
            check_params(key, {p.name: None})
        if p.kind == "float":
            wrong = [math.nan, math.inf]
            wrong += [] if p.low is None else [p.low - 1e-6, -1.0]
            wrong += [] if p.high is None else [p.high * 1.01]
            for value in wrong:
                with pytest.raises(ValueError, match=f"{p.name}: need .*, got "):
                    check_params(key, {p.name: value})
            for value in (True, "0.3"):
                with pytest.raises(TypeError, match=f"{p.name}: need a number, got "):
                    check_params(key, {p.name: value})
        elif p.kind == "bool":
            with pytest.raises(TypeError, match=f"{p.name}: need True or False, got 1"):
                check_params(key, {p.name: 1})
        else:
            with pytest.raises(ValueError, match=f"{p.name}: need .*, got 'none'"):
                check_params(key, {p.name: "none"})


def test_make_loss_checks_what_it_is_given():
    y = np.eye(3)
    with pytest.raises(ValueError, match=r"need one of supcon_all, .*, got 'triplet'"):
        make_loss("triplet", y, 8)
    with pytest.raises(TypeError, match="got 'gamma'"):
        make_loss("macl", y, 8, gamma=1.0)
    with pytest.raises(ValueError, match="tau: need a number from"):
        make_loss("supcon_all", y, 8, tau=0.0)
    for labels in (np.ones(3), np.ones((0, 3)), np.ones((3, 0))):
        with pytest.raises(ValueError, match=r"labels: need a matrix \(N, L\)"):
            make_loss("macl", labels, 8)
    for labels in (2 * y, y - 0.5, np.full((3, 3), np.nan), np.full((3, 3), "a")):
        with pytest.raises(ValueError, match="labels: need only 0 and 1"):
            make_loss("macl", labels, 8)
    for dim in (0, -1):
        with pytest.raises(ValueError, match="dim: need at least 1"):
            make_loss("lproto", y, dim)
    for dim in (8.0, True, "8"):
        with pytest.raises(TypeError, match="dim: need an integer"):
            make_loss("lproto", y, dim)


@every_loss
def test_labels_may_be_of_any_kind(key, settings):
    z, y = random_batch()
    loss = build(key, settings, y)
    values = [loss(z, targets) for targets in (y, y.bool(), y.float(), y.to(torch.uint8))]
    values += [build(key, settings, labels)(z, y) for labels in (y.numpy(), y.bool().numpy(), y.tolist())]
    assert all(torch.equal(v, values[0]) for v in values)


# mathematics


@every_loss
def test_the_order_of_the_batch_does_not_matter(key, settings):
    z, y = random_batch(images=20)
    loss, order = build(key, settings, y), torch.randperm(20, generator=torch.Generator().manual_seed(1))
    a, b = z.clone().requires_grad_(), z[order].requires_grad_()
    first, second = loss(a, y), loss(b, y[order])
    torch.testing.assert_close(first, second, rtol=1e-12, atol=0)
    first.backward()
    second.backward()
    torch.testing.assert_close(a.grad[order], b.grad, rtol=1e-9, atol=1e-13)


@every_loss
def test_the_order_of_the_labels_does_not_matter(key, settings):
    z, y = random_batch()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    loss, other = build(key, settings, y), build(key, settings, y[:, order])
    if key in WITH_PROTOTYPES:
        other.prototypes.data.copy_(loss.prototypes.data[order])
    torch.testing.assert_close(loss(z, y), other(z, y[:, order]), rtol=1e-12, atol=0)


@every_loss
def test_a_rotation_does_not_matter(key, settings):
    z, y = random_batch()
    turn = torch.linalg.qr(
        torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    )[0]
    loss, other = build(key, settings, y), build(key, settings, y)
    if key in WITH_PROTOTYPES:
        other.prototypes.data.copy_(loss.prototypes.data @ turn)
    torch.testing.assert_close(loss(z, y), other(z @ turn, y), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("key", "settings"), [v for v in VARIANTS if v[0] != "lreg"], ids=str)
def test_gradcheck(key, settings):
    """LReg is not the gradient of its value, on purpose; its test file compares it with a frozen sigma."""
    z, y = random_batch(images=6, dim=4)
    loss = build(key, settings, y, dim=4)
    if key == "oml":
        loss.temperature = 0.1  # the default is too steep for a finite difference
    assert torch.autograd.gradcheck(lambda z, *_: loss(z, y), (z.requires_grad_(), *loss.parameters()))


@every_loss
def test_a_step_against_the_gradient_lowers_the_loss(key, settings):
    z, y = random_batch(images=20)
    loss = build(key, settings, y)
    x = z.clone().requires_grad_()
    before = loss(normalize(x, dim=1), y)
    before.backward()
    assert x.grad.abs().max() > 0
    step = 1e-6 / x.grad.abs().max()
    after = loss(normalize(x.detach() - step * x.grad, dim=1), y)
    if key != "lreg":  # its gradient holds a constant for a function
        assert after < before


@every_loss
def test_forward_is_the_loss_of_its_similarities(key, settings):
    z, y = random_batch()
    loss = build(key, settings, y)
    s = loss.similarities(z)
    rows = {"lproto": (14, 6), "lmsc": (14, 20), "lreg": (20, 20), "lworeg": (20, 20)}.get(key, (14, 14))
    assert s.shape == loss.weights(y.double()).shape == rows
    assert torch.equal(loss(z, y), loss.from_similarities(s, y.double()))


@pytest.mark.parametrize("key", LOSSES)
def test_weights_are_those_of_the_positives(key):
    """Positive for pairs with a common label only (the same set for ALL), zero at the anchor itself."""
    _, y = random_batch(images=30)
    weights = build(key, {}, y).weights(y.double())
    if key == "lproto":
        assert torch.equal(weights > 0, y > 0)
        return
    share = (y @ y.T) > 0
    if key == "supcon_all":
        share = (y[:, None] == y[None]).all(2)
    if key != "oml":  # ranks every image in its own list, too
        share.fill_diagonal_(False)
    assert (y.sum(0) != 1).sum() == 5  # but for image 1, every label has two images or none
    share[1, 1] = False
    assert torch.equal(weights[:30, :30] > 0, share)


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("supcon_all", {}),
        ("supcon_any", {}),
        ("lbase", {}),
        ("mulsupcon", {}),
        ("wg_mulsupcon", {}),
        ("simdis", {}),
        ("macl", {"use_w": False, "use_T": False}),
        ("wg_macl", {"use_w": False, "use_T": False, "denominator": "own"}),
    ],
)
def test_one_label_per_image_is_supcon(key, settings):
    """With one-hot labels the label-wise losses are SupCon: pytorch-metric-learning's, on the same rows."""
    classes = torch.arange(24) % 5
    z = random_batch(images=24)[0]
    y = torch.eye(5)[classes]
    a, b = z.clone().requires_grad_(), z.clone().requires_grad_()
    value, expected = build(key, settings | {"tau": 0.2}, y)(a, y), SupConLoss(temperature=0.2)(b, classes)
    torch.testing.assert_close(value, expected, rtol=1e-7, atol=0)
    value.backward()
    expected.backward()
    # their rows are normalised inside, so compare the part of the gradient along the sphere
    along = a.grad - (a.grad * z).sum(1, keepdim=True) * z
    torch.testing.assert_close(along, b.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("key", ["supcon_all", "supcon_any", "lbase", "mulsupcon", "wg_mulsupcon"])
def test_identical_images(key):
    """All softmaxes are 1/(B−1) and every anchor has a positive: log(B−1)."""
    y = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 1, 1], [0, 1, 1], [1, 0, 0], [1, 0, 0]])
    z = torch.tensor([[0.6, 0.8]] * 6, dtype=torch.float64)
    assert build(key, {}, y, dim=2)(z, y).item() == pytest.approx(math.log(5), rel=1e-7)


# types and devices


@every_loss
def test_at_least_float32(key, settings):
    z, y = random_batch(images=40)
    loss = make_loss(key, y, 8, **settings)
    assert loss(z, y).dtype == torch.float64
    assert loss(z.float(), y).dtype == torch.float32
    for dtype in (torch.bfloat16, torch.float16):
        low = z.to(dtype).requires_grad_()
        value = loss(low, y)
        assert value.dtype == torch.float32
        assert torch.equal(value, loss(low.detach().float(), y))  # computed in float32 from the rounded rows
        value.backward()
        assert low.grad.dtype == dtype
        assert low.grad.isfinite().all()


@every_loss
def test_autocast_does_not_reach_inside(key, settings):
    z, y = random_batch(images=40)
    loss = make_loss(key, y, 8, **settings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(z.float(), y)
    assert torch.equal(inside, loss(z.float(), y))


@every_loss
def test_float32_agrees_with_float64(key, settings):
    z, y = random_batch(images=40)
    loss = build(key, settings | ({"temperature": 0.1} if key == "oml" else {}), y)
    exact, single = loss(z, y), loss.float()(z.float(), y)
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=0)


@every_loss
def test_fake_cuda_tensors(key, settings):
    """Built and run under a fake GPU: a tensor left on the CPU would raise."""
    labels = torch.tensor(random_batch()[1].numpy())
    with FakeTensorMode(), torch.device("cuda"):
        loss = make_loss(key, labels, 8, **settings)
        value = loss(torch.randn(10, 8, requires_grad=True), torch.zeros(10, 6, dtype=torch.uint8))
        assert value.device.type == "cuda"
        assert value.shape == ()
        assert {t.device.type for t in [*loss.parameters(), *loss.buffers()]} <= {"cuda"}


def test_fake_labels_have_a_shape_only():
    with FakeTensorMode(), torch.device("cuda"):
        loss = make_loss("macl", torch.zeros(30, 6), 8)
        assert loss(torch.randn(4, 8), torch.zeros(4, 6)).shape == ()


# prototypes


@pytest.mark.parametrize("key", LOSSES)
def test_prototypes_are_the_only_state(key):
    y = random_batch()[1]
    before = torch.random.get_rng_state()
    loss = make_loss(key, y, 8)
    assert torch.equal(torch.random.get_rng_state(), before) == (key not in WITH_PROTOTYPES)
    names = ["prototypes"] if key in WITH_PROTOTYPES else []
    assert list(loss.state_dict()) == [name for name, _ in loss.named_parameters()] == names


@pytest.mark.parametrize("key", sorted(WITH_PROTOTYPES))
def test_prototypes_are_seeded_trained_and_normalised_inside(key):
    z, y = random_batch()
    loss, same, other = build(key, {}, y), build(key, {}, y), build(key, {}, y, seed=1)
    assert loss.prototypes.shape == (6, 8)
    assert loss.prototypes.abs().max() <= math.sqrt(6 / (6 + 8))  # Xavier-uniform
    assert torch.equal(loss.prototypes, same.prototypes)
    assert not torch.equal(loss.prototypes, other.prototypes)
    value = loss(z, y)
    value.backward()
    assert loss.prototypes.grad.abs().sum() > 0
    same.prototypes.data.mul_(7)
    torch.testing.assert_close(same(z, y), value, rtol=1e-12, atol=0)


# edges


def edge_batches():
    z, y = random_batch(images=8)
    one = normalize(torch.ones(8, 8, dtype=torch.float64), dim=1)
    return {
        "two images": (z[:2], y[2:4]),
        "no two share a label": (z[:6], torch.eye(6)),
        "no labels at all": (z, torch.zeros(8, 6)),
        "all images alike": (one, y),
        "all images alike, all labels": (one, torch.ones(8, 6)),
        "all images and labels alike": (one, y[2].expand(8, 6)),
        "opposite images": (torch.cat([one[:4], -one[:4]]), y),
        "unseen label sets": (z, 1 - y),
        "one labelled image": (z, torch.eye(8, 6) * (torch.arange(8) == 3)[:, None]),
    }


@every_loss
@pytest.mark.parametrize("edge", edge_batches())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_edges_have_a_value(key, settings, edge, dtype):
    z, y = edge_batches()[edge]
    loss = make_loss(key, random_batch(images=8)[1], 8, **settings)
    z = z.to(dtype).requires_grad_()
    value = loss(z, y)
    assert value.isfinite()
    assert value.shape == ()
    value.backward()
    assert z.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in loss.parameters())
    if edge == "no labels at all" and key not in {"supcon_all", "lreg", "lworeg"}:
        # two empty label sets are equal (ALL); prototypes are anchors of their own (LReg)
        assert value.item() == 0


@every_loss
def test_a_wrong_batch_is_named(key, settings):
    z, y = random_batch(images=6)
    loss = build(key, settings, y)
    with pytest.raises(ValueError, match="z: need at least 2 images to compare, got 1"):
        loss(z[:1], y[:1])
    with pytest.raises(ValueError, match=r"z: need floating-point rows \(B, D\)"):
        loss(z[0], y)
    with pytest.raises(TypeError, match="z: need floating-point rows"):
        loss(z.long(), y)
    for wrong in (y[:5], y[:, :5], y[0]):
        with pytest.raises(ValueError, match=r"y: need shape \(6, 6\), got"):
            loss(z, wrong)
    for value in (2.0, -1.0, 0.5, math.nan, math.inf):
        wrong = y.double()
        wrong[3, 2] = value
        with pytest.raises(ValueError, match="y: need only 0 and 1"):
            loss(z, wrong)
    for value in (math.nan, math.inf, -math.inf):
        wrong = z.clone()
        wrong[4, 1] = value
        with pytest.raises(
            ValueError, match=r"z: need finite embeddings, got NaN or infinity in row 4 \(1 rows\)"
        ):
            loss(wrong, y)
    if key in WITH_PROTOTYPES:
        with pytest.raises(ValueError, match="z: need 8 columns as the prototypes have, got 7"):
            loss(z[:, :7], y)


def test_a_result_that_is_not_finite_never_leaves():
    z, y = random_batch()
    with pytest.raises(
        FloatingPointError, match=r"got nan: .* \(largest entry of z: .*e\+19; need unit rows"
    ):
        make_loss("mulsupcon", y, 8)((1e20 * z).float(), y)
    loss = make_loss("lproto", y, 8)
    loss.prototypes.data[0, 0] = math.nan
    with pytest.raises(FloatingPointError, match="the prototypes are not finite"):
        loss(z, y)


@pytest.mark.parametrize("key", CONTRASTIVE)
def test_the_smallest_temperatures_stay_finite(key):
    z, y = random_batch(images=40)
    names = {p.name: p.low for p in LOSSES[key].parameters}
    settings = {name: names[name] for name in ("tau", "tau_scale") if name in names}
    leaf = z.float().requires_grad_()
    make_loss(key, y, 8, **settings)(leaf, y).backward()
    assert leaf.grad.isfinite().all()
