"""A small archive of two runs, and how tests ask the page what it shows."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import cache
from core import runs
from core.archive import ingest, job
from core.retrieval import ask
from core.retrieval.embedder import Embedder
from core.runs import Run
from tests.components import component_data

OWN = 30  # images of the archive


@pytest.fixture(scope="module")
def filled(tiny: Path, trained_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of both runs; copy it before changing it."""
    folder = tmp_path_factory.mktemp("page-archive")
    (folder / "tiles").mkdir()
    for index in range(OWN):
        shutil.copy(tiny / f"scene{index:03d}.png", folder / "tiles" / f"tile {index:02d}.png")
    ingest.add(folder / "europe", runs.list_runs(trained_runs), [str(folder / "tiles")])
    return folder / "europe"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    monkeypatch.setenv("MACL_RUN_ROOT", str(folder))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(job, "home", lambda: tmp_path / "jobs")
    return folder


@pytest.fixture
def two(root: Path, trained_runs: Path) -> list[Run]:
    """The runs of the archive, in the order of its parts."""
    shutil.copytree(trained_runs, root, dirs_exist_ok=True)
    return sorted(runs.list_runs(root), key=lambda run: run.id)


@pytest.fixture
def own(filled: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(filled, tmp_path / "europe"))


@pytest.fixture
def still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process answers; the test does (`answer_all`)."""
    home = tmp_path / "embedder"
    monkeypatch.setattr(ask, "ensure", lambda: None)
    monkeypatch.setattr(ask, "home", lambda: home)
    for name in ("questions", "answers"):
        (home / name).mkdir(parents=True)


def answer_all(page: AppTest) -> AppTest:
    embedder = Embedder(0.0)
    while embedder.next_one():
        pass
    page.run()
    assert not page.exception
    return page


def shown(page: AppTest) -> dict[str, Any]:
    (data,) = component_data(page, "gallery")
    return data


def said(page: AppTest, part: str) -> list[str]:
    """A part of the address."""
    value = page.query_params.get(part, [])
    return [value] if isinstance(value, str) else list(value)


def tiles(page: AppTest) -> list[list[str]]:
    return [[tile["name"] for tile in row["tiles"]] for row in shown(page)["rows"]]


def press(page: AppTest, label: str) -> AppTest:
    next(button for button in page.button if button.label == label).click().run()
    assert not page.exception
    return page
