"""The mechanism page on real small runs: every loss and view, batches, permalink, empty and broken states."""

import base64
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from safetensors.numpy import save_file
from streamlit.testing.v1 import AppTest

import core.mechanism.batch
from app import cache, image_cache
from app.kit import heatmaps, shared
from app.kit.thumbnails import Thumbnails
from app.mechanism import batch
from app.mechanism.batch import Chosen, Source
from app.mechanism.view import VIEWS
from core import mechanism, runs
from core.data import load
from core.files import PROJECT
from core.losses import LOSSES, check_params
from core.mechanism import Batch
from tests.components import charts, component_data

MAIN = str(PROJECT / "app" / "navigation.py")
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
    data = image_cache.prepared(run.config.images, run.config.seed)
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
    assert charts(app)


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
    monkeypatch.setattr(shared, "place", lambda name: str(tiny) if name == "folder" else None)
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


def _columns(table: Path, change: Callable[[list[list[str]]], list[list[str]]]) -> None:
    rows = change([line.split(",") for line in table.read_text().splitlines()])
    table.write_text("\n".join(",".join(row) for row in rows) + "\n")


def _added(folder: Path) -> None:
    _columns(
        folder / "labels.csv",
        lambda rows: [[*row, "1" if n else "cranes"] for n, row in enumerate(rows)],
    )


def _reordered(folder: Path) -> None:
    _columns(folder / "labels.csv", lambda rows: [[row[0], *row[:0:-1]] for row in rows])


def _renamed(folder: Path) -> None:
    for file in folder.glob("scene*.png"):
        file.rename(folder / file.name.replace("scene", "picture"))
    _columns(
        folder / "labels.csv", lambda rows: [[row[0].replace("scene", "picture"), *row[1:]] for row in rows]
    )


@pytest.mark.parametrize("change", [_added, _reordered, _renamed])
def test_a_data_set_that_has_changed_counts_on_the_test_split(
    run_root: Path,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(tiny, folder)
    change(folder)
    found = Thumbnails(load("folder", folder, image_size=32))
    monkeypatch.setattr(batch, "pictures", lambda config, others: found)
    app = page(m_b="16")
    assert not app.exception
    assert "has changed since this run" in " ".join(caption.value for caption in app.caption)
    run = next(run for run in runs.list_runs(run_root) if run.config.loss == "macl")
    _, y = run.embeddings()
    rows = [run.splits()["test"].index(row["name"]) for row in sent(app)["rows"]]
    for row, held in zip(sent(app)["rows"], y[rows], strict=True):
        assert row["labels"] == [name for name, has in zip(run.classes(), held, strict=True) if has]
    T = mechanism.pair_terms(y[rows], y, check_params("macl", {})).T
    off = ~np.eye(16, dtype=bool)
    np.testing.assert_allclose(drawn(app)["T"][off], T[off], rtol=1e-6)


def test_what_is_counted_is_said_above_every_view_and_in_every_text(run_root: Path) -> None:
    for run in runs.list_runs(run_root):
        file = run.path / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "data_root": str(run_root / "gone")}))
    app = page(m_b="16")
    for view in VIEWS:
        app.session_state["m_view"] = view
        app.run()
        assert sum("counted on the test split" in caption.value for caption in app.caption) == 1, view
        assert "training images" not in texts(app), view


def test_a_count_of_none_is_said_to_count_as_one(run_root: Path) -> None:
    run = next(run for run in runs.list_runs(run_root) if run.config.loss == "macl")
    data = image_cache.prepared(run.config.images, run.config.seed)
    splits, (_, y) = run.splits(), run.embeddings()
    few = splits["train"][:5]
    (run.path / "splits.json").write_text(json.dumps({**splits, "train": few}))
    train, names = data.labels[[data.names.index(name) for name in few]].astype(bool), splits["test"]
    a, b = next(
        (names[i], names[p])
        for i, p in itertools.permutations(range(len(y)), 2)
        for shared in [(y[i] & y[p]).astype(bool)]
        if not train[:, shared].all(1).any() and train[:, shared].any()
    )
    app = page(run=run.id, m_b="32", pair=[a, b])
    assert "none, counted as 1" in texts(app)
    app.segmented_control(key="m_cooccurrence").set_value("sum").run()
    assert "none, counted as 1" not in texts(app)


def _shorten(run: runs.Run, images: int) -> None:
    """Leave that many test images."""
    z, y = run.embeddings()
    save_file({"z": z[:images].copy(), "y": y[:images].copy()}, run.path / "embeddings.safetensors")
    splits = run.splits()
    (run.path / "splits.json").write_text(json.dumps({**splits, "test": splits["test"][:images]}))


