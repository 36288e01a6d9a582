"""The embeddings page on real small runs: what is drawn, lassos after filters and other runs, UMAP."""

import base64
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
import streamlit as st
from safetensors.numpy import load_file, save_file
from streamlit.testing.v1 import AppTest

from app import cache, image_cache
from app.embeddings import colors, layouts, points, scatter, selection, settings, view
from app.kit import pictures
from core import projection, runs
from core.data import ImageSet, job
from core.data.job import Preparation
from core.errors import MaclError
from core.files import PROJECT
from core.metrics import space
from core.projection import Step, Umap, store
from core.retrieval import ask
from core.runs import Run
from tests.components import charts, component_data

MAIN = str(PROJECT / "app" / "navigation.py")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("MACL_RUN_ROOT", str(folder))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(store, "_wake", lambda: None)  # UMAP itself is tested elsewhere
    yield folder
    for name, _ in store.waiting():  # tests share a cache
        store.drop(name)


@pytest.fixture
def two(root: Path, finished_runs: Path) -> list[Run]:
    shutil.copytree(finished_runs, root, dirs_exist_ok=True)
    return sorted(runs.list_runs(root), key=lambda run: run.config.loss, reverse=True)


def open_page(**parameters: Any) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for key, value in parameters.items():
        page.query_params[key] = value
    page.switch_page("../pages/embeddings.py").run()
    deadline = time.monotonic() + 60
    while page.get("bidi_component") and any("Preparing" in bar.text for bar in page.get("progress")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
        page.run()
    assert not page.exception
    return page


def component(page: AppTest, part: str) -> dict[str, Any]:
    """What the component with this field draws."""
    (data,) = [one for one in component_data(page) if part in one]
    return data


def places(page: AppTest, panel: int, frame: int = 0) -> np.ndarray:
    data = component(page, "panels")
    raw = np.frombuffer(base64.b64decode(data["panels"][panel]["frames"][frame]["at"]), "<u2")
    return raw.reshape(-1, data["dims"]) / 32767.5 - 1


def dots(page: AppTest, panel: int) -> list[str]:
    """Image name of each dot of a picture, by what the component was sent and the server has numbered."""
    data = component(page, "panels")
    names = page.session_state[selection.NUMBERED][data["version"]]
    assert len(names) == data["n"]
    rows = base64.b64decode(data["panels"][panel]["rows"])
    order = np.frombuffer(rows, "<i4").tolist() if rows else range(len(names))
    return [names[row] for row in order]


def lasso(page: AppTest, panel: int, chosen: list[int]) -> AppTest:
    """Tell the server what the browser would after a lasso around these dots of a picture."""
    data = component(page, "panels")
    rows = base64.b64decode(data["panels"][panel]["rows"])
    order = np.frombuffer(rows, "<i4") if rows else np.arange(data["n"])
    bits = np.zeros(data["n"], bool)
    bits[order[chosen]] = True
    said = {"version": data["version"], "seq": 1, "bits": points.to_bits(bits)}
    answer(page, said)
    page.run()
    assert not page.exception
    return page


def answer(
    page: AppTest, said: dict[str, Any], hear: Callable[[dict[str, Any]], None] = selection.take
) -> None:
    """Give the session of a page a message of the component."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(st, "session_state", page.session_state)
        hear(said)


def hover(page: AppTest, rows: list[int]) -> AppTest:
    """Tell the server what the browser would when the mouse is at the first of these points."""
    answer(page, {"version": component(page, "panels")["version"], "rows": rows}, view._hovered)
    page.run()
    assert not page.exception
    return page


def test_without_runs_the_page_leads_to_training(root: Path) -> None:
    page = open_page()
    assert "No finished run yet" in page.info[0].value
    assert page.get("page_link")


def test_every_dot_is_where_pca_puts_its_image(two: list[Run]) -> None:
    page = open_page(projection="PCA", runs=[run.id for run in two])
    data = component(page, "panels")
    assert [panel["title"] for panel in data["panels"]] == ["MulSupCon", "MACL"]
    onto = None
    for number, run in enumerate(two):
        z, _ = run.embeddings()
        names = run.splits()["test"]
        assert dots(page, number) == names
        x = projection.align(projection.pca(z, 2), onto)
        onto = x if onto is None else onto
        drawn = places(page, number)
        # the same picture but for one shift and one scale
        drawn, x = drawn - drawn.mean(0), x - x.mean(0)
        scale = (drawn * x).sum() / (x * x).sum()
        np.testing.assert_allclose(drawn, scale * x, atol=2e-4)
    assert len(page.get("bidi_component")) == 2


def sent_colours(page: AppTest) -> tuple[list[Any], np.ndarray]:
    """The legend's groups, and the group or share of each dot of the first picture."""
    data = component(page, "panels")
    text = data["values"] or data["panels"][0]["values"]
    return data["legend"].get("items", []), np.frombuffer(base64.b64decode(text), np.uint8)


def test_colours_say_what_each_image_is(two: list[Run]) -> None:
    _, y = two[0].embeddings()
    chosen = {"projection": "PCA", "dims": "3-D", "runs": [two[0].id]}
    items, sent = sent_colours(open_page(**chosen, color="Number of labels"))
    assert [int(items[group][0]) for group in sent] == y.sum(1).tolist()
    assert {int(name): count for name, _, count in items} == Counter(y.sum(1).tolist())

    page = open_page(**chosen, color="One label")
    label = page.selectbox(settings.KEYS["label"]).value
    items, sent = sent_colours(page)
    held = y[:, two[0].classes().index(label)] > 0
    assert ((sent != colors.NONE) == held).all()
    assert [items[group][2] for group in sent[held]] == [held.sum()] * held.sum()

    items, sent = sent_colours(open_page(**chosen, color="Split"))
    assert {items[group][0] for group in sent} == {"test"}

    _, sent = sent_colours(open_page(**chosen, color="Rarity of its labels"))
    rarest = np.array([y.sum(0)[row > 0].min() for row in y])
    assert (np.diff(sent[np.argsort(rarest, kind="stable")].astype(int)) <= 0).all()
    assert sent[rarest.argmin()] == 254
    assert sent[rarest.argmax()] == 0


def test_the_colour_of_quality_is_that_of_each_run(two: list[Run]) -> None:
    page = open_page(projection="PCA", color="Average precision as query", runs=[run.id for run in two])
    data = component(page, "panels")
    assert not data["values"]
    for panel, run in zip(data["panels"], two, strict=True):
        sent = np.frombuffer(base64.b64decode(panel["values"]), np.uint8)
        ap = cache.query_scores(run)[view.METRIC]
        known = ~np.isnan(ap)
        assert (sent[~known] == 255).all()
        np.testing.assert_allclose(sent[known] / 254, ap[known], atol=0.003)


def test_the_quality_of_many_images_is_that_of_a_sample(
    two: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "MOST_QUERIES", 10)
    page = open_page(projection="PCA", color="Average precision as query", runs=[two[0].id])
    sent = np.frombuffer(base64.b64decode(component(page, "panels")["panels"][0]["values"]), np.uint8)
    scored = view._queries(32)
    ap = np.full(32, np.nan)
    ap[scored] = cache.query_scores(two[0])[view.METRIC][scored]
    np.testing.assert_array_equal(sent, colors.to_bytes(ap))
    assert any("10 of 32 test images" in caption.value for caption in page.caption)
    monkeypatch.setattr(view, "MOST_QUERIES", 2000)
    monkeypatch.setattr(view, "MOST_PAIRS", 32 * 7)
    assert len(view._queries(32)) == 7


def test_hover_says_of_which_drawing_it_is_and_whether_images_are_open(
    two: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = hover(open_page(projection="PCA", runs=[two[0].id]), [4])
    told = component(page, "pictures")
    assert told["mark"] == component(page, "panels")["mark"]
    assert told["open"]
    assert not told["pictures"][0]["notes"][0]
    page.selectbox(settings.KEYS["mode"]).set_value("Average precision as query").run()
    other = component(page, "pictures")
    assert other["mark"] == component(page, "panels")["mark"] != told["mark"]
    ap = cache.query_scores(two[0])[view.METRIC][4]
    assert other["pictures"][0]["notes"] == ["" if np.isnan(ap) else f"AP Medium {100 * ap:.0f} %"]
    monkeypatch.setattr(ImageSet, "can_open", lambda images: False)
    monkeypatch.setattr(image_cache, "is_open", lambda config: False)
    monkeypatch.setattr(job, "status", lambda *place: Preparation("running", "image 3", 3, 9))
    page.run()
    assert not component(page, "pictures")["open"]


def test_names_are_listed_when_they_are_asked_for(two: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    monkeypatch.setattr(selection, "to_csv", lambda *given: listed.append("") or "")
    page = lasso(open_page(projection="PCA", runs=[two[0].id]), 0, [1, 2])
    assert page.get("download_button")
    assert not listed


def test_a_lasso_finds_the_same_images_in_every_picture(two: list[Run], other_seed: Path, root: Path) -> None:
    shutil.copytree(other_seed, root / other_seed.name)
    other = Run(root / other_seed.name)
    page = open_page(projection="PCA", runs=[two[0].id, other.id])
    shared = [name for name in dots(page, 1) if name in dots(page, 0)]
    assert 0 < len(shared) < len(dots(page, 1))
    chosen = [3, 5, 9]
    expected = {dots(page, 1)[dot] for dot in chosen}
    lasso(page, 1, chosen)
    grid = component(page, "items")
    assert {item["name"] for item in grid["items"]} == expected
    assert grid["total"] == 3
    bits = points.from_bits(component(page, "bits")["bits"], component(page, "panels")["n"])
    names = page.session_state[selection.NUMBERED][component(page, "panels")["version"]]
    assert {names[i] for i in np.flatnonzero(bits)} == expected
    labels = {item["name"]: item["labels"] for item in grid["items"]}
    for run in (two[0], other):
        _, y = run.embeddings()
        for row, name in enumerate(run.splits()["test"]):
            if name in labels:
                held = [label for label, has in zip(run.classes(), y[row], strict=True) if has]
                assert labels[name] == held


def test_a_lasso_is_right_after_filtering_and_after_another_run_is_chosen(
    two: list[Run], other_seed: Path, root: Path
) -> None:
    shutil.copytree(other_seed, root / other_seed.name)
    page = open_page(projection="PCA", runs=[two[0].id])
    _, y = two[0].embeddings()
    names, classes = two[0].splits()["test"], two[0].classes()
    label = int(y.sum(0).argmax())
    page.multiselect(settings.KEYS["only"]).set_value([classes[label]]).run()
    fitting = [name for name, row in zip(names, y, strict=True) if row[label]]
    assert dots(page, 0) == fitting
    assert 3 < len(fitting) < len(names)
    before = places(page, 0)

    lasso(page, 0, [0, 2])
    assert {item["name"] for item in component(page, "items")["items"]} == {fitting[0], fitting[2]}

    page.multiselect(settings.KEYS["only"]).set_value([]).run()  # the same images, other numbers
    assert {item["name"] for item in component(page, "items")["items"]} == {fitting[0], fitting[2]}
    bits = points.from_bits(component(page, "bits")["bits"], len(names))
    assert np.flatnonzero(bits).tolist() == sorted(names.index(fitting[i]) for i in (0, 2))
    assert before.shape == (len(fitting), 2)

    page.multiselect(settings.RUNS).set_value([other_seed.name]).run()
    theirs = Run(root / other_seed.name).splits()["test"]
    assert dots(page, 0) == theirs
    lasso(page, 0, [1])
    assert [item["name"] for item in component(page, "items")["items"]] == [theirs[1]]


def test_what_is_added_keeps_what_a_filter_hides(two: list[Run]) -> None:
    page = open_page(projection="PCA", runs=[two[0].id])
    _, y = two[0].embeddings()
    names, label = two[0].splits()["test"], int(y.sum(0).argmax())
    hidden = int(np.flatnonzero(y[:, label] == 0)[0])
    lasso(page, 0, [hidden])
    page.multiselect(settings.KEYS["only"]).set_value([two[0].classes()[label]]).run()
    data = component(page, "panels")
    said = {"version": data["version"], "seq": 2, "bits": points.to_bits(np.arange(data["n"]) == 0)}
    answer(page, {**said, "add": True})
    page.multiselect(settings.KEYS["only"]).set_value([]).run()
    first = next(name for name, row in zip(names, y, strict=True) if row[label])
    assert {item["name"] for item in component(page, "items")["items"]} == {names[hidden], first}
    answer(page, {**said, "add": False})
    page.run()
    assert {item["name"] for item in component(page, "items")["items"]} == {first}


def test_names_chosen_in_one_data_set_choose_nothing_in_another(
    two: list[Run], tiny: Path, tmp_path: Path
) -> None:
    other, config = two[1], json.loads((two[1].path / "config.json").read_text())
    shutil.copytree(tiny, tmp_path / "other")
    (other.path / "config.json").write_text(json.dumps({**config, "data_root": str(tmp_path / "other")}))
    page = open_page(projection="PCA", runs=[two[0].id])
    lasso(page, 0, [3])
    assert any("1 of 32 images" in text.value for text in page.markdown)
    page.multiselect(settings.RUNS).set_value([other.id]).run()
    assert not page.exception
    assert not any("of 32 images" in text.value for text in page.markdown)


def test_a_late_message_is_read_with_the_numbers_it_was_sent_for(two: list[Run]) -> None:
    page = open_page(projection="PCA", runs=[two[0].id])
    data = component(page, "panels")
    names = two[0].splits()["test"]
    bits = np.zeros(data["n"], bool)
    bits[7] = True
    said = {"version": data["version"], "seq": 4, "bits": points.to_bits(bits)}
    _, y = two[0].embeddings()
    label = two[0].classes()[int(np.flatnonzero(y[7])[0])]
    page.multiselect(settings.KEYS["only"]).set_value([label]).run()  # before the lasso arrives
    answer(page, said)
    page.run()
    assert [item["name"] for item in component(page, "items")["items"]] == [names[7]]
    assert selection.chosen_names(said | {"version": "of nobody"}, {}) is None


def test_the_picture_is_sent_before_anything_that_takes_long(
    two: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    for module, name in [
        (scatter, "show"),
        (layouts, "trust"),
        (image_cache, "thumbnails"),
        (space, "measure"),
        (projection, "request"),
    ]:
        usual = getattr(module, name)

        def noted(*given: Any, usual: Any = usual, name: str = name, **more: Any) -> Any:
            order.append(name)
            return usual(*given, **more)

        monkeypatch.setattr(module, name, noted)
    st.cache_resource.clear()
    open_page(runs=[two[0].id], umap_seed=9)
    assert list(dict.fromkeys(order)) == ["show", "trust", "thumbnails", "measure", "request"]


def test_a_picture_comes_before_images_are_opened_for_what_was_pointed_at(
    two: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = hover(open_page(projection="PCA", runs=[two[0].id]), [0])
    order: list[str] = []
    for module, name in [(scatter, "show"), (image_cache, "thumbnails")]:
        usual = getattr(module, name)

        def noted(*given: Any, usual: Any = usual, name: str = name, **more: Any) -> Any:
            order.append(name)
            return usual(*given, **more)

        monkeypatch.setattr(module, name, noted)
    page.run()
    assert list(dict.fromkeys(order)) == ["show", "thumbnails"]
    assert component(page, "pictures")["pictures"][0]["uri"].startswith("data:image/")


@pytest.mark.parametrize("state", ["running", "failed"])
def test_what_prepares_the_images_outlives_the_reruns_of_a_hover(
    two: list[Run], monkeypatch: pytest.MonkeyPatch, state: Any
) -> None:
    page = hover(lasso(open_page(projection="PCA", runs=[two[0].id]), 0, [1]), [0])
    within, said = [False], []
    explore, prepare = view._explore, pictures._prepare

    def exploring(*given: Any) -> None:
        within[0] = True
        explore(*given)
        within[0] = False

    def preparing(*given: Any) -> None:
        said.append(within[0])
        prepare(*given)

    monkeypatch.setattr(view, "_explore", exploring)
    monkeypatch.setattr(pictures, "_prepare", preparing)
    monkeypatch.setattr(ImageSet, "can_open", lambda images: False)
    monkeypatch.setattr(image_cache, "is_open", lambda config: False)
    monkeypatch.setattr(job, "status", lambda *place: Preparation(state, "image 3", 3, 9, "no room"))
    page.run()
    assert not page.exception
    assert said == [False]
    assert component(page, "pictures")["pictures"][0]["uri"] == ""
    if state == "running":
        assert "Preparing the pictures" in page.get("progress")[0].text
    else:
        assert "no room" in page.warning[0].value
        assert page.button[0].label == "Look again"


def test_no_component_makes_streamlit_look_for_tables(two: list[Run]) -> None:
    """It imports pandas to look at the values of a dict: half a second before a server's first picture."""
    sent = [json.loads(node.proto.json) for node in open_page(runs=[two[0].id]).get("bidi_component")]
    assert len(sent) >= 2
    assert all(isinstance(one, list) for one in sent)


def test_umap_is_asked_for_once_and_swapped_in(two: list[Run]) -> None:
    page = open_page(runs=[run.id for run in two], umap_seed=7)
    first = component(page, "panels")
    assert all("PCA until UMAP" in panel["note"] for panel in first["panels"])
    (_, steps), *more = store.waiting()
    assert not more
    z = [run.embeddings()[0] for run in two]
    begin = Step(z[0], Umap(seed=7))
    then = Step(z[1], begin.umap, begin, np.arange(len(z[1])))
    assert [step["key"] for step in steps] == [begin.key, then.key]
    for step, shift in ((begin, 0.0), (then, 1.0)):
        store.keep(step.key, step.z[:, :2] + np.float32(shift))
    page.run()
    drawn, told = component(page, "panels"), component(page, "notes")
    assert [panel["note"] for panel in drawn["panels"]] == ["UMAP", "UMAP"]
    assert told["mark"] == drawn["mark"]
    trusts = [space.trustworthiness(one, one[:, :2]) for one in z]
    assert told["notes"] == [f"trustworthiness {trust:.2f}" for trust in trusts]
    again = open_page(runs=[run.id for run in two], umap_seed=7)
    assert component(again, "panels") == component(page, "panels")


def test_umap_that_comes_while_the_page_is_drawn_is_shown(
    two: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = projection.request

    def late(steps: Sequence[Step]) -> str:
        request(steps)
        for step in steps:
            store.keep(step.key, step.z[:, :2])
        return request(steps)

    monkeypatch.setattr(projection, "request", late)
    page = open_page(runs=[run.id for run in two], umap_seed=9)
    assert [panel["note"] for panel in component(page, "panels")["panels"]] == ["UMAP", "UMAP"]


def test_a_failed_umap_leaves_pca_and_says_why(two: list[Run]) -> None:
    page = open_page(runs=[two[0].id], umap_seed=8)
    ((name, _),) = store.waiting()
    store.finish(name, state="failed", error="no memory")
    for _ in range(2):  # drawn anew, it is not asked for again
        page.run()
        assert "no memory" in page.warning[0].value
        assert component(page, "panels")["n"] == 32
        assert next(store.waiting(), None) is None
    page.button[0].click().run()
    assert page.button == []
    page.run()
    assert [found for found, _ in store.waiting()] == [name]


def test_through_training(two: list[Run], other_seed: Path, root: Path) -> None:
    shutil.copytree(other_seed, root / other_seed.name)
    shutil.rmtree(two[0].path / "frames")
    page = open_page(projection="PCA", runs=[other_seed.name, two[0].id], training="true")
    panels = component(page, "panels")["panels"]
    assert [frame["epoch"] for frame in panels[0]["frames"]] == [0, 1, 2, 3]
    assert len(panels[1]["frames"]) == 1
    assert panels[0]["note"] == "PCA"
    assert "saved no epochs" in panels[1]["note"]
    first, second = component(page, "notes")["notes"]
    assert first.endswith("after epoch 3")
    assert "epoch" not in second
    assert charts(page)
    final = open_page(projection="PCA", runs=[other_seed.name])
    (still,) = component(final, "panels")["panels"][0]["frames"]
    assert still["epoch"] not in range(4)  # else a slider that comes begins there
    x, still = places(page, 0, 3), places(final, 0)
    x, still = x - x.mean(0), still - still.mean(0)
    np.testing.assert_allclose(x / np.abs(x).max(), still / np.abs(still).max(), atol=1e-3)


def test_damaged_epochs_are_left_out_and_named(two: list[Run], other_seed: Path, root: Path) -> None:
    shutil.copytree(other_seed, root / other_seed.name)
    frames = root / other_seed.name / "frames"
    (frames / "00001.safetensors").write_bytes(b"cut off")
    z = load_file(frames / "00002.safetensors")["z"]
    save_file({"z": z[:-1]}, frames / "00002.safetensors")
    page = open_page(projection="PCA", runs=[other_seed.name], training="true")
    (panel,) = component(page, "panels")["panels"]
    assert [frame["epoch"] for frame in panel["frames"]] == [0, 3]
    assert "without epoch 1, 2: damaged" in panel["note"]
    assert charts(page)


def test_permalink_names_what_is_gone(two: list[Run]) -> None:
    page = open_page(projection="PCA", runs=[two[1].id, "lost"], color="One label", label="no such")
    said = " ".join(warning.value for warning in page.warning)
    assert "lost" in said
    assert "no such" in said
    assert page.multiselect(settings.RUNS).value == [two[1].id]


def test_runs_of_one_second_and_one_configuration_are_told_apart(two: list[Run]) -> None:
    twin = two[0].path.with_name(two[0].id[:-4] + "abcd")
    shutil.copytree(two[0].path, twin)
    for name in (two[0].id, twin.name):
        page = open_page(projection="PCA", runs=[name])
        page.run()
        assert page.multiselect(settings.RUNS).value == [name]


def test_runs_on_other_images_are_left_out(two: list[Run], tmp_path: Path) -> None:
    (tmp_path / "another").mkdir()
    config = two[1].config.model_copy(update={"data_root": str(tmp_path / "another")})
    (two[1].path / "config.json").write_text(config.model_dump_json())
    (two[1].path / "data.json").unlink()  # of a version that kept no more than the place
    page = open_page(projection="PCA", runs=[run.id for run in two])
    assert "other images" in page.warning[0].value
    assert len(component(page, "panels")["panels"]) == 1


@pytest.mark.parametrize("names", [["sea", "land"], ["other names"]])
def test_runs_with_other_labels_are_left_out(two: list[Run], names: list[str]) -> None:
    """A folder whose table has changed: columns of two runs mean different labels."""
    tensors = load_file(two[1].path / "embeddings.safetensors")
    classes = [*two[1].classes()[1:], *names]
    y = np.resize(tensors["y"], (len(tensors["y"]), len(classes)))
    save_file({**tensors, "y": y}, two[1].path / "embeddings.safetensors")
    (two[1].path / "classes.json").write_text(json.dumps(classes))
    page = open_page(projection="PCA", runs=[run.id for run in two])
    assert "other images or labels" in page.warning[0].value
    (panel,) = component(page, "panels")["panels"]
    assert panel["title"].startswith("MulSupCon")


@pytest.mark.parametrize("name", ["embeddings.safetensors", "classes.json"])
def test_a_damaged_first_run_takes_nothing_else_off_the_page(two: list[Run], name: str) -> None:
    (two[0].path / name).write_bytes(b"cut off")
    page = open_page(projection="PCA", runs=[run.id for run in two])
    assert "damaged" in page.warning[0].value
    assert len(component(page, "panels")["panels"]) == 1


def test_a_tile_asks_where_its_image_is_found(two: list[Run]) -> None:
    splits = two[0].splits()
    runs = {"runs": [run.id for run in two]}
    for name, more in ((splits["test"][1], {}), (splits["train"][1], {"gallery": ["all"]})):
        page, _, address = selection._asking(two, name).partition("?")
        assert page == "retrieval"
        assert parse_qs(address) == {**runs, "query": [name], **more}


def test_all_splits_that_failed_can_be_asked_for_again(
    two: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask, "ensure", lambda: None)
    question = cache.others(two[0])
    failed = ask.answer_path(question.key).with_suffix(".txt")
    failed.parent.mkdir(parents=True, exist_ok=True)
    failed.write_text("the drive is away")
    page = open_page(projection="PCA", runs=[two[0].id], images="All splits")
    assert "the drive is away" in page.warning[0].value
    next(button for button in page.button if "again" in button.label).click().run()
    assert not page.exception
    assert not page.warning
    assert ask.look(question).state == "waiting"


def test_all_splits_that_cannot_be_asked_for_leave_the_test_split(
    two: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(question: ask.Question) -> ask.Reply:
        raise MaclError("cannot write to the cache: make room")

    monkeypatch.setattr(ask, "ask", asked)
    page = open_page(projection="PCA", runs=[two[0].id], images="All splits")
    assert "only its test split. cannot write to the cache" in page.warning[0].value
    assert component(page, "panels")["n"] == 32


def test_runs_without_weights_show_their_test_split_alone(two: list[Run]) -> None:
    (two[0].path / "model.safetensors").unlink()
    page = open_page(projection="PCA", runs=[two[0].id], images="All splits")
    assert component(page, "panels")["n"] == 32
