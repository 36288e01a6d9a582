"""Frozen features: what is cached is what is computed, and nothing else is taken for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.background import cache
from core.data import Dataset
from core.data.augment import view
from core.data.prepared import cache_root
from core.encoder.model import build_backbone
from core.errors import MaclError
from core.training import features as module
from core.training.features import features

NAME = "mobilenetv3_small_050"
SIZE = 32


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (7, 40, 40, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    return Dataset(
        name="made up",
        images=np.load(tmp_path / "images.npy", mmap_mode="r"),
        labels=np.ones((7, 2), np.uint8),
        classes=("a", "b"),
        names=tuple("abcdefg"),
        splits={"train": np.arange(5), "val": np.array([5]), "test": np.array([6])},
        unlabelled=0,
        key="k",
    )


@pytest.fixture
def saved(tmp_path) -> str:
    """A file of weights."""
    torch.manual_seed(5)
    save_file(build_backbone(NAME).network.state_dict(), tmp_path / "w.safetensors")
    return str(tmp_path / "w.safetensors")


def files() -> list:
    return sorted((cache_root() / "features").glob("*"))


def test_features_are_the_backbones_in_evaluation_mode(dataset, saved, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)
    table = features(dataset, NAME, saved, SIZE, "cpu", precision="float32")
    backbone = build_backbone(NAME, saved).eval()
    with torch.inference_mode():
        expected = backbone(view(torch.from_numpy(np.array(dataset.images)), SIZE)).numpy()
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, expected, atol=1e-4, rtol=1e-4)
    assert np.abs(table[0] - table[1]).max() > 1e-3, "images are told apart"


def test_the_second_time_nothing_is_computed(dataset, saved, monkeypatch):
    first = np.array(features(dataset, NAME, saved, SIZE))
    monkeypatch.setattr(module, "build_backbone", lambda *_: pytest.fail("computed again"))
    second = features(dataset, NAME, saved, SIZE)
    assert isinstance(second, np.memmap)
    assert not second.flags.writeable
    np.testing.assert_array_equal(first, second)


def test_every_difference_that_matters_is_in_the_key(dataset, saved, tmp_path):
    torch.manual_seed(6)
    other = tmp_path / "other.safetensors"
    save_file(build_backbone(NAME).network.state_dict(), other)
    results = [
        features(dataset, NAME, saved, SIZE),
        features(replace(dataset, key="l"), NAME, saved, SIZE),
        features(dataset, NAME, saved, 40),
        features(dataset, NAME, str(other), SIZE),
        features(dataset, NAME, "none", SIZE),
        features(dataset, "mobilenetv3_small_075", "none", SIZE),
    ]
    for precision in ("bf16", "float32"):
        results.append(features(dataset, NAME, saved, SIZE, precision=precision))
    assert len(files()) == 7  # "auto" was one of the two precisions
    assert not np.array_equal(results[0], results[3])
    save_file(build_backbone(NAME).network.state_dict(), saved)  # other weights under the same name
    assert not np.array_equal(results[0], features(dataset, NAME, saved, SIZE))
    assert len(files()) == 8


def test_labels_and_split_do_not_matter(dataset, saved):
    features(dataset, NAME, saved, SIZE)
    relabelled = replace(dataset, labels=np.zeros((7, 2), np.uint8), name="ucm", splits={})
    features(relabelled, NAME, saved, SIZE)
    assert len(files()) == 1


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b[: len(b) // 2], lambda b: b""])
def test_a_damaged_file_is_computed_again(dataset, saved, damage):
    whole = np.array(features(dataset, NAME, saved, SIZE))
    (path,) = files()
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(features(dataset, NAME, saved, SIZE), whole)


def test_a_table_is_on_the_disk_before_it_has_its_name(dataset, saved, monkeypatch):
    """A power loss would leave zeros of the right size."""
    kept = []
    monkeypatch.setattr(cache.os, "fsync", lambda _: kept.extend(path.suffix for path in files()))
    features(dataset, NAME, saved, SIZE)
    assert kept == [".part"]


def test_random_weights_are_always_the_same_and_leave_the_seed_alone(dataset):
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    first = np.array(features(dataset, NAME, "none", SIZE))
    assert torch.equal(before, torch.random.get_rng_state())
    files()[0].unlink()
    torch.manual_seed(12)
    np.testing.assert_array_equal(first, features(dataset, NAME, "none", SIZE))


def test_progress_reaches_the_end_and_may_stop_the_work(dataset, saved, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)

    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features(dataset, NAME, saved, SIZE, progress=stop)
    assert files() == []
    told = []
    features(dataset, NAME, saved, SIZE, progress=lambda *args: told.append(args))
    assert told == [(n, 7, f"features of {NAME}") for n in (3, 6, 7)]


def test_weights_that_give_nonsense_are_refused(dataset, tmp_path):
    state = build_backbone(NAME).network.state_dict()
    state["conv_stem.weight"][0, 0, 0, 0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(MaclError, match="not finite"):
        features(dataset, NAME, str(tmp_path / "nan.safetensors"), SIZE)
    assert files() == []


def test_work_that_was_stopped_goes_on_where_it_was(dataset, saved, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    whole = np.array(features(dataset, NAME, saved, SIZE))
    files()[0].unlink()

    def stop(done: int, total: int, what: str) -> None:
        if done == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        features(dataset, NAME, saved, SIZE, progress=stop)
    assert files() == []
    steps = []
    table = features(dataset, NAME, saved, SIZE, progress=lambda done, *_: steps.append(done))
    assert steps == [6, 7]
    np.testing.assert_array_equal(table, whole)
