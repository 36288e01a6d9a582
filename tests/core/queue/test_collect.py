"""Runs written on a node's disk and brought back."""

import shutil
import time
from pathlib import Path

import pytest

from core import runs
from core.queue import collect
from core.queue.collect import Collected
from core.runs import Run, where
from core.runs.where import Lease
from tests.small_runs import assert_same_outcome, config, wait


@pytest.fixture
def run(tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that waits for this process, which is a job and brings back at every turn."""
    from core.training import loop

    monkeypatch.setattr(collect, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setenv("MACL_BEAT_SECONDS", "0.05")
    for name, value in ((where.LAUNCHER, "slurm"), (where.CLAIM, "macl-1"), (where.HOST, "n1")):
        monkeypatch.setenv(name, value)
    run = runs.create(config(tiny, epochs=3000, device="cpu"), root)
    where.write(run.path, Lease("slurm", "macl-1", state="waiting", at=time.time()))
    return run


def brought(run: Run) -> bool:
    """Whether checkpoint, curve and state have come back from the disk of the node."""
    return (run.path / "resume.safetensors").exists() and len(run.history()) > 3 and run.where.lives


def test_a_run_goes_on_from_what_was_brought_back(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.training import loop

    lost, disk = tmp_path / "lost" / run.id, str(tmp_path / "disk")

    def leave() -> bool:
        if (local / "resume.safetensors").exists() and len(Run(local).history()) > 3:
            wait(lambda: brought(run))
            shutil.copytree(run.path, lost)  # what is left if the node dies now
        return lost.exists()

    run.mark("config.json", config(tiny, epochs=6, embed_every=1, device="cpu").model_dump_json())
    with Collected(run.path, disk) as local:
        assert loop.run(local, leave=leave) == "interrupted"
        assert local != run.path
    assert not local.exists()
    assert (run.state, run.queued_again, run.where.state) == ("queued", True, "waiting")
    assert "left this machine" in run.log
    shutil.rmtree(run.path)
    shutil.copytree(lost, run.path)
    where.write(run.path, Lease("slurm", "macl-1", state="waiting", at=time.time()))
    with Collected(run.path, disk) as local:
        assert loop.run(local) == "finished"
    assert (run.state, run.where.state) == ("finished", "ended")
    assert run.log.count("resumed after step") == 1
    assert not (run.path / "progress.json").exists()
    whole = runs.create(run.config, tmp_path / "whole")
    for name in (where.LAUNCHER, where.CLAIM, where.HOST):
        monkeypatch.delenv(name)
    assert loop.run(whole.path) == "finished"
    assert_same_outcome(run, whole)
    assert run.frames() == whole.frames() == [0, 1, 2, 3, 4, 5, 6]


def test_a_stop_reaches_the_disk_of_the_node(run: Run, tmp_path: Path) -> None:
    from core.training import loop

    def stop() -> bool:
        if brought(run):
            run.mark("stop")
        return False

    with Collected(run.path, str(tmp_path)) as local:
        assert loop.run(local, leave=stop) == "stopped"
    assert (run.state, run.where.state) == ("stopped", "ended")
    assert not (run.path / "stop").exists()


def test_a_run_that_was_given_away_is_left_alone(run: Run, tmp_path: Path) -> None:
    from core.training import loop

    theirs = Lease("slurm", "macl-2", state="waiting", at=time.time())

    def give_away() -> bool:
        if brought(run):
            where.write(run.path, theirs)
        return False

    with Collected(run.path, str(tmp_path)) as local:
        assert loop.run(local, leave=give_away) == "interrupted"
        before = {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()}
    assert run.where == theirs
    assert {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()} == before
