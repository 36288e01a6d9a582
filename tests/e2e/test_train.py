"""The train page and the quick start as a person uses them, in a real browser."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from core.runs import Run
from tests.e2e.conftest import PATIENCE_MS, Server, end, field, last_step, wait


def test_quick_start_leads_to_the_images(server: Server, page: Page) -> None:
    page.goto(server.url)
    page.get_by_role("button", name="Train MACL and MulSupCon").click()
    expect(page.get_by_text("drawing").or_(page.get_by_text("queued")).first).to_be_visible()
    page.reload()  # the runs are in the address: nothing is lost
    expect(page.get_by_text("Both have finished")).to_be_visible(timeout=4 * PATIENCE_MS)
    assert last_step(page) > 100
    page.get_by_role("link", name="See the images they retrieve").click()
    expect(page.get_by_role("heading", name="Retrieval")).to_be_visible()
    page.wait_for_url(re.compile("runs=.+runs="))


def test_a_run_is_started_from_the_form_and_its_curve_appears(server: Server, page: Page, tiny: Path) -> None:
    page.goto(f"{server.url}/train?dataset=Your+own+images&loss=LBase")
    folder = field(page, "Its folder or archive")
    folder.fill(str(tiny))
    folder.press("Enter")
    page.get_by_text("Settings of the preset").click()
    for label, value in (("Image size", 32), ("Batch size", 16), ("Epochs", 3)):
        field(page, label).fill(str(value))
        field(page, label).press("Enter")
    page.get_by_text("The same on the command line").click()
    expect(page.get_by_text("--epochs 3").first).to_be_visible()
    page.get_by_role("button", name="Start the run").click()
    wait(lambda: last_step(page) == 21)  # 112 training images: 7 steps in an epoch
    (run,) = [run for run in map(Run, server.run_root.glob("*-folder-lbase-*"))]
    wait(lambda: run.state == "finished")
    assert f"runs={run.id}" in page.url


def test_a_reload_in_the_middle_brings_the_curve_back(server: Server, page: Page, long_run: Run) -> None:
    page.goto(f"{server.url}/train?runs={long_run.id}&smooth=0.5")
    wait(lambda: last_step(page) > 0)
    before = last_step(page)
    page.reload()
    wait(lambda: last_step(page) > before)
    assert f"runs={long_run.id}" in page.url
    expect(page.get_by_role("slider", name="Smoothing")).to_have_value("0.5")
    expect(page.get_by_text("images/s").first).to_be_visible()


def test_stop_says_that_it_has_stopped_and_resume_goes_on(server: Server, page: Page, long_run: Run) -> None:
    page.goto(f"{server.url}/train?runs={long_run.id}")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("has stopped after step")).to_be_visible()
    stopped_at = long_run.history()[-1]["step"]
    assert long_run.state == "stopped"
    page.get_by_role("button", name="Resume", exact=True).click()
    wait(lambda: long_run.state == "running" and long_run.history()[-1]["step"] > stopped_at)
    expect(page.get_by_text("has stopped after step")).to_be_hidden()
    wait(lambda: last_step(page) > stopped_at)


def test_what_is_being_typed_survives_the_refreshes(server: Server, page: Page, long_run: Run) -> None:
    page.goto(f"{server.url}/train?runs={long_run.id}")
    wait(lambda: last_step(page) > 0)
    seeds = field(page, "Seeds")
    seeds.fill("")
    seeds.press_sequentially("0-4")  # not committed: the field still has the focus
    page.get_by_text("Saved configuration").click()
    seeds.focus()
    page.evaluate("() => { window.first = document.querySelector('.js-plotly-plot .main-svg') }")
    before = last_step(page)
    wait(lambda: last_step(page) > before)
    assert page.evaluate("() => document.contains(window.first)")  # refreshed in place: it does not flicker
    end(long_run)  # the state changes: the whole page is drawn anew
    expect(page.get_by_text("has stopped after step")).to_be_visible()
    expect(seeds).to_have_value("0-4")
    expect(page.get_by_text("config.json of")).to_be_visible()
