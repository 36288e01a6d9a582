"""A person's own loss in the form of the train page, and a run whose loss is not on this machine."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import cache
from app.kit.words import JOINER, plain
from core import runs
from core.files import PROJECT
from core.losses import own
from core.losses.file import describe, load
from core.queue import launch
from core.runs import Run, RunConfig
from tests.components import open_page

TEXT = '''
from typing import Literal
from torch import nn


class Mine(nn.Module):
    """Pulls ![pixel](https://elsewhere.example/p.png) and <b>pushes</b>.

    Args:
        width: Of [the band](https://elsewhere.example), > 0.
        steps: How many, 1 … 9.
        kind: Which.
    """

    def __init__(self, width: float = 0.5, steps: int = 3, kind: Literal["a", "b"] = "a", hard: bool = False):
        super().__init__()

    def forward(self, z, y):
        return (z @ z.T).mean()
'''


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MACL_RUN_ROOT", str(tmp_path / "runs"))
    monkeypatch.setenv("MACL_LOSSES", str(tmp_path / "losses"))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    return tmp_path / "runs"


@pytest.fixture
def key() -> str:
    return own.keep(describe(load(TEXT, "mine"), "mine", TEXT), TEXT, offer=True).key


def start(page: AppTest) -> None:
    next(button for button in page.button if button.label.startswith("Start")).click().run()
    assert not page.exception


def test_its_parameters_are_widgets_and_reach_the_run(root: Path, key: str) -> None:
    page = open_page("train", loss="mine")
    assert page.number_input(key=f"{key}.width").label == "width (above 0)"
    page.number_input(key=f"{key}.width").set_value(0.25)
    page.number_input(key=f"{key}.steps").set_value(9)
    page.selectbox(key=f"{key}.kind").set_value("b")
    page.toggle(key=f"{key}.hard").set_value(True).run()
    assert page.number_input(key=f"{key}.steps").max == 9
    start(page)
    (run,) = runs.list_runs(root)
    assert run.config.params == {"width": 0.25, "steps": 9, "kind": "b", "hard": True}
    assert (run.path / "mine.py").read_text() == TEXT


def test_words_of_a_file_are_not_rendered(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "RECORDED", PROJECT / "assets" / "recorded")  # runs to look at
    page = open_page("train", loss="mine")
    (said,) = (caption.value for caption in page.caption if "pixel" in caption.value)
    assert said.startswith(
        rf"Pulls \!\[pixel\]\(https\:{JOINER}//elsewhere.example/p.png\) and \<b\>pushes\</b\>"
    )
    assert page.number_input(key=f"{key}.width").help.startswith(r"Of \[the band\]\(https\:")
    mechanism = open_page("mechanism", m_loss="mine")
    helps = [widget.help or "" for widget in mechanism.number_input]
    assert any(r"\[the band\]" in text for text in helps)


def test_a_run_with_a_loss_that_is_not_here(
    root: Path, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig.build("instant", dataset="demo", loss=key, params={"steps": 5})
    run = runs.create(config, root)
    run.mark("stopped")
    monkeypatch.setenv("MACL_LOSSES", str(tmp_path / "another machine"))
    monkeypatch.setattr(own, "_seen", {})
    page = open_page("train", runs=run.id)
    assert f"mine ({key[-8:]})" in str(page.main)
    next(button for button in page.button if button.label == "Duplicate with changes").click().run()
    assert not page.exception
    (error,) = (error.value for error in page.error)
    assert plain("read mine.py in the folder of the run, then `macl loss add` it") in error
    assert page.multiselect(key="loss").value == ["macl", "mulsupcon"]
    assert Run(run.path).config.params["steps"] == 5


BOUNDED = TEXT.replace("the band](https://elsewhere.example), > 0.", "it](x), 0.1 … 0.9.")


def test_a_sweep_over_its_own_range(root: Path) -> None:
    key = own.keep(describe(load(BOUNDED, "mine"), "mine", BOUNDED), BOUNDED, offer=True).key
    page = open_page("sensitivity", sw_loss="mine", s_view="Sweeps", sw_what="Your own grid")
    assert page.selectbox(key=f"sw_axis_0_{key}").value == "width"
    assert page.text_input(key="sw_values_0_width").value == "0.1:0.9:5"
    assert page.selectbox(key=f"sw_axis_1_{key}").value == "–"
    assert not page.error
