"""What was loaded is opened again without its table while nothing has changed; a process looks at files."""

import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import data
from core.data import Dataset, ImageSet, Reading, examination, recall, sets
from core.errors import MaclError

SIZE = 32


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mine(tiny: Path, tmp_path: Path) -> Path:
    """60 scenes as a zip, of which the table puts some into no part of its split."""
    parts = ["split", *["train"] * 40, *["test"] * 17, *[""] * 3]
    lines = (tiny / "labels.csv").read_text().splitlines()[:61]
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for index in range(60):
            archive.write(tiny / f"scene{index:03d}.png", f"scene{index:03d}.png")
        archive.writestr("labels.csv", "\n".join(f"{a},{b}" for a, b in zip(lines, parts, strict=True)))
    return tmp_path / "mine.zip"


def same(a: Dataset, b: Dataset) -> bool:
    fields = (
        "classes",
        "names",
        "unlabelled",
        "key",
        "skipped",
        "missing",
        "notes",
        "given_by",
        "unnamed",
        "look",
    )
    return (
        all(getattr(a, name) == getattr(b, name) for name in (*fields, "sides", "given"))
        and np.array_equal(a.labels, b.labels)
        and all(np.array_equal(a.splits[part], b.splits[part]) for part in ("train", "val", "test"))
        and np.array_equal(a.images, b.images)
    )


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("read in the process of the page")


@pytest.mark.parametrize("reading", [Reading(), Reading(split="random"), Reading(ignore_columns="trees")])
def test_it_opens_what_was_loaded_for_every_seed(
    mine: Path, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ImageSet("folder", str(mine), SIZE, reading=reading)
    assert not images.can_open()
    with pytest.raises(MaclError, match=r"is not prepared for 32 pixels.*macl data prepare folder"):
        images.opened()
    loaded = {seed: images.load(seed) for seed in (0, 4, 1)}
    assert loaded[0].sides == ((48, 48),)
    monkeypatch.setattr(sets, "_found", never)
    assert images.can_open()
    for seed, data_set in loaded.items():
        assert same(images.opened(seed), data_set)
    other = Reading(near_equal="join")
    assert not ImageSet("folder", str(mine), SIZE, reading=other).can_open(), "read in another way"
    assert not ImageSet("folder", str(mine), 2 * SIZE, reading=reading).can_open()


def changed_files(mine: Path, own_cache: Path) -> None:
    with zipfile.ZipFile(mine, "a") as archive:
        archive.writestr("notes.md", "more")


def no_images(mine: Path, own_cache: Path) -> None:
    next((own_cache / "prepared").glob("*/images.npy")).unlink()


def damaged(mine: Path, own_cache: Path) -> None:
    (path,) = (own_cache / "sets").iterdir()
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("change", [changed_files, no_images, damaged])
def test_what_is_not_as_it_was_is_not_opened(
    mine: Path, own_cache: Path, change: Callable[[Path, Path], None]
) -> None:
    images = ImageSet("folder", str(mine), SIZE)
    images.load()
    change(mine, own_cache)
    assert not images.can_open()
    with pytest.raises(MaclError, match="is not prepared"):
        images.opened()
    images.load()
    assert images.can_open()


def test_another_version_may_read_the_same_files_in_another_way(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ImageSet("folder", str(mine), SIZE)
    images.load()
    examination.start(images, decode=False)
    wait(images)
    assert examination.result(images, decode=False) is not None
    for module in (recall, examination):
        monkeypatch.setattr(module, "code", lambda: "another")
    assert not images.can_open()
    assert examination.result(images, decode=False) is None


def test_broken_images_are_an_error_until_they_are_left_out(tiny: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for file in sorted(tiny.iterdir()):
            archive.writestr(file.name, b"no image" if file.name == "scene003.png" else file.read_bytes())
    images = ImageSet("folder", str(tmp_path / "mine.zip"), SIZE)
    ImageSet("folder", images.root, SIZE, skip_broken=True).load()
    with pytest.raises(MaclError, match=r"1 of 160 images cannot be used: scene003.png"):
        images.opened()
    assert len(ImageSet("folder", images.root, SIZE, skip_broken=True).opened().skipped) == 1


def wait(images: ImageSet) -> None:
    deadline = time.monotonic() + 120
    while (about := examination.status(images, decode=False)).state == "running":
        assert time.monotonic() < deadline, about
        time.sleep(0.05)
    assert about.state == "done", about


def test_a_look_finds_without_decoding_and_opens_what_is_prepared(mine: Path, own_cache: Path) -> None:
    images = ImageSet("folder", str(mine), SIZE)
    examination.start(images, decode=False)
    wait(images)
    found = examination.result(images, decode=False)
    assert found is not None
    assert (found.images, found.decoded, found.given_by) == (60, False, "a column of labels.csv")
    assert examination.result(images) is None, "nobody has decoded them"
    assert not images.can_open()
    images.load()
    for path in (own_cache / "sets").iterdir():
        path.unlink()  # as an earlier version left it
    for path in (own_cache / "examined").glob("*.report"):
        path.unlink()
    assert examination.status(images, decode=False).state == "none"
    examination.start(images, decode=False)
    wait(images)
    assert images.can_open()


def test_a_look_unpacks_an_archive(tiny: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "mine.tar.gz", "w:gz") as archive:
        archive.add(tiny, "tiny")
    images = ImageSet("folder", str(tmp_path / "mine.tar.gz"), SIZE)
    with pytest.raises(MaclError):
        data.load("folder", images.root, SIZE, only_prepared=True)
    examination.start(images, decode=False)
    wait(images)
    found = examination.result(images, decode=False)
    assert found is not None
    assert (found.images, found.problems) == (160, ())
