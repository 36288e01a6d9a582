"""The home page: quick start, recent runs, data sets; and what the page process must not import."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import cache
from app.home import quick_start
from app.kit import query
from core import runs
from core.errors import MaclError
from core.experiments import record
from core.files import PROJECT
from core.losses import LOSSES
from core.queue import launch
from core.runs import Run
from tests.components import charts, numbers
from tests.small_runs import of_quick_start

MAIN = str(PROJECT / "app" / "navigation.py")
BUTTON = "Train MACL and MulSupCon"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty run root without a worker: nothing is trained here."""
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("MACL_RUN_ROOT", str(folder))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    return folder


@pytest.fixture
def pair(root: Path, finished_runs: Path) -> list[Run]:
    """Finished runs that pass for those of the quick start, in its order."""
    return of_quick_start(root, finished_runs)


def home(**query: Any) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    return page.run()


def button(page: AppTest) -> Any:
    return next(button for button in page.button if button.label.startswith(BUTTON))


def links(page: AppTest) -> dict[str, str]:
    """Query string of every link by its text."""
    return {link.proto.label: link.proto.query_string for link in page.get("page_link")}


def test_one_click_queues_both_runs_of_the_quick_start(root: Path) -> None:
    page = home()
    assert not page.exception
    assert "No run yet" in page.info[0].value
    button(page).click().run()
    assert not page.exception
    made = runs.list_runs(root)
    assert sorted(run.config.loss for run in made) == ["macl", "mulsupcon"]
    assert {(run.config.dataset, run.config.preset, run.config.seed) for run in made} == {
        ("demo", "instant", 0)
    }
    assert sorted(page.query_params["quick"]) == sorted(run.id for run in made)
    assert button(page).disabled  # they are under way: a second click would start them twice
    assert "See the images" not in str(links(page))


def test_when_both_have_finished_the_way_leads_to_the_images(pair: list[Run]) -> None:
    page = home(quick=[run.id for run in pair])
    assert not page.exception
    ids = "&".join(f"runs={run.id}" for run in pair)
    assert links(page)["**See the images they retrieve**"] == ids
    assert links(page)["Compare their scores"] == ids
    scores = [f"{100 * run.scores()['metrics']['map_medium']:.1f} %" for run in pair]
    assert [metric.value for metric in page.metric if metric.label.startswith("mAP Medium")] == scores


def test_the_quick_start_draws_quality_and_says_what_scores_mean(pair: list[Run]) -> None:
    """The losses of two formulas on one axis would let the worse one look better."""
    page = home(quick=[run.id for run in pair])
    (chart,) = charts(page)
    spec = json.loads(chart["spec"])
    assert spec["layout"]["yaxis"]["title"]["text"] == "mAP Medium@0.6 (validation), %"
    drawn = [numbers(trace["y"]) for trace in spec["data"]]
    wanted = [
        [100 * row["val_map_medium"] for row in run.history() if "val_map_medium" in row] for run in pair
    ]
    assert drawn == [pytest.approx(values) for values in wanted]
    assert all(len(values) == 2 for values in drawn)  # from the first of its epochs on
    said = " ".join(caption.value for caption in page.caption)
    assert "losses of different formulas have different scales, and their values cannot be compared" in said
    assert "100 % where every image that fits comes first" in said
    chance = [f"chance {100 * run.scores()['chance']['map_medium']:.1f} %" for run in pair]
    assert all(text in said for text in chance)


def test_the_quick_start_validates_after_every_epoch() -> None:
    """So that a curve is there after a second, not only at the end: the recorded runs are of its settings."""
    for config in quick_start.configs():
        run = Run(PROJECT / "assets" / "recorded" / f"recorded-{config.loss}-s0")
        assert run.config.identity == config.identity
        epochs = [row["epoch"] for row in run.history() if "val_map_medium" in row]
        assert epochs == list(range(1, config.epochs + 1))


def test_finished_ones_are_offered_before_training_again(pair: list[Run]) -> None:
    page = home()
    assert links(page)["or look at what they found before"] == "&".join(f"runs={run.id}" for run in pair)
    shutil.rmtree(pair[0].path)
    assert "or look at what they found before" not in links(home())


def test_runs_of_another_device_are_what_the_button_would_start(pair: list[Run]) -> None:
    """The recorded ones were trained on a CPU; the button leaves the device open."""
    for run in pair:
        about = json.loads((run.path / "config.json").read_text())
        (run.path / "config.json").write_text(json.dumps(about | {"device": "cpu"}))
    assert "or look at what they found before" in links(home())


