"""The demo set is read as any folder of a person's own images is; only its names are its own."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import data
from core.data.decode import decode
from core.data.info import LABELS_17
from core.errors import MaclError

HOME = data.default_root("demo")


def rows() -> dict[str, list[str]]:
    """The committed table: the labels of each path."""
    with (HOME / "labels.csv").open(newline="") as table:
        header, *lines = csv.reader(table)
    assert header == ["image", *LABELS_17]
    return {path: labels for path, *labels in lines}


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Twenty of its pictures, of several scenes, with their table."""
    table = (HOME / "labels.csv").read_text().splitlines()[:21]
    for line in table[1:]:
        path = tmp_path / "few" / line.partition(",")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HOME / line.partition(",")[0], path)
    (tmp_path / "few" / "labels.csv").write_text("\n".join(table))
    return tmp_path / "few"


def test_the_demo_set_comes_with_the_program_whatever_the_persons_folders_are() -> None:
    found = data.find("demo")
    assert found.names == tuple(f"demo{index:04d}" for index in range(2100))
    assert found.classes == LABELS_17
    assert (found.without_row, found.without_image, found.broken, found.problems) == ((), (), (), ())
    labels = {Path(path).stem: labels for path, labels in rows().items()}
    assert [labels[name] for name in found.names] == [list(map(str, row)) for row in found.labels.tolist()]
    assert data.sides("demo") == [(160, 160)]
    report = data.check("demo")
    assert report.ok
    assert report.splits == (("train", 1470), ("val", 210), ("test", 420))


def test_its_pixels_are_those_of_its_files_and_its_splits_go_by_the_seed(few: Path) -> None:
    first, second = data.load("demo", few, 128), data.load("demo", few, 128, seed=5)
    assert first.names == tuple(f"demo{index:04d}" for index in range(20))
    for name, image in zip(first.names, first.images, strict=True):
        (path,) = few.glob(f"scenes/*/{name}.webp")
        with Image.open(path) as picture:
            assert (np.asarray(picture) == image).all()
    assert first.key == second.key
    assert [len(first.splits[part]) for part in ("train", "val", "test")] == [14, 2, 4]
    assert first.splits["test"].tolist() != second.splits["test"].tolist()


def test_as_an_own_folder_it_has_the_same_images_and_labels(few: Path) -> None:
    demo, own = data.load("demo", few, 16), data.load("folder", few, 16)
    at = [demo.names.index(Path(name).stem) for name in own.names]
    assert sorted(at) == list(range(20))
    assert own.classes == demo.classes
    assert (own.labels == demo.labels[at]).all()
    assert (own.images == demo.images[at]).all()


@pytest.mark.parametrize(("size", "side"), [(16, 24), (19, 24), (256, 320), (512, 640)])
def test_every_training_size_works_beyond_that_of_the_files_too(few: Path, size: int, side: int) -> None:
    images = data.load("demo", few, size).images
    assert images.shape == (20, side, side, 3)
    name = next(few.glob("scenes/*/demo0003.webp"))
    assert (images[3] == decode(name.read_bytes(), side)).all()


def test_people_see_that_larger_sizes_are_enlarged() -> None:
    assert "160 px" in data.DATASETS["demo"].summary
    assert "above 128 px enlarge" in data.DATASETS["demo"].summary


def test_a_picture_that_is_broken_or_gone_is_named_as_in_any_set(few: Path) -> None:
    next(few.glob("scenes/*/demo0003.webp")).write_bytes(b"")
    with pytest.raises(MaclError, match="1 of 20 images cannot be used: demo0003: empty file"):
        data.load("demo", few, 16)
    assert len(data.load("demo", few, 16, skip_broken=True)) == 19
    next(few.glob("scenes/*/demo0003.webp")).unlink()
    assert data.load("demo", few, 16).missing == 1


def test_it_counts_as_changed_with_its_files_and_needs_no_download(few: Path) -> None:
    before = data.fingerprint("demo", few)
    assert before
    next(few.glob("scenes/*/demo0003.webp")).unlink()
    assert data.fingerprint("demo", few) != before
    assert data.fingerprint("demo") == data.fingerprint("demo", HOME) != ""
    with pytest.raises(MaclError, match="come with the program"):
        data.fetch("demo")
