"""The mechanism page on real small runs: every loss and view, batches, permalink, empty and broken states."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from safetensors.numpy import save_file
from streamlit.testing.v1 import AppTest

from app import cache, data_view
from app.mechanism.view import VIEWS
from core import mechanism, runs
from core.data import load
from core.losses import LOSSES, check_params
from core.mechanism import Batch
from tests.components import component_data

MAIN = str(Path(__file__).resolve().parent.parent / "app" / "main.py")
MAPS = "m_heatmaps"


@pytest.fixture
def run_root(finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "runs"
    shutil.copytree(finished_runs, root)
    monkeypatch.setenv("MACL_RUN_ROOT", str(root))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "none")
    return root


def page(**query: str | list[str]) -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    return app.switch_page("../pages/mechanism.py").run()


def sent(app: AppTest, kind: str = "macl_heatmaps") -> dict[str, Any]:
    """What the last component of that kind was given."""
    return component_data(app, kind)[-1]


def drawn(app: AppTest) -> dict[str, np.ndarray]:
    """Values of each map in the order of the rows and columns that are drawn."""
    data = sent(app)
    shape = len(data["rows"]), len(data["columns"])
    return {
        one["title"].split(" ")[0]: np.frombuffer(base64.b64decode(one["values"]), "<f4").reshape(shape)
        for one in data["maps"]
    }


def expected(root: Path, app: AppTest, key: str, **given: Any) -> dict[str, np.ndarray]:
    """The maps of the shown batch, computed from the run folder, in the order of the rows on the page."""
    run = next(run for run in runs.list_runs(root) if run.id in app.query_params["run"])
    data = cache.dataset(run.config)
    train = [data.names.index(name) for name in run.splits()["train"]]
    z, y = run.embeddings()
    rows = [run.splits()["test"].index(row["name"]) for row in sent(app)["rows"]]
    batch = Batch(y[rows], data.labels[train], z[rows])
    return mechanism.maps(key, batch, check_params(key, given)).values


def test_maps_are_those_of_the_run_and_its_training_split(run_root: Path) -> None:
    app = page()
    assert not app.exception
    run = next(run for run in runs.list_runs(run_root) if run.config.loss == "macl")
    assert run.id in app.query_params["run"]
    shown, values = drawn(app), expected(run_root, app, "macl")
    assert list(shown) == ["T", "w", "force"]
    off = ~np.eye(len(shown["T"]), dtype=bool)
    for name, array in shown.items():
        np.testing.assert_allclose(np.nan_to_num(array)[off], values[name][off], rtol=1e-6, atol=1e-9)
        assert np.isnan(array.diagonal()).all()


def test_alpha_moves_the_maps(run_root: Path) -> None:
    app = page()
    before = sent(app)["version"]
    app.slider(key="m_alpha").set_value(3.0).run()
    off = ~np.eye(len(drawn(app)["T"]), dtype=bool)
    np.testing.assert_allclose(
        drawn(app)["T"][off], expected(run_root, app, "macl", alpha=3.0)["T"][off], rtol=1e-6
    )
    assert sent(app)["version"] != before


def test_printed_form_and_difference_are_one_click_away(run_root: Path) -> None:
    app = page()
    for form, name in (("as printed", "printed"), ("difference", "difference")):
        app.segmented_control(key="m_eq7").set_value(form).run()
        values, shown = expected(run_root, app, "macl")[name], drawn(app)["force"]
        off = ~np.eye(len(shown), dtype=bool)
        np.testing.assert_allclose(shown[off], values[off], rtol=1e-6)


@pytest.mark.parametrize("key", LOSSES)
def test_every_loss_and_view_draws(run_root: Path, key: str) -> None:
    app = page(m_loss=LOSSES[key].title, m_b="16")
    for view in VIEWS:
        app.session_state["m_view"] = view
        app.run()
        assert not app.exception, (key, view)
        assert not app.error
    assert app.get("plotly_chart")


def test_lproto_says_that_it_has_no_pair_term(run_root: Path) -> None:
    app = page(m_loss="LProto")
    assert "no pair term" in " ".join(caption.value for caption in app.caption)
    assert len(sent(app)["columns"]) == 17
    assert "mean direction" in " ".join(caption.value for caption in app.caption)


def test_a_run_s_own_prototypes_are_shown(run_root: Path) -> None:
    run = next(run for run in runs.list_runs(run_root) if run.config.loss == "macl")
    c = np.random.default_rng(0).normal(size=(17, 128)).astype(np.float32)
    save_file({"loss.prototypes": c}, run.path / "model.safetensors")
    app = page(run=run.id, m_loss="LMsc", m_b="16", m_maps=["s", "force"])
    assert "those that the run trained" in " ".join(caption.value for caption in app.caption)
    z, _ = run.embeddings()
    rows = z[[run.splits()["test"].index(row["name"]) for row in sent(app)["rows"]]]
    unit = c / np.linalg.norm(c, axis=1, keepdims=True)
    np.testing.assert_allclose(drawn(app)["s"][:, 16:], rows @ unit.T, atol=1e-6)


def test_open_points_move_the_maps(run_root: Path) -> None:
    app = page()
    app.segmented_control(key="m_denominator").set_value("own").run()
    app.segmented_control(key="m_cooccurrence").set_value("min").run()
    values = expected(run_root, app, "macl", denominator="own", cooccurrence="min")
    off = ~np.eye(len(values["T"]), dtype=bool)
    np.testing.assert_allclose(drawn(app)["force"][off], values["force"][off], rtol=1e-5, atol=1e-9)
    assert "another gradient" in " ".join(caption.value for caption in app.caption)


def test_settings_of_the_run_come_with_one_click(run_root: Path) -> None:
    config_file = (
        next(run for run in runs.list_runs(run_root) if run.config.loss == "macl").path / "config.json"
    )
    config = json.loads(config_file.read_text())
    config["params"]["alpha"] = 5.0  # beyond the slider's usual range
    config_file.write_text(json.dumps(config))
    app = page()
    next(b for b in app.button if b.label == "Loss and settings of this run").click().run()
    assert not app.exception
    assert app.slider(key="m_alpha").value == 5.0


def test_batches_by_seed_by_label_and_by_neighbour(run_root: Path) -> None:
    app = page(m_b="16")
    first = {row["name"] for row in sent(app)["rows"]}
    app.number_input(key="m_draw").set_value(1).run()
    assert {row["name"] for row in sent(app)["rows"]} != first
    app.segmented_control(key="m_how").set_value("With chosen labels").run()
    app.multiselect(key="m_with").set_value(["cars"]).run()
    assert all("cars" in row["labels"] for row in sent(app)["rows"])
    app.segmented_control(key="m_how").set_value("Neighbours of an image").run()
    name = app.selectbox(key="m_near").value
    run = next(run for run in runs.list_runs(run_root) if run.config.loss == "macl")
    z, _ = run.embeddings()
    names = run.splits()["test"]
    near = np.argsort(-(z @ z[names.index(name)]))[:16]
    assert {row["name"] for row in sent(app)["rows"]} == {names[n] for n in near}


def test_a_data_set_without_runs_shows_what_labels_give(
    run_root: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("folder", tiny, image_size=96)
    st.cache_resource.clear()
    st.cache_data.clear()
    monkeypatch.setattr(data_view, "place", lambda name: str(tiny) if name == "folder" else None)
    app = page(run="folder", m_b="16")
    assert not app.exception
    assert list(drawn(app)) == ["T", "w"]
    assert "need the embeddings" in " ".join(caption.value for caption in app.caption)
    data = load("folder", tiny, image_size=96)
    y = data.labels[[data.names.index(row["name"]) for row in sent(app)["rows"]]]
    T = mechanism.pair_terms(y, data.labels[data.splits["train"]], check_params("macl", {})).T
    off = ~np.eye(16, dtype=bool)
    np.testing.assert_allclose(drawn(app)["T"][off], T[off], rtol=1e-6)
    for view in VIEWS:
        app.session_state["m_view"] = view
        app.run()
        assert not app.exception, view


def test_a_run_whose_images_are_gone_counts_on_its_test_split(run_root: Path) -> None:
    for run in runs.list_runs(run_root):
        file = run.path / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "data_root": str(run_root / "gone")}))
    app = page(m_b="16")
    assert not app.exception
    assert "counted on the test split" in " ".join(caption.value for caption in app.caption)


def test_a_permalink_opens_the_same_page(run_root: Path) -> None:
    run = next(run for run in runs.list_runs(run_root) if run.config.loss == "mulsupcon")
    one = page(run=run.id, m_b="16", m_alpha="2.5", m_rows="rarity", m_loss="Wg-MACL", m_draw="3")
    a, b = sent(one)["rows"][2]["name"], sent(one)["rows"][5]["name"]
    two = page(
        run=run.id, m_b="16", m_alpha="2.5", m_rows="rarity", m_loss="Wg-MACL", m_draw="3", pair=[a, b]
    )
    assert two.slider(key="m_alpha").value == 2.5
    assert [row["name"] for row in sent(two)["rows"]] == [row["name"] for row in sent(one)["rows"]]
    assert sent(two)["chosen"] == [2, 5]
    assert run.id in two.query_params["run"]


def test_one_image_is_no_batch(run_root: Path) -> None:
    app = page(m_how="With chosen labels")
    data = cache.dataset(next(iter(runs.list_runs(run_root))).config)
    held = data.labels[data.splits["test"]].sum(0)
    rare = data.classes[int(np.flatnonzero(held <= 1)[0])]
    app.multiselect(key="m_with").set_value([rare]).run()
    assert not app.exception
    assert "needs two images" in app.error[0].value


def test_a_permalink_of_a_run_that_is_gone_says_so(run_root: Path) -> None:
    app = page(run="20200101-000000-dlrsd-macl-s0-gone", m_loss="No such loss", pair=["x", "y"])
    assert not app.exception
    assert "not here" in app.warning[0].value
    assert sent(app)["rows"]


def test_without_runs_and_data_the_page_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_RUN_ROOT", str(tmp_path))
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "none")
    st.cache_resource.clear()
    st.cache_data.clear()
    app = page()
    assert not app.exception
    assert "No finished run" in app.info[0].value


def test_the_page_loads_neither_torch_nor_umap(run_root: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({MAIN!r}, default_timeout=60).switch_page('../pages/mechanism.py').run()\n"
        "assert not app.exception\nprint(sorted({'torch', 'umap', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
