"""The train page on real small runs: the form, the list, its actions, the live curves."""

import base64
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import cache
from app.figures import curves
from app.kit import names
from app.kit.query import option_labels
from app.kit.words import plain
from app.train import live, run_list
from core import runs
from core.errors import MaclError
from core.experiments import duration
from core.files import PROJECT, lock, unlock
from core.losses import LOSSES
from core.queue import launch
from core.runs import Run, RunConfig
from core.training import loop
from tests import small_runs
from tests.components import component_data
from tests.small_runs import wait

MAIN = str(PROJECT / "app" / "navigation.py")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty run root of its own; its workers are gone after the test."""
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("MACL_RUN_ROOT", str(folder))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    yield folder
    for about in launch.workers(folder).values():
        os.kill(int(str(about["pid"])), signal.SIGKILL)


@pytest.fixture
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs stay queued: nothing is trained in tests that only look at the page."""
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)


@pytest.fixture
def two(root: Path, finished_runs: Path, no_workers: None) -> list[Run]:
    """The two finished runs in a root of their own, newest first."""
    shutil.copytree(finished_runs, root, dirs_exist_ok=True)
    return runs.list_runs(root)


def train_page(**query: Any) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    return page.switch_page("../pages/train.py").run()


def button(page: AppTest, label: str) -> Any:
    return next(button for button in page.button if button.label.startswith(label))


def figure(page: AppTest) -> dict[str, Any]:
    (chart,) = component_data(page)
    return dict(json.loads(chart["spec"]))


def numbers(coded: Any) -> list[float]:
    """An array as Plotly sends it: plain, or its bytes in base64."""
    if isinstance(coded, dict):
        return [float(v) for v in np.frombuffer(base64.b64decode(coded["bdata"]), coded["dtype"])]
    return list(coded)


def test_without_runs_the_page_says_what_to_do(root: Path, no_workers: None) -> None:
    page = train_page()
    assert not page.exception
    assert "No run yet" in page.info[0].value
    assert button(page, "Start 2 runs")


def test_start_queues_one_run_for_every_loss_and_seed(root: Path, no_workers: None) -> None:
    page = train_page()
    page.multiselect(key="loss").set_value(["lbase", "macl"]).run()
    page.text_input(key="seeds").set_value("3-4").run()
    page.number_input(key="macl.alpha").set_value(2.5).run()
    button(page, "Start 4 runs").click().run()
    assert not page.exception
    made = [run.config for run in runs.list_runs(root)]
    assert {(config.loss, config.seed) for config in made} == {
        (loss, seed) for loss in ("lbase", "macl") for seed in (3, 4)
    }
    assert {config.params["alpha"] for config in made if config.loss == "macl"} == {2.5}
    assert all(run.state == "queued" for run in runs.list_runs(root))
    assert sorted(page.query_params["runs"]) == sorted(run.id for run in runs.list_runs(root))


def test_a_started_run_is_watched_until_it_has_finished(root: Path, tiny: Path) -> None:
    page = train_page(dataset="Your own images", loss="MulSupCon")
    page.text_input(key="folder_root").set_value(str(tiny)).run()
    for field, value in {"image_size": 32, "batch_size": 16, "epochs": 2}.items():
        page.number_input(key=f"instant.{field}").set_value(value).run()
    button(page, "Start the run").click().run()
    (run,) = runs.list_runs(root)
    wait(lambda: run.state not in ("queued", "running"))
    assert run.state == "finished", run.error
    page.run()
    assert not page.exception
    assert page.dataframe[0].value["State"].tolist() == ["finished"]
    assert numbers(figure(page)["data"][0]["x"]) == [row["step"] for row in run.history()]


def test_the_form_names_a_mistake_and_does_not_start(root: Path, no_workers: None) -> None:
    page = train_page()
    page.text_input(key="seeds").set_value("one").run()
    assert plain("seeds: need numbers") in page.error[0].value
    assert button(page, "Start").disabled
    page.text_input(key="seeds").set_value("0").run()
    page.toggle(key="instant.augment").set_value(True).run()
    assert plain("augment: need false when trainable is head") in page.error[0].value
    assert runs.list_runs(root) == []


