"""A run on four bands on every page that shows pictures: they are red, green and blue as chosen."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import cache, image_cache
from app.data import duplicates
from app.embeddings import selection
from app.kit import thumbnails, tiles
from core import runs
from core.data import Dataset
from core.data.pair import Pair
from core.queue import launch
from core.retrieval import ask
from core.runs import Run
from core.training import loop
from tests.app.retrieval.test_page_retrieval import answer_all, upload_file
from tests.app.retrieval.test_page_retrieval import open_page as open_with_pictures
from tests.components import component_data, open_page
from tests.core.data.test_data_raster import written
from tests.core.training.test_all_bands import folder, values
from tests.small_runs import config

CHOSEN = [3, 2, 1]  # of `all:4,3,2`


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run root with one run, and the images beside it."""
    place = tmp_path_factory.mktemp("four")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", str(tmp_path_factory.getbasetemp() / "home" / "cache"))
        root = folder(place / "images", "four")
        given = config(root, bands="all:4,3,2", device="cpu", epochs=1, loss="macl")
        run = runs.create(given, place / "runs")
        assert loop.run(run.path) == "finished", run.error
    return place


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MACL_RUN_ROOT", str(trained / "runs"))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    home = tmp_path / "embedder"
    monkeypatch.setattr(ask, "ensure", lambda: None)
    monkeypatch.setattr(ask, "home", lambda: home)
    for name in ("questions", "answers"):
        (home / name).mkdir(parents=True)
    return runs.list_runs(trained / "runs")[0]


@pytest.fixture
def data(run: Run) -> Dataset:
    return run.config.images.load(run.config.seed)


def decoded(uri: str) -> np.ndarray:
    head, _, text = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def in_color(data: Dataset, name: str) -> np.ndarray:
    return np.asarray(data.images[data.names.index(name)])[..., CHOSEN]


def test_the_gallery_and_an_upload(run: Run, data: Dataset, trained: Path) -> None:
    page = open_with_pictures(runs=run.id)
    (grid,) = component_data(page, "gallery")
    names = [tile["name"] for row in grid["rows"] for tile in row["tiles"]]
    assert names
    for name in names:
        assert grid["images"][name] == thumbnails.encode(in_color(data, name))

    asking = run.splits()["test"][0]
    page = answer_all(upload_file(page, "mine.tif", (trained / "images" / asking).read_bytes()))
    (grid,) = component_data(page, "gallery")
    assert grid["images"][grid["query"]["image"]] == thumbnails.encode(in_color(data, asking))
    assert grid["rows"][0]["tiles"][0]["name"] == asking, "the very same image"

    upload_file(page, "rgb.tif", written(values(0, 3).astype(np.uint8)))
    assert page.error[0].value.replace("\\", "") == (
        "rgb.tif: 3 bands where the data set has 4: need an image with the bands that the run was trained on."
    )


@pytest.mark.parametrize(
    ("name", "where"),
    [("embeddings", {"projection": "PCA"}), ("mechanism", {"m_b": "8"}), ("compare", {}), ("train", {})],
)
def test_other_pages_open(run: Run, name: str, where: dict[str, str]) -> None:
    asked = {"run": run.id} if name == "mechanism" else {"runs": run.id} if name == "embeddings" else {}
    page = open_page(name, **asked, **where)
    assert not page.error


def test_sheets_of_many_pictures(run: Run, data: Dataset) -> None:
    names = data.names[:4]
    sheet = decoded(tiles.sprite(data, names)["sprite"]).astype(int)
    images = image_cache.thumbnails(run.config.images)
    selected = decoded(selection.sheet(images, list(names))["sprite"]).astype(int)
    for n, name in enumerate(names):
        own = Image.fromarray(in_color(data, name))
        top, left = n // 2 * tiles.EDGE, n % 2 * tiles.EDGE
        tile = np.asarray(own.resize((tiles.EDGE, tiles.EDGE))).astype(int)
        assert np.abs(sheet[top : top + tiles.EDGE, left : left + tiles.EDGE] - tile).mean() < 12
        tile = np.asarray(own.resize((selection.EDGE,) * 2, Image.Resampling.BOX)).astype(int)
        assert np.abs(selected[:, n * selection.EDGE : (n + 1) * selection.EDGE] - tile).mean() < 12
    assert (images.pixels(names[0]) == in_color(data, names[0])).all()


def test_near_duplicates_side_by_side(data: Dataset) -> None:
    splits = dict.fromkeys(range(len(data)), "train")
    html = duplicates._side_by_side(data, [Pair(0, 1, 1.0, 1.0, 0)], splits)
    for row in (0, 1):
        assert thumbnails.encode(in_color(data, data.names[row])) in html