@pytest.mark.parametrize("images", [5, 12])
def test_a_small_test_split_is_the_batch(run_root: Path, images: int) -> None:
    run = next(run for run in runs.list_runs(run_root) if run.config.loss == "macl")
    _shorten(run, images)
    app = page(run=run.id)
    assert not app.exception
    assert not app.error
    assert len(sent(app)["rows"]) == images
    assert "m_b" not in [slider.key for slider in app.slider]


def test_a_test_split_of_one_image_is_not_blamed_on_labels(run_root: Path) -> None:
    run = next(run for run in runs.list_runs(run_root) if run.config.loss == "macl")
    _shorten(run, 1)
    app = page(run=run.id)
    assert not app.exception
    assert "test split holds fewer" in app.error[0].value
    assert "label" not in app.error[0].value


@pytest.mark.parametrize("images", [5, 20])
def test_a_large_batch_fits_a_smaller_run_chosen_after_it(run_root: Path, images: int) -> None:
    macl, mulsupcon = (
        next(run for run in runs.list_runs(run_root) if run.config.loss == loss)
        for loss in ("macl", "mulsupcon")
    )
    _shorten(mulsupcon, images)
    app = page(run=macl.id)
    app.slider(key="m_b").set_value(32).run()
    app.selectbox(key="m_of").set_value(mulsupcon.id).run()
    assert not app.exception
    assert not app.error
    assert len(sent(app)["rows"]) == (5 if images == 5 else 16)


def test_clusters_are_found_once_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, calls = np.random.default_rng(0), []
    y, z = (rng.random((24, 5)) < 0.4).astype(np.uint8), rng.normal(size=(24, 8))
    source = Source("run", [], y, y, [], z, None, None, None)
    chosen = Chosen(source, Batch(y, y, z), [], "batch")
    expected = mechanism.order("cluster", y, y, z @ z.T)
    real = core.mechanism.batch._bisect
    monkeypatch.setattr(core.mechanism.batch, "_bisect", lambda s: calls.append(len(s)) or real(s))
    for _ in range(3):
        np.testing.assert_array_equal(chosen.order("cluster"), expected)
    assert calls.count(24) == 1


@pytest.mark.parametrize(("view", "loss"), [("Pairs", "LMsc"), ("One anchor (Fig. 1)", "MACL")])
def test_a_prototype_opens_no_pair(
    run_root: Path, monkeypatch: pytest.MonkeyPatch, view: str, loss: str
) -> None:
    one = page(m_b="16", m_loss=loss)
    a, b = sent(one)["rows"][2]["name"], sent(one)["rows"][5]["name"]
    real, picked = heatmaps.show, []

    def clicked(key: str, maps: Any, rows: Any, columns: Any, on_pick: Any, **given: Any) -> None:
        real(key, maps, rows, columns, on_pick, **given)
        picked.append((rows[0]["name"], columns[-1]["name"]))
        on_pick(*picked[-1])

    monkeypatch.setattr(heatmaps, "show", clicked)
    app = page(m_b="16", m_loss=loss, m_view=view, pair=[a, b])
    assert picked[-1][1].startswith("prototype of")
    assert app.session_state["m_pair"] == (a, b)
    assert app.query_params["pair"] == [a, b]
    assert "open no pair" in " ".join(caption.value for caption in app.caption)


def test_the_permalink_follows_the_anchor(run_root: Path) -> None:
    one = page(m_b="16")
    a, b, c = (sent(one)["rows"][n]["name"] for n in (2, 5, 9))
    app = page(m_b="16", m_view="One anchor (Fig. 1)", pair=[a, b])
    app.selectbox(key="m_anchor").set_value(c).run()
    assert app.query_params["pair"][0] == c
    again = page(m_b="16", pair=app.query_params["pair"])
    row, column = sent(again)["chosen"]
    assert [sent(again)["rows"][n]["name"] for n in (row, column)] == app.query_params["pair"]


@pytest.mark.parametrize(
    ("loss", "key", "value"), [("MACL", "m_alpha", 5.0), ("MulSupCon", "m_loss_tau", 0.02)]
)
def test_a_value_beyond_the_usual_range_outlives_a_reload(
    run_root: Path, loss: str, key: str, value: float
) -> None:
    app = page(m_loss=loss, **{key: str(value)})
    assert app.slider(key=key).value == value
    reach = app.slider(key=key).min, app.slider(key=key).max
    app.slider(key=key).set_value(0.5).run()
    assert (app.slider(key=key).min, app.slider(key=key).max) == reach
    assert app.slider(key=key).value == 0.5


@pytest.mark.parametrize("asked", ["50", "nan", "inf", "-1", "much"])
def test_a_value_that_no_run_can_have_moves_no_slider_s_ends(run_root: Path, asked: str) -> None:
    app = page(m_alpha=asked)
    assert not app.exception
    assert (app.slider(key="m_alpha").min, app.slider(key="m_alpha").max) == (0.0, 3.0)


