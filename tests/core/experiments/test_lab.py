"""The live lab's runs: one per configuration, stopped and taken up again, kept beside the other runs."""

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import runs
from core.experiments import lab
from core.queue import launch
from core.runs import RunConfig
from core.training import loop
from tests import small_runs
from tests.small_runs import wait


def config(tiny: Path, **fields: Any) -> RunConfig:
    return small_runs.config(tiny, **{"loss": "macl", **fields})


def test_the_same_settings_are_one_run(tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    first = lab.want(config(tiny), root)
    assert lab.want(config(tiny), root) == first
    assert lab.want(config(tiny, params={"alpha": 1.5}), root) == first  # the default, given
    other = lab.want(config(tiny, params={"alpha": 2.0}), root)
    assert launch.queue(lab.folder(root)) == [first, other]
    assert runs.list_runs(root) == []  # no clutter


def test_a_newer_move_ends_the_older_training_and_the_way_back_goes_on(tiny: Path, root: Path) -> None:
    long = {"epochs": 3000}
    first = lab.want(config(tiny, **long), root)
    wait(lambda: first.state == "running" and bool(first.history()))
    moves = [lab.want(config(tiny, params={"alpha": n / 10}, **long), root) for n in range(20)]
    lab.cancel(first)
    for run in moves[:-1]:
        lab.cancel(run)
    wait(lambda: moves[-1].state == "running" and bool(moves[-1].history()))
    assert first.state == "stopped"
    assert {run.state for run in moves[:-1]} == {"stopped"}
    lab.cancel(moves[-1])
    reached = first.history()[-1]["step"]
    assert lab.want(config(tiny, **long), root) == first
    wait(lambda: first.state == "running" and first.history()[-1]["step"] > reached)
    assert "resumed" in first.log
    lab.cancel(first)
    wait(lambda: first.state == "stopped")


def test_a_kept_run_is_the_run_that_the_queue_would_train(
    tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    run = lab.want(config(tiny), root)
    assert loop.run(run.path) == "finished"
    lab.tried(run)
    kept = lab.keep(run, root)
    assert runs.list_runs(root) == [kept]
    assert kept.state == "finished"
    assert not (kept.path / lab.TRIED).exists()
    own = runs.create(config(tiny), root)
    assert loop.run(own.path) == "finished"
    assert kept.scores()["metrics"] == own.scores()["metrics"]
    np.testing.assert_array_equal(kept.embeddings()[0], own.embeddings()[0])
    assert lab.trail(root) == [run]  # still there to go back to


def test_the_trail_is_newest_first_and_the_oldest_make_room(
    tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    monkeypatch.setattr(lab, "MOST_KEPT", 12)
    made = []
    for n in range(12):
        run = lab.want(config(tiny, params={"alpha": n / 10}), root)
        run.unmark("submitted")
        run.mark("scores.json", "{}")
        lab.tried(run)
        for path in (run.path, run.path / lab.TRIED):
            os.utime(path, (1000 + n, 1000 + n))
        made.append(run)
    assert lab.trail(root) == made[::-1]
    new = lab.want(config(tiny, params={"alpha": 3.0}), root)
    assert new.state == "queued"
    assert lab.trail(root) == made[:-11:-1][:2]


def test_other_images_are_another_run(tiny: Path, root: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(tiny, own)
    before = lab.of(config(own), root)
    assert lab.of(config(own), root) == before
    (own / "labels.csv").write_text((own / "labels.csv").read_text() + "\n")
    assert lab.of(config(own), root) != before


def test_a_run_that_kills_its_worker_is_not_revived_for_ever(
    tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    states = []
    for _ in range(launch.MOST_DEATHS + 1):
        run = lab.want(config(tiny), root)
        states.append(run.state)
        run.mark("started")
        run.unmark("submitted")
    assert states == ["queued"] * launch.MOST_DEATHS + ["failed"]
    assert "died 3 times" in run.error


def test_two_tabs_may_want_the_same_at_the_same_instant(
    tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    wanted, wrong = config(tiny), []

    def want(together: threading.Barrier) -> None:
        together.wait()
        try:
            lab.want(wanted, root)
        except OSError as error:
            wrong.append(error)

    for _ in range(60):
        together = threading.Barrier(4)
        tabs = [threading.Thread(target=want, args=(together,)) for _ in range(4)]
        for tab in tabs:
            tab.start()
        for tab in tabs:
            tab.join()
        shutil.rmtree(root)
    assert wrong == []
