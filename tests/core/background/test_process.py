"""A detached process of any kind: started whatever the clock says, watched, ended, found dead, given up."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.background.process import MOST_DEATHS, Process, Running, Status
from core.background.requests import count_death, read_deaths
from core.data import ImageSet, duplicates, examination, job, preview, sets
from core.errors import MaclError
from core.experiments import lab
from core.files import PROJECT, unlock, write_atomic
from core.mechanism import ask as ask_loss
from core.projection import store
from core.queue import launch
from core.retrieval import ask
from tests.small_runs import wait

TOY = "tests.core.background.toys"
PLACE = ("key", 40, 0, 7)
DEMO = ImageSet("demo", size=40).to_json()
NOWHERE = ImageSet("folder", "/nowhere", 40)


def kinds(root: Path) -> dict[str, tuple[Process, Callable[[], object]]]:
    """Every kind of process, and what starts it."""
    return {
        "training": (launch.worker("cpu", root), lambda: launch.ensure_worker("cpu", root)),
        "lab": (launch.worker("auto", lab.folder(root)), lambda: lab.warm(root)),
        "embedder": (ask.process(), ask.ensure),
        "umap": (store.process(), store._wake),
        "mechanism": (ask_loss.process(), ask_loss.ensure),
        "prepare": (job.process(NOWHERE), lambda: job.start(NOWHERE)),
        "examine": (examination.process(NOWHERE), lambda: examination.start(NOWHERE)),
        "duplicates": (duplicates.process("key"), lambda: duplicates.start(ImageSet("demo", size=40), "key")),
        "preview": (preview._process(*PLACE), lambda: preview.start(ImageSet("demo", size=40), "key", 0, 7)),
    }


KINDS = list(kinds(Path("any")))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / "home" / "toy")
    yield process
    kill(process)


def kill(process: Process) -> None:
    if (pid := process.pid) is not None:
        os.kill(pid, signal.SIGKILL)
        wait(lambda: process.pid is None, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_no_start_is_hung_by_a_clock_that_was_set_back(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that died at its start, in this very moment or an hour ahead, is replaced by the next start."""
    process, start = kinds(tmp_path / "runs")[kind]
    process.path.parent.mkdir(parents=True)
    write_atomic(process.file("json"), '{"state": "running", "started": 9999999999}')  # of an earlier version
    for name in (f"{process.path.name}.starting", "starting"):
        (process.path.parent / name).touch()
        os.utime(process.path.parent / name, (9999999999, 9999999999))
    clock = time.time()
    pids = set()
    for back in (0.0, 0.0, 3600.0):
        monkeypatch.setattr(time, "time", lambda back=back: clock - back)
        start()
        pids.add(process.note()["pid"])
        kill(process)
    assert len(pids) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_that_dies_at_once_is_told_with_its_last_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho first\necho 'no such library: libc.so.7' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr("core.background.process.sys.executable", str(broken))
    process, start = kinds(tmp_path / "runs")[kind]
    words = "died at its start. It said last: no such library: libc.so.7"
    for _ in range(2):
        if kind == "lab":  # whose page goes on
            start()
        else:
            with pytest.raises(MaclError, match=words):
                start()
        assert words in process.status().error
    assert process.pid is None
    if kind in ("training", "lab"):
        assert words in launch.trouble(process.path.parent, process.path.name.removeprefix(".worker-"))


def test_one_that_dies_of_an_error_says_which(toy: Process) -> None:
    toy.start(TOY, "fail")
    wait(lambda: toy.status().state != "running")
    assert toy.status() == Status("failed", error="ValueError: two is not three")
    text = toy.file("log").read_text()
    assert "Traceback" in text
    assert "refused: ValueError: two is not three" in text
    toy.start("core.no_such_module")
    wait(lambda: toy.status().state != "running")
    assert "no_such_module" in toy.status().error


