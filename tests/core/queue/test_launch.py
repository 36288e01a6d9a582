"""The queue and its detached worker, as real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core import runs
from core.errors import MaclError
from core.files import PROJECT
from core.queue import launch
from core.runs import Run
from tests.small_runs import config, wait


@pytest.mark.timed
def test_submit_returns_at_once_and_a_worker_trains_in_order(tiny: Path, root: Path) -> None:
    began = time.monotonic()
    first = launch.submit(config(tiny), root)
    second = launch.submit(config(tiny, seed=1), root)
    assert time.monotonic() - began < 1.0
    wait(lambda: second.state == "finished")
    assert first.state == "finished", first.error
    assert (first.path / "scores.json").stat().st_mtime_ns < (second.path / "scores.json").stat().st_mtime_ns
    pids = {about["pid"] for about in launch.workers(root).values()}
    assert len(pids) == 1
    third = launch.submit(config(tiny, seed=2), root)
    began = time.monotonic()
    wait(lambda: third.state == "finished")
    assert time.monotonic() - began < 4  # warm: no import of torch in between
    assert {about["pid"] for about in launch.workers(root).values()} == pids


def test_a_killed_worker_leaves_an_interrupted_run_and_the_queue(tiny: Path, root: Path) -> None:
    first = launch.submit(config(tiny, epochs=3000), root)
    second = launch.submit(config(tiny, seed=1), root)
    wait(lambda: first.state == "running" and bool(first.history()))
    (pid,) = {int(str(about["pid"])) for about in launch.workers(root).values()}
    os.kill(pid, signal.SIGKILL)
    wait(lambda: first.state == "interrupted", 5)
    assert second.state == "queued"
    assert launch.workers(root) == {}
    launch.ensure_worker(root=root)
    wait(lambda: second.state == "finished")
    launch.resume(first)
    wait(lambda: first.state == "running" and bool(first.progress()))
    launch.stop(first)
    wait(lambda: first.state == "stopped", 10)


def test_stop_of_a_queued_run_and_resume(tiny: Path, root: Path) -> None:
    long = launch.submit(config(tiny, epochs=3000), root)
    queued = launch.submit(config(tiny, seed=1), root)
    wait(lambda: long.state == "running")
    assert launch.queue(root) == [queued]
    launch.stop(queued)
    assert queued.state == "stopped"
    assert launch.queue(root) == []
    launch.stop(long)
    wait(lambda: long.state == "stopped")
    launch.resume(queued)
    wait(lambda: queued.state == "finished")
    with pytest.raises(MaclError, match="finished"):
        launch.resume(queued)


def test_a_broken_run_does_not_hold_up_the_queue(tiny: Path, root: Path) -> None:
    broken = runs.create(config(tiny), root)
    (broken.path / "config.json").write_text(json.dumps({"loss": "nothing"}))
    broken.mark("submitted")
    good = launch.submit(config(tiny), root)
    wait(lambda: good.state == "finished")
    assert broken.state == "failed"
    assert "loss" in broken.error


def test_a_run_for_a_device_that_is_not_there_fails_and_says_so(tiny: Path, root: Path) -> None:
    run = launch.submit(config(tiny, device="cuda:99"), root)
    wait(lambda: run.state == "failed")
    assert "cuda:99" in run.error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_worker_and_stops_its_run_resumably(
    number: signal.Signals, tiny: Path, root: Path
) -> None:
    run = launch.submit(config(tiny, epochs=3000), root)
    wait(lambda: run.state == "running" and bool(run.history()))
    (pid,) = {int(str(about["pid"])) for about in launch.workers(root).values()}
    os.kill(pid, number)
    wait(lambda: run.state == "stopped", 10)
    wait(lambda: launch.workers(root) == {}, 10)
    assert (run.path / "resume.safetensors").exists()


def test_nothing_of_the_launcher_imports_torch() -> None:
    code = (
        "import sys, core.queue.launch, core.runs, core.report, core.metrics, core.retrieval.search\n"
        "import core.data, core.losses, core.cli\n"
        "loaded = [m for m in ('torch', 'timm', 'umap', 'streamlit', 'sklearn') if m in sys.modules]\n"
        "print(loaded)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_run_states_are_read_by_folder_not_by_memory(tiny: Path, root: Path) -> None:
    run = launch.submit(config(tiny), root)
    wait(lambda: run.state == "finished")
    assert Run(run.path).state == "finished"


def test_a_failed_run_that_waits_again_can_be_stopped(
    tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    run = runs.create(config(tiny), root)
    run.mark("started")
    run.mark("error.txt", "why")
    launch.resume(run)
    assert (run.state, run.error) == ("queued", "")
    launch.stop(run)
    assert run.state == "stopped"
    launch.resume(run)
    assert run.state == "queued"


def test_stop_reaches_a_process_that_is_about_to_train(
    tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.training import loop

    run = runs.create(config(tiny), root)
    assert run.state == "queued"
    launch.stop(run)  # while `macl train` imports torch, say
    assert run.state == "stopped"
    assert loop.run(run.path) == "stopped"
    monkeypatch.setattr(launch, "ensure_worker", lambda *_: None)
    launch.resume(run)
    assert loop.run(run.path, submitted_only=True) == "finished", run.error


def test_a_run_taken_or_removed_under_its_hands_does_not_end_a_worker(tiny: Path, root: Path) -> None:
    from core.files import lock, unlock

    long = launch.submit(config(tiny, epochs=3000), root)
    wait(lambda: bool(long.history()))
    before = {about["pid"] for about in launch.workers(root).values()}
    long.path.rename(root / ".gone")
    taken = runs.create(config(tiny), root)
    assert lock(taken.path / "lock")
    try:
        # what the queue says of a run that another process takes between the look and the lock
        code = (
            "import sys\nfrom pathlib import Path\nfrom core.training import loop\n"
            "from core.runs import Run\nfrom core.queue.worker import Worker\n"
            "worker = Worker(Path(sys.argv[1]), 'cpu', 0.5)\n"
            "looks = iter([Run(Path(sys.argv[2]))])\n"
            "worker._next = lambda: next(looks, None)\n"
            "worker.takes = ['cpu']; worker._drain(loop.run)"
        )
        command = [sys.executable, "-c", code, str(root), str(taken.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        unlock(taken.path / "lock")
    assert done.returncode == 0
    assert "another process" in done.stderr
    after = launch.submit(config(tiny, seed=1), root)
    wait(lambda: after.state == "finished")
    assert {about["pid"] for about in launch.workers(root).values()} == before


def test_a_relative_run_root_with_spaces(tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir()
    monkeypatch.chdir(root.parent)
    spaced = root / "my runs"
    try:
        run = launch.submit(config(tiny, epochs=1), Path("runs/my runs"))
        wait(lambda: run.state == "finished")
        assert run.path.parent == spaced
    finally:
        for about in launch.workers(spaced).values():
            os.kill(int(str(about["pid"])), signal.SIGKILL)


def test_the_queue_looks_only_at_what_waits(tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        runs.create(config(tiny), root).mark("scores.json", "{}")
    waiting = [runs.create(config(tiny), root) for _ in range(2)]
    for run in reversed(waiting):
        run.mark("submitted")
    asked: list[Path] = []
    state = Run.state
    monkeypatch.setattr(Run, "state", property(lambda run: (asked.append(run.path), state.fget(run))[1]))
    assert launch.queue(root) == waiting[::-1]
    assert len(asked) == 2
    assert launch.queue(root / "missing") == []


def test_many_runs_at_once_start_one_worker(tiny: Path, root: Path) -> None:
    """A worker has its lock only when Python has started."""
    made = [launch.submit(config(tiny, seed=seed, epochs=1), root) for seed in range(8)]
    asked = ["pgrep", "-fc", f"core.background {root}/.worker"]
    assert int(subprocess.run(asked, capture_output=True, text=True, check=False).stdout) == 1
    wait(lambda: all(run.state == "finished" for run in made))


def test_a_run_that_cannot_be_begun_does_not_hold_up_the_queue(tiny: Path, root: Path) -> None:
    """Its folder belongs to somebody else, say: no lock can be made there."""
    bad = runs.create(config(tiny), root)
    (bad.path / "lock").mkdir()
    bad.mark("submitted")
    good = launch.submit(config(tiny, epochs=1), root)
    wait(lambda: good.state == "finished", 60)


def test_one_place_queues_a_run_and_one_brings_it_back(tiny: Path, root: Path) -> None:
    """Whoever else wrote the marker forgot one of the others before."""
    writes = [
        (path, line)
        for path in (PROJECT / "core").rglob("*.py")
        for line in path.read_text().splitlines()
        if '"submitted"' in line and ("touch" in line or ".mark(" in line)
    ]
    assert len(writes) == 1
    run = runs.create(config(tiny), root)
    for marker in ("stop", "error.txt", "stopped", "started"):
        run.mark(marker)
    run.mark("deaths", "2 0")
    launch.requeue(run, "deaths", "stop")  # as a worker does that takes a run up
    assert (run.state, run.deaths) == ("queued", (2, 0))
    assert (run.path / "stop").exists(), "a person has asked it to stop before its worker died"
    launch.requeue(run)
    assert (run.state, run.deaths, run.error) == ("queued", (0, 0), "")
    assert not (run.path / "stop").exists()
