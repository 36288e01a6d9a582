"""A real GPU: the same numbers as the CPU, the same bits when resumed, and the worker that finds it.

Where there is no GPU these tests skip; fake tensors stand in for it in the files of the parts.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from core import device as devices
from core import runs
from core.data import load
from core.data.augment import augment
from core.encoder import explain, trained
from core.losses import LOSSES, make_loss
from core.queue import launch
from core.runs import RunConfig
from core.training import loop
from core.training.batches import Images
from core.training.learner import Learner
from tests.group_of_ranks import spawn
from tests.loss_batches import random_batch
from tests.small_runs import assert_same_outcome, config, wait

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

VARIANTS = [(key, {}) for key in LOSSES] + [("macl", {"denominator": "own"})]


def full(tiny: Path, **fields: Any) -> RunConfig:
    """All of a ResNet-18 from scratch at 32 px, with augmentation, wherever auto leads."""
    return config(tiny, **{"preset": "quick", "epochs": 3, "loss": "macl"} | fields)


@pytest.mark.parametrize(("key", "params"), VARIANTS, ids=lambda value: str(value))
@pytest.mark.parametrize("images", [14, 300])
def test_losses_and_gradients_are_those_of_the_cpu(key: str, params: dict[str, str], images: int) -> None:
    z, y = random_batch(images=images)
    found = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)  # the prototypes of both
        loss = make_loss(key, y, z.shape[1], **params).double().to(device)
        leaf = z.clone().to(device).requires_grad_()
        value = loss(leaf, y.to(device))
        value.backward()
        assert leaf.grad is not None
        found[device] = value.item(), leaf.grad.cpu()
    assert found["cuda"][0] == pytest.approx(found["cpu"][0], rel=1e-10)
    torch.testing.assert_close(found["cuda"][1], found["cpu"][1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("key", "params"), VARIANTS, ids=lambda value: str(value))
def test_a_loss_repeats_to_the_bit(key: str, params: dict[str, str]) -> None:
    z, y = random_batch(images=128, dim=32)
    loss = make_loss(key, y, z.shape[1], **params).to("cuda")
    y = y.to("cuda")
    gradients = []
    for _ in range(5):
        leaf = z.float().to("cuda").requires_grad_()
        loss(leaf, y).backward()
        gradients.append(leaf.grad)
    for other in gradients[1:]:
        assert torch.equal(gradients[0], other)  # type: ignore[arg-type]


def test_augmented_images_are_those_of_the_cpu() -> None:
    pixels = torch.randint(0, 256, (9, 60, 60, 3), dtype=torch.uint8)
    here, there = (
        augment(pixels.to(device), 48, torch.Generator().manual_seed(3)).cpu() for device in ("cpu", "cuda")
    )
    torch.testing.assert_close(here, there, rtol=0, atol=1e-3)


def test_sent_numbers_arrive_though_their_memory_is_used_again() -> None:
    device, sent = torch.device("cuda"), []
    for value in range(200):
        sent.append(devices.send(torch.full((128,), value), device))
    assert [int(tensor.unique()) for tensor in sent] == list(range(200))


def test_images_that_do_not_fit_on_the_gpu_are_the_same(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, device = full(tiny), torch.device("cuda")
    data = load("folder", tiny, 32)
    resident = Images(data, chosen, device)
    assert resident.resident is not None
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 1000))
    copied = Images(data, chosen, device)
    assert copied.resident is None
    rows = np.array([5, 0, 99])
    assert torch.equal(resident.train(rows, 7), copied.train(rows, 7))
    assert torch.equal(resident.test(rows), copied.test(rows))


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_nothing_in_a_step_waits_for_the_gpu(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a loss whose own formula looks at no value."""
    run = runs.create(full(tiny, loss="mulsupcon"), tmp_path)
    real, done = Learner.step, []

    def strictly(self: Learner, rows: np.ndarray, number: int) -> None:
        torch.cuda.set_sync_debug_mode("error" if done else "default")  # the first step makes what stays
        try:
            real(self, rows, number)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        done.append(number)

    monkeypatch.setattr(Learner, "step", strictly)
    assert loop.run(run.path) == "finished", run.error
    assert len(done) == 21


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"precision": "float32"},
        {"loss": "oml"},
        {"loss": "lmsc", "keep": "best", "optimizer": "adamw", "scheduler": "cosine"},
        {"preset": "instant", "epochs": 4},
    ],
    ids=str,
)
def test_stopped_and_resumed_is_as_if_never_stopped(fields: Any, tiny: Path, tmp_path: Path) -> None:
    whole, parts = (runs.create(full(tiny, **fields), tmp_path) for _ in range(2))
    assert loop.run(whole.path) == "finished", whole.error
    assert whole.scores()["device"].startswith("cuda")

    def stop(done: int, total: int, what: str) -> None:
        if what == "training" and done == 12:
            (parts.path / "stop").touch()

    assert loop.run(parts.path, stop) == "stopped"
    assert loop.run(parts.path) == "finished", parts.error
    assert_same_outcome(whole, parts)


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_weights_from_the_gpu_give_the_same_space_on_the_cpu(
    precision: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs.create(full(tiny, precision=precision), tmp_path)
    assert loop.run(run.path) == "finished", run.error
    z = load_file(run.path / "embeddings.safetensors")["z"]
    data = load("folder", tiny, 32)
    images = data.images[data.splits["test"]]
    again = trained.read(run)
    assert again.device.type == "cuda"
    near = 1e-3 if precision == "float32" else 0.02
    np.testing.assert_allclose(again.embed(images), z, atol=near)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_cpu = trained.read(run)
    assert on_cpu.device.type == "cpu"
    exact = dataclasses.replace(on_cpu, precision="float32")
    cosines = (exact.embed(images) * z).sum(1)
    assert cosines.min() > (1 - 1e-4 if precision == "float32" else 0.99)


def test_the_regions_of_a_pair_add_up_to_its_similarity(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(full(tiny, epochs=1), tmp_path)
    assert loop.run(run.path) == "finished", run.error
    data = load("folder", tiny, 32)
    network = trained.read(run)
    pair = data.images[:2]
    explained = explain.explain(network, pair[0], pair[1])
    z = network.embed(pair)
    assert explained.cosine == pytest.approx(float(z[0] @ z[1]), abs=0.02)


def test_the_worker_finds_the_gpu_and_trains_what_waits(tiny: Path, root: Path) -> None:
    waiting = [launch.submit(full(tiny, loss=loss), root) for loss in ("mulsupcon", "simdis")]
    for run in waiting:
        wait(lambda run=run: run.state in ("finished", "failed"))
        assert run.state == "finished", run.error
        assert devices.describe(torch.device("cuda")).split(", ")[1] in run.scores()["device"]
    assert {"auto", "cuda", "cuda:0"} <= set(launch.workers(root))


def test_too_large_a_batch_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    share = 0.02  # of the card: enough to begin, not for these images
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        run = runs.create(full(tiny, image_size=1024, batch_size=112, backbone="resnet50"), tmp_path)
        assert loop.run(run.path) == "failed"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert run.error == "there is not enough memory: lower the batch size or the image size"


TWO = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two CUDA devices")


@pytest.mark.parametrize("key", ["macl", "lmsc", "oml"])
@pytest.mark.parametrize("micro", [0, 5])
def test_a_group_of_one_gpu_and_a_batch_in_parts_have_the_gradients_of_a_batch_at_once(
    key: str, micro: int, tiny: Path, tmp_path: Path
) -> None:
    found = spawn(1, "losses_on_cuda", tmp_path / "group", tiny=str(tiny), losses=[key], micro=micro)
    for far in found[0].values():
        assert far["loss"] <= 1e-5
        assert far["gradient"] <= 1e-5
        assert far["scale"] > 1e-3


@TWO
def test_gpus_connected_by_nccl_have_the_gradients_of_one(tiny: Path, tmp_path: Path) -> None:
    size = torch.cuda.device_count()
    found = spawn(size, "losses_on_cuda", tmp_path / "group", tiny=str(tiny), losses=list(LOSSES), micro=0)
    for key, far in found[0].items():
        assert far["loss"] <= 1e-5, key
        assert far["gradient"] <= 1e-5, key
        assert {other[key]["digest"] for other in found} == {far["digest"]}, key


@TWO
def test_batch_norm_over_two_gpus_is_that_of_one(tiny: Path, tmp_path: Path) -> None:
    fields = {"precision": "float32", "epochs": 1, "batch_size": 32}
    one, two = (runs.create(full(tiny, devices=devices, **fields), tmp_path) for devices in (1, 2))
    for run in (one, two):
        assert loop.run(run.path) == "finished", run.error
    assert two.scores()["device"].startswith("2 × cuda:0")
    assert "batch norm" not in two.log
    for here, there in zip(one.history(), two.history(), strict=True):
        assert there["loss"] == pytest.approx(here["loss"], rel=1e-3)
