"""The retrieval page on real small runs: queries, permalink, runs that cannot be compared, lost images."""

import io
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from streamlit.testing.v1 import AppTest

from app import cache
from app.kit import query
from app.kit.permalink import LONG
from app.kit.words import JOINER
from core import runs
from core.background.cache import write
from core.errors import MaclError
from core.files import PROJECT
from core.labels import jaccard
from core.losses import LOSSES
from core.metrics import METRICS, per_query
from core.retrieval import ask
from core.retrieval.embedder import Embedder
from core.runs import Run
from tests.components import component_data

MAIN = str(PROJECT / "app" / "navigation.py")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("MACL_RUN_ROOT", str(folder))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    return folder


@pytest.fixture
def two(root: Path, finished_runs: Path) -> list[Run]:
    """MulSupCon and MACL, in the order of the losses."""
    shutil.copytree(finished_runs, root, dirs_exist_ok=True)
    return sorted(runs.list_runs(root), key=lambda run: run.config.loss, reverse=True)


@pytest.fixture
def trained(root: Path, trained_runs: Path) -> list[Run]:
    """The same two as they were trained: what is embedded anew lies where it was."""
    shutil.copytree(trained_runs, root, dirs_exist_ok=True)
    return sorted(runs.list_runs(root), key=lambda run: run.config.loss, reverse=True)


