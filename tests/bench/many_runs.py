"""Hundreds of runs on the train page of a real browser: `python -m tests.bench.many_runs`.

The list until it is quiet, then all of them chosen, deleted, and brought back.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from core.queue import launch
from tests.bench import measured, sized, verdict
from tests.bench.quickstart import LOOK_MS, tab
from tests.e2e.conftest import CHROMIUM, FLAGS, ROOT, Server

RUNS = sized(300, 25)
BAR = 2.0  # seconds for each
QUIET_LOOKS = 8


def main() -> int:
    """Print the seconds of each action beside the bar; 1 if one is missed."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        server = Server(Path(scratch), Path(scratch) / "cache")
        fill(server.run_root, RUNS)
        server.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            with tab(browser) as page:
                taken = actions(page, server)
        finally:
            browser.close()
            server.kill(signal.SIGTERM)
            for about in launch.workers(server.run_root).values():
                os.kill(int(str(about["pid"])), signal.SIGKILL)
    for what, seconds in taken.items():
        print(f"{RUNS} runs: {what:<12} {seconds:4.1f} s (bar {BAR:.0f} s), load {os.getloadavg()[0]:.1f}")
    held = [measured(f"{RUNS} runs: {what}", seconds, "s", BAR) for what, seconds in taken.items()]
    return verdict(not all(held))


def fill(root: Path, number: int) -> None:
    """So many finished runs, copies of the recorded ones with seeds of their own."""
    recorded = sorted(path.parent for path in (ROOT / "assets" / "recorded").glob("*/config.json"))
    for n in range(number):
        name = f"20261128-{n // 3600:02d}{n // 60 % 60:02d}{n % 60:02d}.000-demo-s{n}-{n:04x}"
        copy = shutil.copytree(recorded[n % len(recorded)], root / name)
        (copy / "recorded").unlink()
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, "seed": n}))


def actions(page: Page, server: Server) -> dict[str, float]:
    """Seconds of each action, until the page is quiet and shows what came of it."""
    folders = list(server.run_root.glob("[0-9]*"))
    page.goto(f"{server.url}/train")  # of a server that has just started
    until_quiet(page, lambda: page.get_by_text("Delete").count() > 0)
    began = time.perf_counter()
    page.reload()
    taken = {"list": until_quiet(page, lambda: page.get_by_text("Delete").count() > 0) - began}
    grid = page.locator("canvas[data-testid=data-grid-canvas]").first.bounding_box()
    if grid is None:
        raise RuntimeError("the list of runs is not there")
    began = time.perf_counter()
    page.mouse.click(grid["x"] + 16, grid["y"] + 18)  # the box above all boxes
    delete = page.get_by_role("button", name=f"Delete {len(folders)}")
    taken["select all"] = until_quiet(page, delete.is_visible) - began
    if page.url.count("runs=") > 20:
        raise RuntimeError(f"the address names {page.url.count('runs=')} runs")
    began = time.perf_counter()
    delete.click()
    undo = page.get_by_role("button", name="Undo")
    taken["delete"] = until_quiet(page, undo.is_visible) - began
    if any(folder.exists() for folder in folders):
        raise RuntimeError("runs are left that were deleted")
    began = time.perf_counter()
    undo.click()
    taken["undo"] = until_quiet(page, lambda: not undo.is_visible()) - began
    if not all(folder.exists() for folder in folders):
        raise RuntimeError("runs are gone that were brought back")
    return taken


def until_quiet(page: Page, happened: Callable[[], bool]) -> float:
    """Wait until it has happened and the script rests; the time at which the rest began."""
    app, began, still = page.locator("[data-testid=stApp]"), time.perf_counter(), 0
    deadline = began + 300
    while still < QUIET_LOOKS:
        if time.perf_counter() > deadline:
            raise TimeoutError(f"it did not happen in time on {page.url}")
        if app.get_attribute("data-test-script-state") == "notRunning" and happened():
            began = began if still else time.perf_counter()
            still += 1
        else:
            still = 0
        page.wait_for_timeout(LOOK_MS)
    return began


if __name__ == "__main__":
    sys.exit(main())
