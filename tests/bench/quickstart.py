"""From nothing to the retrieval grid in a real browser: `python -m tests.bench.quickstart`.

A server with an empty cache and no runs; the click on the home page's button; the link to the images as soon
as it is there. Then everything is started anew, worker included, and the same click again. Each phase is
printed, from what the runs say in their logs and from the times of their files.
"""

import contextlib
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from core.queue import launch
from core.runs import Run, list_runs
from tests.bench import measured, verdict
from tests.e2e.conftest import CHROMIUM, FLAGS, PATIENCE_MS, Server

FIRST_BAR, AGAIN_BAR = 15.0, 5.0  # seconds from the click to the grid
ANSWER_BAR, PAINT_BAR = 5.0, 3.0  # seconds to the server's first answer, and to the first page
TILES = 12  # two runs, six images each
LOOK_MS = 30  # Playwright's own waiting looks every half second


class Missed:
    """Prints figures beside their bars and remembers whether one was missed."""

    def __init__(self) -> None:
        self.any = False

    def report(self, what: str, seconds: float, bar: float) -> None:
        self.any |= not measured(what, seconds, "s", bar, preset="instant")
        print(f"{what:<52} {seconds:5.1f} s (bar {bar:.0f} s), load {os.getloadavg()[0]:.1f}", flush=True)


def main() -> int:
    """Print every phase beside its bar; 1 if one is missed."""
    missed = Missed()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for turn, bar in (("first start", FIRST_BAR), ("second start", AGAIN_BAR)):
            with started(Path(scratch), turn, missed) as server, tab(browser) as page:
                began = time.perf_counter()
                page.goto(server.url)
                until(page, lambda page=page: page.get_by_role("button", name="Train MACL").is_visible())
                missed.report(f"{turn}: first page painted", time.perf_counter() - began, PAINT_BAR)
                missed.report(f"{turn}: click to grid", click_to_grid(page, server), bar)
        browser.close()
    return verdict(missed.any)


@contextlib.contextmanager
def started(home: Path, turn: str, missed: Missed) -> Iterator[Server]:
    """A server on the runs and the cache in `home`; it and its workers are gone afterwards."""
    server = Server(home, home / "cache")
    server.run_root.mkdir(exist_ok=True)
    server.command = [str(Path(sys.executable).with_name("macl")), "app"]  # what `make app` calls
    began = time.perf_counter()
    server.start()
    missed.report(f"{turn}: server answers", time.perf_counter() - began, ANSWER_BAR)
    try:
        yield server
    finally:
        server.kill(signal.SIGTERM)
        for about in launch.workers(server.run_root).values():
            os.kill(int(str(about["pid"])), signal.SIGKILL)


@contextlib.contextmanager
def tab(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


def until(page: Page, happened: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + 4 * PATIENCE_MS / 1000
    while not happened():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"it did not happen in time on {page.url}")
        page.wait_for_timeout(LOOK_MS)


def click_to_grid(page: Page, server: Server) -> float:
    """Seconds from the click until the images of both runs are seen; prints where they went."""
    before = {run.id for run in list_runs(server.run_root)}
    clicked = time.time()  # the clock of the files
    page.get_by_role("button", name="Train MACL").click()
    link = page.get_by_role("link", name="See the images they retrieve")
    until(page, link.is_visible)
    linked = time.time()
    link.click()
    tiles = page.locator(".tile img")
    until(page, lambda: tiles.count() == TILES)
    if not all(tiles.evaluate_all("all => Promise.all(all.map(img => img.decode().then(() => true)))")):
        raise RuntimeError("the grid has no pictures")
    seen = time.time()
    made = [run for run in list_runs(server.run_root) if run.id not in before]
    phases(made, clicked, linked, seen)
    return seen - clicked


def phases(made: list[Run], clicked: float, linked: float, seen: float) -> None:
    """Print what the time from the click to the grid was spent on."""
    at = clicked
    for run in sorted(made, key=lambda run: modified(run, "started")):
        began, ended = modified(run, "started"), modified(run, "scores.json")
        images, features = said(run, r"images ready after"), said(run, r"encoder ready after")
        training = said(run, r"training took")
        line("waiting for the worker", began - at)
        line(f"{run.config.loss}: images", images)
        line(f"{run.config.loss}: features and head", features)
        line(f"{run.config.loss}: training", training)
        line(f"{run.config.loss}: scores and files", ended - began - images - features - training)
        at = ended
    line("page: link to the images", linked - at)
    line("page: grid", seen - linked)


def modified(run: Run, name: str) -> float:
    return (run.path / name).stat().st_mtime


def said(run: Run, what: str) -> float:
    """The seconds after these words in a run's log."""
    found = re.search(rf"{what} ([\d.]+) s", run.log)
    if found is None:
        raise RuntimeError(f"{run.id} said nothing like {what!r}: {run.log}")
    return float(found[1])


def line(what: str, seconds: float) -> None:
    print(f"    {what:<48} {seconds:5.2f} s")


if __name__ == "__main__":
    sys.exit(main())
