"""From a training to the next, in a real browser: an archive of other scenes, searched, marked, exported.

What a training ranks is nobody's promise: marks go to whatever is found.
"""

import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from core import archive
from core.archive import marks
from core.runs import Run, list_runs
from tests.e2e.conftest import PATIENCE_MS, Server, field, last_step, wait

expect.set_options(timeout=PATIENCE_MS)
SHOWN = 14  # results; all of them are marked
LONG_MS = 10 * PATIENCE_MS  # of what takes a quiet machine 20 s


def finished(server: Server, number: int) -> Run:
    """The last run, once there are so many and it has ended."""
    wait(lambda: len(list_runs(server.run_root)) == number)
    run = max(list_runs(server.run_root), key=lambda run: run.id)
    wait(lambda: run.state not in ("queued", "running"), LONG_MS / 1000)
    assert run.state == "finished", run.error
    return run


def look_for(page: Page, name: str) -> None:
    box = field(page, "What you look for")
    still(page)
    box.fill(name)
    box.press("Enter")
    expect(page.get_by_text(f"{name}: 0 right, 0 wrong")).to_be_visible()
    expect(page.locator('.act[aria-pressed="true"]')).to_have_count(0)


def still(page: Page) -> None:
    """Wait until the page is drawn: what is pressed on a grid that is just being replaced is lost."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.locator(".gallery.busy")).to_have_count(0)


def mark(page: Page, keys: str) -> None:
    """Each result by its key, Y or N, from the keyboard alone."""
    for number, key in enumerate(keys):
        still(page)
        tile = page.locator(".tile").nth(number)
        tile.focus()
        tile.press(key)
        expect(page.locator('.act[aria-pressed="true"]')).to_have_count(number + 1)


@pytest.mark.timeout(1200)  # a busy machine embeds some ten images a second
def test_an_archive_becomes_a_data_set_that_is_trained_on(
    server: Server, page: Page, archives: Path, tmp_path: Path
) -> None:
    page.goto(f"{server.url}/train?loss=MulSupCon")
    page.get_by_role("button", name="Start the run").click()
    first = finished(server, 1)
    assert first.config.dataset == "demo"

    place, scenes = tmp_path / "scenes", archives / "AID_multilabel.zip"
    page.goto(f"{server.url}/archive")
    field(page, "Folder of the archive").fill(str(place))
    page.get_by_role("textbox", name="Images: folders, archives or scenes").fill(str(scenes))
    page.get_by_role("combobox", name="Embedded by").click()
    page.get_by_role("option").first.click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Embed the images").click()
    page.get_by_text("images added:").wait_for(timeout=LONG_MS)
    with zipfile.ZipFile(scenes) as held:
        names = [name for name in held.namelist() if name.endswith(".jpg")]  # 3,000
        asked = {"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": held.read(names[0])}
    (part,) = archive.parts(place)
    assert (len(part), part.encoder.run) == (len(names), first.id)

    page.goto(f"{server.url}/archive?archive={quote(str(place))}&k={SHOWN}")
    expect(page.locator(".tile img")).to_have_count(SHOWN)
    page.get_by_role("button", name="Upload an image").click()
    page.locator('input[type="file"]').set_input_files(asked)  # type: ignore[arg-type]
    expect(page.locator(".query .name")).to_have_text("mine.jpg")
    expect(page.locator(".tile").first).to_contain_text("1.00")  # the same image
    page.keyboard.press("Escape")

    look_for(page, "busy")
    mark(page, "y" * SHOWN)
    look_for(page, "green")
    mark(page, "yn" * (SHOWN // 2))
    given = marks.read(place)
    assert [sum(given[name].values()) for name in ("busy", "green")] == [SHOWN, SHOWN // 2]
    expect(page.get_by_text(f"precision@{SHOWN} 50 %")).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("button", name="Marked: ZIP").click()
    taken = tmp_path / download.value.suggested_filename
    download.value.save_as(taken)
    page.goto(f"{server.url}/data?dataset={quote('Your own images')}")
    box = page.get_by_role("textbox", name="Its folder or archive")
    box.fill(str(taken))
    box.press("Enter")
    page.get_by_text(f"Found {SHOWN} images").wait_for()
    page.get_by_role("button", name="Prepare the images").press("Enter")
    page.get_by_role("heading", name=f"{SHOWN} images, 2 labels").wait_for()
    page.get_by_role("link", name="Train on this data set").click()
    page.get_by_role("button", name="Start 2 runs").click()
    second = finished(server, 3)
    assert second.config.data_root == str(taken)
    assert second.classes() == ["busy", "green"]
    page.wait_for_url(f"**runs={second.id}*")
    wait(lambda: last_step(page) == second.history()[-1]["step"])
