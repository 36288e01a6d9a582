"""The data page: what is here, preparing in the background, and what the prepared images show."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import cache, data_view
from app.figures import labels
from core import data, metrics
from core.data import DATASETS, Dataset, job, preview

MAIN = str(Path(__file__).resolve().parent.parent / "app" / "main.py")
SIZE = 96


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No runs, and nothing that an earlier test has looked up."""
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("MACL_RUN_ROOT", str(folder))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    for remembered in (cache._prepared, cache._is_prepared, cache._checked, cache._dataset):
        remembered.clear()
    return folder


@pytest.fixture(scope="session")
def prepared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", str(tmp_path_factory.getbasetemp() / "home" / "cache"))
        return data.load("folder", str(tiny), image_size=SIZE)


def wait(for_what: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def page_of(**query: Any) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    page.switch_page("../pages/data.py").run()
    assert not page.exception
    return page


def own(tiny: Path, **query: Any) -> AppTest:
    return page_of(dataset="Your own images", folder_root=str(tiny), size=str(SIZE), **query)


def html(page: AppTest) -> str:
    return "".join(part.proto.body for part in page.get("html"))


def drawn(page: AppTest, title: str) -> list[dict[str, Any]]:
    (chart,) = (chart for chart in page.get("plotly_chart") if title in chart.proto.alt)
    found: list[dict[str, Any]] = json.loads(chart.proto.spec)["data"]
    return found


def numbers(coded: Any) -> list[float]:
    if isinstance(coded, dict):
        return [float(v) for v in np.frombuffer(base64.b64decode(coded["bdata"]), coded["dtype"])]
    return list(coded)


def test_every_data_set_is_listed_with_how_to_get_it() -> None:
    page = page_of()
    text = html(page)
    for info in DATASETS.values():
        assert info.title in text
    assert "<code>macl data fetch dlrsd</code>" in text
    assert "drawn on first use" in text or "prepared at 128 px" in text  # another test may have drawn it
    assert text.count("not found") == 4


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
    assert "neither a folder nor a readable .zip" in page.error[0].value
    assert not page.exception


def test_preparing_from_the_page(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    page = own(tiny)
    assert any("Found **160** images" in text.value for text in page.markdown)
    assert not page.get("plotly_chart")
    (button,) = page.button
    button.click().run()
    assert job.status("folder", str(tiny), SIZE).state in ("running", "done")
    wait(lambda: job.status("folder", str(tiny), SIZE).state == "done")
    page.run()
    assert "160 images, 17 labels" in page.subheader[0].value
    assert len(page.get("plotly_chart")) == 3


def test_broken_images_are_named_and_can_be_left_out(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine"
    mine.mkdir()
    for file in tiny.iterdir():
        (mine / file.name).write_bytes(file.read_bytes())
    (mine / "scene003.png").write_bytes(b"no image")
    page = own(mine)
    page.button[0].click().run()
    wait(lambda: job.status("folder", str(mine), SIZE).state != "running")
    page.run()
    assert "scene003" in page.error[0].value
    page.toggle[0].set_value(True).run()
    page.button[0].click().run()
    wait(lambda: job.status("folder", str(mine), SIZE).state == "done")
    page.run()
    assert "159 images" in page.subheader[0].value
    assert next(metric.value for metric in page.metric if metric.label == "Left out: broken") == "1"


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
    page = own(tiny, label="cars")
    assert page.selectbox(key="label").value == "cars"
    captions = [image.proto.imgs[0].caption for image in page.get("image") if image.proto.imgs[0].caption]
    assert 0 < len(captions) <= data_view.EXAMPLES
    assert all("cars" in caption.split(", ") for caption in captions)


@pytest.mark.usefixtures("prepared")
def test_what_the_address_names_wrongly_is_dropped_with_a_note(tiny: Path) -> None:
    page = own(tiny, label="unicorn", seed="many")
    assert "unicorn" in page.warning[0].value
    assert not page.exception
    assert "Nowhere" in page_of(dataset="Nowhere").warning[0].value


def test_the_augmented_image_appears_when_it_is_drawn(tiny: Path, prepared: Dataset) -> None:
    page = own(tiny, label="trees")
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
    count = labels.cooccurrence(y, ["a", "b", "c"], conditional=False, dark=False).data[0]
    assert list(count.x) == list(count.y) == ["b", "a", "c"]
    np.testing.assert_array_equal(count.z, [[4, 2, 1], [2, 2, 0], [1, 0, 1]])
    share = labels.cooccurrence(y, ["a", "b", "c"], conditional=True, dark=True).data[0]
    np.testing.assert_array_equal(share.z, [[100, 100, 100], [50, 100, 0], [25, 0, 100]])  # row given column


def test_numbers_in_cells_only_where_they_can_be_read() -> None:
    few, many = (np.eye(count, dtype=np.uint8) for count in (31, 32))
    assert labels.cooccurrence(few, [str(i) for i in range(31)], False, False).data[0].texttemplate
    assert not labels.cooccurrence(many, [str(i) for i in range(32)], False, False).data[0].texttemplate
