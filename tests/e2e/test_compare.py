"""The compare page in a real browser: the file that is saved equals the table that is seen; permalinks."""

import io
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from core import runs
from core.metrics import METRICS
from tests.e2e.conftest import PATIENCE_MS, Server, pick

OWN = "compare?datasets=Your+own+images"  # without the runs that came with the product


@pytest.fixture(autouse=True)
def _runs(server: Server, finished_runs: Path) -> None:
    """Two finished runs, and a second seed of one of them with scores of its own."""
    shutil.copytree(finished_runs, server.run_root, dirs_exist_ok=True)
    first = next(run for run in runs.list_runs(finished_runs) if run.config.loss == "macl")
    second = server.run_root / f"{first.id}-second"
    if not second.exists():
        shutil.copytree(first.path, second)
        (second / "config.json").write_text(first.config.model_copy(update={"seed": 1}).model_dump_json())
        text = (second / "scores.json").read_text()
        (second / "scores.json").write_text(re.sub(r"(?<=\d\.)\d", "3", text))


def seen(page: Page) -> list[list[str]]:
    """Rows of the first table as a person reads them."""
    page.locator("table tbody tr").first.wait_for()
    rows: list[list[str]] = page.evaluate(
        "() => [...document.querySelector('table').tBodies[0].rows].map(row => [...row.cells].map(cell => {"
        " const copy = cell.cloneNode(true);"
        " copy.querySelectorAll('.unseen').forEach(mark => mark.remove());"
        " return copy.textContent.trim(); }))"
    )
    return rows


def test_the_csv_equals_the_table(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/{OWN}")
    table = seen(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    frame = pd.read_csv(io.StringIO(Path(download.value.path()).read_text()), dtype={"seeds": str})
    assert list(frame.method) == [row[0] for row in table]
    for line, row in zip(frame.itertuples(), table, strict=True):
        assert row[1] == str(len(line.seeds.split()))
        for key, cell in zip(METRICS, row[2:], strict=True):
            mean, _, spread = cell.partition(" ± ")
            assert getattr(line, key) == float(mean)
            assert str(getattr(line, f"{key}_std")) == (str(float(spread)) if spread else "nan")
    assert any("±" in cell for row in table for cell in row)


def test_a_filter_is_in_the_address_and_in_a_second_browser(
    server: Server, page: Page, browser: Browser
) -> None:
    page.goto(f"{server.url}/{OWN}")
    seen(page)
    pick(page, "Losses", "MulSupCon")
    page.wait_for_url(re.compile("losses=MulSupCon"))
    expect(page.locator("table").first.locator("tbody tr")).to_have_count(3)  # not while it is replaced
    shown = seen(page)
    other = browser.new_context()
    second = other.new_page()
    second.set_default_timeout(PATIENCE_MS)
    second.goto(page.url)
    assert seen(second) == shown
    assert [row[0] for row in shown] == ["chance", "MulSupCon", "oracle"]
    other.close()


def test_light_and_dark_follow_the_theme(server: Server, browser: Browser) -> None:
    colours = []
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        tab = context.new_page()
        tab.set_default_timeout(PATIENCE_MS)
        tab.goto(f"{server.url}/{OWN}")
        cell = tab.locator("table tbody td strong").first
        cell.wait_for()
        colours.append(cell.evaluate("cell => getComputedStyle(cell).color"))
        assert tab.locator("table").first.evaluate(
            "table => table.scrollWidth <= table.parentElement.clientWidth"
        )
        context.close()
    assert colours[0] == "rgb(23, 34, 43)"
    assert colours[1] == "rgb(230, 237, 242)"


def test_a_baseline_is_kept_over_a_reload_and_a_narrow_page_does_not_scroll_sideways(
    server: Server, page: Page
) -> None:
    page.set_viewport_size({"width": 480, "height": 900})
    page.goto(f"{server.url}/{OWN}")
    seen(page)
    pick(page, "Compare with", "MulSupCon")
    page.wait_for_url(re.compile("baseline=MulSupCon"))
    page.reload()
    expect(page.locator("table .against").first).to_be_attached()
    expect(page.get_by_text("nothing may be concluded about MulSupCon")).to_be_visible()
    for tab in ("All metrics", "Labels"):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        page.locator(".js-plotly-plot .xtick").first.wait_for()
        assert page.evaluate(
            "() => { const main = document.querySelector('[data-testid=stMain]');"
            " return main.scrollWidth <= main.clientWidth; }"
        )
