"""What the archive page says of the jobs beside it, whatever has become of them, and what can be done."""

import json
import os
from pathlib import Path

import pytest

from core.archive import job
from core.archive.job import Job
from core.errors import MaclError
from core.files import lock, unlock
from tests.app.archive.conftest import press, shown
from tests.components import open_page

NAME = "**x**<img src=x onerror=alert(1)>.png"  # what a file may be called


def noted(one: Job, state: str, **more: object) -> Job:
    """The note that the process of a job leaves behind."""
    job.home().mkdir(exist_ok=True)
    note = {"state": state, "arguments": [one.to_json()], "module": "core.archive.job", "pid": 0}
    one.process.file("json").write_text(json.dumps(note | more))
    return one


def labels(page: object) -> list[str]:
    return [button.label for button in page.button]  # type: ignore[attr-defined]


def test_what_came_of_a_job_stays_until_it_is_dismissed(root: Path, own: str) -> None:
    report = {
        "added": {"run_a": 5}, "there": 2, "gaps": 3, "unread": 1, "broken": [[f"/{NAME}", "not an image"]],
        "notes": [f"no labels are predicted by a: {NAME}"],
    }  # fmt: skip
    noted(Job(own, ("r",), ("s",)), "done", report=report)
    page = open_page("archive", archive=own)
    told = page.success[0].value
    assert r"images added: run\_a 5; there already: 2; tiles without data left out: 3" in told
    assert told.endswith("cannot be read: 1.")
    assert page.text[0].value == f"/{NAME}: not an image"
    assert any(r"\*\*x\*\*\<img src=x onerror=alert\(1\)\>.png" in one.value for one in page.caption)
    assert "Go on" not in labels(page)
    press(page, "Dismiss")
    assert not page.success


@pytest.mark.parametrize(
    ("state", "error", "told"),
    [
        ("none", "", "**europe**: stopped. What has been embedded stays."),
        ("failed", f"/{NAME} does not exist", r"**europe**: /\*\*x\*\*\<img src=x onerror=alert\(1\)\>.png"),
        ("failed", "a_b has no weights", r"**europe**: a\_b has no weights"),
        ("failed", "its process died 3 times", "**europe**: its process died 3 times"),
    ],
)  # fmt: skip
def test_a_job_that_was_stopped_or_has_failed_goes_on_or_is_forgotten(
    root: Path, own: str, state: str, error: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = noted(Job(own, ("r",), ("s",)), state, error=error)
    page = open_page("archive", archive=own)
    assert any(told in box.value for box in (*page.error, *page.info))
    assert shown(page)["rows"]  # the rest of the page is as usable as ever
    started: list[Job] = []
    monkeypatch.setattr(job, "start", started.append)
    press(page, "Go on")
    assert started == [one]
    assert started[0].asked > one.asked  # behind those that wait
    press(page, "Dismiss")
    assert not one.process.file("json").exists()
    assert told not in " ".join(box.value for box in (*page.error, *page.info))


def test_a_job_that_cannot_be_started_again_says_why(
    root: Path, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(one: Job) -> None:
        raise MaclError("no room in a_b: make some")

    noted(Job(own, ("r",), ("s",)), "none")
    monkeypatch.setattr(job, "start", full)
    page = press(open_page("archive", archive=own), "Go on")
    assert r"no room in a\_b" in page.error[0].value


def test_running_and_queued_jobs_can_be_stopped(root: Path, own: str) -> None:
    """This process passes for both of theirs; the newest is the last of the queue."""
    first, second = Job(own, ("r",), ("s",)), Job(f"{own}_*two*", ("r",), ("s",))
    about = {"pid": os.getpid(), "total": 40, "done": 10, "left": 30.0, "what": "Embedding images"}
    waiting = {"pid": os.getpid(), "what": "waiting for the archive before it"}
    noted(first, "running", **about)
    noted(second, "running", **waiting)
    locks = [one.process.file("lock") for one in (first, second)]
    for path in locks:
        assert lock(path)
    try:
        page = open_page("archive", archive=own)
        told = [one.value for one in page.markdown if one.value.startswith("**europe")]
        assert told == ["**europe**", r"**europe\_\*two\***"]
        bars = [one.proto.text for one in page.get("progress")]
        assert bars[0].startswith("Embedding images … 10 of 40, 1 a second")
        assert bars[1].startswith("Waiting for the archive before it")
        next(button for button in page.button if button.label == "Stop").click().run()
        assert first.process.is_stopping
        assert not second.process.is_stopping
        assert [one for one in labels(page) if one.startswith("Stop")] == ["Stopping …", "Stop"]
        assert shown(page)["rows"]
    finally:
        for path in locks:
            unlock(path)
