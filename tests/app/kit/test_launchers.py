"""A page asks who trains where more than one launcher is set up, and says where a cluster's runs stand."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.kit import launchers as kit
from core import runs
from core.queue import launch, settings
from core.queue.launcher import LAUNCHERS, Standing
from core.runs import where
from core.runs.where import Lease
from tests.components import open_page
from tests.small_runs import config


@pytest.fixture(autouse=True)
def _alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_RUN_ROOT", str(root))
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)


def set_up(text: str = "[slurm]\n") -> None:
    settings.place().parent.mkdir(parents=True, exist_ok=True)
    settings.place().write_text(text)


def fake_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch, **says: str) -> None:
    """Commands on the path that print a line each; the real ones are in `tests/core/queue/test_slurm.py`."""
    folder.mkdir()
    for name in ("sbatch", "squeue", "scancel", "scontrol", "srun"):
        (folder / name).write_text(f"#!/bin/sh\ncat <<'END'\n{says.get(name, '')}\nEND\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def asked(page: AppTest, key: str) -> list[Any]:
    return [group for group in page.button_group if group.key == key]


def test_every_launcher_has_a_title() -> None:
    assert [*kit.TITLES] == [*LAUNCHERS]


def test_nobody_is_asked_where_there_is_no_choice() -> None:
    assert asked(open_page("train"), "launcher") == []
    set_up()
    (group,) = asked(open_page("train"), "launcher")
    assert group.value == "local"


def test_settings_that_cannot_be_read_are_said_and_stop_nobody() -> None:
    set_up("[slurm]\ngpus = -1\n")
    page = open_page("train")
    assert "slurm.gpus" in page.warning[0].value
    assert asked(page, "launcher") == []


def test_the_sensitivity_page_asks_too_and_its_command_says_it() -> None:
    set_up()
    page = open_page("sensitivity", s_view="Sweeps")
    (group,) = asked(page, "sw_launcher")
    group.set_value("slurm").run()
    assert not page.exception
    assert any("--launcher slurm" in code.value for code in page.code)


def test_a_run_that_waits_says_its_place_and_that_it_waits_again(
    tiny: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up()
    monkeypatch.setattr("core.queue.slurm.LOOK_SECONDS", 0.0)
    run = runs.create(config(tiny), root)
    where.write(run.path, Lease("slurm", "macl-1", job="8", state="waiting", at=time.time()))
    fake_slurm(
        tmp_path / "bin", monkeypatch,
        squeue="7|N/A|PENDING||10|gpu|Priority|other\n8|N/A|PENDING||9|gpu|Resources|macl-1",
    )  # fmt: skip
    (bar,) = open_page("train", runs=run.id).get("progress")
    assert "queued; slurm, job 8, 1 before it, Resources" in bar.proto.text
    run.mark("started")
    page = open_page("train", runs=run.id)
    (bar,) = page.get("progress")
    assert "queued again; slurm, job 8, 1 before it, Resources" in bar.proto.text
    assert page.dataframe[0].value["State"].iloc[0] == "queued again"
    silent = Standing("unknown", reason="no route")
    assert kit.waiting(run, silent) == "queued again; Slurm does not answer: no route"
