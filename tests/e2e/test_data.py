"""The data page in a real browser: a person's own folder, its views by address and by keyboard."""

import shutil
import zipfile
from pathlib import Path
from urllib.parse import parse_qs, quote, urlparse

import pytest
from playwright.sync_api import Page, expect

from core.data import load
from tests.e2e.conftest import Server, wait

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(scope="module")
def mine(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a broken image, and one scene twice."""
    folder = tmp_path_factory.mktemp("mine")
    for file in tiny.iterdir():
        shutil.copy(file, folder)
    (folder / "scene003.png").write_bytes(b"no image")
    shutil.copy(tiny / "scene010.png", folder / "scene011.png")
    return folder


def test_an_own_folder_from_its_path_to_its_twins(server: Server, mine: Path, page: Page) -> None:
    page.goto(f"{server.url}/data?dataset={quote('Your own images')}&size=96")
    box = page.get_by_role("textbox", name="Its folder or archive")
    box.fill(str(mine))
    box.press("Enter")
    page.get_by_text("Found 160 images").wait_for()
    page.get_by_role("button", name="Look at every image first").press("Enter")
    expect(page.get_by_text("Cannot be read: 1")).to_be_visible()
    page.get_by_text("Cannot be read: 1").click()
    expect(page.get_by_text("scene003.png: not an image")).to_be_visible()
    # by key: what has just been opened still pushes down what lies below, and a click would miss it
    leave_out = page.get_by_role("switch", name="Leave out images that cannot be read")
    leave_out.press("Space")
    expect(leave_out).to_be_checked()
    page.get_by_role("button", name="Prepare the images").press("Enter")
    expect(page.get_by_role("heading", name="159 images")).to_be_visible()

    page.get_by_role("tab", name="Near-duplicates").click()
    page.get_by_role("button", name="Look for near-duplicates").click()
    page.get_by_text("show the same place, ").wait_for()
    page.get_by_role("radio", name="all", exact=True).or_(
        page.get_by_role("button", name="all", exact=True)
    ).first.click()
    figure = page.locator(".twins figure").filter(has_text="scene011.png")
    expect(figure).to_contain_text("similarity 1.00")
    expect(figure).to_contain_text("scene010.png")
    wait(lambda: figure.locator("img").evaluate_all("all => all.every(image => image.naturalWidth > 50)"))

    page.reload()  # the address holds the view
    expect(page.locator(".twins figure").filter(has_text="scene011.png")).to_be_visible()


def test_from_a_combination_to_its_images(
    server: Server, tiny: Path, tmp_path: Path, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Views change by keyboard; a link keeps what was chosen."""
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for file in tiny.iterdir():
            archive.write(file, file.name)
    monkeypatch.setenv("MACL_CACHE", server.environment["MACL_CACHE"])
    load("folder", tmp_path / "mine.zip", image_size=96)
    where = f"folder_root={quote(str(tmp_path / 'mine.zip'))}"
    page.goto(f"{server.url}/data?dataset={quote('Your own images')}&size=96&seed=2&{where}")
    page.get_by_role("tab", name="Labels").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    link = page.locator("[data-testid=stHtml] th a").first
    names, count = link.inner_text(), link.locator("xpath=../../td[1]").inner_text()
    link.click()
    page.wait_for_url("**view=Images**")
    captions = page.locator(".st-key-examples [data-testid=stImageCaption]")
    expect(captions).to_have_count(int(count))
    assert set(captions.all_inner_texts()) == {names}
    query = parse_qs(urlparse(page.url).query)
    assert query["seed"] == ["2"]
    assert query["labels"] == names.split(", ")
    page.get_by_alt_text("augmented versions").wait_for()