def test_all_choices_of_macl_nested_are_shown_at_once(root: Path, no_workers: None) -> None:
    """Its α is of use with one of its targets only: beside it that choice must be in sight."""
    page = train_page(loss="MACL-nested")
    assert not page.exception
    shown = {widget.key for kind in (page.number_input, page.toggle, page.selectbox) for widget in kind}
    names = {f"macl_nested.{parameter.name}" for parameter in LOSSES["macl_nested"].parameters}
    assert names <= shown
    assert "macl_nested.all" not in shown


def test_a_data_set_that_is_not_there_is_named_before_the_start(root: Path, no_workers: None) -> None:
    page = train_page(dataset="WHDLD")
    assert "WHDLD is not at" in page.warning[0].value
    assert button(page, "Start").disabled


def test_the_permalink_chooses_runs_and_drops_those_that_are_gone(two: list[Run]) -> None:
    page = train_page(runs=[two[1].id, "20200101-000000-gone"])
    assert not page.exception
    assert "20200101-000000-gone is not here" in page.warning[0].value.replace("\\", "")
    assert page.query_params["runs"] == two[1].id
    assert len(figure(page)["data"]) == 1
    page = train_page(runs=[run.id for run in two])
    assert [trace["name"] for trace in figure(page)["data"]] == ["MACL", "MulSupCon"]


def test_the_curve_controls_are_in_the_permalink(two: list[Run]) -> None:
    page = train_page(runs=two[0].id, y="mAP Medium@0.6 (validation)", x="epoch", log="true")
    drawn = figure(page)
    assert numbers(drawn["data"][0]["x"]) == [1, 2]
    validated = [100 * row["val_map_medium"] for row in two[0].history() if "val_map_medium" in row]
    np.testing.assert_allclose(numbers(drawn["data"][0]["y"]), validated)
    assert drawn["layout"]["yaxis"]["type"] == "log"


def test_losses_that_cannot_be_compared_are_said_to_be_so(two: list[Run], root: Path) -> None:
    """Also two temperatures of one formula; not two seeds of it, and not another metric."""
    first, second = two

    def said(*shown: Run, **query: Any) -> bool:
        page = train_page(runs=[run.id for run in shown], **query)
        return any("a lower curve is not a better one" in caption.value for caption in page.caption)

    assert said(first, second)
    assert not said(first, second, y=curves.Y_AXES["val_map_medium"])
    assert not said(first)
    for name, fields in (("seed", {"seed": 5}), ("tau", {"params": {**second.config.params, "tau": 0.9}})):
        shutil.copytree(second.path, root / name)
        changed = second.config.model_copy(update=fields)
        (root / name / "config.json").write_text(changed.model_dump_json())
    assert second.config.loss == "mulsupcon"
    assert not said(second, Run(root / "seed"))
    assert said(second, Run(root / "tau"))
    assert said(second, Run(root / "tau"), smooth="0.5", log="true")


def test_delete_moves_to_the_trash_and_undo_brings_back(two: list[Run], root: Path) -> None:
    page = train_page(runs=two[0].id)
    button(page, "Delete").click().run()
    assert [run.id for run in runs.list_runs(root)] == [two[1].id]
    assert [run.id for run in runs.trashed(root)] == [two[0].id]
    button(page, "Undo").click().run()
    assert not page.exception
    assert [run.id for run in runs.list_runs(root)] == [run.id for run in two]
    assert page.query_params["runs"] == two[0].id


def test_the_trash_can_be_emptied(two: list[Run], root: Path) -> None:
    page = train_page(runs=two[0].id)
    page.button(key="Delete").click().run()
    page.button(key="empty_trash").click().run()
    assert not page.exception
    assert runs.trashed(root) == []
    assert [run.id for run in runs.list_runs(root)] == [two[1].id]


def test_what_another_tab_has_deleted_is_a_message(two: list[Run], root: Path) -> None:
    page = train_page(runs=two[0].id)
    runs.delete(two[0])
    page.button(key="Delete").click().run()
    assert not page.exception
    assert "another tab" in page.error[0].value


