"""The retrieval page on real small runs: queries, permalink, runs that cannot be compared, lost images."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import cache, query
from app.retrieval import find
from core import runs, train
from core.labels import jaccard
from core.losses import LOSSES
from core.runs import Run

MAIN = str(Path(__file__).resolve().parent.parent / "app" / "main.py")


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


@pytest.fixture(scope="module")
def other_seed(finished_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run as MulSupCon's, but for its seed and so its test split."""
    config = next(run.config for run in runs.list_runs(finished_runs) if run.config.loss == "mulsupcon")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", str(tmp_path_factory.getbasetemp() / "home" / "cache"))
        run = runs.create(config.model_copy(update={"seed": 1}), tmp_path_factory.mktemp("seed"))
        assert train.run(run.path) == "finished"
        yield run.path


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
    (component,) = page.get("bidi_component")
    data: dict[str, Any] = json.loads(component.proto.json)
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


@pytest.mark.parametrize("k", ["²", "-1", "0", "51", "1e3", "six"])
def test_a_senseless_k_is_no_crash(two: list[Run], k: str) -> None:
    page = open_page(runs=two[0].id, k=k)
    assert len(tiles(page)[0]) == 6
    assert f"k = {k}" in page.warning[0].value


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
    assert shown(page)["rows"][1]["note"].startswith("Trained on DLRSD; the query is from ")


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


def test_matching_needs_all_labels() -> None:
    y = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]])
    assert find.matching(y, []) == [0, 1, 2, 3]
    assert find.matching(y, [0]) == [0, 1, 3]
    assert find.matching(y, [0, 2]) == [1, 3]
