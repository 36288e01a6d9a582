"""The mode bar of every chart: a PNG and an SVG to keep, and nothing that would send a chart away."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.e2e.conftest import Server, wait

# each with what its charts are called
CHARTS = {
    "data?dataset=Demo+scenes&size=128": "labels",
    "data?dataset=Demo+scenes&size=128&view=Together": "together",
    "train": "curves",
    "compare?figure=All+metrics": "metrics",
    "compare?figure=Labels": "labels-0",
    "mechanism?m_view=Which+labels+gain": "label-shares",
}


@pytest.fixture(autouse=True)
def _runs(server: Server, finished_runs: Path) -> None:
    from core.data import load

    shutil.copytree(finished_runs, server.run_root, dirs_exist_ok=True)
    load("demo", image_size=128)


@pytest.mark.parametrize("address", CHARTS)
def test_a_chart_is_saved_and_never_shared(server: Server, page: Page, address: str) -> None:
    page.goto(f"{server.url}/{address}")
    plots = page.locator(".js-plotly-plot")
    plots.first.locator(".modebar-btn").first.wait_for(state="attached")
    for plot in plots.all():
        titles = plot.locator(".modebar-btn").evaluate_all("all => all.map(one => one.dataset.title)")
        assert {"Save as PNG", "Save as SVG", "Fullscreen"} <= set(titles)
        assert len(titles) == len(set(titles))  # no second, own one of the library
        assert not [title for title in titles if "hare" in title or "loud" in title or "Download" in title]
        assert plot.locator(".modebar-btn--logo").count() == 0
        assert plot.evaluate("plot => plot._context.plotlyServerURL") == ""
        assert plot.evaluate("plot => plot._context.showSendToCloud") is False
    plot = plots.first
    plot.scroll_into_view_if_needed()
    plot.hover()
    files = {}
    for kind in ("SVG", "PNG"):
        with page.expect_download() as download:
            plot.locator(f'[data-title="Save as {kind}"]').click()
        assert download.value.suggested_filename.endswith(f"{CHARTS[address]}.{kind.lower()}")
        files[kind] = Path(download.value.path()).read_bytes()
    assert files["SVG"].startswith(b"<svg")
    assert b"</svg>" in files["SVG"][-20:]
    assert files["PNG"].startswith(b"\x89PNG")


def test_a_chart_fills_the_screen_and_comes_back(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/train")
    plot = page.locator(".js-plotly-plot").first
    plot.locator(".modebar-btn").first.wait_for(state="attached")
    height = plot.evaluate("plot => plot._fullLayout.height")
    for tall in (900, height):
        plot.hover()
        plot.locator('[data-title="Fullscreen"]').click()
        wait(lambda tall=tall: plot.evaluate("plot => plot._fullLayout.height") == tall)


def test_a_chart_follows_the_theme(server: Server, page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(f"{server.url}/train")
    plot = page.locator(".js-plotly-plot").first
    plot.wait_for()
    for scheme, color in (("light", "rgb(23, 34, 43)"), ("dark", "rgb(230, 237, 242)")):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        wait(lambda color=color: plot.evaluate("plot => plot.layout?.font.color") == color)
