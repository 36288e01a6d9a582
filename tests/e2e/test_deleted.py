"""A run that another tab or the command line deletes while a page shows it: named, and the page goes on."""

import itertools
import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from core import launch, runs, sweep
from core.runs import Run
from tests.e2e.conftest import PATIENCE_MS, Server, wait

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def pair(server: Server, finished_runs: Path) -> list[Run]:
    """MACL and MulSupCon, as they were before each test."""
    server.end_workers()  # one of the test before would write into the folder that is being removed
    shutil.rmtree(server.run_root)
    shutil.copytree(finished_runs, server.run_root)
    return sorted(runs.list_runs(server.run_root), key=lambda run: run.config.loss)


def opened(server: Server, page: Page, name: str, **parameters: str | list[str]) -> None:
    page.goto(f"{server.url}/{name}?{urlencode(parameters, doseq=True)}")


def named(page: Page, gone: str) -> None:
    """The page says what is gone, and nothing of an error."""
    expect(page.get_by_test_id("stAlert").get_by_text(gone).first).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)


def test_mechanism(server: Server, page: Page, pair: list[Run]) -> None:
    opened(server, page, "mechanism", run=pair[0].id, m_b="16")
    heat_maps = page.locator(".heatmaps[data-drawn]")
    expect(heat_maps.first).to_be_visible()
    runs.delete(pair[0])
    page.get_by_role("slider", name="α").press("End")
    named(page, pair[0].id)
    source = page.get_by_role("combobox", name="Embeddings of")
    expect(source).not_to_have_value("MACL · Your own images · instant · seed 0")
    before = heat_maps.first.get_attribute("data-version")
    page.get_by_role("slider", name="β").press("End")  # it goes on with another run
    expect(heat_maps.first).not_to_have_attribute("data-version", before or "")
    expect(page.get_by_test_id("stException")).to_have_count(0)


def test_retrieval(server: Server, page: Page, pair: list[Run]) -> None:
    opened(server, page, "retrieval", runs=[pair[0].id])
    rows = page.locator(".gallery .row h2")
    expect(rows).to_have_text(["MACL · Your own images · instant · seed 0"])
    runs.delete(pair[0])
    page.get_by_role("button", name="Next").click()
    named(page, pair[0].id)
    expect(rows).to_have_text(["MulSupCon · Your own images · instant · seed 0"])
    expect(page.locator(".gallery .tile").first).to_be_visible()


def test_embeddings(server: Server, page: Page, pair: list[Run]) -> None:
    opened(server, page, "embeddings", runs=[run.id for run in pair], projection="PCA")
    pictures = page.locator(".scatter canvas")
    expect(pictures).to_have_count(2)
    runs.delete(pair[0])
    page.locator(".legend button").first.click()
    named(page, pair[0].id)
    expect(pictures).to_have_count(1)


def test_compare(server: Server, page: Page, pair: list[Run]) -> None:
    opened(server, page, "compare", runs=[run.id for run in pair])
    expect(page.get_by_role("figure").first).to_be_visible()
    runs.delete(pair[0])
    page.get_by_role("tab", name="All metrics").click()
    named(page, pair[0].id)
    expect(page.get_by_role("figure").first).to_be_visible()


def test_a_sweep(server: Server, page: Page, pair: list[Run], tiny: Path) -> None:
    """Also with a slider over the surface, which draws a part of the page alone."""
    fields = {"loss": "macl", "dataset": "folder", "data_root": str(tiny), "image_size": 32, "batch_size": 16}
    axes = {"alpha": (0.0, 1.0, 2.0), "beta": (0.0, 1.0)}
    made = sweep.start(sweep.grid("read", "instant", {**fields, "epochs": 2}, axes), server.run_root)
    for run, file in itertools.product(launch.queue(server.run_root), list(pair[0].path.iterdir())):
        if file.is_file() and file.name != "config.json":
            shutil.copy(file, run.path)
    opened(server, page, "sensitivity", s_view="Sweeps", sweep=made.id)
    expect(page.get_by_text("6 of 6 runs finished")).to_be_visible()
    alpha = page.get_by_role("slider", name="α")
    alpha.press("End")
    expect(page.get_by_text("nearest trained: α 2")).to_be_visible()
    first = next(
        run for point, run in sweep.found(made, sweep.known(server.run_root)) if point.at["alpha"] == 0
    )
    assert first is not None
    runs.delete(first)
    alpha.press("Home")
    named(page, "MACL (α=0, β=0)")
    expect(page.get_by_text("5 of 6 runs finished")).to_be_visible()
    alpha.press("End")
    expect(page.get_by_text("nearest trained: α 2")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)


def test_the_live_lab_trains_anew_what_is_gone(
    server: Server, page: Page, pair: list[Run], tiny: Path
) -> None:
    from core import lab
    from core.data import load

    load("folder", tiny, image_size=128)
    opened(server, page, "sensitivity", lab_dataset="Your own images")
    strip = page.get_by_role("button", name="MACL · ")
    expect(strip).to_be_visible(timeout=3 * PATIENCE_MS)
    expect(page.get_by_text("trained in").last).to_be_visible()
    kept = [Run(path.parent) for path in lab.folder(server.run_root).glob("*/config.json")]
    wait(lambda: all(run.state == "finished" for run in kept))  # also the other seeds
    for run in kept:
        shutil.rmtree(run.path)
    page.get_by_role("button", name="Keep as a run").click()
    expect(page.get_by_text("was not kept")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_text("trained in").last).to_be_visible(timeout=3 * PATIENCE_MS)