def test_how_it_goes_and_what_comes_of_it(toy: Process) -> None:
    assert toy.status() == Status("none")
    toy.start(TOY, "count", 2000)
    wait(lambda: toy.status().done > 0)
    about = toy.status()
    assert (about.state, about.what, about.total) == ("running", "counting", 2000)
    pid = toy.pid
    toy.start(TOY, "fail")  # it lives already
    assert toy.pid == pid
    wait(lambda: toy.status().state != "running")
    assert toy.status() == Status("done", skipped=True)
    wait(lambda: toy.alive() == {})  # it has written its last note, and ends


def test_a_killed_one_is_started_again_at_the_next_look_and_given_up(toy: Process, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    toy.start(TOY, "note", begun)
    for death in range(1, MOST_DEATHS + 1):
        wait(lambda death=death: begun.exists() and begun.read_text().count("begun") == death)
        assert toy.status().state == "running"
        kill(toy)
        assert toy.status().state == "running"  # it has been started again by this look
    wait(lambda: toy.status().state != "running")
    about = toy.status()
    assert about.state == "failed"
    assert "died 3 times (killed, out of memory" in about.error
    assert about.error.endswith("It said last: this one does note")
    assert begun.read_text().count("begun") == MOST_DEATHS
    toy.start(TOY, "count", 1)  # a person tries again: from the beginning
    wait(lambda: toy.status().state == "done")


def test_one_that_was_told_to_end_and_killed_is_not_started_again(toy: Process, tmp_path: Path) -> None:
    toy.start(TOY, "note", tmp_path / "begun")
    wait((tmp_path / "begun").exists)
    os.kill(toy.pid or 0, signal.SIGSTOP)  # busy with something that takes long
    toy.stop()
    kill(toy)
    assert toy.status() == Status("none")
    assert not toy.is_stopping
    assert toy.pid is None


def test_deaths_count_only_if_no_progress_was_made_between_them(toy: Process, tmp_path: Path) -> None:
    for _ in range(2 * MOST_DEATHS):
        toy.start(TOY, "serve", 60)
        wait(lambda: bool(toy.alive().get("ready")))
        kill(toy)
    kept = tmp_path / "deaths"
    assert [count_death(kept, reached) for reached in (0, 0, 5, 5, 5, 9, 8)] == [1, 2, 1, 2, 3, 1, 2]
    for damage in ("", "7", "x y", "1 2 3", "\0" * 9):
        kept.write_text(damage)
        assert read_deaths(kept) == (0, 0)


@pytest.mark.parametrize("how", ["file", "SIGTERM", "SIGHUP", "its folder goes"])
def test_it_ends_when_told_to_and_leaves_nothing_behind(how: str, toy: Process) -> None:
    toy.start(TOY, "serve", 60)
    wait(lambda: bool(toy.alive().get("ready")))
    pid = toy.pid
    assert pid is not None
    if how == "file":
        toy.stop()
        assert toy.is_stopping
    elif how == "its folder goes":
        toy.path.parent.rename(toy.path.parent.with_name("gone"))
    else:
        os.kill(pid, signal.Signals[how])
    wait(lambda: not Path(f"/proc/{pid}").exists() if Path("/proc").exists() else toy.pid is None, 20)
    if how != "its folder goes":
        assert {path.name for path in toy.path.parent.iterdir()} == {"toy.json", "toy.log"}
    assert not toy.is_stopping
    assert toy.status().state in ("none", "done")


def test_it_ends_when_idle(toy: Process) -> None:
    toy.start(TOY, "serve", 0.3)
    wait(lambda: toy.pid is None, 20)
    assert toy.status() == Status("done")


def test_many_starts_at_the_same_time_are_one_process(toy: Process, tmp_path: Path) -> None:
    begun, wrong = tmp_path / "begun", []

    def start() -> None:
        try:
            toy.start(TOY, "note", begun)
        except MaclError as error:
            wrong.append(error)

    tabs = [threading.Thread(target=start) for _ in range(6)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    wait(begun.exists)
    time.sleep(0.3)
    assert wrong == []
    assert begun.read_text() == "begun\n"


def test_what_it_had_in_its_hands_stays_known_until_somebody_takes_it_up(toy: Process) -> None:
    toy.path.parent.mkdir()
    for _ in range(3):  # also if the next one dies before it has
        running = Running(toy.path)
        assert running.begin()
        assert running.about["run"] in (None, "the work")
        running.say(run="the work")
        unlock(toy.file("lock"))
    write_atomic(toy.file("json"), '{"state": "running", "run": ["damaged"], "deaths": "x"}')
    running = Running(toy.path)
    assert running.begin()
    assert running.about["run"] is None
    running.release()


def writes(running: Running, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What is written of how it goes from now on."""
    told: list[dict[str, object]] = []
    say = running.say

    def noted(**about: Any) -> None:
        if "what" in about:
            told.append(about)
        say(**about)

    monkeypatch.setattr(running, "say", noted)
    return told


def busy(progress: Callable[[int, int, str], None], seconds: float) -> None:
    began, done = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        progress(done, 10**9, ("Reading", "Decoding")[done % 2])
        done += 1


@pytest.mark.parametrize("kind", ["prepare", "examine", "duplicates", "umap", "embedder"])
def test_progress_is_written_a_few_times_a_second_at_most(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.projection import worker
    from core.retrieval.embedder import Embedder

    process = kinds(tmp_path)[kind][0]
    process.path.parent.mkdir(parents=True, exist_ok=True)
    running = Running(process.path)
    told = writes(running, monkeypatch)

    class Images:
        skipped, key = (), "key"

    def load(*_: object, progress: Callable[[int, int, str], None] = running.tell, **__: object) -> object:
        busy(progress, 1.0)
        return Images()

    def check(*_: object, progress: Callable[[int, int, str], None], **__: object) -> object:
        busy(progress, 1.0)
        raise MaclError("enough")

    def compute(_: object, tell: Callable[[int, int], None]) -> None:
        busy(lambda done, total, _: tell(done, total), 1.0)

    monkeypatch.setattr(examination, "check", check)
    monkeypatch.setattr(sets, "load", load if kind == "prepare" else lambda *_, **__: Images())
    monkeypatch.setattr(duplicates, "look", lambda _, progress: busy(progress, 1.0))
    monkeypatch.setattr(worker, "compute", compute)
    if kind == "prepare":
        job.main(running, DEMO)
    elif kind == "examine":
        with pytest.raises(MaclError, match="enough"):
            examination.main(running, DEMO)
    elif kind == "duplicates":
        duplicates.main(running, DEMO, "key")
    elif kind == "umap":
        worker.work("name", [{"key": "there is none"}], running.tell)
    else:
        busy(Embedder(0.0, running)._step, 1.0)
    assert 1 <= len(told) <= 10


def test_what_a_training_says_is_written_a_few_times_a_second(tmp_path: Path) -> None:
    from core.runs import Run
    from core.training.loop import Log

    log, seen = Log(Run(tmp_path), None), set()

    def step(done: int, total: int, _: str) -> None:
        log.show(done, total, "training")
        seen.add((tmp_path / "progress.json").stat().st_mtime_ns)

    busy(step, 1.0)
    assert len(seen) <= 10


def test_the_time_left_is_told_at_the_pace_of_the_work_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    running = Running(tmp_path / "one")
    assert running.begin()
    told = []
    # resumed at 1,000; a pace is known after two seconds; other work has another
    said = ((100, 1000, "a"), (101, 1010, "a"), (105, 1100, "a"), (106, 0, "b"), (110, 40, "b"))
    for clock[0], done, what in said:
        running.tell(done, 2000, what)
        told.append(running.process.status().left)
    assert told == [0, 0, 900 * 5 / 100, 0, 1960 * 4 / 40]
    running.release()


def test_it_holds_its_lock_before_it_imports_what_takes_time() -> None:
    code = "import core.background.__main__, sys; print({'numpy', 'pydantic', 'torch'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout.strip() == "set()"