def test_a_fourth_map_takes_the_place_of_the_first(run_root: Path) -> None:
    app = page()
    app.pills(key="m_maps").set_value(["T", "w", "force", "s"]).run()
    assert list(drawn(app)) == ["w", "s", "force"]
    assert app.pills(key="m_maps").value == ["w", "force", "s"]
    app.pills(key="m_maps").set_value(["w", "force", "s", "J"]).run()
    assert list(drawn(app)) == ["J", "s", "force"]
    app.pills(key="m_maps").set_value(["force", "s", "J", "γ"]).run()
    assert list(drawn(app)) == ["γ", "J", "s"]
    assert "m_eq7" not in [control.key for control in app.segmented_control]


def test_a_map_that_the_loss_does_not_define_goes_first(run_root: Path) -> None:
    app = page(m_loss="OML", m_maps=["w", "T", "s"])
    app.pills(key="m_maps").set_value(["w", "T", "s", "J"]).run()
    assert list(drawn(app)) == ["w", "J", "s"]
    assert app.pills(key="m_maps").value == ["w", "s", "J"]


def notes(app: AppTest) -> dict[str, str]:
    return {one["title"].split(" ")[0]: one["note"] for one in sent(app)["maps"]}


def test_notes_say_what_the_loss_and_the_settings_make_of_a_map(run_root: Path) -> None:
    assert "eq. 8" in notes(page(m_maps=["γ", "pull"]))["γ"]
    other = notes(page(m_loss="SupCon ALL", m_maps=["γ", "pull"]))
    assert "eq. 8" not in other["γ"]
    assert "|P|" not in other["pull"]
    assert "|P|" in notes(page(m_loss="MulSupCon", m_maps=["γ", "pull"]))["pull"]
    app = page()
    assert notes(app)["w"] == "high: rare shared labels"
    app.toggle(key="m_use_w").set_value(False).run()
    assert notes(app)["w"] == "1 for every shared label set"
    app.toggle(key="m_overlap_weight").set_value(True).run()
    assert notes(app)["w"] == "high: much overlap"


def test_distributions_name_what_is_set(run_root: Path) -> None:
    app = page(m_view="Which labels gain")
    assert "with w and T" in texts(app)
    asked = page(m_view="What the loss asks for")
    names = {"w = 1 and one τ (MulSupCon)", "w and T as in eq. 4", "w and T, own", "MACL-nested"}
    assert names == legend(asked)
    for switch in ("m_use_w", "m_use_T"):
        app.toggle(key=switch).set_value(False).run()
        asked.toggle(key=switch).set_value(False).run()
    assert "with w = 1 and one τ" in texts(app)
    assert "with w and" not in texts(app)
    assert "MACL: w = 1 and one τ" in legend(app)
    assert "w = 1 and one τ as in eq. 4" in legend(asked)


def test_nested_shows_whom_it_compares(run_root: Path) -> None:
    """A staircase: each positive against a part of those that the one before it is compared with."""
    app = page(m_b="16", m_view="One anchor (Fig. 1)", m_loss="MACL-nested")
    first = component_data(app, "macl_heatmaps")[0]
    assert first["maps"][0]["title"] == "overlap J with the anchor"
    values = np.frombuffer(base64.b64decode(first["maps"][0]["values"]), "<f4")
    sets = np.isfinite(values.reshape(len(first["rows"]), len(first["columns"])))
    assert sets[:, -1].all()  # the one with the least overlap is in every set
    others = sets & ~np.eye(*sets.shape, dtype=bool)  # each also with itself
    assert all((below <= above).all() for above, below in itertools.pairwise(others))
    app.toggle(key="m_macl_nested_nested").set_value(False).run()
    assert "Whom each positive" not in texts(app)


def legend(app: AppTest) -> set[str]:
    figure = json.loads(charts(app)[0]["spec"])
    return {trace["name"] for trace in figure["data"]}


def texts(app: AppTest) -> str:
    """All that the page says, its component's and figures' words included."""
    parts = [str(node.proto) for kind in ("markdown", "html", "bidi_component") for node in app.get(kind)]
    parts += [chart["spec"] for chart in charts(app)]
    return " ".join([*parts, *(caption.value for caption in app.caption)])


def test_prototypes_that_the_folder_lacks_are_not_said_never_to_have_been(run_root: Path) -> None:
    run = next(run for run in runs.list_runs(run_root) if run.config.loss == "macl")
    file = run.path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "loss": "lmsc", "params": {}}))
    said = " ".join(caption.value for caption in page(run=run.id, m_loss="LMsc").caption)
    assert "that the run trained are not in its folder" in said
    assert "has no prototypes" not in said


def test_small_steps_show_three_decimals(run_root: Path) -> None:
    assert page(m_loss="OML").slider(key="m_oml_temperature").proto.format == "%.3f"


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
    config = next(iter(runs.list_runs(run_root))).config
    data = image_cache.prepared(config.images, config.seed)
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
