"""The queue as something to rely on: pauses, dead workers, runs that kill theirs, several devices."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import runs
from core.data import load
from core.files import lock, unlock
from core.queue import launch
from core.queue.worker import Worker, roles
from core.runs import Run, RunConfig
from core.training import recent
from tests import data_fakes as fakes
from tests.small_runs import config, wait


def test_a_paused_queue_begins_nothing_and_goes_on(tiny: Path, root: Path) -> None:
    launch.pause(root)
    run = launch.submit(config(tiny), root)
    wait(lambda: any(about["ready"] for about in launch.workers(root).values()))
    time.sleep(0.5)
    assert run.state == "queued"
    assert launch.paused(root)
    launch.unpause(root)
    wait(lambda: run.state == "finished")
    assert not launch.paused(root)


def test_the_next_worker_takes_up_what_the_last_one_dropped(tiny: Path, root: Path) -> None:
    first = launch.submit(config(tiny, epochs=200), root)
    second = launch.submit(config(tiny, seed=1), root)
    wait(lambda: first.state == "running" and bool(first.history()))
    (pid,) = {int(str(about["pid"])) for about in launch.workers(root).values()}
    os.kill(pid, signal.SIGKILL)
    wait(lambda: first.state == "interrupted", 10)
    assert launch.dropped(root) == [first]
    launch.ensure_worker(root=root)
    wait(lambda: first.state == "finished")
    assert second.state == "finished"
    assert "resumed" not in second.log
    assert first.log.count("started") == 2
    assert first.deaths[0] == 1
    # the others came first
    assert (second.path / "scores.json").stat().st_mtime_ns < (first.path / "scores.json").stat().st_mtime_ns


def test_a_run_for_a_device_is_taken_up_by_the_next_worker_of_that_device(tiny: Path, root: Path) -> None:
    run = launch.submit(config(tiny, epochs=200, device="cpu"), root)
    wait(lambda: run.state == "running" and bool(run.history()))
    (pid,) = {int(str(about["pid"])) for about in launch.workers(root).values()}
    os.kill(pid, signal.SIGKILL)
    wait(lambda: run.state == "interrupted", 10)
    launch.ensure_worker("cpu", root)
    wait(lambda: run.state == "finished")
    assert run.log.count("started") == 2
    assert run.deaths[0] == 1


def test_a_living_worker_takes_up_what_that_of_another_device_dropped(tiny: Path, root: Path) -> None:
    """A run for any device, in the hands of the second GPU's worker: asking for a worker finds this one."""
    launch.ensure_worker("cpu", root)
    wait(lambda: any(about["ready"] for about in launch.workers(root).values()))
    run = runs.create(config(tiny), root)
    run.mark("started")
    (root / ".worker-cuda:1.json").write_text(json.dumps({"pid": 1, "run": run.id}))
    wait(lambda: run.state == "finished", 30)


def test_a_note_that_was_taken_over_is_the_dead_workers(tiny: Path, root: Path) -> None:
    """Its process id says nothing: after a restart in a container the new worker may have the same."""
    run = runs.create(config(tiny), root)
    run.mark("started")
    (root / ".worker-cpu.json").write_text(json.dumps({"pid": os.getpid(), "run": run.id}))
    place = root / ".worker-cpu.lock"
    assert lock(place)
    try:
        assert launch.dropped(root) == []
        assert launch.dropped(root, taken_over=place) == [run]
    finally:
        unlock(place)


def test_a_run_that_kills_its_workers_fails_and_says_so(tiny: Path, root: Path) -> None:
    run = runs.create(config(tiny), root)
    for death in range(1, launch.MOST_DEATHS + 1):
        run.mark("started")
        run.unmark("submitted")
        (root / ".worker-auto.json").write_text(json.dumps({"pid": 1, "run": run.id}))
        assert launch.dropped(root) == [run]
        launch.take_up(run)
        assert run.deaths == (death, 0)
    assert run.state == "failed"
    assert "died 3 times" in run.error
    assert launch.dropped(root) == []
    assert launch.resume(run).state in ("queued", "running", "finished")
    assert run.deaths == (0, 0)


def test_deaths_with_progress_between_them_do_not_add_up(tiny: Path, root: Path) -> None:
    run = runs.create(config(tiny), root)
    for death in range(1, 2 * launch.MOST_DEATHS):
        (run.path / "metrics.jsonl").write_text(json.dumps({"step": 10 * death}) + "\n")
        run.mark("started")
        launch.take_up(run)
        assert run.deaths == (1, 10 * death)
        assert run.state == "queued"


