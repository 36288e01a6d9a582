"""Two runs are compared by the data that they saw: one answer for every page, table, sweep and benchmark."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app import cache
from app.embeddings import view
from app.kit import gallery, query
from core import report, runs
from core.experiments import lab, sweep
from core.experiments.benchmark import split
from core.report.baseline import one_split
from core.runs import Run, RunConfig, origin
from core.runs.origin import Data, Same, compare, of_run
from core.training import loop, recent
from tests.core.runs.test_origin import one_label, other_name, other_pixels, shuffle_columns_with_names
from tests.small_runs import config

YES = Same(True, True, True)


def made(images: Path, root: Path, seed: int = 0, size: int = 32) -> Run:
    run = runs.create(config(images, epochs=1, device="cpu", seed=seed, image_size=size), root)
    assert loop.run(run.path) == "finished", run.error
    return run


def earlier(run: Run) -> Run:
    """As an earlier version has left it."""
    (run.path / "data.json").unlink()
    return run


@pytest.fixture(scope="module")
def pair(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run on images in a place of their own."""
    place = tmp_path_factory.mktemp("pair")
    shutil.copytree(tiny, place / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", str(tmp_path_factory.getbasetemp() / "home" / "cache"))
        return made(place / "images", place), place / "images"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MACL_RUN_ROOT", str(tmp_path / "runs"))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    return tmp_path / "runs"


def everywhere(a: Run, b: Run) -> set[tuple[bool, bool]]:
    """What everybody who compares says: whether the images are the same, and whether the split is."""
    results = report.read(a), report.read(b)
    now = b.config.model_copy(update={"data_root": b.config.data_root})
    images = [
        not gallery.foreign(b, a),
        view.same_images(b, a),
        compare(of_run(a), of_run(b)).images and compare(of_run(a), of_run(b)).labels,
    ]
    splits = [
        one_split(*results),
        query.one_split(a, b),
        split.is_of(a, now),
        _in_one_sweep(a, b),
        compare(of_run(a), of_run(b)).split,
        compare(of_run(b), of_run(a)).split,
    ]
    return {(one, other) for one in images for other in splits}


def _in_one_sweep(a: Run, b: Run) -> bool:
    """Whether a sweep with points for both takes both for its runs: the split of the newest decides."""
    fields = {"dataset": "folder", "image_size": b.config.image_size, "batch_size": 16, "epochs": 1}
    points = [
        sweep.Point({"lr": lr}, b.config.model_copy(update={"lr": lr}))
        for lr in (b.config.lr, 2 * b.config.lr)
    ]
    assert fields["epochs"] == b.config.epochs
    planned = sweep.Sweep("", "t", "", {"lr": tuple(point.at["lr"] for point in points)}, tuple(points))
    mine = a.config.model_copy(update={"lr": 2 * b.config.lr, "data_root": b.config.data_root})
    pairs = sweep.found(planned, [(b, b.config), (a, mine)])
    return all(run is not None for _, run in pairs)


def test_a_folder_reached_by_a_link_is_the_same_everywhere(
    pair: tuple[Run, Path], root: Path, tmp_path: Path
) -> None:
    run, images = pair
    (tmp_path / "link").symlink_to(images)
    other = made(tmp_path / "link", root)
    assert compare(of_run(run), of_run(other)) == YES
    assert everywhere(run, other) == {(True, True)}
    assert run.config.identity == other.config.identity
    assert report.summary([report.read(run), report.read(other)])[0].seeds == (0,)
    assert len({row.dataset for row in report.summary([report.read(run), report.read(other)])}) == 1
    assert lab.of(run.config, root) == lab.of(other.config, root)
    shutil.copytree(run.path, root / "earlier")
    assert everywhere(earlier(Run(root / "earlier")), other) == {(True, True)}


def test_a_copy_of_a_folder_holds_the_same_images(pair: tuple[Run, Path], root: Path, tmp_path: Path) -> None:
    run, images = pair
    shutil.copytree(images, tmp_path / "copy")
    assert everywhere(run, made(tmp_path / "copy", root)) == {(True, True)}


@pytest.mark.parametrize("known", [True, False], ids=["data.json", "earlier version"])
def test_equal_names_and_other_pixels_are_different_everywhere(
    known: bool, pair: tuple[Run, Path], root: Path, tmp_path: Path
) -> None:
    run, images = pair
    shutil.copytree(images, tmp_path / "other")
    other_pixels(tmp_path / "other")
    other = made(tmp_path / "other", root)
    assert run.splits() == other.splits()
    assert run.scores()["chance"] == other.scores()["chance"]  # what was gone by
    if not known:
        other = earlier(other)
    assert everywhere(run, other) == {(False, False)}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (other_pixels, Same(False, True, False)),
        (other_name, Same(False, True, False)),
        (one_label, Same(True, False, False)),
        (shuffle_columns_with_names, Same(True, False, False)),
    ],
)
def test_what_was_changed_in_place_between_two_runs_is_told_apart(
    change: Callable[[Path], None], same: Same, pair: tuple[Run, Path], root: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    shutil.copytree(pair[1], images)
    before = made(images, root)
    change(images)
    after = made(images, root)
    assert compare(of_run(before), of_run(after)) == same
    assert everywhere(before, after) == {(False, False)}
    assert (not same.images) == ("have changed" in gallery.foreign(after, before))


def test_other_seeds_and_sizes_of_one_folder(pair: tuple[Run, Path], root: Path) -> None:
    run, images = pair
    seed, size = made(images, root, seed=1), made(images, root, size=64)
    assert compare(of_run(run), of_run(seed)) == Same(True, True, False)
    assert compare(of_run(run), of_run(size)) == YES
    assert not gallery.foreign(seed, run)


def test_runs_of_earlier_versions_are_compared_by_what_they_have(
    pair: tuple[Run, Path], root: Path, tmp_path: Path
) -> None:
    shutil.copytree(pair[0].path, root / "one")
    shutil.copytree(pair[0].path, root / "two")
    one, two = (earlier(Run(root / name)) for name in ("one", "two"))
    assert everywhere(one, two) == {(True, True)}
    two.mark("config.json", json.dumps(two.config.model_dump() | {"data_root": str(tmp_path / "moved")}))
    assert compare(of_run(one), of_run(two)) == YES  # one place is gone: the images may have moved
    (tmp_path / "moved").mkdir()
    assert not compare(of_run(one), of_run(two)).images
    (tmp_path / "moved").rmdir()
    names = two.splits()
    names["test"] = names["test"][::-1]
    two.mark("splits.json", json.dumps(names))
    assert not compare(of_run(one), of_run(two)).images
    two.mark("data.json", "damaged")
    assert not of_run(two).digests


def test_a_line_of_a_benchmark_is_compared_by_its_scores() -> None:
    row = origin.of_scores("dlrsd", {"images": 411, "chance": {"map_easy": 0.5123456, "map_hard": None}})
    run = Data("dlrsd", test="a", labels="b", images=411, chance={"map_easy": 0.51234561, "map_hard": None})
    assert compare(row, run) == compare(run, row) == YES
    for other in (
        replace(run, dataset="ucm"),
        replace(run, images=410),
        replace(run, chance={"map_easy": 0.5123556, "map_hard": None}),
        replace(run, chance={"map_easy": None, "map_hard": None}),
        replace(run, chance={}),
    ):
        assert not compare(row, other).split


def test_published_data_sets_go_by_their_names() -> None:
    """Whatever archive they came from, and wherever it lies."""
    a, b = (
        RunConfig.build("instant", dataset="dlrsd", data_root=root).place for root in ("/one.zip", "/two.zip")
    )
    assert a == b == ""
    assert compare(Data("dlrsd", a, test="t", labels="l"), Data("dlrsd", b, test="t", labels="l")) == YES


def test_data_json_says_size_and_stretch(pair: tuple[Run, Path]) -> None:
    known = json.loads((pair[0].path / "data.json").read_text())
    assert known["size"] == str(recent.dataset(pair[0].config).images.shape[1])
    assert known["stretch"] == "0.5-99.5 % of each image"
