"""The mechanism page with a loss that has no numpy form, built-in or one's own: a real process answers."""

import base64
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app import cache
from app.kit import heatmaps, shared
from app.mechanism import settings
from app.mechanism.batch import Chosen, Source
from app.mechanism.view import VIEWS
from app.sensitivity import maps as lab_maps
from core import mechanism, runs
from core.data import load
from core.losses import LOSSES, Parameter, check_params, own
from core.losses.file import describe
from core.losses.file import load as load_loss
from core.mechanism import Batch, ask, force
from core.runs import RunConfig
from tests.components import charts, component_data, open_page
from tests.small_runs import wait

FILE = Path(__file__).parents[2] / "own" / "margin.py"
LOSS, TITLE = "supcon_any", "SupCon ANY"
PATIENCE = 60.0


@pytest.fixture
def run_root(finished_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two runs; one built-in loss and MACL have lost their numpy form, and the process is gone at the end."""
    root = tmp_path / "runs"
    shutil.copytree(finished_runs, root)
    monkeypatch.setenv("MACL_RUN_ROOT", str(root))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "none")
    monkeypatch.delitem(force._WEIGHTS, LOSS)
    yield root
    if (pid := ask.process().pid) is not None:
        os.kill(pid, signal.SIGKILL)


def page(**query: str | list[str]) -> AppTest:
    return open_page("mechanism", m_loss=TITLE, m_b="16", **query)


def until(app: AppTest) -> AppTest:
    """Draw the page again and again, as it does by itself, until it no longer says that it waits."""
    deadline = time.monotonic() + PATIENCE
    while any("Computing what" in c.value or "Starting the process" in c.value for c in app.caption):
        assert time.monotonic() < deadline
        time.sleep(0.1)
        app.run()
    assert not app.exception
    return app


def maps(app: AppTest) -> dict[str, np.ndarray]:
    data = component_data(app, "macl_heatmaps")[-1]
    shape = len(data["rows"]), len(data["columns"])
    return {
        one["title"].split(" ")[0]: np.frombuffer(base64.b64decode(one["values"]), "<f4").reshape(shape)
        for one in data["maps"]
    }


def expected(root: Path, app: AppTest, monkeypatch: pytest.MonkeyPatch, **given: Any) -> np.ndarray:
    """The force of the numpy form on the batch that is drawn, in its order."""
    run = next(run for run in runs.list_runs(root) if run.config.loss == "macl")
    z, y = run.embeddings()
    names = [row["name"] for row in component_data(app, "macl_heatmaps")[-1]["rows"]]
    rows = [run.splits()["test"].index(name) for name in names]
    with monkeypatch.context() as patch:
        patch.setitem(force._WEIGHTS, LOSS, lambda y, labels, params: force._equal(force._shared(y) > 0))
        return mechanism.maps(LOSS, Batch(y[rows], y, z[rows]), check_params(LOSS, given)).values["force"]


def said(app: AppTest) -> str:
    return " ".join(node.value for kind in (app.caption, app.markdown, app.info) for node in kind)


def off(values: np.ndarray) -> np.ndarray:
    return values[~np.eye(*values.shape, dtype=bool)]


def test_the_page_waits_and_then_draws_the_force_of_every_place_of_a_slider(
    run_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page()
    assert "Starting the process" in said(app)
    assert not component_data(app, "macl_heatmaps")
    until(app)
    shown = maps(app)
    assert list(shown) == ["force"]
    np.testing.assert_allclose(
        off(shown["force"]), off(expected(run_root, app, monkeypatch)), rtol=1e-5, atol=1e-9
    )
    assert "automatic differentiation" in said(app)
    assert "does not say w and T" in said(app)
    (slider,) = [one for one in app.slider if one.label == "τ"]
    slider.set_value(0.9).run()
    until(app)
    np.testing.assert_allclose(
        off(maps(app)["force"]), off(expected(run_root, app, monkeypatch, tau=0.9)), rtol=1e-5, atol=1e-9
    )
    app.pills(key="m_maps").set_value(["w", "J", "s"]).run()
    assert list(maps(app)) == ["J", "s"]
    app.pills(key="m_maps").set_value(["w", "T"]).run()
    assert list(maps(app)) == ["J", "s", "force"]  # neither is known: what there is
    panel = " ".join(node.proto.body for node in app.get("html"))
    assert 'data-term="force"' in panel
    assert "by automatic differentiation" in panel


def test_one_s_own_loss_from_its_file_to_the_page(run_root: Path) -> None:
    text = FILE.read_text()
    key = own.keep(describe(load_loss(text, "margin"), "margin", text), text, offer=True).key
    app = until(open_page("mechanism", m_loss="margin", m_b="16"))
    shown = maps(app)["force"]
    data = component_data(app, "macl_heatmaps")[-1]
    held = [set(row["labels"]) for row in data["rows"]]
    shared = np.array([[bool(a & b) for b in held] for a in held])
    np.testing.assert_allclose(off(shown)[off(shared)], 1 / (16 * 15), rtol=1e-4)  # each is pulled alike
    assert (off(shown)[~off(shared)] <= 0).all()
    assert "shared equally between the two anchors" in said(app)
    until(app.slider(key=f"m_{key}_margin").set_value(-1.0).run())
    assert (off(maps(app)["force"])[~off(shared)] < 0).all()
    until(app.toggle(key=f"m_{key}_squared").set_value(False).run())
    np.testing.assert_allclose(off(maps(app)["force"])[~off(shared)], -1 / (16 * 15), rtol=1e-4)
    (own.folder() / f"{key}.py").unlink()
    until(app.slider(key=f"m_{key}_margin").set_value(0.5).run())
    assert "margin cannot be computed on this batch" in app.error[0].value
    assert "macl loss add" in app.error[0].value


def test_an_old_answer_is_not_shown_as_the_new_one(run_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = until(page())
    ask.ensure()  # the answer may have been there
    wait(ask.is_warm, PATIENCE)
    pid = ask.process().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        (slider,) = [one for one in app.slider if one.label == "τ"]
        slider.set_value(0.7).run()
        assert "Computing what" in said(app)
        assert not component_data(app, "macl_heatmaps")
    finally:
        os.kill(pid, signal.SIGCONT)
    until(app)
    np.testing.assert_allclose(
        off(maps(app)["force"]), off(expected(run_root, app, monkeypatch, tau=0.7)), rtol=1e-5, atol=1e-9
    )


def test_every_view_says_what_it_shows_instead(run_root: Path) -> None:
    app = page()
    words = {
        "Pairs": "does not say w and T",
        "One anchor (Fig. 1)": "its row is by the forces that pull",
        "Which labels gain": "does not say its weights",
        "What the loss asks for": "no optimum that could be written down",
    }
    assert words.keys() == VIEWS.keys()
    for view, text in words.items():
        app.session_state["m_view"] = view
        until(app.run())
        assert not app.error, view
        assert text in said(app), view
    app.session_state["m_view"] = "One anchor (Fig. 1)"
    app.run()
    rows = component_data(app, "macl_heatmaps")[-1]["rows"]
    assert [row["name"] for row in rows].count(TITLE) == 1
    assert len(rows) == len(LOSSES)
    assert "Force between the anchor" in charts(app)[0]["alt"]


def test_a_loss_that_tells_its_weights_has_all_maps(run_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = mechanism.Answer({name: np.full((16, 16), 0.5) for name in ("w", "T", "force")}, "pull-back")
    monkeypatch.setattr(ask, "ask", lambda question: ask.Reply("ready", answer))
    app = page(m_maps=["T", "w", "γ"])
    shown = maps(app)
    assert list(shown) == ["T", "w", "γ"]
    np.testing.assert_allclose(off(shown["γ"]), 1)
    assert "shared equally between the two anchors" in said(app)
    app.session_state["m_view"] = "Which labels gain"
    app.run()
    assert "its own w/T in the place of MACL's γ" in said(app)
    assert TITLE in charts(app)[0]["spec"]
    app.session_state["m_view"] = "One anchor (Fig. 1)"
    app.run()
    assert "by w/T of its `pair_terms`" in said(app)


def test_an_error_of_the_loss_is_one_sentence_with_a_way_on(
    run_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = [ask.Reply("failed", error="ValueError: *no* such batch")]
    again: list[ask.Question] = []
    monkeypatch.setattr(ask, "ask", lambda question: replies[-1])
    monkeypatch.setattr(ask, "again", again.append)
    app = page()
    (error,) = app.error
    assert error.value.startswith(f"{TITLE} cannot be computed on this batch")
    assert "\\*no\\* such batch" in error.value  # as it is, no Markdown
    assert list(maps(app)) == ["J", "s"]
    assert "does not say" not in said(app)  # nobody knows
    next(button for button in app.button if button.label == "Try again").click().run()
    assert len(again) == 1


@pytest.mark.parametrize("told", [("w", "T"), ("w",), ()])
def test_the_lab_draws_what_the_class_tells(told: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    given = "".join(f'"{name}": torch.ones(len(y), len(y)), ' for name in told)
    text = FILE.read_text() + (
        f"\n    def pair_terms(self, y):\n        return {{{given}}}\n" if told else ""
    )
    key = own.keep(describe(load_loss(text, "margin"), "margin", text), text, offer=True).key
    y = (np.random.default_rng(0).random((16, 4)) < 0.5).astype(np.uint8)
    source = Source("run", [], y, y, list("abcd"), None, None, None, None)
    chosen = Chosen(source, Batch(y, y), [f"{n}" for n in range(16)], "batch")
    answer = mechanism.Answer({name: np.ones((16, 16)) for name in told})
    monkeypatch.setattr(ask, "ask", lambda question: ask.Reply("ready", answer))
    drawn: list[str] = []
    monkeypatch.setattr(
        heatmaps, "show", lambda key, maps, *_, **__: drawn.extend(one.title.split(" ")[0] for one in maps)
    )
    config = RunConfig.build("instant", dataset="demo", loss=key)
    lab_maps.draw_maps(chosen, config, "lab_maps")
    assert drawn == [name for name in ("T", "w") if name in told]


def test_a_data_set_without_runs_needs_weights_or_shows_the_overlap(
    run_root: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("folder", tiny, image_size=96)
    st.cache_resource.clear()
    st.cache_data.clear()
    monkeypatch.setattr(shared, "place", lambda name: str(tiny) if name == "folder" else None)
    app = until(page(run="folder"))
    assert list(maps(app)) == ["J"]


NUMBERS = {
    "whole": Parameter("rounds", "int", 3, "How often.", low=1),
    "open": Parameter("margin", "float", 2.5, "How far.", low=0),
    "both": Parameter("reach", "float", 0.2, "Cosine.", low=-1, high=1),
    "above": Parameter("power", "float", 0.5, "Above 0.", low=0, high=1, above=True),
    "usual": Parameter("alpha", "float", 1.0, "Like MACL's.", low=0, high=10),
}


def test_parameters_of_any_form_have_a_widget(run_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole number and one without a bound are typed, one with two bounds is a slider between them."""
    spec = LOSSES[LOSS]
    monkeypatch.setitem(LOSSES, LOSS, replace(spec, parameters=tuple(NUMBERS.values())))
    asked: list[ask.Question] = []
    monkeypatch.setattr(ask, "ask", lambda question: asked.append(question) or ask.Reply("failed"))
    app = page()
    next(button for button in app.button if button.label == "Back to the defaults").click().run()
    rounds, margin = (app.number_input(key=f"m_{LOSS}_{name}") for name in ("rounds", "margin"))
    assert (rounds.value, rounds.min, rounds.step) == (3, 1, 1)
    assert (margin.value, margin.min, margin.max) == (2.5, 0, None)
    reach, alpha = (app.slider(key=f"m_{LOSS}_{name}") for name in ("reach", "alpha"))
    assert (reach.min, reach.max, reach.step) == (-1, 1, 0.01)
    assert app.slider(key=f"m_{LOSS}_power").min == 0.01
    assert (alpha.min, alpha.max) == settings.RANGES["alpha"][:2]
    rounds.set_value(5)
    margin.set_value(7.25).run()
    assert asked[-1].params == {"rounds": 5, "margin": 7.25, "reach": 0.2, "power": 0.5, "alpha": 1.0}
    assert isinstance(asked[-1].params["rounds"], int)