def test_nothing_is_dropped_while_its_worker_lives_or_by_a_broken_note(tiny: Path, root: Path) -> None:
    run = runs.create(config(tiny), root)
    run.mark("started")
    note = root / ".worker-auto.json"
    note.write_text("{")
    assert launch.dropped(root) == []
    note.write_text(json.dumps({"run": run.id}))
    assert lock(root / ".worker-auto.lock")
    try:
        assert launch.dropped(root) == []
    finally:
        unlock(root / ".worker-auto.lock")
    note.write_text(json.dumps({"run": "no such run"}))
    assert launch.dropped(root) == []


@pytest.mark.parametrize(
    ("asked", "found", "every", "automatic", "expected"),
    [
        ("auto", "cpu", ["cpu"], True, ("cpu", ["auto", "cpu"], ["auto", "cpu"], [])),
        ("cpu", "cpu", ["cpu"], True, ("cpu", ["cpu"], ["auto", "cpu"], [])),
        ("cpu", "cpu", ["cpu"], False, ("cpu", ["cpu"], ["cpu"], [])),
        (
            "auto",
            "cuda",
            ["cuda:0", "cuda:1"],
            True,
            ("cuda:0", ["auto", "cuda", "cuda:0"], ["auto", "cuda", "cuda:0"], ["cuda:1"]),
        ),
        (
            "cuda:1",
            "cuda:1",
            ["cuda:0", "cuda:1"],
            True,
            ("cuda:1", ["cuda:1"], ["auto", "cuda:1"], ["cuda:0"]),
        ),
        (
            "cuda",
            "cuda",
            ["cuda:0", "cuda:1"],
            True,
            ("cuda:0", ["cuda", "cuda:0"], ["auto", "cuda", "cuda:0"], ["cuda:1"]),
        ),
    ],
)
def test_one_worker_per_device_shares_the_runs_that_leave_it_open(
    asked: str, found: str, every: list[str], automatic: bool, expected: tuple[Any, ...]
) -> None:
    assert roles(asked, found, every, automatic) == expected


def test_workers_of_other_devices_are_asked_when_more_waits_than_one_can_begin(
    tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(launch, "ensure_worker", lambda device, _: asked.append(device))
    worker = Worker(root, "auto", 1)
    worker.others = ["cuda:1", "cuda:2"]
    made = [runs.create(config(tiny, seed=seed), root) for seed in range(2)]
    made[0].mark("submitted")
    worker._ask_others()
    assert asked == []
    made[1].mark("submitted")
    worker._ask_others()
    assert asked == ["cuda:1", "cuda:2"]


def test_a_data_set_is_kept_between_runs_and_read_again_when_it_has_changed(
    tiny: Path, tmp_path: Path
) -> None:
    import shutil

    archive = Path(shutil.make_archive(str(tmp_path / "images"), "zip", tiny))
    base = RunConfig.build("instant", dataset="folder", data_root=str(archive), image_size=32)
    first = recent.dataset(base)
    again = recent.dataset(base.model_copy(update={"seed": 1}))
    assert again.images is first.images
    fresh = load("folder", str(archive), image_size=32, seed=1)
    for split, rows in fresh.splits.items():
        np.testing.assert_array_equal(again.splits[split], rows)
    os.utime(archive, (1, 1))
    assert recent.dataset(base).images is not first.images
    folder = replace_root(base, tiny)
    assert recent.dataset(folder).images is not recent.dataset(folder).images  # its files may change unseen


def test_a_kept_data_set_keeps_the_split_that_it_came_with(tmp_path: Path) -> None:
    import shutil

    names, folder = [f"{i:02d}.png" for i in range(30)], tmp_path / "set"
    for i, name in enumerate(names):
        fakes.picture(folder / name, i)
    parts = ["test", "train", "train", "val", "train"] * 6
    lines = [f"{name},{i % 2},1,{part}" for i, (name, part) in enumerate(zip(names, parts, strict=True))]
    (folder / "labels.csv").write_text("\n".join(["image,a,b,split", *lines]))
    archive = shutil.make_archive(str(tmp_path / "images"), "zip", folder)
    for limit in ("", "20"):
        base = RunConfig.build("instant", dataset="folder", data_root=archive, image_size=32, limit=limit)
        for seed in (0, 1):
            kept = recent.dataset(base.model_copy(update={"seed": seed}))
            for part, rows in kept.splits.items():
                assert {parts[int(kept.names[row][:2])] for row in rows} == {part}


def replace_root(base: RunConfig, root: Path) -> RunConfig:
    return base.model_copy(update={"data_root": str(root)})


def test_states_of_runs_are_read_from_their_folders(tiny: Path, root: Path) -> None:
    run = runs.create(config(tiny), root)
    assert (Run(run.path).deaths, run.state) == ((0, 0), "queued")
