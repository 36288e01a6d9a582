"""An archive in a real browser: made from drawn scenes with two runs, searched by a result, marked."""

import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from core import archive, runs
from core.archive import marks
from tests.app.archive.test_page_archive_text import FOLDER, LABEL, NAME, RUN, filled
from tests.e2e.conftest import PATIENCE_MS, Server, field, wait

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module", autouse=True)
def _runs(server: Server, trained_runs: Path) -> None:
    shutil.copytree(trained_runs, server.run_root, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def tiles(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles")
    for index in range(40):
        shutil.copy(tiny / f"scene{index:03d}.png", folder)
    (folder / "broken.png").write_bytes(b"no")
    return folder


def names(page: Page, row: int) -> list[str]:
    tiles = page.locator(".row").nth(row).locator(".tile")
    return [tile.get_attribute("data-name") or "" for tile in tiles.all()]


def test_make_an_archive_search_by_a_result_and_mark(
    server: Server, page: Page, tiles: Path, tmp_path: Path
) -> None:
    place = tmp_path / "europe"
    page.goto(f"{server.url}/archive")
    page.get_by_text("No archive yet").wait_for()
    field(page, "Folder of the archive").fill(str(place))
    page.get_by_role("textbox", name="Images: folders, archives or scenes").fill(str(tiles))
    for _ in runs.list_runs(server.run_root):
        page.get_by_role("combobox", name="Embedded by").click()
        page.get_by_role("option").first.click()
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Embed the images").click()
    page.get_by_text("images added:").wait_for(timeout=3 * PATIENCE_MS)
    page.get_by_text("Cannot be read: 1", exact=True).click()
    expect(page.get_by_text("broken.png: not an image")).to_be_visible()
    page.get_by_role("button", name="Dismiss").click()
    assert [len(part) for part in archive.parts(place)] == [40, 40]

    expect(page.locator(".tile img")).to_have_count(16)
    parts = archive.parts(place)
    third = names(page, 0)[2]
    page.locator(".row").first.locator(".tile").nth(2).click()
    expect(page.locator(f'.query[data-name="{third}"], .query').first).to_contain_text("scene")
    page.wait_for_url(f"**query=like*{third.removeprefix('like:')}*")
    expect(page.get_by_role("button", name="Earlier query scene000.png")).to_be_visible()
    number = int(third.removeprefix("like:"))
    for row, part in enumerate(parts):
        hits = part.search(part.vectors([number])[0], 9).hits
        expected = [f"like:{hit.record.id}" for hit in hits if hit.record.id != number][:8]
        wait(lambda row=row, expected=expected: names(page, row) == expected)

    best = [int(name.removeprefix("like:")) for name in names(page, 0)[:2]]
    page.locator(".row").first.get_by_role("button", name="Right:").first.click()
    expect(page.locator('.act[aria-pressed="true"]').first).to_be_visible()
    expect(page.get_by_text("precision@8 100 %").first).to_be_visible()
    page.locator(".row").first.locator(".tile").nth(1).focus()
    page.keyboard.press("n")
    expect(page.get_by_text("precision@8 50 %").first).to_be_visible()
    (held,) = marks.read(place).values()
    assert held == {best[0]: True, best[1]: False}

    page.locator(".row").first.get_by_role("button", name="Also wanted:").nth(3).click()
    page.get_by_role("combobox", name="Also wanted").wait_for()
    page.wait_for_url("**plus=*")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 3

    page.reload()
    expect(page.locator(".tile img")).to_have_count(16)
    page.get_by_role("combobox", name="Also wanted").wait_for()
    page.go_back()
    expect(page.get_by_role("combobox", name="Also wanted")).to_have_count(0)
    assert "Traceback" not in server.log()


def test_names_from_outside_are_text_and_nothing_else(server: Server, page: Page, tmp_path: Path) -> None:
    place = tmp_path / FOLDER
    filled(place)
    marks.mark(place, LABEL, 3, True)
    said: list[str] = []
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    link = urlencode(
        {
            "archive": place, "looking": LABEL, "minus": 5, "runs": NAME, "labels": LABEL,
            "query": f"image:{NAME}",
        }
    )  # fmt: skip
    page.goto(f"{server.url}/archive?{link}")
    expect(page.locator(".tile")).to_have_count(8)
    expect(page.locator(".tile").first).to_contain_text(NAME)
    expect(page.locator(".row h2")).to_have_text(RUN)
    expect(page.get_by_text(f"image:{NAME} is not in this archive")).to_be_visible()
    page.get_by_text("Map", exact=True).click()
    expect(page.locator(".js-plotly-plot")).to_be_visible()
    page.get_by_text("Archives: ").click()
    expect(page.get_by_role("rowheader", name=str(place))).to_be_visible()
    page.get_by_role("button", name="Filter").click()
    page.get_by_text("Exact, without the index").wait_for()
    assert page.locator('img[src="x"], img[src="y"], img[src^="http"], a[href^="mailto"]').count() == 0
    assert said == []
