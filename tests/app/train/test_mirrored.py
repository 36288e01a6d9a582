"""The line about the tracking server on the train page."""

import json
from pathlib import Path

import pytest

from app import cache
from app.kit.words import JOINER
from core import tracking
from core.queue import launch
from tests.components import open_page


@pytest.fixture(autouse=True)
def _nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_RUN_ROOT", str(tmp_path / "runs"))
    monkeypatch.setattr(cache, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    (tmp_path / "runs").mkdir()


def lines() -> list[str]:
    """What is said of it, as it is read: without what keeps it from being rendered."""
    said = [caption.value for caption in open_page("train").caption if "mirrored" in caption.value]
    return [line.replace("\\", "").replace(JOINER, "") for line in said]


def test_nothing_is_said_where_no_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MACL_MLFLOW_URI", raising=False)
    assert lines() == []


def test_the_server_and_the_last_trouble_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_MLFLOW_URI", "http://me:hidden@mlflow.lab:5000")
    assert lines() == ["Runs are mirrored to http://mlflow.lab:5000."]
    server = tracking.address()
    assert server is not None
    note = {"state": "failed", "error": "http://mlflow.lab:5000 lets nobody in"}
    tracking.process(launch.run_root(), server).file("json").write_text(json.dumps(note))
    (said,) = lines()
    assert said == "Runs are not mirrored to http://mlflow.lab:5000: http://mlflow.lab:5000 lets nobody in."
