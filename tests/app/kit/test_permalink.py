"""Addresses: what does not fit is told, old links are understood; and no two pages have a key in common."""

import shutil
import time
from collections import defaultdict
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import cache, image_cache
from app.kit import shared
from app.kit.permalink import Between
from core import data
from core.data import DATASETS
from core.queue import launch
from tests.components import open_page

PAGES = ("home", "data", "train", "compare", "retrieval", "embeddings", "mechanism", "sensitivity")
DATA = {"dataset": "Your own images", "size": "96"}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, finished_runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two finished runs, no worker, and nothing that an earlier test has looked up."""
    for remembered in (
        image_cache._prepared,
        image_cache._dataset,
        image_cache._files,
    ):
        remembered.clear()
    shutil.copytree(finished_runs, tmp_path / "runs")
    monkeypatch.setenv("MACL_RUN_ROOT", str(tmp_path / "runs"))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def ready(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, prepared at the size that the addresses of these tests ask for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", str(tmp_path_factory.getbasetemp() / "home" / "cache"))
        data.load("folder", str(tiny), image_size=96)
        while not data.is_prepared("folder", str(tiny), 96):  # files of the last 2 s are not remembered
            time.sleep(0.2)
            data.load("folder", str(tiny), image_size=96)
    return tiny


def told(app: AppTest) -> str:
    return " ".join(warning.value for warning in app.warning).replace("\\", "")


@pytest.mark.parametrize(
    ("page", "key", "value"),
    [
        ("home", "quick", "20200101-000000-gone"),
        ("data", "dataset", "Nowhere"),
        ("data", "seed", "-1"),
        ("data", "seed", "many"),
        ("data", "size", "97"),
        ("data", "view", "Nothing"),
        ("train", "dataset", "Nowhere"),
        ("train", "loss", "Triplet"),
        ("train", "preset", "huge"),
        ("train", "smooth", "7"),
        ("train", "x", "days"),
        ("train", "y", "joy"),
        ("train", "log", "perhaps"),
        ("train", "runs", "20200101-000000-gone"),
        ("compare", "datasets", "Nowhere"),
        ("compare", "metric", "joy"),
        ("compare", "order", "worst first"),
        ("compare", "published", "perhaps"),
        ("compare", "only_seeds", "77"),
        ("compare", "seeds", "77"),
        ("compare", "figure", "Nothing"),
        ("compare", "runs", "20200101-000000-gone"),
        ("retrieval", "k", "0"),
        ("retrieval", "runs", "20200101-000000-gone"),
        ("embeddings", "projection", "t-SNE"),
        ("embeddings", "dims", "4-D"),
        ("embeddings", "n_neighbors", "1"),
        ("embeddings", "min_dist", "2"),
        ("embeddings", "color", "mood"),
        ("embeddings", "images", "none"),
        ("embeddings", "training", "perhaps"),
        ("embeddings", "runs", "20200101-000000-gone"),
        ("mechanism", "m_loss", "Triplet"),
        ("mechanism", "m_alpha", "-1"),
        ("mechanism", "m_use_w", "perhaps"),
        ("mechanism", "m_denominator", "other"),
        ("mechanism", "m_b", "7"),
        ("mechanism", "m_how", "By luck"),
        ("mechanism", "m_draw", "x"),
        ("mechanism", "m_view", "Nothing"),
        ("mechanism", "m_rows", "luck"),
        ("mechanism", "m_maps", "Z"),
        ("mechanism", "run", "20200101-000000-gone"),
        ("sensitivity", "s_view", "Nothing"),
        ("sensitivity", "lab_dataset", "Nowhere"),
        ("sensitivity", "lab_seed", "-3"),
        ("sensitivity", "lab_loss", "Triplet"),
        ("sensitivity", "lab_alpha", "much"),
        ("sensitivity", "m_alpha", "much"),
        ("sensitivity", "lab_base", "[]"),
    ],
)
def test_what_does_not_fit_is_told(page: str, key: str, value: str) -> None:
    said = told(open_page(page, **{key: value}))
    assert value in said
    assert "not here" in said or "need" in said or "no baseline" in said


@pytest.mark.parametrize(
    ("key", "value", "view"),
    [
        ("labels", "unicorn", "Images"),
        ("exactly", "perhaps", "Images"),
        ("part", "half", "Images"),
        ("shown", "13", "Images"),
        ("together", "love", "Together"),
        ("labels_order", "luck", "Together"),
        ("order", "luck", "Together"),
        ("combinations", "best", "Together"),
    ],
)
def test_what_does_not_fit_below_the_tabs_of_the_data_page_is_told(
    ready: Path, key: str, value: str, view: str
) -> None:
    app = open_page("data", **DATA, folder_root=str(ready), view=view, **{key: value})
    assert f"{key} = {value}" in told(app)


def test_what_fits_is_not_told(ready: Path) -> None:
    for page, query in (
        ("data", {**DATA, "folder_root": str(ready), "seed": "3", "view": "Together", "order": "clustered"}),
        (
            "train",
            {"loss": ["LBase", "MACL"], "preset": "quick", "seeds": "0-2", "smooth": "0.5", "x": "epoch"},
        ),
        ("compare", {"seeds": "0", "metric": "wAP@100", "published": "true", "figure": "Labels"}),
        ("embeddings", {"projection": "PCA", "dims": "3-D", "n_neighbors": "5", "min_dist": "0.1"}),
        ("mechanism", {"m_loss": "Wg-MACL", "m_alpha": "2", "m_use_w": "False", "m_b": "16", "m_draw": "4"}),
        ("sensitivity", {"lab_alpha": "2", "lab_loss": "MACL", "lab_seed": "3"}),
    ):
        assert "not here" not in told(open_page(page, **query))


def test_an_address_is_never_rendered() -> None:
    app = open_page("train", preset="**bold** [here](http://example.org) $x$")
    assert "\\*\\*bold\\*\\*" in app.warning[0].value
    assert "](" not in app.warning[0].value


def test_what_a_data_set_calls_its_labels_is_never_rendered_either() -> None:
    def page() -> None:
        from app.kit import permalink

        permalink.told_here()
        permalink.note_unknown(labels=["[here](http://example.org)", "**trees**"])

    app = AppTest.from_function(page)
    app.query_params["labels"] = "unicorn"
    (warning,) = app.run().warning
    assert "](" not in warning.value
    assert "**trees" not in warning.value


def test_links_from_before_the_pages_had_keys_of_their_own(ready: Path) -> None:
    assert open_page("compare", seeds="0").multiselect(key="only_seeds").value == ["0"]
    app = open_page("data", **DATA, folder_root=str(ready), view="Together", order="clustered")
    assert app.get("button_group")
    assert app.session_state["labels_order"] == "clustered"
    app = open_page("sensitivity", m_loss="Wg-MACL", m_alpha="2.5", m_denominator="own", m_use_w="false")
    assert app.selectbox(key="lab_loss").value == "Wg-MACL"
    assert app.slider(key="lab_alpha").value == 2.5
    assert not app.toggle(key="lab_use_w").value
    assert app.session_state["lab_denominator"] == "own"


def test_no_two_pages_have_a_key_in_common_but_for_what_they_share(ready: Path) -> None:
    keys = defaultdict(set)
    queries = {
        "data": [
            {**DATA, "folder_root": str(ready), "view": view} for view in ("Labels", "Together", "Images")
        ],
        "train": [{**DATA, "folder_root": str(ready)}],
        "mechanism": [{}, {"m_loss": "MulSupCon"}],
        "sensitivity": [{}, {"s_view": "Sweeps", "sw_what": "Your own grid"}],
    }
    for page in PAGES:
        for query in queries.get(page, [{}]):
            app = open_page(page, **query)
            for kind in (
                "selectbox",
                "multiselect",
                "text_input",
                "number_input",
                "slider",
                "toggle",
                "checkbox",
            ):
                keys[page] |= {one.key for one in getattr(app, kind) if one.key}
            keys[page] |= {one.key for one in app.get("button_group") if getattr(one, "key", None)}
    meant = {shared.DATASET, *(of(name) for name in DATASETS for of in (shared.place_key, shared.skip_key))}
    for one in PAGES:
        for other in PAGES:
            if one < other:
                assert keys[one] & keys[other] <= meant, (one, other)
    assert keys["data"] & keys["train"] >= {shared.DATASET, shared.place_key("folder")}


def test_numbers_between() -> None:
    whole, any_ = Between(0, 2**31 - 1, whole=True), Between(0, 0.95)
    assert "3" in whole
    assert "3.5" not in whole
    assert "" not in whole
    assert str(whole) == "a whole number, 0 to 2147483647"
    assert "0.95" in any_
    assert "nan" not in any_
    assert "1e9" not in any_
    assert str(any_) == "0 to 0.95"