def test_a_full_disk_is_said_and_not_shown_as_a_fault(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MaclError("no run can be kept here: make room")

    monkeypatch.setattr(runs, "create", full)
    monkeypatch.setattr(launch, "create", full)
    page = home()
    button(page).click().run()
    assert not page.exception
    assert "make room" in page.error[0].value


def test_a_place_that_may_not_be_looked_at_takes_nothing_down(
    pair: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in pair:
        about = json.loads((run.path / "config.json").read_text())
        (run.path / "config.json").write_text(json.dumps(about | {"data_root": "/locked/data"}))
    real = os.stat

    def locked(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if str(path).startswith("/locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", locked)
    assert not home().exception


@pytest.mark.parametrize("content", ['{"metrics": {', '{"metrics": {}, "chance": {}, "oracle": {}}'])
def test_a_run_whose_scores_are_damaged_takes_nothing_down(pair: list[Run], content: str) -> None:
    pair[1].mark("scores.json", content)
    page = home(quick=[run.id for run in pair])
    assert not page.exception
    assert "copy the run again" in page.error[0].value
    assert any("its scores are damaged" in caption.value for caption in page.caption)


def test_a_failed_quick_start_says_why(pair: list[Run]) -> None:
    (pair[1].path / "scores.json").unlink()
    pair[1].mark("error.txt", "no space left on the device")
    page = home(quick=[run.id for run in pair])
    assert "no space left on the device" in page.error[0].value
    assert links(page)["Open it on the Train page"] == f"runs={pair[1].id}"


def test_recent_runs_link_to_their_curves(pair: list[Run]) -> None:
    page = home()
    found = links(page)
    assert found["MACL · Demo scenes · instant · seed 0"] == f"runs={pair[0].id}"
    assert sum("finished" in caption.value for caption in page.caption) == 2


def test_a_first_look_shows_what_the_recorded_runs_score(
    root: Path, tmp_path: Path, finished_runs: Path
) -> None:
    assert "What the losses score" not in [title.value for title in home().header]
    recorded = tmp_path / "recorded"
    shutil.copytree(finished_runs, recorded)
    found = [Run(folder) for folder in sorted(recorded.iterdir()) if (folder / "config.json").exists()]
    for run in found:
        run.mark("recorded")
    page = home()
    assert not page.exception
    assert "What the losses score" in [title.value for title in page.header]
    bars = next(html.proto.body for html in page.get("html") if 'class="bars"' in html.proto.body)
    for run in found:
        assert f">{100 * run.scores()['metrics']['map_medium']:.1f} %</td>" in bars
    assert "chance" in bars
    assert "oracle" in bars
    assert sorted(links(page)["See what they retrieve"].split("&")) == [f"runs={run.id}" for run in found]
    assert f"{len(found)} recorded runs" in str([caption.value for caption in page.caption])
    assert "No run yet" in page.info[0].value  # of one's own


def test_the_first_picture_has_the_recorded_losses_and_says_which_is_our_own(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "RECORDED", PROJECT / "assets" / "recorded")
    page = home()
    assert not page.exception
    bars = next(html.proto.body for html in page.get("html") if 'class="bars"' in html.proto.body)
    places = [bars.index(f'<th scope="row">{LOSSES[loss].title}</th>') for loss in record.LOSSES]
    assert places == sorted(places)  # one table, in the order of the losses
    assert "denominator" not in bars
    assert "MACL-nested is this project's own" in str([caption.value for caption in page.caption])
    wanted = [f"recorded-{loss}-s0" for loss in record.LOSSES]
    assert [part.removeprefix("runs=") for part in links(page)["See what they retrieve"].split("&")] == wanted
    first = query.default_runs(cache.finished_runs())
    assert [Run(cache.RECORDED / name).config.loss for name in first] == [
        loss for loss in record.LOSSES if loss != "lmsc"
    ]


def test_the_number_of_losses_is_what_the_first_page_says(root: Path) -> None:
    words = {13: "Thirteen", 14: "Fourteen", 15: "Fifteen"}
    published = sum(spec.source != LOSSES["macl_nested"].source for spec in LOSSES.values())
    said = home().markdown[0].value
    assert f"{words[len(LOSSES)]} losses, {words[published].lower()} of them published" in said


def test_a_link_to_runs_that_are_gone_is_no_error(root: Path) -> None:
    page = home(quick=["20200101-000000-gone"])
    assert not page.exception
    assert not button(page).disabled


def test_the_pages_import_neither_torch_nor_umap(finished_runs: Path, tmp_path: Path) -> None:
    script = f"""
import sys
from streamlit.testing.v1 import AppTest
from core.queue import launch
launch.ensure_worker = lambda *_: None
page = AppTest.from_file({MAIN!r}, default_timeout=60).run()
for name in ("home", "train"):
    page.switch_page(f"../pages/{{name}}.py").run()
    assert not page.exception, page.exception
loaded = {{"torch", "torchvision", "timm", "umap"}} & set(sys.modules)
assert not loaded, loaded
"""
    environment = {**os.environ, "MACL_RUN_ROOT": str(finished_runs)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
