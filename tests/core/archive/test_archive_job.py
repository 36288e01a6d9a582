"""Archives that are made beside the page: one after the other, also after a kill; and which are known."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core import archive, runs
from core.archive import job
from core.archive.job import Job
from tests.core.archive import made


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_RUN_ROOT", str(tmp_path / "runs"))
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "runs").mkdir()


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, job.made()
        time.sleep(0.1)


def ended() -> bool:
    return all(one.status.state != "running" for one in job.made())


def test_two_jobs_wait_for_each_other_and_list_what_cannot_be_read(
    tmp_path: Path, tiny: Path, trained_runs: Path
) -> None:
    (tmp_path / "images").mkdir()
    for index in range(3):
        (tmp_path / "images" / f"{index}.png").write_bytes((tiny / f"scene00{index}.png").read_bytes())
    (tmp_path / "images" / "no.png").write_bytes(b"no")
    path = str(runs.list_runs(trained_runs)[0].path)
    first = Job(str(tmp_path / "one"), (path,), (str(tiny),))
    second = Job(str(tmp_path / "two"), (path,), (str(tmp_path / "images"),))
    assert first.asked < second.asked
    job.start(first)
    job.start(second)
    until(lambda: job.made()[0].status.what == "waiting for the archive before it")
    assert [one.job for one in job.made()] == [second, first]
    pid = first.process.pid
    assert pid
    os.kill(pid, signal.SIGKILL)  # it is started again by whoever looks, and goes on
    until(ended)
    later, earlier = job.made()
    assert (earlier.status.state, earlier.report["added"]) == ("done", {Path(path).name: 160})
    assert (later.status.state, later.report["added"]) == ("done", {Path(path).name: 3})
    assert later.broken == [(f"{tmp_path}/images/no.png", later.broken[0][1])]
    assert "not an image" in later.broken[0][1]
    assert (later.report["unread"], later.report["there"]) == (1, 0)
    assert [len(part) for part in archive.parts(tmp_path / "two")] == [3]
    assert job.known() == [str(tmp_path / "two"), str(tmp_path / "one")]
    job.dismiss(later.job)
    assert [one.job for one in job.made()] == [first]


def test_what_is_wrong_is_said(tmp_path: Path, tiny: Path) -> None:
    wrong = Job(str(tmp_path / "a"), (str(tmp_path / "runs" / "gone"),), (str(tiny),))
    job.start(wrong)
    until(ended)
    (one,) = job.made()
    assert one.status.state == "failed"
    assert "gone" in one.status.error


def test_a_job_is_the_same_whenever_it_is_asked_for() -> None:
    one, other = Job("a", ("r",), ("s",), 256), Job("a", ("r",), ("s",), 256)
    assert one == other
    assert one.process == other.process
    assert Job.from_json(one.to_json()) == one
    assert Job.from_json(one.to_json()).asked == one.asked
    assert Job("a", ("r",), ("s",), 128).process != one.process


def test_notes_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    home = job.home()
    home.mkdir(parents=True)
    for name, text in {"a": "", "b": "[]", "c": "{}", "d": '{"arguments": ["{}"]}'}.items():
        (home / f"{name}.json").write_text(text)
    assert job.made() == []


def test_archives_are_known_while_they_are_there(tmp_path: Path) -> None:
    assert job.known() == []
    for name in ("a", "b", "a"):
        made.empty(tmp_path / name)
        job.remember(str(tmp_path / name))
    assert job.known() == [str(tmp_path / "a"), str(tmp_path / "b")]
    (tmp_path / "b").rename(tmp_path / "away")
    assert job.known() == [str(tmp_path / "a")]
    (tmp_path / "runs" / job.KNOWN).write_text(json.dumps({"no": "list"}))
    assert job.known() == []
    job.remember(str(tmp_path / "a"))
    assert job.known() == [str(tmp_path / "a")]


def test_a_stopped_job_and_one_stopped_in_the_queue_stay_and_go_on(
    tmp_path: Path, tiny: Path, trained_runs: Path
) -> None:
    path = str(runs.list_runs(trained_runs)[0].path)
    first, second = (Job(str(tmp_path / name), (path,), (str(tiny),)) for name in ("one", "two"))
    job.start(first)
    job.start(second)
    for one in (second, first):  # the first is held up by nothing, but cannot be at its end yet
        job.stop(one)
    until(ended)
    assert [(one.job, one.status.state) for one in job.made()] == [(second, "none"), (first, "none")]
    job.go_on(first)
    later, earlier = job.made()
    assert (later.job, earlier.job) == (first, second)  # who goes on is behind those that wait
    assert later.job.asked > second.asked
    until(ended)
    assert job.made()[0].status.state == "done"
    assert [len(part) for part in archive.parts(tmp_path / "one")] == [160]
    assert not (tmp_path / "two").exists()
    job.dismiss(second)
    assert [one.job for one in job.made()] == [first]


def test_images_and_weights_that_are_gone_when_the_turn_comes(
    tmp_path: Path, tiny: Path, trained_runs: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (weightless := tmp_path / "mine" / "run").mkdir()
    original = runs.list_runs(trained_runs)[0].path
    (weightless / "config.json").write_bytes((original / "config.json").read_bytes())
    without = Job(str(tmp_path / "a"), (str(weightless),), (str(tiny),))
    nothing = Job(str(tmp_path / "a"), (str(original),), (str(tmp_path / "gone"),))
    job.start(without)
    job.start(nothing)
    until(ended)
    images, weights = job.made()
    assert (images.status.state, weights.status.state) == ("failed", "failed")
    assert "gone does not exist" in images.status.error
    assert "has no weights" in weights.status.error


def test_a_job_that_dies_again_and_again_is_given_up(tmp_path: Path) -> None:
    """Its note says that it has died twice; whoever looks starts it again, and it counts the third."""
    one = Job(str(tmp_path / "a"), ("r",), ("s",))
    job.home().mkdir(parents=True)
    note = {"state": "running", "pid": 0, "deaths": 2, "module": "core.archive.job", "run": None}
    one.process.file("json").write_text(json.dumps(note | {"arguments": [one.to_json()]}))
    until(ended)
    (found,) = job.made()
    assert found.status.state == "failed"
    assert "died 3 times" in found.status.error
