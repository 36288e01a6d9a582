"""The data page: what is here, preparing in the background, and what the prepared images show."""

import csv
import errno
import io
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import cache, image_cache
from app.data import duplicates as twins
from app.data import images, paper, together
from app.figures import labels as figures
from core import data, metrics
from core import labels as core_labels
from core.background.cache import cannot_write
from core.data import DATASETS, Dataset, ImageSet, duplicates, examination, job, preview
from core.data.duplicates import Pair
from core.data.paper import PAPER, Published
from core.errors import MaclError
from core.files import PROJECT
from tests.components import charts, numbers
from tests.small_runs import wait

MAIN = str(PROJECT / "app" / "navigation.py")
SIZE = 96
PREPARE, READ_IT_SO = "Prepare the images", "Read it so"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No runs, and nothing that an earlier test has looked up."""
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("MACL_RUN_ROOT", str(folder))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    for remembered in (
        image_cache._prepared,
        image_cache._dataset,
        image_cache._files,
    ):
        remembered.clear()
    return folder


@pytest.fixture(scope="session")
def prepared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", str(tmp_path_factory.getbasetemp() / "home" / "cache"))
        loaded = data.load("folder", str(tiny), image_size=SIZE)
        while not data.is_prepared("folder", str(tiny), SIZE):  # files of the last 2 s are not remembered
            time.sleep(0.5)
            data.load("folder", str(tiny), image_size=SIZE)
        return loaded


def page_of(**query: Any) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    page.switch_page("../pages/data.py").run()
    return settled(page)


def settled(page: AppTest) -> AppTest:
    """The page once the process that looks at the files has ended."""
    deadline = time.monotonic() + 60
    while page.get("progress") and not page.metric:  # not a search among images that are shown
        assert time.monotonic() < deadline
        time.sleep(0.1)
        page.run()
    assert not page.exception
    return page


def own(tiny: Path, **query: Any) -> AppTest:
    return page_of(dataset="Your own images", folder_root=str(tiny), size=str(SIZE), **query)


def buttons(page: AppTest) -> list[str]:
    """What can be started."""
    return [button.label for button in page.button if button.label != READ_IT_SO]


def html(page: AppTest) -> str:
    return "".join(part.proto.body for part in page.get("html"))


def drawn(page: AppTest, title: str) -> list[dict[str, Any]]:
    (chart,) = (chart for chart in charts(page) if title in chart["alt"])
    found: list[dict[str, Any]] = json.loads(chart["spec"])["data"]
    return found


def test_every_data_set_is_listed_with_how_to_get_it() -> None:
    page = page_of()
    text = html(page)
    for info in DATASETS.values():
        assert info.title in text
    assert "<code>macl data fetch dlrsd</code>" in text
    assert str(DATASETS["demo"].home) in text  # found, or prepared by another test
    assert text.count("not found") == 5


def test_a_set_that_is_not_here_says_how_to_get_it() -> None:
    page = page_of(dataset="DLRSD")
    assert "DLRSD is not here yet" in page.info[0].value
    assert page.code[0].value == "macl data fetch dlrsd"
    assert not page.button


def test_a_path_that_is_wrong_is_an_error_and_no_crash(tmp_path: Path) -> None:
    page = page_of(dataset="WHDLD", whdld_root=str(tmp_path / "nowhere"))
    assert "does not exist" in page.error[0].value
    (tmp_path / "text.txt").write_text("no archive")
    page.text_input(key="whdld_root").set_value(str(tmp_path / "text.txt")).run()
    settled(page)
    assert "neither a folder nor a readable .zip" in page.error[0].value
    assert not page.exception


@pytest.mark.parametrize("path", ["~nosuchuser/x", "/" + "x" * 300, "/dev/null", "/dev/null/x"])
def test_a_path_that_cannot_be_is_one_line(path: str) -> None:
    for title, key in (("WHDLD", "whdld_root"), ("Your own images", "folder_root")):
        page = page_of(dataset=title, **{key: path})
        (error,) = page.error
        assert re.search("does not exist|cannot be read|neither a folder nor", error.value)
    page = AppTest.from_file(MAIN, default_timeout=60)
    page.session_state["root.whdld"] = path
    page.switch_page("../pages/train.py").run()
    page.selectbox(key="dataset").set_value("whdld").run()
    if path != "/dev/null":
        assert any("WHDLD is not at" in warning.value for warning in page.warning)
    assert not page.exception


def zipped(folder: Path, archive: Path, change: Callable[[str], str] = str, images: int = 160) -> Path:
    """The drawn scenes as a zip, which is remembered at any age, with a changed table."""
    with zipfile.ZipFile(archive, "w") as opened:
        for file in sorted(folder.glob("*.png"))[:images]:
            opened.write(file, file.name)
        opened.writestr("labels.csv", change((folder / "labels.csv").read_text()))
    return archive


@pytest.mark.usefixtures("prepared")
def test_a_corrected_table_is_seen(tiny: Path, tmp_path: Path) -> None:
    mine = zipped(tiny, tmp_path / "mine.zip")

    def airplanes() -> float:
        bars = drawn(page, "Images per label")
        return sum(dict(zip(bar["x"], numbers(bar["y"]), strict=True))["airplane"] for bar in bars)

    page = own(mine)
    before = airplanes()
    zipped(tiny, mine, lambda text: re.sub(r"(?m)(?<=png,)[01]", "1", text))  # airplanes everywhere
    image_cache._files.clear()  # some seconds later
    settled(page.run())
    assert before < airplanes() == 160


def test_files_are_looked_at_again_when_they_have_changed(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    mine = zipped(tiny, tmp_path / "mine.zip")
    images = ImageSet("folder", str(mine), SIZE)
    for count in (160, 150):
        zipped(tiny, mine, images=count)
        assert image_cache.examined(images) is None
        page = own(mine)
        found = image_cache.examined(images)
        assert found is not None
        assert found.images == count
        assert any(f"Found **{count}** images" in text.value for text in page.markdown)


def test_the_page_never_prepares(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine"
    shutil.copytree(tiny, mine)
    moved = [file.rename(tmp_path / file.name) for file in sorted(mine.glob("*.png"))[:4]]
    page = own(mine)
    press(page, PREPARE)
    wait(lambda: job.status(ImageSet("folder", str(mine), SIZE)).state == "done")
    page.run()
    assert "156 images" in page.header[0].value
    for file in moved:
        file.rename(mine / file.name)
    image_cache._files.clear()  # some seconds later
    settled(page.run())
    assert job.status(ImageSet("folder", str(mine), SIZE)).state == "none"
    assert "Prepare the images" in {button.label for button in page.button}
    assert any("Found **160** images" in text.value for text in page.markdown)
    assert len(list((tmp_path / "cache" / "prepared").iterdir())) == 1
    image_cache._dataset.clear()
    shutil.rmtree(tmp_path / "cache" / "prepared")
    with pytest.raises(MaclError, match=r"is not prepared for 96 pixels.*macl data prepare folder"):
        image_cache.prepared(ImageSet("folder", str(mine), SIZE), 0)
    assert not (tmp_path / "cache" / "prepared").exists()


def test_chance_belongs_to_the_labels(prepared: Dataset) -> None:
    other = replace(prepared, labels=np.roll(prepared.labels, 1, axis=0) | prepared.labels)
    for data_set in (prepared, other):
        test = data_set.labels[data_set.splits["test"]]
        assert image_cache.chance(data_set, 0) == pytest.approx(metrics.chance(test), nan_ok=True)
        assert image_cache.label_sets(data_set) == len(np.unique(data_set.labels, axis=0))


def test_what_was_prepared_is_what_the_train_page_begins_with(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(tiny, mine)
    (mine / "scene003.png").write_bytes(b"no image")
    data.load("folder", str(mine), image_size=SIZE, skip_broken=True)
    job.start(ImageSet("folder", str(mine), SIZE, skip_broken=True))
    wait(lambda: job.status(ImageSet("folder", str(mine), SIZE)).state == "done")
    page = own(mine)
    assert "159 images" in page.header[0].value
    page.switch_page("../pages/train.py").run()
    assert page.selectbox(key="dataset").value == "folder"
    assert not page.exception
    assert page.text_input(key="folder_root").value == str(mine)
    assert page.toggle(key="folder_skip").value

    monkeypatch.setenv("MACL_DATA_ROOT", str(tmp_path / "usual"))
    zipped(tiny, tmp_path / "mine.zip")
    (tmp_path / "usual" / "folder").mkdir(parents=True)
    shutil.copy(tmp_path / "mine.zip", tmp_path / "usual" / "folder")
    data.load("folder", image_size=SIZE)
    page = AppTest.from_file(MAIN, default_timeout=60)
    page.query_params["dataset"], page.query_params["size"] = "Your own images", str(SIZE)
    page.switch_page("../pages/data.py").run()
    assert "160 images" in page.header[0].value
    page.switch_page("../pages/train.py").run()
    assert page.selectbox(key="dataset").value == "folder"
    assert page.text_input(key="folder_root").value == ""
    assert not page.toggle(key="folder_skip").value


def test_preparing_from_the_page(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    page = own(tiny)
    assert any("Found **160** images" in text.value for text in page.markdown)
    assert not charts(page)
    press(page, PREPARE)
    assert job.status(ImageSet("folder", str(tiny), SIZE)).state in ("running", "done")
    wait(lambda: job.status(ImageSet("folder", str(tiny), SIZE)).state == "done")
    page.run()
    assert "160 images, 17 labels" in page.header[0].value
    assert len(charts(page)) == 2


def test_broken_images_are_named_and_can_be_left_out(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine"
    shutil.copytree(tiny, mine)
    (mine / "scene003.png").write_bytes(b"no image")
    page = own(mine)
    press(page, PREPARE)
    wait(lambda: job.status(ImageSet("folder", str(mine), SIZE)).state != "running")
    page.run()
    assert "scene003" in page.error[0].value
    assert "leave them out below" in page.error[0].value
    page.toggle[0].set_value(True).run()
    page.run()
    assert page.error[0].value.endswith("not an image. They are left out"), "not offered where it is chosen"
    press(page, PREPARE)
    wait(lambda: job.status(ImageSet("folder", str(mine), SIZE)).state == "done")
    page.run()
    assert "159 images" in page.header[0].value
    assert next(metric.value for metric in page.metric if metric.label == "Left out: broken") == "1"
    assert "159 images" in own(mine).header[0].value, "another tab, or after a reload"


def test_the_split_that_the_images_come_with_is_named(tiny: Path, tmp_path: Path) -> None:
    table = [line.split(",") for line in (tiny / "labels.csv").read_text().splitlines()]
    parts = ["split", *["train"] * 100, *["val"] * 20, *["test"] * 39, ""]
    mine = zipped(tiny, tmp_path / "mine.zip", lambda _: "\n".join(map(",".join, map(row, table, parts))))
    page = own(mine)
    said = [text.value for text in page.markdown]
    assert "The split is given by a column of labels.csv: train 100, val 20, test 39." in said
    assert any(
        part.label == "Images in no part of the split, which are left out: 1" for part in page.expander
    )
    data.load("folder", str(mine), SIZE)
    page = own(mine)
    assert [metric.value for metric in page.metric[:3]] == ["100", "20", "39"]
    given = "The split is given by a column of labels.csv."
    (lines,) = [text.value.split("  \n") for text in page.caption if given in text.value]
    assert "Columns separated by commas, 17 columns of 0 and 1." in lines  # and all else that was said before
    assert sum("images are in no part of the split and are left out" in line for line in lines) == 1


def test_the_name_of_a_table_is_never_rendered(tiny: Path, tmp_path: Path) -> None:
    table = [line.split(",") for line in (tiny / "labels.csv").read_text().splitlines()]
    parts = ["split", *["train"] * 100, *["val"] * 20, *["test"] * 40]
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for file in sorted(tiny.glob("*.png")):
            archive.write(file, file.name)
        archive.writestr("![x](a) `b` **c**.csv", "\n".join(map(",".join, map(row, table, parts))))
    for prepared in (False, True):
        if prepared:
            data.load("folder", tmp_path / "mine.zip", SIZE)
        page = own(tmp_path / "mine.zip")
        texts = [text.value for text in (*page.markdown, *page.caption)]
        assert any("The split is given by" in text for text in texts)
        assert not [text for text in texts if "![x](a)" in text or "`b`" in text or "**c**" in text]


def row(cells: list[str], part: str) -> list[str]:
    return [cells[0], part, *cells[1:]]


def full(folder: Path) -> None:
    raise cannot_write(folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


def press(page: AppTest, label: str) -> None:
    next(button for button in page.button if button.label == label).click().run()
    assert not page.exception


def test_a_full_disk_is_said_where_something_starts(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    mine = zipped(tiny, tmp_path / "mine_too.zip")
    with monkeypatch.context() as patch:
        patch.setattr("core.background.process.make_folder", full)
        page = own(mine)
        assert [e.value for e in page.error if "No space left" in e.value and r"MACL\_CACHE" in e.value]
    own(mine)
    with monkeypatch.context() as patch:
        patch.setattr("core.background.process.make_folder", full)
        for label in ("Prepare the images", "Look at every image first"):
            page = own(mine)
            press(page, label)
            assert [e.value for e in page.error if "No space left" in e.value and r"MACL\_CACHE" in e.value]
    data.load("folder", str(mine), image_size=SIZE)
    monkeypatch.setattr("core.background.process.make_folder", full)
    page = own(mine, view="Near-duplicates")
    press(page, "Look for near-duplicates")
    assert "No space left" in page.error[0].value
    page = own(mine, view="Images")
    assert "No space left" in page.error[0].value


def test_a_fault_of_the_table_hides_no_broken_image(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine"
    shutil.copytree(tiny, mine)
    (mine / "scene003.png").write_bytes(b"no image")
    table = mine / "labels.csv"
    table.write_text(
        table.read_text()
        .replace("scene007.png,0", "scene007.png,maybe")
        .replace("scene007.png,1", "scene007.png,maybe")
    )
    page = own(mine)
    assert "'maybe' in row 9" in page.error[0].value
    assert buttons(page) == ["Look at every image first"]
    press(page, "Look at every image first")
    wait(lambda: examination.status(ImageSet("folder", str(mine))).state == "done")
    page.run()
    assert "'maybe' in row 9" in page.error[0].value
    assert any(item.label == "Cannot be read: 1" for item in page.expander)
    assert not buttons(page), "preparing would fail on the table, whatever is left out"


def test_what_a_table_says_is_no_markdown(tiny: Path, tmp_path: Path) -> None:
    page = own(
        zipped(tiny, tmp_path / "mine.zip", lambda text: re.sub(r"(?<=scene007.png,)\d,\d", "*,*", text))
    )
    assert r"'\*' in row 9" in page.error[0].value


def test_every_problem_is_listed_before_anything_starts(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine"
    shutil.copytree(tiny, mine)
    (mine / "scene003.png").write_bytes(b"no image")
    (mine / "scene004.png").write_bytes((tiny / "scene004.png").read_bytes()[:300])
    (mine / "scene005.png").unlink()
    (mine / "extra.png").write_bytes((tiny / "scene006.png").read_bytes())
    page = own(mine)
    folds = {fold.label: fold for fold in page.expander}
    assert "In the table, but no image: 1" in folds
    assert "An image, but not in the table: 1" in folds
    assert any("fewer than 10 images" in title for title in folds)
    assert not any("Cannot be read" in title for title in folds)
    look = next(button for button in page.button if button.label == "Look at every image first")
    look.click().run()
    assert not page.exception
    wait(lambda: examination.status(ImageSet("folder", str(mine))).state != "running")
    page.run()
    folds = {fold.label: fold for fold in page.expander}
    (names,) = folds["Cannot be read: 2"].text
    assert "scene003.png: not an image" in names.value
    assert "scene004.png: truncated or damaged" in names.value
    assert "2 images are broken" in page.error[0].value
    assert not list((tmp_path / "cache").glob("prepared/*")), "nothing was prepared"
    assert "Look at every image first" not in {button.label for button in page.button}
    for file in ("scene003.png", "scene004.png"):
        (mine / file).write_bytes((tiny / "scene006.png").read_bytes())  # mended
    settled(page.run())
    assert not page.error
    assert examination.status(ImageSet("folder", str(mine))).state == "none"


def test_the_figures_show_the_data(tiny: Path, prepared: Dataset) -> None:
    page = own(tiny, seed="3")
    splits = data.load("folder", str(tiny), image_size=SIZE, seed=3).splits
    bars = drawn(page, "Images per label")
    assert [bar["name"] for bar in bars] == ["training", "validation", "test"]
    for bar, split in zip(bars, ("train", "val", "test"), strict=True):
        held = dict(zip(bar["x"], numbers(bar["y"]), strict=True))
        for label, name in enumerate(prepared.classes):
            assert held[name] == sum(int(prepared.labels[row, label]) for row in splits[split])
    totals = [sum(column) for column in zip(*(numbers(bar["y"]) for bar in bars), strict=True)]
    assert totals == sorted(totals, reverse=True)
    sizes = drawn(page, "number of labels")[0]
    assert sum(x * y for x, y in zip(numbers(sizes["x"]), numbers(sizes["y"]), strict=True)) == sum(totals)
    expected = metrics.chance(prepared.labels[splits["test"]])
    assert f"{100 * expected['map_easy']:.2f}" in html(page)
    assert "test split of seed 3, 32 images" in html(page)


@pytest.mark.usefixtures("prepared")
def test_examples_hold_the_label_of_the_address(tiny: Path) -> None:
    page = own(tiny, view="Images", labels="cars")
    assert page.multiselect(key="labels").value == ["cars"]
    captions = [image.proto.imgs[0].caption for image in page.get("image") if image.proto.imgs[0].caption]
    assert 0 < len(captions) <= images.SHOWN[0]
    assert all("cars" in caption.split(", ") for caption in captions)


def test_a_combination_leads_to_its_images(tiny: Path, prepared: Dataset) -> None:
    page = own(tiny, view="Together", seed="2")
    sets, count = core_labels.combinations(prepared.labels)
    links = re.findall(r'href="\?([^"]*)"[^>]*>([^<]*)</a></th><td class="number">([\d,]+)</td>', html(page))
    assert [int(found) for *_, found in links] == count[::-1][: together.COMBINATIONS].tolist()
    address, names, found = links[-1]
    query = parse_qs(unescape(address))
    assert query["labels"] == [name for name, has in zip(prepared.classes, sets[-15], strict=True) if has]
    assert (query["view"], query["seed"], query["exactly"]) == (["Images"], ["2"], ["true"])
    page = page_of(**{key: value if key == "labels" else value[0] for key, value in query.items()})
    captions = [image.proto.imgs[0].caption for image in page.get("image") if image.proto.imgs[0].caption]
    assert captions == [names] * int(found)


@pytest.mark.usefixtures("prepared")
def test_no_image_of_a_combination_is_said(tiny: Path) -> None:
    page = own(tiny, view="Images", labels=["airplane", "mobile home", "dock"], exactly="true")
    assert "No image holds just these labels" in page.info[0].value


def test_images_of_a_label_of_a_combination_and_of_a_split() -> None:
    y = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 1]], np.uint8)
    splits = {"train": np.array([0, 1]), "val": np.array([2]), "test": np.array([3])}
    made = Dataset("made", np.zeros((4, 1, 1, 3)), y, ("a", "b", "c"), tuple("wxyz"), splits, 0, "key")
    assert images.matching(made, ["a", "b"], False, "all").tolist() == [0, 2]
    assert images.matching(made, ["a", "b"], True, "all").tolist() == [0]
    assert images.matching(made, ["a"], False, "train").tolist() == [0, 1]
    assert images.matching(made, [], True, "all").tolist() == [0, 1, 2, 3]
    assert images.sample(np.arange(9), 12, 0).tolist() == list(range(9))
    few = [images.sample(np.arange(100), 12, seed).tolist() for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2]
    assert len(set(few[0])) == 12


def test_the_papers_tables_from_the_data(tiny: Path, prepared: Dataset) -> None:
    text = html(own(tiny, view="Paper"))
    assert all(f"Table {number}" in text for number in (1, 2, 3))
    held = prepared.labels.sum(axis=0)
    parts = [prepared.labels[prepared.splits[split]].sum(axis=0) for split in ("train", "val", "test")]
    for label, name in enumerate(prepared.classes):
        cells = "".join(f'<td class="number">{row[label]}</td>' for row in (held, *parts))
        assert f'<th scope="row">{name}</th>{cells}</tr>' in text
    assert '<td class="number">112</td><td class="number">16</td><td class="number">32</td>' in text


def test_the_papers_tables_survive_a_folder_that_has_gone(prepared: Dataset, tmp_path: Path) -> None:
    table = paper._first(ImageSet("folder", str(tmp_path / "gone")), prepared, None)
    assert '<td class="number">160</td><td class="number">48 × 48</td>' in table


def test_the_papers_numbers_stand_beside_the_own(prepared: Dataset) -> None:
    published = Published(
        160, 160, "1", "here", 2020, (112, 16, 32), tuple(prepared.labels.sum(axis=0).tolist())
    )
    assert "<strong>" not in paper._third(prepared, published)
    other = replace(published, counts=(published.counts[0] + 1, *published.counts[1:]))
    found = re.findall(r"<strong>(\d+)</strong>", paper._third(prepared, other))
    assert found == [str(published.counts[0])]
    rows = list(csv.reader(io.StringIO(paper._csv(prepared, other))))
    assert rows[0] == ["Label", "Images", "Training", "Validation", "Test", "Paper"]
    assert [int(row[-1]) for row in rows[1:]] == list(other.counts)


def test_the_papers_tables_agree_with_themselves() -> None:
    for name, published in PAPER.items():
        info = DATASETS[name]
        assert len(published.counts) == info.labels
        assert published.splits == (info.train, info.val, info.test)
        assert sum(published.splits) == published.images == info.images


def test_near_duplicates_are_looked_for_on_request(tiny: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.zip"
    with zipfile.ZipFile(mine, "w") as archive:
        for file in sorted(tiny.iterdir()):
            number = file.stem.removeprefix("scene")
            content = file.read_bytes()
            if number in ("100", "101", "102", "103"):  # mirrored copies take the place of four scenes
                original = Image.open(tiny / file.name.replace("scene10", "scene00"))
                mirrored = io.BytesIO()
                original.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored, "PNG")
                content = mirrored.getvalue()
            archive.writestr(file.name, content)
    copied = data.load("folder", str(mine), image_size=SIZE)
    key, names = copied.key, copied.names
    page = own(mine, view="Near-duplicates", pairs="all")
    (button,) = (button for button in page.button if button.label != READ_IT_SO)
    assert duplicates.status(key).state == "none"
    assert button.label == "Look for near-duplicates"
    assert any("some seconds and 16 MB of memory for 160 images" in text.value for text in page.caption)
    assert "about 3.5 hours and 6.9 GB of memory for 50,000 images" in twins._effort(50_000)
    assert "about 2 minutes and 512 MB" in twins._effort(4940)
    button.click().run()
    assert not page.exception
    wait(lambda: duplicates.status(key).state != "running")
    assert duplicates.status(key) == job.Preparation("done")
    page.run()
    assert not page.exception
    pairs = duplicates.result(key)
    assert {(names[p.a], names[p.b]) for p in pairs if p.similarity > 0.9} == {
        (f"scene00{copy}.png", f"scene10{copy}.png") for copy in range(4)
    }
    text = html(page)
    assert text.count("<figure>") == sum(p.similarity >= duplicates.SAME for p in pairs)
    assert text.count('<img src="data:image/jpeg') == 2 * text.count("<figure>")
    assert "mirrored" in text
    assert "4 pairs" in "".join(part.value for part in page.markdown)


def test_a_search_is_stopped_on_the_page(
    tiny: Path, prepared: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "status", lambda key: job.Preparation("running", "Comparing", 1, 9))
    duplicates.process(prepared.key).path.parent.mkdir(exist_ok=True)
    page = own(tiny, view="Near-duplicates")
    (button,) = (button for button in page.button if button.label != READ_IT_SO)
    assert (button.label, button.disabled) == ("Stop", False)
    button.click().run()
    assert not page.exception
    assert duplicates.is_stopping(prepared.key)
    duplicates.process(prepared.key).file("stop").unlink()


def test_preparing_says_its_rate_and_the_time_left() -> None:
    def bar() -> None:
        from app.kit import data_view
        from core.data import job

        data_view._bar(job.Preparation("running", "preparing images", 2000, 20_000, left=60.0))

    (shown,) = AppTest.from_function(bar).run().get("progress")
    assert shown.proto.text == "Preparing images … 2,000 of 20,000, 300 a second, 1 min 00 s left"


def test_pairs_as_csv_open_no_formula(prepared: Dataset) -> None:
    names = ("=1+1.png", *prepared.names[1:])
    risky = replace(prepared, names=names)
    held = duplicates.split_of(risky.splits)
    rows = list(csv.reader(io.StringIO(twins._csv(risky, [Pair(0, 1, 0.9, 0.5, 4)], held))))
    assert rows[1] == ["'=1+1.png", held[0], names[1], held[1], "0.9", "0.5", "mirrored"]


@pytest.mark.usefixtures("prepared")
def test_what_the_address_names_wrongly_is_dropped_with_a_note(tiny: Path) -> None:
    page = own(tiny, view="Images", labels="unicorn", seed="many")
    assert "unicorn" in page.warning[0].value
    assert not page.exception
    assert "Nowhere" in page_of(dataset="Nowhere").warning[0].value


def test_the_augmented_image_appears_when_it_is_drawn(tiny: Path, prepared: Dataset) -> None:
    page = own(tiny, view="Images", labels="trees")
    row = prepared.names.index(next(box.value for box in page.selectbox if box.label == "Image"))
    place = (prepared.key, SIZE, 0, row)
    assert preview.status(*place).state in ("running", "done")
    wait(lambda: preview.status(*place).state == "done")
    page.run()
    assert any("augmented versions" in image.proto.imgs[0].alt for image in page.get("image"))
    assert not page.warning


def test_cooccurrence_by_hand() -> None:
    """Labels a, b, c on 4 images; b is the most frequent, then a, then c."""
    y = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1], [0, 1, 0]], np.uint8)
    order, names = figures.by_frequency(y), ["a", "b", "c"]
    count, share, lift = (figures.cooccurrence(y, names, kind, True, order).data[0] for kind in figures.KINDS)
    assert list(count.x) == list(count.y) == ["b", "a", "c"]
    np.testing.assert_array_equal(count.z, [[4, 2, 1], [2, 2, 0], [1, 0, 1]])
    np.testing.assert_array_equal(share.z, [[100, 100, 100], [50, 100, 0], [25, 0, 100]])  # row given column
    np.testing.assert_array_equal(lift.customdata, [[np.nan, 1, 1], [1, np.nan, 0], [1, 0, np.nan]])
    np.testing.assert_array_equal(lift.z, [[np.nan, 0, 0], [0, np.nan, -3], [0, -3, np.nan]])  # log2, cut
    assert [list(row) for row in lift.text] == [["", "1.0", "1.0"], ["1.0", "", "0.0"], ["1.0", "0.0", ""]]


def test_numbers_in_cells_only_where_they_can_be_read() -> None:
    for count in (31, 32):
        y = np.eye(count, dtype=np.uint8)
        figure = figures.cooccurrence(y, [str(i) for i in range(count)], "count", False, np.arange(count))
        assert bool(figure.data[0].texttemplate) == (count == 31)


@pytest.mark.usefixtures("prepared")
def test_every_view_of_the_labels_together(tiny: Path, prepared: Dataset) -> None:
    for together_, order in (("number of images", "clustered"), ("P(row | column), %", "by frequency")):
        (chart,) = drawn(own(tiny, view="Together", together=together_, order=order), "appear together")
        ordered = {"clustered": core_labels.clustered, "by frequency": figures.by_frequency}[order]
        assert chart["x"] == [prepared.classes[label] for label in ordered(prepared.labels)]
    assert drawn(own(tiny, view="Together", together="lift"), "lift")[0]["zmax"] == figures.LIFT_RANGE
