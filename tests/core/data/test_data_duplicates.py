"""Near-duplicates: made-up copies of drawn scenes are found, scenes that differ are not."""

import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from assets.demo import draw as demo
from core.background.process import Running
from core.data import Dataset, ImageSet, duplicates, job, load, twins
from core.data.pair import Pair
from core.errors import MaclError

SIDE, LARGE = 160, 216


@pytest.fixture(scope="module")
def scenes() -> np.ndarray:
    """Scenes (24, LARGE, LARGE, 3) that have nothing in common but the painter."""
    return np.stack([demo.draw(index, size=LARGE)[0] for index in range(0, 24)])


def crop(image: np.ndarray, down: int = 0, right: int = 0) -> np.ndarray:
    return image[down : down + SIDE, right : right + SIDE]


def compressed(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file))


def noisy(image: np.ndarray) -> np.ndarray:
    return (image + np.random.default_rng(0).normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)


def smaller(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((110, 110)).resize((SIDE, SIDE)))


COPIES = {
    "the same": lambda scene: crop(scene),
    "darker": lambda scene: (crop(scene) * 0.7 + 25).astype(np.uint8),
    "compressed": lambda scene: compressed(crop(scene)),
    "noise": lambda scene: noisy(crop(scene)),
    "other size": lambda scene: smaller(crop(scene)),
    "mirrored": lambda scene: crop(scene)[:, ::-1],
    "turned left": lambda scene: np.rot90(crop(scene)),
    "turned over": lambda scene: np.rot90(crop(scene), 2),
    "mirrored and turned": lambda scene: np.rot90(crop(scene)[:, ::-1]),
    "moved down": lambda scene: crop(scene, down=40),
    "moved a little": lambda scene: crop(scene, 3, 5),
    "moved far, darker": lambda scene: (crop(scene, 45, 50) * 0.8).astype(np.uint8),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found_and_nothing_else(scenes: np.ndarray, how: str) -> None:
    originals = [crop(scene) for scene in scenes]
    for source in (2, 9):
        images = np.stack([*originals[:14], COPIES[how](scenes[source])])
        found = [pair for pair in twins.find(images) if pair.similarity >= duplicates.SAME]
        assert [(pair.a, pair.b) for pair in found] == [(source, 14)]
        if "moved" not in how:
            assert found[0].overlap > 0.9
        assert (found[0].turn != 0) == ("mirrored" in how or "turned" in how)


def test_the_overlap_is_measured(scenes: np.ndarray) -> None:
    images = np.stack([crop(scenes[2]), crop(scenes[2], 40, 24)])
    (pair,) = twins.find(images)
    assert pair.overlap == pytest.approx((120 * 136) / 160**2, abs=0.01)
    assert pair.similarity > 0.95


def test_scenes_that_differ_are_no_pairs(scenes: np.ndarray) -> None:
    assert not twins.find(np.stack([crop(scene) for scene in scenes]))


@pytest.mark.parametrize("side", [24, 64, 120, 320])
def test_other_prepared_sizes(scenes: np.ndarray, side: int) -> None:
    images = [np.asarray(Image.fromarray(scene).resize((side, side))) for scene in scenes[:8]]
    found = twins.find(np.stack([*images, compressed(images[2])]))
    assert (found[0].a, found[0].b) == (2, 8)


def test_images_without_structure_pair_only_when_equal() -> None:
    rng = np.random.default_rng(0)
    flat = [np.full((SIDE, SIDE, 3), value, np.uint8) for value in (0, 0, 90, 255)]
    hazy = [rng.integers(100, 104, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(3)]
    assert [(pair.a, pair.b) for pair in twins.find(np.stack([*flat, *hazy]))] == [(0, 1)]
    assert twins.find(np.zeros((0, SIDE, SIDE, 3), np.uint8)) == []
    assert twins.find(np.zeros((1, SIDE, SIDE, 3), np.uint8)) == []


def test_three_of_a_kind_are_three_pairs(scenes: np.ndarray) -> None:
    same = crop(scenes[2])
    assert {(p.a, p.b) for p in twins.find(np.stack([same, same, crop(scenes[5]), same]))} == {
        (0, 1),
        (0, 3),
        (1, 3),
    }


def test_the_search_says_how_far_it_is(scenes: np.ndarray) -> None:
    told: list[tuple[int, int, str]] = []
    twins.find(np.stack([crop(scene) for scene in scenes]), lambda *now: told.append(now))
    assert told[0][2] == "Comparing all pairs"
    assert all(0 <= done <= total for done, total, _ in told)


def test_counts_by_split() -> None:
    splits = {"train": np.array([0, 1, 2]), "val": np.array([3]), "test": np.array([4, 5])}
    pairs = [Pair(0, 1, 1, 1), Pair(0, 4, 1, 1), Pair(1, 4, 1, 1), Pair(3, 5, 0.8, 1), Pair(4, 5, 0.8, 1)]
    assert duplicates.across(pairs, splits) == {
        ("train", "train"): 1,
        ("train", "val"): 0,
        ("train", "test"): 2,
        ("val", "val"): 0,
        ("val", "test"): 1,
        ("test", "test"): 1,
    }
    assert duplicates.leaked(pairs, splits) == 1  # image 4, twice


def test_all_copies_of_a_flat_image_count() -> None:
    """The search pairs each only with the first, which is in neither of the two splits."""
    images = np.full((3, SIDE, SIDE, 3), 90, np.uint8)
    splits = {"train": np.array([1]), "val": np.array([0]), "test": np.array([2])}
    pairs = twins.find(images)
    assert [(pair.a, pair.b) for pair in pairs] == [(0, 1), (0, 2)]
    assert duplicates.leaked(pairs, splits) == 1
    assert duplicates.leaked(pairs, splits | {"train": np.array([0]), "val": np.array([1])}) == 1
    assert duplicates.leaked([Pair(0, 1, 0.8, 1), Pair(0, 2, 0.8, 1)], splits) == 0, "alike is not the same"


def ended(key: str) -> job.Preparation:
    deadline = time.monotonic() + 120
    while (about := duplicates.status(key)).state == "running":
        assert time.monotonic() < deadline, "the search did not end in time"
        time.sleep(0.05)
    return about


def test_in_a_process_of_its_own(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    data: Dataset = load("folder", str(tiny), image_size=96)
    assert duplicates.status(data.key).state == "none"
    with pytest.raises(MaclError, match="nobody has looked"):
        duplicates.result(data.key)
    duplicates.start(ImageSet("folder", str(tiny), 96), data.key)
    duplicates.start(ImageSet("folder", str(tiny), 96), data.key)  # the second finds it running
    assert ended(data.key).state == "done"
    assert duplicates.result(data.key) == twins.find(data.images)


def test_a_search_can_be_stopped(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    data: Dataset = load("folder", str(tiny), image_size=96)
    path = duplicates.process(data.key).path
    path.parent.mkdir()
    running = Running(path, "core.data.duplicates", [ImageSet("folder", str(tiny), 96).to_json(), data.key])
    assert running.begin()
    told, tell = [], running.tell

    def stop(*now) -> None:
        told.append(now)
        assert duplicates.status(data.key).state == "running"
        duplicates.stop(data.key)
        assert duplicates.is_stopping(data.key)
        tell(*now)

    monkeypatch.setattr(running, "tell", stop)
    running.run(duplicates.main, None)
    assert len(told) == 1
    assert duplicates.status(data.key).state == "none"
    assert not duplicates.is_stopping(data.key)
    with pytest.raises(MaclError, match="nobody has looked"):
        duplicates.result(data.key)
    monkeypatch.undo()
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    duplicates.stop(data.key)  # of an earlier search: it does not stop this one
    duplicates.start(ImageSet("folder", str(tiny), 96), data.key)
    assert ended(data.key).state == "done"


def test_how_long_a_search_takes() -> None:
    seconds, size = duplicates.effort(4940)  # WHDLD
    assert (seconds, size) == pytest.approx((122, 0.5e9), rel=0.1)
    seconds, size = duplicates.effort(50_000)
    assert seconds > 3 * 3600
    assert size > 5e9


def test_a_search_that_fails_says_why(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    duplicates.start(ImageSet("folder", str(tiny), 96), "another key")
    about = ended("another key")
    assert (about.state, about.error) == (
        "failed",
        "the images have changed since the page was opened: open it again",
    )


def test_the_result_survives_as_text(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path))
    path = duplicates._path("key")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([[0, 3, 0.9, 0.5, 4]]))
    assert duplicates.result("key") == [Pair(0, 3, 0.9, 0.5, 4)]


def test_the_archives(archives, tmp_path, monkeypatch) -> None:
    """Two of the airplanes of UC Merced are one file twice; the crops of a parking lot overlap by half."""
    monkeypatch.setenv("MACL_CACHE", str(tmp_path))
    data = load("dlrsd", archives / "DLRSD.zip", image_size=96)
    rows = [row for row, name in enumerate(data.names) if name.startswith(("airplane", "parkinglot"))]
    found = twins.find(data.images[rows])
    pairs = {(data.names[rows[p.a]], data.names[rows[p.b]]) for p in found if p.similarity >= 0.9}
    assert pairs == {("airplane01", "airplane02"), ("parkinglot24", "parkinglot36")}