def test_a_paused_queue_is_said_and_goes_on_from_here(root: Path, tiny: Path, no_workers: None) -> None:
    launch.submit(small_runs.config(tiny))
    launch.pause(root)
    page = train_page()
    assert any("queue is paused" in text.value for text in page.markdown)
    page.button(key="unpause").click().run()
    assert not launch.paused(root)
    assert not any("queue is paused" in text.value for text in page.markdown)


def test_a_long_queue_is_counted_and_not_drawn(root: Path, tiny: Path, no_workers: None) -> None:
    for seed in range(live.WAITING + 4):
        launch.submit(small_runs.config(tiny, seed=seed))
    page = train_page()
    assert len(page.get("progress")) == live.WAITING
    assert "and 4 more in the queue" in [text.value for text in page.caption]
    assert len(page.session_state["train_runs"]) == run_list.MOST_CHOSEN


def test_a_run_that_nobody_ever_queued_can_be_resumed(root: Path, tiny: Path, no_workers: None) -> None:
    """Its process died between the folder and the queue."""
    run = runs.create(small_runs.config(tiny), root)
    page = train_page(runs=run.id)
    page.button(key="Resume").click().run()
    assert [waiting.id for waiting in launch.queue(root)] == [run.id]


def test_a_start_on_a_full_disk_is_a_message(
    root: Path, no_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MaclError("no run can be kept here: make room")

    monkeypatch.setattr(launch, "create", full)
    page = train_page()
    button(page, "Start").click().run()
    assert not page.exception
    assert "0 of 2 runs have been started: no run can be kept here" in page.error[0].value


def test_a_resumed_run_is_shown_with_its_new_device(two: list[Run]) -> None:
    assert cache.config(two[0]).device == "auto"
    changed = two[0].config.model_copy(update={"device": "cpu"})
    two[0].mark("config.json", changed.model_dump_json())
    assert cache.config(two[0]).device == "cpu"


def test_the_list_reads_no_curves_of_finished_runs(two: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(cache, "history", lambda run: read.append(run.id) or [])
    assert [run_list._row(run, None)["Trained"] != "" for run in two] == [True, True]
    assert read == []


def test_curves_are_drawn_beside_those_of_a_run_with_a_damaged_split(two: list[Run]) -> None:
    (two[1].path / "splits.json").write_text('{"train": ["sce')
    page = train_page(runs=[run.id for run in two], x="epoch")
    assert not page.exception
    assert len(json.loads(component_data(page)[0]["spec"])["data"]) == 2


def test_rename_and_duplicate(two: list[Run]) -> None:
    page = train_page(runs=two[0].id)
    page.text_input(key=f"name.{two[0].id}").set_value("my   best").run()
    assert two[0].title == "my best"
    assert page.dataframe[0].value["Run"].tolist()[0] == "my best"
    button(page, "Duplicate").click().run()
    assert not page.exception
    assert page.multiselect(key="loss").value == ["macl"]
    assert page.selectbox(key="dataset").value == "folder"
    assert page.number_input(key="instant.epochs").value == 2
    button(page, "Start the run").click().run()
    copy = next(run for run in runs.list_runs(two[0].path.parent) if run.id not in {run.id for run in two})
    assert copy.config == two[0].config


def test_a_finished_run_trains_on_and_its_new_results_are_shown(two: list[Run]) -> None:
    run = two[0]
    before = cache.scores(run), cache.embeddings(run), cache.frames(run)
    page = train_page(runs=run.id)
    epochs = run.config.epochs + 1
    page.number_input(key=f"epochs.{run.id}").set_value(epochs)
    page = page.button(key="train_on").click().run()
    assert not page.exception
    assert (run.state, run.config.epochs) == ("queued", epochs)
    assert run not in cache.finished_runs()
    assert loop.run(run.path) == "finished", run.error
    page = page.run()
    assert not page.exception
    assert run in cache.finished_runs()
    assert cache.scores(run) == run.scores() != before[0]
    np.testing.assert_array_equal(cache.embeddings(run)[0], run.embeddings()[0])
    assert not np.array_equal(cache.embeddings(run)[0], before[1][0])
    page.session_state["config_open"] = True
    page = page.run()
    assert any(f"{epochs - 1} to {epochs} epochs" in line.value for line in page.caption)


def test_a_run_that_trains_on_and_failed_leads_back_to_its_results(two: list[Run]) -> None:
    run = two[0]
    epochs, scores = run.config.epochs, run.scores()
    runs.extend(run, epochs + 1)
    run.mark("error.txt", "its images are gone")
    page = train_page(runs=run.id)
    assert any(f"its {epochs} epochs are kept" in error.value for error in page.error)
    page = page.button(key="take_back").click().run()
    assert not page.exception
    assert (run.state, run.config.epochs, run.scores()) == ("finished", epochs, scores)
    assert run in cache.finished_runs()


def test_a_run_that_cannot_train_on_is_a_message(two: list[Run]) -> None:
    (two[0].path / "resume.safetensors").unlink()  # as earlier versions did at the end
    page = train_page(runs=two[0].id)
    page = page.button(key="train_on").click().run()
    assert not page.exception
    assert any("has no checkpoint to go on from" in error.value for error in page.error)
    assert two[0].state == "finished"
    page = train_page(runs=",".join(run.id for run in two))
    assert not [one for one in page.button if one.key == "train_on"]  # for one run only


def test_failed_stopped_and_interrupted_runs_say_what_to_do(two: list[Run], root: Path, tiny: Path) -> None:
    made = [runs.create(two[0].config, root) for _ in range(3)]
    for run in made:
        run.mark("started")
    made[0].mark("error.txt", "training diverged at step 3")
    made[1].mark("stopped")
    page = train_page(runs=[run.id for run in made])
    assert "training diverged at step 3" in page.error[0].value
    assert any("has stopped" in info.value for info in page.info)
    assert any("its process died" in warning.value for warning in page.warning)
    button(page, "Resume 3").click().run()
    assert {run.state for run in made} == {"queued"}
    assert [run.id for run in launch.queue(root)] == [run.id for run in made]
    page.run()
    assert "queued, no. 1" in page.dataframe[0].value["State"].tolist()
    button(page, "Stop 3").click().run()
    assert [run.state for run in made] == ["stopped", "stopped", "stopped"]


def test_an_unreadable_folder_is_left_out_with_a_note(two: list[Run], root: Path) -> None:
    (root / "broken").mkdir()
    (root / "broken" / "config.json").write_text('{"loss": "no such loss"}')
    page = train_page()
    assert not page.exception
    assert any("broken was left out" in caption.value for caption in page.caption)


def test_recorded_runs_are_shown_and_cannot_be_deleted(two: list[Run], root: Path, tmp_path: Path) -> None:
    recorded = tmp_path / "recorded" / two[0].id
    shutil.move(two[0].path, recorded)
    Run(recorded).mark("recorded")
    page = train_page(runs=two[0].id)
    assert page.dataframe[0].value["State"].tolist() == ["finished", "recorded"]
    assert button(page, "Delete").disabled
    assert button(page, "Stop").disabled


def test_smoothing_is_the_debiased_average() -> None:
    values = np.array([4.0, 0.0, 2.0])
    # weights 1; .5, 1 / 1.5; .25, .5, 1 / 1.75
    np.testing.assert_allclose(curves.smoothed(values, 0.5), [4, 4 * 0.5 / 1.5, (4 * 0.25 + 2) / 1.75])


def test_long_curves_are_thinned_without_losing_spikes_or_ends() -> None:
    xs, ys = np.arange(100_000.0), np.sin(np.arange(100_000) / 500)
    ys[54_321] = 9
    fx, fy = curves.thinned(xs, ys)
    assert len(fx) <= curves.MAX_POINTS
    assert (fx[0], fx[-1]) == (0, 99_999)
    assert fy[fx == 54_321] == 9
    assert (np.diff(fx) > 0).all()


def test_a_run_that_stops_while_the_page_is_drawn_has_the_page_drawn_again(
    tiny: Path, root: Path, no_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else "Resume" stays as it was for a run that had not stopped yet."""
    run = launch.submit(small_runs.config(tiny), root)
    usual = run_list.actions

    def stops_after(selected: list[Run]) -> None:
        usual(selected)
        launch.stop(run)

    monkeypatch.setattr(run_list, "actions", stops_after)
    page = train_page(runs=[run.id])
    assert any("has stopped" in info.value for info in page.info)
    assert not button(page, "Resume").disabled


def test_epochs_come_from_the_steps() -> None:
    rows = [{"step": 1, "epoch": 1, "loss": 2.0}, {"step": 8, "epoch": 2, "loss": 1.0}]
    x, y = curves.points(curves.Curve("a", "macl", rows, steps_per_epoch=4), "epoch", "loss")
    assert (x.tolist(), y.tolist()) == ([0.25, 2.0], [2.0, 1.0])


def test_durations_in_words() -> None:
    assert [duration.words(s) for s in (7.6, 200, 7500)] == ["8 s", "3 min 20 s", "2 h 05 min"]


def test_labels_leave_out_what_runs_share(tmp_path: Path) -> None:
    configs = [
        RunConfig.build("instant", loss=loss, seed=seed) for loss in ("macl", "oml") for seed in (0, 1)
    ]
    made = [runs.create(config, tmp_path) for config in configs]
    assert names.short_labels(made) == ["MACL · seed 0", "MACL · seed 1", "OML · seed 0", "OML · seed 1"]
    assert names.run_label(made[0]) == "MACL · Demo scenes · instant · seed 0"
    assert names.short_labels([made[0], made[2]]) == ["MACL", "OML"]
    changed = runs.create(RunConfig.build("instant", params={"alpha": 2.0}), tmp_path)
    assert names.run_label(changed) == "MACL (α=2) · Demo scenes · instant · seed 0"


def test_a_damaged_run_keeps_its_line(two: list[Run]) -> None:
    (two[0].path / "scores.json").write_text('{"metrics": {')
    cache._scores.cache_clear()
    shown = train_page(runs=[two[0].id])
    assert not shown.exception
    assert "finished, damaged" in shown.dataframe[0].value["State"].tolist()


def test_no_two_entries_of_a_list_are_alike(tmp_path: Path) -> None:
    first = runs.create(RunConfig.build("instant"), tmp_path)
    copy = runs.Run(tmp_path / f"{first.id}-copy")
    shutil.copytree(first.path, copy.path)
    other = runs.create(RunConfig.build("instant", loss="oml"), tmp_path)
    assert len(set(names.short_labels([first, copy]))) == 2
    labels = option_labels([first, copy, other])
    assert list(labels) == [first.id, copy.id, other.id]
    assert len(set(labels.values())) == 3
    assert labels[other.id] == names.run_label(other)
    assert names.unique(["a", "a", "b"], ["1", "1", "2"], ["x", "y", "z"]) == ["a · 1 · x", "a · 1 · y", "b"]


@pytest.mark.parametrize(
    "progress", ["\0" * 80, "[1]", '{"what": "training", "done": 3, "total": 9, "eta_s": null}']
)
@pytest.mark.parametrize("x", ["step", "epoch", "time"])
def test_a_damaged_run_is_drawn_as_far_as_it_is_sound(x: str, progress: str, two: list[Run]) -> None:
    """While it runs, and its worker has not yet written anew what a power loss has left."""
    (two[0].path / "scores.json").unlink()
    curve = (two[0].path / "metrics.jsonl").read_text().splitlines()
    damage = ["[1, 2]", '{"step": null}', "\0" * 80, '{"step": 9, "epoch": 0, "loss": 1.0}', '{"step": 9}']
    (two[0].path / "metrics.jsonl").write_text("\n".join([*curve, *damage]) + '\n{"step"')
    (two[0].path / "progress.json").write_text(progress)
    (two[0].path / "splits.json").write_text("\0" * 80)
    assert lock(two[0].path / "lock")
    try:
        page = train_page(runs=[run.id for run in two], x=x)
        assert not page.exception
        drawn = [numbers(trace["y"]) for trace in figure(page)["data"]]
        assert len(curve) + 1 in [len(one) for one in drawn]
    finally:
        unlock(two[0].path / "lock")
