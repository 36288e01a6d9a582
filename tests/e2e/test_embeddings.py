"""The embeddings page in a real browser: a lasso in one picture, hover, UMAP that replaces PCA, a reload."""

import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from core import runs
from core.runs import Run
from tests.e2e.conftest import PATIENCE_MS, Server, pick

expect.set_options(timeout=PATIENCE_MS)
HEAR = "(said) => { globalThis.maclScatter = said; dispatchEvent(new Event('macl-scatter')); }"


@pytest.fixture(scope="module")
def two(server: Server, finished_runs: Path) -> list[Run]:
    shutil.copytree(finished_runs, server.run_root, dirs_exist_ok=True)
    return sorted(runs.list_runs(server.run_root), key=lambda run: run.config.loss)


def open_page(server: Server, page: Page, shown: list[Run], **parameters: str) -> None:
    query = urlencode({"runs": [run.id for run in shown], **parameters}, doseq=True)
    page.goto(f"{server.url}/embeddings?{query}")
    expect(page.locator(".scatter canvas")).to_have_count(len(shown))
    expect(page.locator(".scatter[data-drawn]")).to_be_visible()


def lasso(page: Page, panel: int, corners: list[tuple[float, float]]) -> None:
    """Draw around a part of a picture; corners in shares of its width and height."""
    box = page.locator(".scatter canvas").nth(panel).bounding_box()
    assert box is not None
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*at[0])
    page.mouse.down()
    for corner in [*at[1:], at[0]]:
        page.mouse.move(*corner, steps=5)
    page.mouse.up()


def grid(page: Page) -> set[str]:
    return {str(tile.get_attribute("data-name")) for tile in page.locator(".selection .tile").all()}


def test_a_lasso_is_shared_and_survives_a_filter(server: Server, page: Page, two: list[Run]) -> None:
    open_page(server, page, two, projection="PCA")
    names = set(two[0].splits()["test"])
    lasso(page, 0, [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98)])  # everything
    expect(page.locator(".selection")).to_have_attribute("data-total", str(len(names)))
    assert grid(page) == names
    lasso(page, 1, [(0.02, 0.02), (0.5, 0.02), (0.5, 0.98), (0.02, 0.98)])  # the left half of the other
    expect(page.locator(".selection")).not_to_have_attribute("data-total", str(len(names)))
    half = grid(page)
    assert 0 < len(half) < len(names)
    expect(page.locator(".told")).to_have_text(f"{len(half)} of {len(names)} images")

    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.locator(".selection")).to_have_count(0)
    first = page.locator(".legend button").first  # a colour of the legend selects its images
    amount = int(first.locator(".count").inner_text())
    first.click()
    expect(page.locator(".selection")).to_have_attribute("data-total", str(amount))
    expect(first.locator(".count")).to_have_text(f"{amount} of {amount}")
    page.locator(".scatter canvas").first.press("Escape")
    expect(page.locator(".selection")).to_have_count(0)


def point_at_an_image(page: Page) -> None:
    """Move the mouse over a picture until it meets a point; the same one for the same picture."""
    box = page.locator(".scatter canvas").bounding_box()
    assert box is not None
    for step in range(40 * 40):
        x, y = (0.05 + 0.9 * (step % 40) / 39), (0.05 + 0.9 * (step // 40) / 39)
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if page.locator(".scatter .tip").is_visible():
            break


def test_hover_shows_the_image(server: Server, page: Page, two: list[Run]) -> None:
    open_page(server, page, two[:1], projection="PCA")
    point_at_an_image(page)
    expect(page.locator(".tip img")).to_be_visible()
    assert page.locator(".tip .name").inner_text() in two[0].splits()["test"]


def test_hover_shows_what_belongs_to_the_drawing(server: Server, page: Page, two: list[Run]) -> None:
    open_page(server, page, two[:1], projection="PCA")
    point_at_an_image(page)
    expect(page.locator(".tip img")).to_be_visible()
    late = page.evaluate("globalThis.maclScatter")
    pick(page, "Colour", "Average precision as query")
    expect(page.locator(".legend b")).to_contain_text("as query")
    page.mouse.move(0, 0)
    point_at_an_image(page)  # the same one: its AP was not known before
    expect(page.locator(".tip .more")).to_contain_text("AP Medium")
    expect(page.locator(".tip img")).to_be_visible()
    page.evaluate(HEAR, late)
    expect(page.locator(".tip .more")).to_contain_text("AP Medium")


def test_hover_asks_again_when_images_are_open(server: Server, page: Page, two: list[Run]) -> None:
    open_page(server, page, two[:1], projection="PCA")
    point_at_an_image(page)
    expect(page.locator(".tip img")).to_be_visible()
    said = page.evaluate("globalThis.maclScatter")
    names = [{**one, "uri": ""} for one in said["pictures"]]
    page.evaluate(HEAR, {**said, "pictures": names, "open": False})
    expect(page.locator(".tip img")).to_have_count(0)
    page.evaluate(HEAR, {**said, "pictures": said["pictures"][-1:]})  # open, and nothing but another point
    page.mouse.move(0, 0)
    point_at_an_image(page)
    expect(page.locator(".tip img")).to_be_visible()


def test_umap_replaces_pca_and_a_reload_has_it_at_once(server: Server, page: Page, two: list[Run]) -> None:
    open_page(server, page, two)
    expect(page.locator(".scatter .note").last).to_contain_text("UMAP · trustworthiness", timeout=200_000)
    layouts = sorted((Path(server.environment["MACL_CACHE"]) / "projections" / "layouts").iterdir())
    made = [
        path.stat().st_ino for path in layouts
    ]  # when they were used is noted at each; anew is a new file
    page.reload()
    expect(page.locator(".scatter .note").first).to_contain_text("UMAP · trustworthiness")
    expect(page.get_by_text("PCA for now")).to_have_count(0)
    assert [path.stat().st_ino for path in layouts] == made


def test_the_slider_goes_through_training(server: Server, page: Page, two: list[Run]) -> None:
    open_page(server, page, two, projection="PCA", training="true")
    slider = page.locator('.frames input[type="range"]')
    expect(page.locator(".frames output")).to_have_text("epoch 2 of 2")
    page.get_by_role("switch", name="Through training").press("Space")
    expect(slider).to_have_count(0)
    page.get_by_role("switch", name="Through training").press(
        "Space"
    )  # begins with the picture that was there
    expect(page.locator(".frames output")).to_have_text("epoch 2 of 2")
    expect(page.locator(".scatter .note").first).to_contain_text("after epoch 2")
    slider.press("Home")
    expect(page.locator(".frames output")).to_have_text("epoch 0 of 2")
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".frames output")).to_have_text("epoch 2 of 2")