@pytest.fixture
def still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process answers; the test does (`answer_all`)."""
    home = tmp_path / "embedder"
    monkeypatch.setattr(ask, "ensure", lambda: None)
    monkeypatch.setattr(ask, "home", lambda: home)
    for name in ("questions", "answers"):
        (home / name).mkdir(parents=True)


def open_page(**parameters: Any) -> AppTest:
    """The page with all its pictures."""
    page = AppTest.from_file(MAIN, default_timeout=60)
    for key, value in parameters.items():
        page.query_params[key] = value
    page.switch_page("../pages/retrieval.py").run()
    deadline = time.monotonic() + 60
    while page.get("bidi_component") and not shown(page)["images"] and not page.warning:
        assert time.monotonic() < deadline
        time.sleep(0.2)
        page.run()
    assert not page.exception
    return page


def shown(page: AppTest) -> dict[str, Any]:
    """What the gallery draws."""
    (data,) = component_data(page)
    return data


def tiles(page: AppTest) -> list[list[str]]:
    return [[tile["name"] for tile in row["tiles"]] for row in shown(page)["rows"]]


def brute_force(run: Run, name: str, k: int) -> list[str]:
    """Names of the k nearest test images, by a stable sort of float64 cosines, one by one."""
    z, _ = run.embeddings()
    names = run.splits()["test"]
    mine = z[names.index(name)].astype(np.float64)
    cosine = {i: float((row.astype(np.float64) * mine).sum()) for i, row in enumerate(z) if names[i] != name}
    return [names[i] for i in sorted(cosine, key=lambda i: -cosine[i])[:k]]


def read(markdown: str) -> str:
    """As a person reads it."""
    return re.sub(r"\\(.)", r"\1", markdown)


def ask_with(page: AppTest, name: str) -> AppTest:
    """The query that a click on a picture makes, by its address: a test cannot click there."""
    page.query_params["query"] = name
    page.run()
    assert not page.exception
    return page


def press(page: AppTest, label: str) -> AppTest:
    next(button for button in page.button if button.label == label).click().run()
    assert not page.exception
    return page


def test_without_runs_the_page_leads_to_training(root: Path) -> None:
    page = open_page()
    assert "No finished run yet" in page.info[0].value
    assert page.get("page_link")
    assert not page.get("bidi_component")


def test_every_query_of_the_test_split_shows_what_brute_force_finds(two: list[Run]) -> None:
    page = open_page()
    names = two[0].splits()["test"]
    assert page.multiselect(query.RUNS).value == [run.id for run in two]
    for name in names:
        page.selectbox(query.QUERY).set_value(name).run()
        assert shown(page)["query"]["name"] == name
        assert tiles(page) == [brute_force(run, name, 6) for run in two]
        assert all(name not in row for row in tiles(page))
    assert not page.exception


def test_tiles_say_how_their_labels_differ(two: list[Run]) -> None:
    page = open_page(runs=two[0].id)
    _, y = two[0].embeddings()
    names = two[0].splits()["test"]
    data = shown(page)
    mine = names.index(data["query"]["name"])
    for tile in data["rows"][0]["tiles"]:
        other = names.index(tile["name"])
        assert tile["jaccard"] == f"{jaccard(y[[mine]], y[[other]])[0, 0]:.2f}"
        assert len(tile["shared"]) + len(tile["missing"]) == y[mine].sum()
        assert len(tile["shared"]) + len(tile["extra"]) == y[other].sum()
        assert tile["name"] in tile["alt"]
        assert data["images"][tile["name"]].startswith("data:image/jpeg;base64,")


def test_the_permalink_holds_runs_query_and_k_and_brings_them_back(two: list[Run]) -> None:
    page = open_page()
    page.selectbox(query.QUERY).set_value(two[0].splits()["test"][5]).run()
    page.slider(query.COUNT).set_value(9).run()
    page.multiselect(query.RUNS).set_value([two[1].id]).run()
    link = dict(page.query_params)
    assert link | {"runs": [link["runs"]]} == query.link([two[1].id], two[0].splits()["test"][5], 9)
    assert tiles(open_page(**link)) == tiles(page)


def test_what_a_link_names_and_is_gone_is_left_out_with_a_note(two: list[Run]) -> None:
    page = open_page(runs=["20200101-000000-gone", two[0].id], query="nowhere", k="900")
    note = page.warning[0].value
    assert "20200101-000000-gone" in note
    assert "nowhere" in note
    assert "k = 900" in note
    assert page.multiselect(query.RUNS).value == [two[0].id]
    assert len(tiles(page)[0]) == 6


@pytest.mark.parametrize("k", ["²", "-1", "0", "51", "1e3", "six", "9" * 5000])
def test_a_senseless_k_is_no_crash(two: list[Run], k: str) -> None:
    page = open_page(runs=two[0].id, k=k)
    assert len(tiles(page)[0]) == 6
    repeated = k if len(k) <= LONG else f"{k[:LONG]}…"
    assert f"k = {repeated} (need a whole number, 1 to 50)" in read(page.warning[0].value)


def test_previous_next_random_and_back(two: list[Run]) -> None:
    names = two[0].splits()["test"]
    page = open_page(query=names[3])
    assert shown(press(page, "Next"))["query"]["name"] == names[4]
    assert shown(press(page, "Previous"))["query"]["name"] == names[3]
    assert shown(press(page, "Previous"))["query"]["name"] == names[2]
    assert shown(page)["query"]["earlier"] == [names[3], names[4]]
    assert shown(press(page, "Random"))["query"]["name"] != names[2]
    assert shown(press(page, "Back"))["query"]["name"] == names[2]
    assert shown(press(page, "Back"))["query"]["name"] == names[3]
    assert shown(press(page, "Back"))["query"]["name"] == names[4]
    page = open_page(query=names[0])
    assert shown(press(page, "Previous"))["query"]["name"] == names[-1]
    assert shown(press(page, "Next"))["query"]["name"] == names[0]


def test_the_label_filter_keeps_queries_with_all_labels(two: list[Run]) -> None:
    page = open_page()
    _, y = two[0].embeddings()
    names = two[0].splits()["test"]
    pair = np.flatnonzero(y[y.sum(1).argmax()])[:2]
    classes = list(page.multiselect(query.LABELS).options)
    fitting = [name for name, row in zip(names, y, strict=True) if row[pair].all()]
    page.multiselect(query.LABELS).set_value([classes[i] for i in pair]).run()
    assert {option.split(" · ")[0] for option in page.selectbox(query.QUERY).options} == {
        *fitting,
        page.selectbox(query.QUERY).value,
    }
    for _ in fitting:
        assert shown(press(page, "Next"))["query"]["name"] in fitting


def test_a_run_of_another_test_split_says_so(two: list[Run], other_seed: Path, root: Path) -> None:
    other = Run(Path(shutil.copytree(other_seed, root / other_seed.name)))
    page = open_page(runs=[two[0].id, other.id])
    ours, theirs = (set(run.splits()["test"]) for run in (two[0], other))
    only = min(ours - theirs)
    page.selectbox(query.QUERY).set_value(only).run()
    here, there = shown(page)["rows"]
    assert here["tiles"]
    assert not there["tiles"]
    held = {"train": "training", "val": "validation"}
    split = next(held[key] for key in held if only in other.splits()[key])
    assert f"one of its {split} images" in there["note"]
    both = min(ours & theirs)
    page.selectbox(query.QUERY).set_value(both).run()
    assert tiles(page) == [brute_force(two[0], both, 6), brute_force(other, both, 6)]
    assert "searches another test split (seed 1)" in shown(page)["rows"][1]["about"]


def test_a_run_on_another_data_set_says_so(two: list[Run]) -> None:
    path = two[1].path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset": "dlrsd"}))
    page = open_page(runs=[run.id for run in two])
    assert shown(page)["rows"][1]["note"].startswith("Trained on DLRSD; the first run on ")


def test_runs_on_different_own_folders_do_not_mix(two: list[Run], tmp_path: Path) -> None:
    """A name such as 0001.jpg may stand in both folders, for different images."""
    config, names = two[1].path / "config.json", two[1].path / "splits.json"
    about, splits = json.loads(config.read_text()), two[1].splits()
    config.write_text(json.dumps(about | {"data_root": str(tmp_path / "others")}))
    (two[1].path / "data.json").unlink()  # it is of the first folder
    names.write_text(json.dumps({**splits, "test": splits["test"][::-1]}))
    page = open_page(runs=[run.id for run in two], order="lead")
    assert shown(page)["rows"][0]["tiles"]
    assert shown(page)["rows"][1]["note"].startswith("Trained on the images in ")


def test_two_own_folders_with_equal_names_do_not_mix(
    two: list[Run], still: None, tiny: Path, tmp_path: Path
) -> None:
    """The split goes by seed and count: the test images of both have the same names, and differ."""
    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    head, *lines = (tiny / "labels.csv").read_text().splitlines()
    names, labels = zip(*(line.split(",", 1) for line in lines), strict=True)
    turned = [f"{name},{held}" for name, held in zip(names, reversed(labels), strict=True)]
    (other / "labels.csv").write_text("\n".join([head, *turned]) + "\n")
    for name in names:
        shutil.copy(tiny / names[len(names) - 1 - names.index(name)], other / name)
    path = two[1].path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data_root": str(other)}))
    (two[1].path / "data.json").unlink()  # of a version that kept no more than the place
    assert two[0].splits()["test"] == two[1].splits()["test"]
    page = open_page(runs=[run.id for run in two])
    assert shown(page)["rows"][0]["tiles"]
    assert shown(page)["rows"][1]["note"] == (
        f"Trained on the images in {other}; the first run on those in {tiny}."
    )
    upload_file(page, "mine.png", (tiny / names[0]).read_bytes())
    assert shown(answer_all(page))["rows"][1]["note"].startswith("Trained on the images in ")
    link = tmp_path / "link"
    link.symlink_to(tiny)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data_root": str(link)}))
    assert all(row["tiles"] for row in shown(open_page(runs=[run.id for run in two]))["rows"])


@pytest.mark.parametrize("place", ["here", "away"])
def test_equal_names_with_other_labels_do_not_mix(two: list[Run], tmp_path: Path, place: str) -> None:
    """As where the table was corrected, or other images were put into the folder, between two trainings."""
    z, y = two[1].embeddings()
    save_file({"z": z, "y": np.ascontiguousarray(y[::-1])}, two[1].path / "embeddings.safetensors")
    if place == "away":
        (two[1].path / "data.json").unlink()
        path = two[1].path / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"data_root": str(tmp_path / "away")}))
    rows = shown(open_page(runs=[run.id for run in two]))["rows"]
    expected = {"here": "Trained with other labels than the first run.", "away": "Trained on the images in "}
    assert rows[1]["note"].startswith(expected[place])
    assert not rows[1]["tiles"]


def test_a_test_split_in_which_no_two_images_share_a_label_has_no_score(two: list[Run]) -> None:
    path = two[1].path / "scores.json"
    scores = json.loads(path.read_text())
    for part in ("metrics", "chance"):
        scores[part]["map_sim"] = None
    path.write_text(json.dumps(scores))
    rows = shown(open_page(runs=[run.id for run in two]))["rows"]
    assert "mAP(sim)" in rows[0]["about"]
    assert rows[1]["about"] == "no query has a positive"
    assert rows[1]["tiles"]


def test_label_names_that_are_still_being_copied_are_a_message(two: list[Run]) -> None:
    path = two[1].path / "classes.json"
    path.write_text(path.read_text()[:20])
    page = open_page(runs=[run.id for run in two])
    assert shown(page)["rows"][0]["tiles"]
    assert "classes.json is damaged" in shown(page)["rows"][1]["note"]
    page = open_page(runs=two[1].id)
    assert "classes.json is damaged" in read(page.error[0].value)
    path.write_text('{"a": 1}')
    assert "(no list): copy the run again" in read(page.run().error[0].value)


def test_runs_with_different_labels_do_not_mix(two: list[Run]) -> None:
    two[1].mark("classes.json", json.dumps([f"other {label}" for label in two[1].classes()]))
    rows = shown(open_page(runs=[run.id for run in two]))["rows"]
    assert rows[1]["note"] == "Trained with other labels than the first run."


def test_a_moved_folder_is_still_the_same_images(two: list[Run], tmp_path: Path) -> None:
    config = two[1].path / "config.json"
    moved = {"data_root": str(tmp_path / "moved")}
    config.write_text(json.dumps(json.loads(config.read_text()) | moved))
    assert all(row["tiles"] for row in shown(open_page(runs=[run.id for run in two]))["rows"])


def test_a_run_that_is_still_being_copied_is_a_note_until_it_is_whole(two: list[Run]) -> None:
    path = two[1].path / "splits.json"
    whole = path.read_text()
    path.unlink()
    page = open_page(runs=[run.id for run in two])
    assert "splits.json" in shown(page)["rows"][1]["note"]
    path.write_text(whole)
    assert shown(page.run())["rows"][1]["tiles"]


def test_lost_images_leave_names_labels_and_the_reason(two: list[Run], tmp_path: Path) -> None:
    for run in two:
        path = run.path / "config.json"
        moved = {"data_root": str(tmp_path / "moved" / "away")}
        path.write_text(json.dumps(json.loads(path.read_text()) | moved))
    page = open_page()
    assert "away does not exist" in page.warning[0].value
    data = shown(page)
    assert data["images"] == {}
    assert set(data["query"]["labels"]) <= set(two[0].classes())  # the run folder keeps their names
    assert tiles(page) == [brute_force(run, data["query"]["name"], 6) for run in two]


def test_no_run_chosen_and_a_deleted_run(two: list[Run]) -> None:
    page = open_page()
    page.multiselect(query.RUNS).set_value([]).run()
    assert page.info[0].value == "Choose at least one run."
    page.multiselect(query.RUNS).set_value([run.id for run in two]).run()
    runs.delete(two[0])
    page.run()
    assert not page.exception
    assert page.multiselect(query.RUNS).value == [two[1].id]


def test_a_recorded_run_stands_beside_the_own(two: list[Run], tmp_path: Path) -> None:
    folder = tmp_path / "recorded"
    folder.mkdir()
    moved = Run(Path(shutil.move(two[1].path, folder)))
    moved.mark("recorded")
    page = open_page(runs=[two[0].id, moved.id])
    assert len(tiles(page)) == 2
    assert any(option.endswith("recorded") for option in page.multiselect(query.RUNS).options)


def test_default_runs_are_the_newest_of_each_method_and_one_split(two: list[Run], root: Path) -> None:
    newer = Run(Path(shutil.copytree(two[0].path, root / "29990101-000000-folder-mulsupcon-s0-0000")))
    variant = runs.create(two[0].config.model_copy(update={"params": {"tau": 0.5}}), root)
    for name in ("scores.json", "splits.json", "data.json", "embeddings.safetensors"):
        shutil.copy(two[0].path / name, variant.path)
    runs.create(two[1].config.model_copy(update={"seed": 7}), root)
    assert query.default_runs(runs.list_runs(root)) == [newer.id, variant.id, two[1].id]


def test_default_runs_are_few_and_hold_macl_and_mulsupcon(two: list[Run], root: Path) -> None:
    source = {run.config.loss: run for run in two}
    for number, loss in enumerate(("lmsc", "lreg", "supcon_any", "oml")):
        other = Run(
            Path(shutil.copytree(two[0].path, root / f"2999010{number + 1}-000000-folder-{loss}-s0-0000"))
        )
        config = two[0].config.model_copy(update={"loss": loss, "params": {}})
        (other.path / "config.json").write_text(config.model_dump_json())
    found = query.default_runs(runs.list_runs(root))
    assert len(found) == query.MOST_ROWS
    assert {source["macl"].id, source["mulsupcon"].id} < set(found)
    order = [list(LOSSES).index(Run(root / name).config.loss) for name in found]
    assert order == sorted(order)


def choose(page: AppTest, key: str, value: object) -> AppTest:
    """Use the widget of that key."""
    page.session_state[key]
    widget = next(one for one in [*page.selectbox, *page.checkbox, *page.button_group] if one.key == key)
    widget.set_value(value).run()
    assert not page.exception
    return page


def answer_all(page: AppTest) -> AppTest:
    """Let an embedder in this process answer what the page has asked, and draw the page with it."""
    embedder = Embedder(0.0)
    while embedder.next_one():
        pass
    page.run()
    assert not page.exception
    return page


def test_rows_are_ordered_by_any_metric_of_this_query(two: list[Run]) -> None:
    for metric in ("map_sim", "map_hard", "wap"):
        page = open_page(runs=[run.id for run in two], by=metric)
        values = [per_query(*run.embeddings())[metric] for run in two]
        for row in (0, 3, 8):
            page.selectbox(query.QUERY).set_value(two[0].splits()["test"][row]).run()
            best = int(np.nan_to_num([value[row] for value in values], nan=-1).argmax())
            rows = shown(page)["rows"]
            assert rows[0]["key"] == two[best].id
            if metric != "map_sim" and not np.isnan(values[best][row]):
                assert rows[0]["facts"][0] == f"{METRICS[metric]} {100 * values[best][row]:.1f} %"


def test_the_permalink_holds_gallery_filters_and_order(two: list[Run]) -> None:
    page = open_page(runs=[run.id for run in two])
    classes = page.multiselect(query.LABELS).options
    page.multiselect(query.LABELS).set_value([classes[0]]).run()
    choose(page, query.BY, "map_easy")
    choose(page, query.RARITY, "few")
    choose(page, query.ORDER, "lead")
    link = dict(page.query_params)
    assert (link["by"], link["rarity"], link["order"]) == ("map_easy", "few", "lead")
    assert (link["of"], link["over"], link["labels"]) == (two[0].id, two[1].id, classes[0])
    other = open_page(**link)
    assert tiles(other) == tiles(page)
    for key in (query.BY, query.RARITY, query.ORDER, query.OF, query.OVER, query.LABELS, query.QUERY):
        assert other.session_state[key] == page.session_state[key]
    assert dict(other.query_params) == link


def test_a_link_with_values_that_do_not_exist_is_no_crash(two: list[Run]) -> None:
    page = open_page(
        runs=two[0].id, gallery="moon", by="luck", rarity="x", order="y", of="z", labels="nothing"
    )
    for word in (
        "gallery = moon (need all)",
        "by = luck",
        "rarity = x",
        "order = y",
        "of = z",
        "No label nothing here",
    ):
        assert word in read(page.warning[0].value)
    assert len(tiles(page)[0]) == 6
    page = open_page(runs=two[0].id, order="lead", of=two[0].id, over=two[1].id)
    assert len(tiles(page)[0]) == 6


def test_the_worst_queries_of_a_run_come_first(two: list[Run]) -> None:
    page = choose(open_page(runs=[run.id for run in two], by="map_easy"), query.ORDER, "worst")
    choose(page, query.OF, two[1].id)
    names = two[0].splits()["test"]
    values = per_query(*two[1].embeddings())["map_easy"]
    order = [names[i] for i in np.argsort(np.where(np.isnan(values), np.inf, values), kind="stable")]
    assert shown(page)["query"]["name"] == order[0]
    assert shown(press(page, "Next"))["query"]["name"] == order[1]
    assert shown(press(page, "Next"))["query"]["name"] == order[2]
    assert [option.split(" · ")[1] for option in page.selectbox(query.QUERY).options[:5]] == order[:5]


def test_the_query_before_an_order_was_chosen_can_be_had_back(two: list[Run]) -> None:
    values = per_query(*two[0].embeddings())["map_sim"]
    first = two[0].splits()["test"][int(np.nanargmax(values))]  # the best one
    page = choose(open_page(runs=[run.id for run in two], query=first), query.ORDER, "worst")
    worst = shown(page)["query"]
    assert worst["name"] != first
    assert worst["earlier"] == [first]
    assert shown(press(page, "Next"))["query"]["earlier"] == [worst["name"], first]
    assert shown(press(press(page, "Back"), "Back"))["query"]["name"] == first
    assert not shown(open_page(runs=two[0].id, order="worst"))["query"]["earlier"]  # nobody saw another


def test_where_one_run_beats_the_other_most(two: list[Run]) -> None:
    page = choose(open_page(runs=[run.id for run in two]), query.ORDER, "lead")
    a, b = (per_query(*run.embeddings())["map_sim"] for run in two)
    assert shown(page)["query"]["name"] == two[0].splits()["test"][int(np.nanargmax(a - b))]
    choose(page, query.OF, two[1].id)  # the other then gives way
    assert page.session_state[query.OVER] == two[0].id
    assert shown(page)["query"]["name"] == two[0].splits()["test"][int(np.nanargmax(b - a))]


def test_an_order_by_a_run_that_cannot_be_read_is_a_note(two: list[Run]) -> None:
    (two[1].path / "embeddings.safetensors").write_bytes(b"damaged")
    page = choose(open_page(runs=[run.id for run in two]), query.ORDER, "worst")
    choose(page, query.OF, two[1].id)
    assert "cannot be read" in page.warning[0].value
    assert "cannot be read" in shown(page)["rows"][1]["note"]
    assert shown(page)["rows"][0]["tiles"]


def test_only_queries_with_exactly_these_labels(two: list[Run]) -> None:
    page = open_page()
    _, y = two[0].embeddings()
    classes = list(page.multiselect(query.LABELS).options)
    wanted = np.flatnonzero(y[4])
    page.multiselect(query.LABELS).set_value([classes[i] for i in wanted]).run()
    choose(page, query.EXACT, True)
    names = [two[0].splits()["test"][i] for i in np.flatnonzero((y == y[4]).all(1))]
    assert {option.split(" · ")[0] for option in page.selectbox(query.QUERY).options} == {
        *names,
        page.selectbox(query.QUERY).value,
    }


def test_all_splits_are_searched_and_training_images_marked(two: list[Run], still: None) -> None:
    page = open_page(runs=[run.id for run in two], gallery="all", k="50")
    assert [row["note"] for row in shown(page)["rows"]] == ["Computing …", "Computing …"]
    answer_all(page)
    for run, row in zip(two, shown(page)["rows"], strict=True):
        splits, found = run.splits(), ask.look(cache.others(run)).arrays
        names = [*splits["test"], *splits["train"], *splits["val"]]
        z = np.vstack([run.embeddings()[0], found["z_train"], found["z_val"]]).astype(np.float64)
        mine = names.index(shown(page)["query"]["name"])
        order = [names[i] for i in np.argsort(-(z * z[mine]).sum(1), kind="stable") if i != mine]
        assert [tile["name"] for tile in row["tiles"]] == order[:50]
        for tile in row["tiles"]:
            split = next(part for part in splits if tile["name"] in splits[part])
            assert tile["split"] == {"train": "training", "val": "validation", "test": ""}[split]
    choose(page, query.BY, "map_easy")
    assert shown(page)["rows"][0]["facts"][0].startswith("mAP Easy")


def test_a_training_image_that_was_found_asks_next(two: list[Run], still: None) -> None:
    page = answer_all(open_page(runs=[run.id for run in two], gallery="all", k="50"))
    before = shown(page)["query"]["name"]
    tile = next(one for one in shown(page)["rows"][0]["tiles"] if one["split"] == "training")
    asked = shown(ask_with(page, tile["name"]))
    assert asked["query"]["name"] == tile["name"]
    assert asked["query"]["labels"]
    for run, row in zip(two, asked["rows"], strict=True):
        place = cache.gallery(run, True)
        assert place is not None
        z, mine = place.z.astype(np.float64), place.rows[tile["name"]]
        order = [place.names[i] for i in np.argsort(-(z * z[mine]).sum(1), kind="stable") if i != mine]
        assert [one["name"] for one in row["tiles"]] == order[:50]
    assert not page.warning
    link = dict(page.query_params)
    assert shown(open_page(**link))["query"]["name"] == tile["name"]
    assert shown(press(page, "Back"))["query"]["name"] == before


def test_a_result_of_another_seed_asks_next(two: list[Run], other_seed: Path, root: Path) -> None:
    other = Run(Path(shutil.copytree(other_seed, root / other_seed.name)))
    ours, theirs = two[0].splits()["test"], other.splits()["test"]
    only = next(name for name in theirs if name not in ours)
    page = ask_with(open_page(runs=[two[0].id, other.id]), only)
    data = shown(page)
    assert data["query"]["name"] == only
    assert data["query"]["labels"]
    assert "is not in the test split of this run" in data["rows"][0]["note"]
    assert [tile["name"] for tile in data["rows"][1]["tiles"]] == brute_force(other, only, 6)
    assert shown(press(page, "Next"))["query"]["name"] in ours


def test_other_labels_since_training_are_said(
    two: list[Run], still: None, tiny: Path, tmp_path: Path
) -> None:
    more = tmp_path / "more"
    shutil.copytree(tiny, more)
    head, *lines = (more / "labels.csv").read_text().splitlines()
    (more / "labels.csv").write_text("\n".join([f"{head},new", *(f"{line},0" for line in lines)]))
    for run in two:
        about = json.loads((run.path / "config.json").read_text()) | {"data_root": str(more)}
        (run.path / "config.json").write_text(json.dumps(about))
    page = answer_all(open_page(runs=two[0].id, gallery="all"))
    assert "has other labels now" in shown(page)["rows"][0]["note"]


def test_a_damaged_answer_is_computed_anew(two: list[Run], still: None) -> None:
    path = ask.answer_path(cache.others(two[0]).key)
    path.write_bytes(b"")
    page = open_page(runs=two[0].id, gallery="all").run()
    assert shown(page)["rows"][0]["note"] == "Computing …"
    assert shown(answer_all(page))["rows"][0]["tiles"]


def test_another_seed_can_answer_from_all_splits(
    two: list[Run], other_seed: Path, root: Path, still: None
) -> None:
    other = Run(Path(shutil.copytree(other_seed, root / other_seed.name)))
    only = min(set(two[0].splits()["test"]) & set(other.splits()["train"]))
    page = answer_all(open_page(runs=[two[0].id, other.id], gallery="all", query=only))
    here, there = shown(page)["rows"]
    assert len(here["tiles"]) == len(there["tiles"]) == 6
    assert "the query is one of its training images" in there["about"]


def test_a_run_without_weights_says_what_it_can_do(two: list[Run], still: None, tiny: Path) -> None:
    (two[1].path / ask.WEIGHTS).unlink()
    page = answer_all(open_page(runs=[run.id for run in two], gallery="all"))
    assert shown(page)["rows"][0]["tiles"]
    assert "came without its weights: only its test split" in shown(page)["rows"][1]["note"]
    choose(page, query.GALLERY, "")
    assert [row["why"] for row in shown(page)["rows"]] == [True, False]
    page.file_uploader[0].upload("a.png", (tiny / "scene000.png").read_bytes(), "image/png").run()
    assert "only its own test images can ask" in shown(answer_all(page))["rows"][1]["note"]


def upload_file(page: AppTest, name: str, data: bytes) -> AppTest:
    page.file_uploader[0].upload(name, data, "application/octet-stream").run()
    assert not page.exception
    return page


def test_an_upload_asks_every_run(trained: list[Run], still: None, tiny: Path) -> None:
    """The file of a test image, under another name: each run finds it first, then what it finds for it."""
    name = trained[0].splits()["test"][2]
    page = open_page(runs=[run.id for run in trained], query=trained[0].splits()["test"][7])
    link = dict(page.query_params)
    upload_file(page, r"C:\my photos\..\field.txt", (tiny / name).read_bytes())
    assert [row["note"] for row in shown(page)["rows"]] == ["Computing …", "Computing …"]
    answer_all(page)
    data = shown(page)
    assert data["query"]["name"] == "field.txt"
    assert data["images"][data["query"]["image"]].startswith("data:image/jpeg")
    assert tiles(page) == [[name, *brute_force(run, name, 5)] for run in trained]
    assert data["rows"][0]["tiles"][0]["jaccard"] == ""
    assert dict(page.query_params) == link  # a picture is nobody's link

    classes = page.multiselect("retrieval_upload_labels").options
    mine = trained[0].embeddings()[1][2]
    page.multiselect("retrieval_upload_labels").set_value([classes[i] for i in np.flatnonzero(mine)]).run()
    assert shown(page)["rows"][0]["tiles"][0]["jaccard"] == "1.00"
    assert any(fact.startswith("AP ") for fact in shown(page)["rows"][0]["facts"])

    assert shown(press(page, "Back"))["query"]["name"] == trained[0].splits()["test"][7]
    assert shown(press(page, "Ask with it again"))["query"]["name"] == "field.txt"
    assert shown(press(page, "Next"))["query"]["name"] == trained[0].splits()["test"][8]


def test_an_upload_is_not_drawn_anew_for_what_is_answered_while_splits_are_computed(
    two: list[Run], still: None, tiny: Path
) -> None:
    page = upload_file(open_page(runs=two[0].id), "mine.png", (tiny / "scene000.png").read_bytes())
    answer_all(page)
    place = next(one for one in page.button_group if one.key == query.GALLERY)
    place.set_value("all").run(timeout=15)
    assert not page.exception
    assert shown(page)["rows"][0]["note"] == "Computing …"
    assert shown(answer_all(page))["rows"][0]["tiles"]


def test_a_cache_that_cannot_be_written_is_a_message(
    two: list[Run], still: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, calls = open_page(runs=two[0].id), []

    def ensure() -> None:
        calls.append(1)
        if len(calls) > 1 or place == "popover":  # the question could just be put
            raise MaclError("cannot write to /cache (No space left on device): make room")

    monkeypatch.setattr(ask, "ensure", ensure)
    place = "popover"
    page.session_state["retrieval_own"] = True
    page.run()
    assert not page.exception
    assert "No space left" in read(page.error[0].value)
    place = "waiting"
    page.session_state["retrieval_own"] = False
    calls.clear()
    choose(page, query.GALLERY, "all")
    assert "No space left" in read(page.error[0].value)


def test_an_upload_may_be_called_as_an_image_of_the_data_set(two: list[Run], still: None, tiny: Path) -> None:
    """A changed copy of a test image under its own name: the two are not mixed up."""
    name = two[0].splits()["test"][2]
    file = io.BytesIO()
    Image.open(tiny / name).rotate(90).save(file, "PNG")
    page = answer_all(upload_file(open_page(runs=two[0].id, k="50"), name, file.getvalue()))
    data = shown(page)
    assert data["query"]["name"] == name
    assert name in tiles(page)[0]
    assert data["images"][name] != data["images"][data["query"]["image"]]
    page.session_state[query.WHY] = (two[0].id, name, page.session_state[query.UPLOAD]["key"])
    page.run()
    assert answer_all(page).session_state[query.WHY]
    first, second = component_data(page, "macl_why")[0]["images"]
    assert (first, second) == (data["images"][data["query"]["image"]], data["images"][name])


def test_an_uploaded_picture_that_was_deleted_meanwhile_is_taken_again(
    trained: list[Run], still: None, tiny: Path
) -> None:
    name = trained[0].splits()["test"][2]
    page = answer_all(upload_file(open_page(runs=trained[0].id), "mine.png", (tiny / name).read_bytes()))
    key = page.session_state[query.UPLOAD]["key"]
    ask.picture_path(key).unlink()  # as after some idle minutes
    question = ask.Question("embed", str(trained[1].path), ask.PICTURE + key)
    write(ask.answer_path(question.key).with_suffix(".txt"), b"not kept any more")
    page.multiselect(query.RUNS).set_value([run.id for run in trained]).run()
    assert ask.picture_path(key).exists()
    assert [row[0] for row in tiles(answer_all(page))] == [name, name]


def test_hostile_uploads_are_refused_in_words_and_the_page_goes_on(two: list[Run], still: None) -> None:
    page = open_page(runs=two[0].id)
    before = tiles(page)
    for name, data, message in (
        ("a.svg", b"<svg onload='alert(1)'/>", "a.svg: this is an SVG drawing"),
        ("../../b.png", b"\x89PNG\r\n\x1a\n" + b"x" * 50, "b.png: "),
        ("c.jpg", b"", "c.jpg: the file is empty"),
        ("d<b>.jpg", b"GIF89a" + b"x" * 50, "this is a GIF"),
    ):
        upload_file(page, name, data)
        assert message in read(page.error[0].value)
        assert message in read(page.run().error[0].value)  # it stays until another file comes
        assert tiles(page) == before
        assert shown(page)["query"]["name"] != name


def test_why_is_asked_once_and_drawn_when_it_is_there(trained: list[Run], still: None) -> None:
    page = open_page(runs=[run.id for run in trained])
    first, second = shown(page)["query"]["name"], tiles(page)[1][2]
    page.session_state[query.WHY] = (trained[1].id, second, first)
    page.run()
    assert len(page.get("bidi_component")) == 1
    answer_all(page)
    shares = component_data(page, "macl_why")[0]
    assert shares["names"] == [f"Query: {first}", f"Result: {second}"]
    found = ask.look(ask.Question("explain", str(trained[1].path), first, second)).arrays
    np.testing.assert_allclose(shares["maps"][0], found["first"])
    assert shares["images"][0].startswith("data:image/jpeg")
    z, names = trained[1].embeddings()[0], trained[1].splits()["test"]
    assert shares["cosine"] == pytest.approx(float(z[names.index(first)] @ z[names.index(second)]), abs=0.02)
    page.session_state[query.WHY] = None
    page.run()
    assert len(page.get("bidi_component")) == 1


@pytest.mark.parametrize("way", ["next", "address", "upload"])
def test_why_ends_with_the_query_that_it_explains(two: list[Run], still: None, tiny: Path, way: str) -> None:
    """By the keys of the buttons, or Back in the browser: what was explained may be no result any more."""
    names = two[0].splits()["test"]
    page = open_page(runs=two[0].id, query=names[4])
    page.session_state[query.WHY] = (two[0].id, tiles(page)[0][0], names[4])
    page.run()
    page = answer_all(page)
    assert component_data(page, "macl_why")
    if way == "next":
        press(page, "Next")
    elif way == "address":
        ask_with(page, names[7])
    else:
        answer_all(upload_file(page, "mine.png", (tiny / names[4]).read_bytes()))
    assert shown(page)["query"]["name"] != names[4]
    assert not component_data(page, "macl_why")
    ask_with(page, names[4])
    assert not component_data(page, "macl_why")  # it does not come back by itself


def test_labels_belong_to_the_upload_that_they_were_said_of(two: list[Run], still: None, tiny: Path) -> None:
    first, second = two[0].splits()["test"][:2]
    page = open_page(runs=two[0].id)
    widget = "retrieval_upload_labels"
    classes = page.multiselect(widget).options
    page.multiselect(widget).set_value(classes[:1]).run()  # before there is a picture
    answer_all(upload_file(page, first, (tiny / first).read_bytes()))
    assert shown(page)["query"]["labels"] == classes[:1]
    page.multiselect(widget).set_value(classes[:2]).run()
    assert shown(page)["query"]["labels"] == classes[:2]
    answer_all(upload_file(page, second, (tiny / second).read_bytes()))
    assert shown(page)["query"]["name"] == second
    assert shown(page)["query"]["labels"] == []
    assert page.multiselect(widget).value == []
    answer_all(upload_file(page, first, (tiny / first).read_bytes()))
    assert page.multiselect(widget).value == classes[:2]
    page.query_params.clear()  # as the browser's address is, on another page
    page.switch_page("../pages/home.py").run()
    page.switch_page("../pages/retrieval.py").run()
    assert shown(page)["query"]["name"] == first
    assert shown(page)["query"]["labels"] == classes[:2]
    assert page.multiselect(widget).value == classes[:2]
    assert not page.exception


def test_a_lead_that_cannot_be_had_says_why(two: list[Run], tmp_path: Path) -> None:
    page = open_page(runs=two[0].id, order="lead")
    assert "choose a second one" in page.warning[0].value
    page.multiselect(query.RUNS).set_value([run.id for run in two]).run()
    assert not page.warning
    path = two[1].path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset": "dlrsd"}))
    assert ": Trained on DLRSD" in read(page.run().warning[0].value)
    choose(page, query.ORDER, "worst")
    assert not page.warning
    choose(page, query.OF, two[1].id)
    assert ": Trained on DLRSD" in read(page.warning[0].value)


def test_names_from_a_person_are_no_markdown(two: list[Run], still: None) -> None:
    two[0].rename("*a* $x$ [c](http://evil/)")
    page = open_page(runs=two[0].id)
    page.session_state[query.WHY] = (two[0].id, tiles(page)[0][0], shown(page)["query"]["name"])
    page.run()
    answer_all(page)
    (said,) = [one.value for one in page.caption if "takes the two for similar" in one.value]
    assert "](" not in said
    assert read(said).replace(JOINER, "").startswith("*a* $x$ [c](http://evil/) takes the two")
    question = ask.Question("explain", str(two[0].path), *page.session_state[query.WHY][2:0:-1])
    ask.answer_path(question.key).unlink()
    write(ask.answer_path(question.key).with_suffix(".txt"), b"no [image](http://evil/)")
    page.run()
    assert page.error[0].value == rf"no \[image\]\(http\:{JOINER}//evil/\)"


def test_what_failed_can_be_tried_again(two: list[Run], still: None) -> None:
    question = cache.others(two[0])
    write(ask.answer_path(question.key).with_suffix(".txt"), b"the archive was away")
    page = open_page(runs=two[0].id, gallery="all")
    assert shown(page)["rows"][0]["note"] == "the archive was away"
    press(page, "Try again what failed")
    assert shown(answer_all(page))["rows"][0]["tiles"]
    assert not [button for button in page.button if button.label.startswith("Try again")]


def test_why_says_what_went_wrong(two: list[Run], still: None) -> None:
    page = open_page(runs=two[0].id)
    page.session_state[query.WHY] = (two[0].id, tiles(page)[0][0], shown(page)["query"]["name"])
    path = two[0].path / ask.WEIGHTS
    path.write_bytes(path.read_bytes()[:100])
    page.run()
    answer_all(page)
    assert "train the run again" in page.error[0].value
