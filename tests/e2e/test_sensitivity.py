"""The live lab and a sweep in a real browser: a slider trains, fast moves leave one training."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.sensitivity.lab import SIZE
from core import runs
from core.data import load
from core.experiments import lab, sweep
from core.queue import launch
from core.runs import Run
from tests.e2e.conftest import PATIENCE_MS, Server, wait


@pytest.fixture(scope="module", autouse=True)
def _runs(server: Server, finished_runs: Path, tiny: Path) -> None:
    shutil.copytree(finished_runs, server.run_root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", server.environment["MACL_CACHE"])
        load("folder", tiny, image_size=SIZE)


def going(server: Server) -> list[Run]:
    """The lab's trainings that nobody has asked to stop."""
    found = [Run(path.parent) for path in lab.folder(server.run_root).glob("*/config.json")]
    return [run for run in found if run.state in ("queued", "running") and not (run.path / "stop").exists()]


def test_a_slider_trains_and_twenty_moves_leave_one_training(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/sensitivity?lab_dataset=Your+own+images")
    values = page.get_by_test_id("stMetricValue")
    expect(values.first).to_have_text(re.compile(r"\d"), timeout=3 * PATIENCE_MS)
    slider = page.get_by_role("slider", name="α")
    slider.press("End")
    expect(page.get_by_text("MACL (α=3.0)").or_(page.get_by_text("MACL (α=3)")).first).to_be_visible()
    expect(values.first).to_have_text(re.compile(r"\d"))
    expect(page.locator(".tile img")).to_have_count(12)
    expect(page.get_by_text(re.compile("3 seeds [+−-]")).first).to_be_visible()

    def tried() -> list[Run]:
        return [r for r in lab.trail(server.run_root) if r.config.params["alpha"] == 3.0]

    wait(lambda: bool(tried()))
    expect(values.first).to_have_text(f"{100 * tried()[0].scores()['metrics']['map_sim']:.1f}")

    beta = page.get_by_role("slider", name="β")
    beta.focus()
    for _ in range(20):
        beta.press("ArrowRight")
    expect(page.get_by_text("β=0.3").first).to_be_visible()
    wait(lambda: sum(run.config.seed == 0 for run in going(server)) <= 1)
    expect(values.first).to_have_text(re.compile(r"\d"))
    page.reload()  # the settings are in the address, the trainings are kept
    expect(page.get_by_text("β=0.3").first).to_be_visible()
    expect(page.get_by_role("button", name=re.compile(r"β=0.3.*· \d"))).to_be_visible()


def test_a_sweep_survives_the_death_of_worker_and_server(server: Server, page: Page, tiny: Path) -> None:
    fields = {
        "dataset": "folder", "data_root": str(tiny), "image_size": 32, "batch_size": 16, "epochs": 20,
    }  # fmt: skip
    before = len(runs.list_runs(server.run_root))
    axes = {"alpha": (0.0, 1.0, 2.0), "beta": (0.0, 1.0)}
    made = sweep.start(sweep.grid("survivor", "instant", fields, axes), server.run_root)

    def finished() -> int:
        pairs = sweep.found(made, sweep.known(server.run_root))
        return sum(run is not None and run.state == "finished" for _, run in pairs)

    wait(lambda: finished() >= 2)
    for about in launch.workers(server.run_root).values():
        os.kill(int(str(about["pid"])), signal.SIGKILL)
    server.kill()
    server.start()
    page.goto(f"{server.url}/sensitivity?s_view=Sweeps&sweep={made.id}")  # it starts a worker for what waits
    expect(page.get_by_text("6 of 6 runs finished")).to_be_visible(timeout=2 * PATIENCE_MS)
    assert len(runs.list_runs(server.run_root)) == before + 6
    expect(page.get_by_text("T · temperature").first).to_be_visible()
    reading = page.get_by_text(re.compile(r"· (trained|read between)"))
    expect(reading).to_be_visible()
    page.get_by_role("slider", name="α").press("End")
    expect(page.get_by_text("nearest trained: α 2")).to_be_visible()
    page.get_by_role("link", name="its images").click()
    expect(page.get_by_role("heading", name="Retrieval")).to_be_visible()
