"""The sensitivity page on real small runs: the lab's states, sweeps and what is read from them, the queue."""

import csv
import io
import json
import shlex
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from app import cache, image_cache
from app.figures import sensitivity as figures
from app.kit.words import plain
from app.sensitivity import lab as view
from app.sensitivity import maps, plan, views
from core import cli, runs
from core.cli.sweep import _table
from core.data import job, load
from core.experiments import lab, sweep
from core.experiments.axes import parse_axis
from core.experiments.studies import STUDIES
from core.experiments.surface import Cell, between, cells, matrix
from core.files import PROJECT
from core.metrics import METRICS
from core.queue import launch
from core.runs import Run, RunConfig
from core.runs.settings import shown
from core.training import loop
from tests.components import component_data

MAIN = str(PROJECT / "app" / "navigation.py")


@pytest.fixture
def run_root(finished_runs: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two finished runs on a data set that the lab can train on at once; no worker is started."""
    root = tmp_path / "runs"
    shutil.copytree(finished_runs, root)
    monkeypatch.setenv("MACL_RUN_ROOT", str(root))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "none")
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    load("folder", tiny, image_size=view.SIZE)
    return root


def page(**query: str | list[str]) -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    return app.switch_page("../pages/sensitivity.py").run()


def work(root: Path) -> list[Run]:
    """What the lab's worker would do; the runs it trained."""
    done = launch.queue(lab.folder(root))
    for run in done:
        assert loop.run(run.path, submitted_only=True) == "finished", run.error
    return done


def asked(root: Path) -> list[RunConfig]:
    return [run.config for run in launch.queue(lab.folder(root))]


def texts(app: AppTest) -> str:
    return " ".join(str(node.value) for node in [*app.markdown, *app.caption])


def test_the_lab_trains_what_the_sliders_say_and_shows_nothing_stale(run_root: Path, tiny: Path) -> None:
    app = page()
    assert not app.exception
    (first,) = asked(run_root)  # the baseline is what the sliders say
    assert (first.loss, first.params["alpha"], first.data_root) == ("macl", 1.5, str(tiny))
    assert [metric.value for metric in app.metric] == ["…"] * 7
    assert "training" in component_data(app, "macl_gallery")[0]["rows"][0]["note"]
    work(run_root)
    app.run()
    assert not app.exception
    run = lab.of(first, run_root)
    scores = run.scores()["metrics"]
    assert [metric.value for metric in app.metric] == [f"{100 * scores[key]:.1f}" for key in METRICS]
    assert len(component_data(app, "macl_gallery")[0]["rows"]) == 1
    assert len(component_data(app, "macl_heatmaps")[0]["maps"]) == 2

    app.slider(key="lab_alpha").set_value(3.0).run()
    assert not app.exception
    assert {config.params["alpha"] for config in asked(run_root)} == {3.0}
    assert [metric.value for metric in app.metric] == ["…"] * 7
    baseline, now = component_data(app, "macl_gallery")[0]["rows"]
    assert len(baseline["tiles"]) == 6
    assert "training" in now["note"]
    assert not now["tiles"]
    work(run_root)
    app.run()
    moved = lab.of(first.model_copy(update={"params": {**first.params, "alpha": 3.0}}), run_root)
    values = moved.scores()["metrics"]
    for metric, key in zip(app.metric, METRICS, strict=True):
        assert metric.value == f"{100 * values[key]:.1f}"
        assert metric.delta == f"{100 * (values[key] - scores[key]):+.1f}"


def moved_to(run_root: Path, place: Path, **fields: object) -> None:
    """Let the finished runs be of the images in another folder."""
    for run in runs.list_runs(run_root):
        about = json.loads((run.path / "config.json").read_text())
        (run.path / "config.json").write_text(json.dumps(about | {"data_root": str(place)} | fields))


def prepare(place: Path, **how: bool) -> None:
    """As a page finds it prepared; sums of files younger than two seconds are not kept."""
    time.sleep(2.1)
    load("folder", place, image_size=view.SIZE, **how)


def test_other_images_are_trained_anew_with_their_baseline(
    run_root: Path, tiny: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(tiny, own)
    moved_to(run_root, own)
    prepare(own)
    app = page()
    (before,) = work(run_root)
    app.run()
    assert [one.label[:6] for one in app.button if "· " in one.label] == ["MACL ·"]
    table = (own / "labels.csv").read_text()
    lines = table.splitlines()[1:9]
    for n, line in enumerate(lines):
        name = line.partition(",")[0]
        shutil.copy(own / name, own / f"new{n}.png")
        table += line.replace(name, f"new{n}.png") + "\n"
    (own / "labels.csv").write_text(table)
    prepare(own)
    image_cache._files.clear()  # it looks again after some seconds
    app.slider(key="lab_alpha").set_value(3.0).run()
    assert not app.exception
    assert sorted(config.params["alpha"] for config in asked(run_root)) == [1.5, 3.0]
    done = work(run_root)
    app.run()
    assert not app.exception
    assert before not in done
    assert {sum(map(len, run.splits().values())) for run in done} == {168}
    assert {one.label.partition(" ·")[0] for one in app.button if "· " in one.label} == {plain("MACL (α=3)")}


def test_a_baseline_without_the_query_says_so(run_root: Path) -> None:
    app = page(lab_alpha="3")
    done = work(run_root)
    before = next(run for run in done if run.config.params["alpha"] == 1.5)
    names = before.splits()
    query = names["test"][2]
    names["test"][2] = "other.png"
    (before.path / "splits.json").write_text(json.dumps(names))
    app.query_params["lab_query"] = query
    app.run()
    assert not app.exception
    baseline, now = component_data(app, "macl_gallery")[0]["rows"]
    assert "not in its test split" in baseline["note"]
    assert len(now["tiles"]) == 6


def test_images_that_cannot_be_read_are_left_out_as_the_finished_run_did(
    run_root: Path, tiny: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(tiny, own)
    (own / "scene003.png").write_bytes(b"no picture")
    moved_to(run_root, own, skip_broken=True)
    prepare(own, skip_broken=True)
    app = page()
    assert not app.error
    assert [config.skip_broken for config in asked(run_root)] == [True]
    app = page(s_view="Sweeps")
    assert any("skip_broken=true" in code.value for code in app.code)
    button(app, "Queue 49 runs").click().run()
    assert launch.queue(run_root)[0].config.skip_broken


def test_a_newer_move_cancels_the_older_and_keeps_the_baseline(run_root: Path) -> None:
    app = page()
    for alpha in (0.5, 1.0, 2.0):
        app.slider(key="lab_alpha").set_value(alpha).run()
    assert [config.params["alpha"] for config in asked(run_root)] == [1.5, 2.0]


def test_what_a_script_queued_that_a_newer_move_has_ended_is_cancelled(
    run_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page()
    want = lab.want

    def ended(config: RunConfig, root: Path, files: str) -> Run:
        run = want(config, root, files)
        if config.params["alpha"] == 0.5:
            raise RuntimeError("a newer move")
        return run

    monkeypatch.setattr(lab, "want", ended)
    app.slider(key="lab_alpha").set_value(0.5).run()
    assert app.exception
    app.slider(key="lab_alpha").set_value(2.0).run()
    assert not app.exception
    assert [config.params["alpha"] for config in asked(run_root)] == [1.5, 2.0]


def test_more_seeds_follow_a_pause_and_colour_the_change(run_root: Path) -> None:
    app = page(lab_alpha="3")
    work(run_root)
    app.run()
    repeats = asked(run_root)
    assert sorted((c.seed, c.params["alpha"]) for c in repeats) == [(1, 1.5), (1, 3.0), (2, 1.5), (2, 3.0)]
    app.slider(key="lab_alpha").set_value(2.0).run()
    assert [(c.seed, c.params["alpha"]) for c in asked(run_root)] == [(0, 2.0)]
    app.slider(key="lab_alpha").set_value(3.0).run()
    work(run_root)
    app.run()
    assert not app.exception
    changes = {key: [] for key in METRICS}
    base = RunConfig.model_validate(repeats[0].model_dump())
    for seed in range(3):
        pair = [
            lab.of(
                base.model_copy(update={"seed": seed, "params": {**base.params, "alpha": alpha}}), run_root
            ).scores()["metrics"]
            for alpha in (3.0, 1.5)
        ]
        for key, change in changes.items():
            change.append(100 * (pair[0][key] - pair[1][key]))
    told = [caption.value.split("  \n")[0] for caption in app.caption if "3 seeds" in caption.value]
    assert told == [
        f"3 seeds {np.mean(change):+.1f} ± {np.std(change, ddof=1):.1f}" for change in changes.values()
    ]


def button(app: AppTest, label: str) -> Any:
    return next(one for one in app.button if one.label == label)


def test_pin_strip_and_keep(run_root: Path) -> None:
    app = page(lab_alpha="3")
    work(run_root)
    app.run()
    button(app, "Pin").click().run()
    assert "against" not in texts(app)
    app.slider(key="lab_alpha").set_value(1.0).run()
    assert plain("against the baseline MACL (α=3") in texts(app)
    work(run_root)
    app.run()
    link = app.query_params["lab_base"]
    again = page(lab_base=link, lab_alpha="1")  # a reload
    assert plain("against the baseline MACL (α=3") in texts(again)
    assert not page(lab_base="[1,2").exception
    past = next(one for one in app.button if one.label.startswith(plain("MACL (α=3")))
    past.click().run()
    assert app.slider(key="lab_alpha").value == 3.0
    before = len(runs.list_runs(run_root))
    button(app, "Keep as a run").click().run()
    assert not app.exception
    found = runs.list_runs(run_root)
    assert len(found) == before + 1
    assert found[0].config.params["alpha"] == 3.0


def test_every_open_point_and_loss_can_be_moved(run_root: Path) -> None:
    app = page(lab_loss="LProto")
    app.run()
    assert not app.exception
    assert [config.loss for config in asked(run_root)] == ["lproto", "macl"]
    app = page(m_denominator="own", m_use_w="false", m_normalize_w="true", m_rarity="min")
    assert not app.exception
    config = asked(run_root)[-1]
    wanted = {"denominator": "own", "use_w": False, "normalize_w": True, "rarity": "min"}
    assert (
        wanted.items() <= next(c for c in asked(run_root) if c.params.get("rarity") == "min").params.items()
    )
    assert config is not None


def test_a_failed_training_says_why(run_root: Path) -> None:
    app = page()
    (run,) = launch.queue(lab.folder(run_root))
    run.unmark("submitted")
    run.mark("error.txt", "training diverged at step 3")
    app.run()
    assert not app.exception
    assert "diverged" in app.error[0].value
    assert button(app, "Pin").disabled


def fail(run: Run) -> None:
    run.unmark("submitted")
    run.mark("error.txt", "no reason at all")


def test_a_failed_baseline_or_repetition_is_said_and_tried_again(run_root: Path) -> None:
    app = page(lab_alpha="3")
    assert button(app, "Pin").disabled
    _, before = launch.queue(lab.folder(run_root))
    fail(before)
    work(run_root)
    app.run()
    assert not button(app, "Pin").disabled
    for _ in range(2):
        assert "no reason at all" in app.error[0].value
        assert "1 of 3 seeds failed" in texts(app)
        assert "more seeds" not in texts(app)
        button(app, "Try again").click().run()
        assert "more seeds" in texts(app)
        assert not app.error
        work(run_root)
        app.run()
        repeated = launch.queue(lab.folder(run_root))
        if repeated:
            fail(repeated[0])
            work(run_root)
            app.run()
    assert "3 seeds +" in texts(app) or "3 seeds -" in texts(app)


def test_a_run_that_made_room_for_others_is_trained_again(run_root: Path) -> None:
    app = page()
    (run,) = work(run_root)
    app.run()
    shutil.rmtree(run.path)
    app.run()
    assert not app.exception
    assert [metric.value for metric in app.metric] == ["…"] * 7
    assert launch.queue(lab.folder(run_root)) == [run]


def test_without_anything_the_lab_offers_the_demo_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_RUN_ROOT", str(tmp_path / "runs"))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "none")
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(job, "start", lambda *_: None)
    monkeypatch.setattr(job, "status", lambda *_: job.Preparation("running", "drawing", 1, 10))
    app = page()
    assert not app.exception
    app = page(s_view="Sweeps")
    assert not app.exception
    assert "No sweep yet" in app.info[0].value


@pytest.fixture
def swept(run_root: Path, tiny: Path) -> sweep.Sweep:
    """A small α × β sweep over two seeds whose last run waits."""
    fields = {
        "dataset": "folder", "data_root": str(tiny), "image_size": 32, "batch_size": 16, "epochs": 1,
    }  # fmt: skip
    axes = {"alpha": (0.0, 1.0, 3.0), "beta": (0.0, 1.0), "seed": (0, 1)}
    made = sweep.start(sweep.grid("small", "instant", fields, axes), run_root)
    for run in launch.queue(run_root)[:-1]:
        assert loop.run(run.path, submitted_only=True) == "finished", run.error
    return made


def surface(root: Path, made: sweep.Sweep, metric: str = "map_medium") -> tuple[np.ndarray, np.ndarray]:
    pairs = sweep.found(made, sweep.known(root))
    scores = {run.id: run.scores()["metrics"] for _, run in pairs if run and run.state == "finished"}
    return matrix(cells(pairs, scores, metric), "alpha", "beta", (0.0, 1.0, 3.0), (0.0, 1.0))


def test_the_page_draws_the_runs_scores_and_reads_between_them(run_root: Path, swept: sweep.Sweep) -> None:
    app = page(s_view="Sweeps")
    assert not app.exception
    means, _ = surface(run_root, swept)
    drawn = [json.loads(data["spec"])["data"] for data in component_data(app, "macl_steady_chart")]
    solid = next(traces[0] for traces in drawn if traces[0]["type"] == "surface")
    flat = next(traces[0] for traces in drawn if traces[0]["type"] == "contour")
    for trace in (solid, flat):
        np.testing.assert_allclose(np.array(trace["z"], float), means, rtol=0, atol=1e-12)
    for alpha, beta in ((2.0, 0.5), (1.0, 1.0), (0.0, 0.0)):
        app.slider(key="sw_at_alpha").set_value(alpha)
        app.slider(key="sw_at_beta").set_value(beta).run()
        value = between((0.0, 1.0, 3.0), (0.0, 1.0), means, alpha, beta)
        assert f"**{value:.2f} %**" in texts(app)
    assert "nearest trained: α 0, β 0" in texts(app)
    assert len(component_data(app, "macl_heatmaps")[0]["maps"]) == 2
    assert app.session_state["sw_ms"] < 1000


def test_progress_queue_pause_stop_and_continue(run_root: Path, swept: sweep.Sweep) -> None:
    app = page(s_view="Sweeps", sweep=swept.id)
    assert not app.exception
    assert "0 running, 1 waiting" in texts(app)
    button(app, "Pause").click().run()
    assert launch.paused(run_root)
    assert "**Paused**" in texts(app)
    button(app, "Go on").click().run()
    assert not launch.paused(run_root)
    button(app, "Stop the rest").click().run()
    assert launch.queue(run_root) == []
    button(app, "Continue 1").click().run()
    assert len(launch.queue(run_root)) == 1
    (last,) = launch.queue(run_root)
    last.unmark("submitted")
    last.mark("error.txt", "no reason at all")
    app.run()
    assert "no reason at all" in texts(app)
    button(app, "Continue 1").click().run()
    assert launch.queue(run_root) == [last]
    shutil.rmtree(last.path)
    app.run()
    button(app, "Continue 1").click().run()
    assert not app.exception
    assert len(launch.queue(run_root)) == 1


def test_a_sweep_that_is_gone_is_said(run_root: Path, swept: sweep.Sweep) -> None:
    app = page(s_view="Sweeps", sweep="no-such-sweep")
    assert not app.exception
    assert "no-such-sweep" in app.warning[0].value
    assert app.query_params["sweep"] in (swept.id, [swept.id])


def test_a_damaged_run_is_left_out_of_its_sweep(run_root: Path, swept: sweep.Sweep) -> None:
    damaged = next(run for _, run in sweep.found(swept, sweep.known(run_root)) if run is not None)
    (damaged.path / "scores.json").write_text('{"metrics": {')
    cache._scores.cache_clear()
    app = page(s_view="Sweeps", sweep=swept.id)
    assert not app.exception
    assert any("Left out" in text.value and "scores" in text.value for text in app.warning)


def test_csv_equals_the_runs(run_root: Path, swept: sweep.Sweep) -> None:
    pairs = sweep.found(swept, sweep.known(run_root))
    scores = {run.id: run.scores()["metrics"] for _, run in pairs if run and run.state == "finished"}
    rows = list(csv.DictReader(io.StringIO(views.csv(swept, cells(pairs, scores, "map_sim")))))
    assert len(rows) == 11
    for row in rows:
        run = runs.find(row["run"], run_root)
        assert float(row["alpha"]) == run.config.params["alpha"]
        assert int(row["seed"]) == run.config.seed
        assert {key: float(row[key]) for key in METRICS} == run.scores()["metrics"]


@pytest.mark.parametrize(
    ("axes", "kind"),
    [
        ({"alpha": (0.0, 0.5, 1.0, 2.0)}, "scatter"),
        ({"denominator": ("paper", "own")}, "bar"),
        ({"use_w": (True, False), "seed": (0, 1)}, "bar"),
        ({"loss": ("macl", "wg_macl"), "lr": (0.01, 0.001)}, "bar"),
        ({"alpha": (0.0, 1.0), "beta": (0.0, 1.0), "use_w": (True, False)}, "surface"),
    ],
)
def test_every_kind_of_sweep_has_a_figure(
    run_root: Path, tiny: Path, axes: dict[str, Any], kind: str
) -> None:
    fields = {"dataset": "folder", "data_root": str(tiny), "image_size": 32, "batch_size": 16, "epochs": 1}
    sweep.start(sweep.grid("one", "instant", fields, axes), run_root)
    for run in launch.queue(run_root):
        assert loop.run(run.path, submitted_only=True) == "finished", run.error
    app = page(s_view="Sweeps")
    assert not app.exception
    drawn = [json.loads(data["spec"])["data"] for data in component_data(app, "macl_steady_chart")]
    traces = [trace for traces in drawn for trace in traces if trace["type"] == kind]
    assert traces
    if "seed" in axes:
        assert traces[0]["x"] == ["True", "False"]  # not the names of the seeds 1 and 0


def test_a_study_and_a_grid_are_previewed_and_queued(run_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page(s_view="Sweeps")
    assert "49 runs" in texts(app)
    assert "a guess" in texts(app)
    button(app, "Queue 49 runs").click().run()
    assert not app.exception
    assert len(launch.queue(run_root)) == 49
    assert "first run has not finished" in app.info[0].value
    app.selectbox(key="sw_what").set_value("Your own grid").run()
    assert not app.exception
    app.text_input(key="sw_values_0_alpha").set_value("0, 9").run()
    app.text_input(key="sw_values_1_beta").set_value("0.1").run()
    assert "**2 runs**" in texts(app)
    app.text_input(key="sw_fixed").set_value("epochs=3, gamma=1").run()
    assert "gamma" in app.error[0].value
    app.text_input(key="sw_fixed").set_value("epochs=3").run()
    button(app, "Queue 2 runs").click().run()
    newest = launch.queue(run_root)[-1].config
    assert (newest.epochs, newest.params["alpha"]) == (3, 9.0)


def test_recorded_runs_are_not_there_and_took_no_time_here(
    run_root: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = STUDIES["fig9a"].build("instant", {"dataset": "folder", "data_root": str(tiny)}, [0])
    recorded = tmp_path / "recorded" / "one"
    shutil.copytree(runs.list_runs(run_root)[0].path, recorded)
    (recorded / "config.json").write_text(planned.points[0].config.model_dump_json())
    (recorded / "recorded").touch()
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    app = page(s_view="Sweeps")
    assert "**49 runs**, 0 of them there" in texts(app)
    assert "a guess" in texts(app)


def test_the_shown_command_starts_the_same_sweep(run_root: Path) -> None:
    app = page(s_view="Sweeps", sw_what=plan.OWN, sw_seeds="0 2–3; 7")
    app.selectbox(key="sw_axis_0_macl").set_value("step_factor").run()
    app.text_input(key="sw_values_0_step_factor").set_value("0.5, 1").run()
    app.selectbox(key="sw_axis_1_macl").set_value("use_w").run()
    app.text_input(key="sw_fixed").set_value("epochs = 3, denominator=own").run()
    assert not app.error
    text = next(code.value for code in app.code if code.value.startswith("macl sweep"))
    button(app, "Queue 16 runs").click().run()
    (there,) = sweep.load(run_root)
    done = CliRunner().invoke(cli.app, [*shlex.split(text)[1:], "--run-root", str(run_root), "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "16 runs, 16 of them there" in done.output
    assert {run.config.seed for run in launch.queue(run_root)} == {0, 2, 3, 7}
    assert len(there.points) == 16


def test_the_first_grid_of_macl_nested_varies_what_has_an_effect(run_root: Path) -> None:
    app = page(s_view="Sweeps", sw_what=plan.OWN, sw_loss="MACL-nested")
    assert not app.exception
    assert not app.error
    axes = [app.selectbox(key=f"sw_axis_{n}_macl_nested").value for n in (0, 1)]
    assert axes == ["tau", "nested"]
    assert "**6 runs**" in texts(app)


def test_alpha_of_macl_nested_moves_over_its_whole_range(run_root: Path) -> None:
    alpha = page(lab_loss="MACL-nested").slider(key="lab_macl_nested_alpha")
    assert (alpha.min, alpha.value, alpha.max) == (0, 6, 10)


@pytest.mark.parametrize("value", [0.1234567891234, 1 / 3, 1e-05, 3.0, 12345678.0])
def test_values_on_the_command_line_are_the_same_numbers(value: float) -> None:
    assert parse_axis(f"alpha={shown(value)}", "macl")[1] == (value,)


def test_one_seed_is_no_spread_of_zero() -> None:
    one, two = (
        Cell({"alpha": 0.5}, 50.0, None, (50.0,), ()),
        Cell({"alpha": 1.0}, 60.0, 2.0, (58.0, 62.0), ()),
    )
    spreads = ["one seed", "± 2.00 over 2 seeds"]
    drawn = figures.curve([one, two], "alpha", None, ("α", "mAP"), {}, views.text_of)
    line = next(trace for trace in drawn.data if trace.mode == "lines+markers")
    assert list(line.customdata) == spreads
    means = np.array([[50.0, 60.0], [np.nan, np.nan]])
    notes = [spreads, ["", ""]]
    given = [0.5, 1.0], [0.0, 1.0], means, notes, ("α", "β", "mAP"), None
    assert list(figures.contour(*given).data[1].customdata) == spreads
    assert list(figures.surface(*given).data[0].customdata) == notes
    for figure in (drawn, figures.contour(*given), figures.surface(*given)):
        shown = [trace.hovertemplate for trace in figure.data if trace.hovertemplate]
        assert shown
        assert all("%{x:~g}" in text and "±" not in text for text in shown)


def trained(root: Path, made: sweep.Sweep) -> sweep.Sweep:
    made = sweep.start(made, root)
    for run in launch.queue(root):
        assert loop.run(run.path, submitted_only=True) == "finished", run.error
    return made


def test_a_list_of_points_with_different_settings(run_root: Path, tiny: Path) -> None:
    fields = {"dataset": "folder", "data_root": str(tiny), "image_size": 32, "batch_size": 16, "epochs": 1}
    places: list[dict[str, Any]] = [{"alpha": 1.0}, {"beta": 0.5}, {"alpha": 2.0, "beta": 1.0}]
    made = trained(run_root, sweep.listed("list", "instant", fields, places))
    app = page(s_view="Sweeps")
    assert not app.exception
    assert "nearest trained" in texts(app) or "not known here" in texts(app)
    assert _table(made, run_root, "map_medium").row_count == 3


def test_a_third_axis_stands_still_on_the_page_but_not_in_the_csv(
    run_root: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"dataset": "folder", "data_root": str(tiny), "image_size": 32, "batch_size": 16, "epochs": 1}
    axes = {"alpha": (0.0, 1.0), "beta": (0.0, 1.0), "loss": ("macl", "wg_macl")}
    trained(run_root, sweep.grid("three", "instant", fields, axes))
    losses, tables = [], []
    draw, table = maps.draw_maps, views.csv
    monkeypatch.setattr(
        maps, "draw_maps", lambda c, config, key: (losses.append(config.loss), draw(c, config, key))
    )
    monkeypatch.setattr(
        views.st, "download_button", lambda _label, data, *_args, **_kwargs: tables.append(data())
    )
    app = page(s_view="Sweeps")
    app.selectbox(key="sw_cut_loss").set_value("wg_macl").run()
    assert not app.exception
    assert losses[-1] == "wg_macl"
    rows = list(csv.DictReader(io.StringIO(tables[-1])))
    assert len(rows) == 8
    assert {row["loss"] for row in rows} == {"macl", "wg_macl"}
    assert table is views.csv


def test_a_sweep_is_forgotten_and_its_runs_stay(run_root: Path, swept: sweep.Sweep) -> None:
    before = runs.list_runs(run_root)
    app = page(s_view="Sweeps", sweep=swept.id)
    button(app, "Forget").click().run()
    assert not app.exception
    assert not app.warning
    assert "No sweep yet" in app.info[0].value
    assert runs.list_runs(run_root) == before


def test_what_is_remembered_of_runs_is_enough_for_the_largest_sweep() -> None:
    for remembered in (cache._config, cache._scores):
        assert remembered.cache_parameters()["maxsize"] >= 4 * sweep.MOST_RUNS
