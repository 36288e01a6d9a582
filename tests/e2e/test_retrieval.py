"""The retrieval page in a real browser: click, keys, history, own images, regions, a link elsewhere."""

import shutil
import time
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from app.retrieval import why
from core import runs
from core.runs import Run, RunConfig
from core.training import loop
from tests.core.retrieval.test_upload import png_bomb
from tests.e2e.conftest import PATIENCE_MS, Server


def brute_force(run: Run, name: str, k: int = 6) -> list[str]:
    """Names of the k nearest test images, by a stable sort of float64 cosines, one by one."""
    z, _ = run.embeddings()
    names = run.splits()["test"]
    mine = z[names.index(name)].astype(np.float64)
    cosine = {i: float((row.astype(np.float64) * mine).sum()) for i, row in enumerate(z) if names[i] != name}
    return [names[i] for i in sorted(cosine, key=lambda i: -cosine[i])[:k]]


def address(server: Server, shown: list[Run], query: str) -> str:
    parameters = {"runs": [run.id for run in shown], "query": query}
    return f"{server.url}/retrieval?{urlencode(parameters, doseq=True)}"


def expect_rows(page: Page, shown: list[Run], query: str) -> None:
    """The page shows this query, and for each run what brute force finds, with pictures."""
    expect(page.locator(f'.query[data-name="{query}"]')).to_be_visible()
    expect(page.locator(".tile img")).to_have_count(6 * len(shown))
    for row, run in zip(page.locator(".row").all(), shown, strict=True):
        names = [tile.get_attribute("data-name") for tile in row.locator(".tile").all()]
        assert names == brute_force(run, query)
    widths = page.locator(".tile img").evaluate_all(
        "all => Promise.all(all.map(img => img.decode().then(() => img.naturalWidth)))"
    )
    assert min(widths) >= 32
    assert all(page.locator(".gallery img").evaluate_all("all => all.map(img => img.alt.length > 5)"))


def focused(page: Page, key: str) -> str | None:
    found: str | None = page.evaluate(
        f"document.activeElement?.shadowRoot?.activeElement?.dataset?.{key} ?? null"
    )
    return found


@pytest.fixture(scope="module")
def two(server: Server, trained_runs: Path) -> list[Run]:
    """As they were trained: an own image is embedded by their weights."""
    shutil.copytree(trained_runs, server.run_root, dirs_exist_ok=True)
    return sorted(runs.list_runs(server.run_root), key=lambda run: run.config.loss)


def test_any_result_becomes_the_next_query(server: Server, page: Page, two: list[Run]) -> None:
    query = two[0].splits()["test"][0]
    page.goto(address(server, two, query))
    expect_rows(page, two, query)

    second = brute_force(two[0], query)[2]
    page.locator(".row").first.locator(".tile").nth(2).click()
    expect_rows(page, two, second)
    page.wait_for_url(f"**query={second}*")

    assert focused(page, "at") == "0:2"  # the place is kept, so that the keys go on from there
    for key, place in [("ArrowRight", "0:3"), ("ArrowDown", "1:3"), ("ArrowLeft", "1:2"), ("ArrowUp", "0:2")]:
        page.keyboard.press(key)
        assert focused(page, "at") == place
    third = focused(page, "name")
    assert third is not None
    page.keyboard.press("Enter")
    expect_rows(page, two, third)

    page.go_back()
    expect_rows(page, two, second)
    page.go_forward()
    expect_rows(page, two, third)
    page.reload()
    expect_rows(page, two, third)


def test_buttons_have_keys_and_earlier_queries_come_back(server: Server, page: Page, two: list[Run]) -> None:
    names = two[0].splits()["test"]
    page.goto(address(server, two, names[5]))
    expect_rows(page, two, names[5])
    page.keyboard.press("n")
    expect_rows(page, two, names[6])
    page.keyboard.press("p")
    expect_rows(page, two, names[5])
    page.get_by_role("button", name=f"Earlier query {names[6]}").click()
    expect_rows(page, two, names[6])
    page.keyboard.press("b")
    expect_rows(page, two, names[5])


def test_a_bare_address_fills_itself_and_does_not_catch_who_goes_back(
    server: Server, page: Page, two: list[Run]
) -> None:
    page.goto(server.url)
    page.get_by_role("link", name="Retrieval", exact=True).first.click()
    expect(page.locator(".tile img")).to_have_count(12)
    page.wait_for_url("**/retrieval?runs=*&query=*")
    for _ in range(3):
        if "/retrieval" not in page.url:
            break
        page.go_back()
        page.wait_for_timeout(1500)
    assert "/retrieval" not in page.url


def test_the_query_stays_in_sight_beside_many_rows(server: Server, page: Page, two: list[Run]) -> None:
    page.goto(address(server, two, two[0].splits()["test"][0]) + "&k=24")
    expect(page.locator(".tile img")).to_have_count(48)
    page.locator(".tile").last.scroll_into_view_if_needed()
    expect(page.locator(".query > img")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def memory(server: Server) -> float:
    """Most that the server has held, MB."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


def test_an_own_image_asks_and_hostile_files_are_refused_in_words(
    server: Server, page: Page, two: list[Run], tiny: Path
) -> None:
    """Recognised by content, whatever the name says; a refused file leaves page and server as they are."""
    names = two[0].splits()["test"]
    page.goto(address(server, two, names[0]))
    expect_rows(page, two, names[0])
    page.get_by_role("button", name="Upload an image").click()
    field = page.locator('input[type="file"]')
    photo, before = (tiny / names[3]).read_bytes(), memory(server)

    for name, data, message in [
        ("bomb.png", png_bomb(30_000, 30_000), "bomb.png: 30,000 × 30,000 pixels are too many"),
        ("cut.png", photo[: len(photo) // 2], "cut.png: truncated or damaged"),
        ("drawing.png", b"<svg xmlns='x' onload='alert(1)'/>", "drawing.png: this is an SVG drawing"),
        ("page.jpg", b"%PDF-1.7 " + photo, "page.jpg: this is a PDF"),
        ("../../etc/cron.tif", b"no image at all", "cron.tif: this is no image"),
    ]:
        field.set_input_files({"name": name, "mimeType": "image/png", "buffer": data})
        expect(page.get_by_text(message)).to_be_visible()
        expect(page.locator(f'.query[data-name="{names[0]}"]')).to_be_attached()
    assert memory(server) - before < 150

    polyglot = photo + b"PK\x03\x04<script>alert(1)</script>"
    field.set_input_files({"name": "mine.txt", "mimeType": "text/plain", "buffer": polyglot})
    expect(page.locator('.query[data-name="mine.txt"]')).to_be_attached()
    for row, run in zip(page.locator(".row").all(), two, strict=True):
        expect(row.locator(".tile")).to_have_count(6, timeout=PATIENCE_MS)
        found = [tile.get_attribute("data-name") for tile in row.locator(".tile").all()]
        assert found == [names[3], *brute_force(run, names[3], 5)]
    assert "mine" not in page.url
    page.keyboard.press("Escape")
    page.locator(".tile").nth(1).click()
    expect(page.locator(f'.query[data-name="{brute_force(two[0], names[3])[0]}"]')).to_be_visible()


def test_why_is_it_similar(server: Server, page: Page, two: list[Run]) -> None:
    query = two[0].splits()["test"][4]
    page.goto(address(server, two, query))
    expect_rows(page, two, query)
    page.locator(".tile").nth(7).focus()
    page.keyboard.press("w")
    second = brute_force(two[1], query)[1]
    drawn = page.locator(f'.why[data-drawn="Result: {second}"]')
    expect(drawn).to_be_visible(timeout=PATIENCE_MS)  # a process starts first
    expect(page.get_by_text("takes the two for similar: cosine")).to_be_visible()
    alts = drawn.locator("canvas").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert [alt.split(":")[0] for alt in alts] == [query, second]
    region = drawn.locator("figure").first.locator(".cells button").first
    region.hover()
    expect(drawn.get_by_text("with this region of the other image")).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawn).to_have_count(0)
    expect(page.locator(".gallery.busy")).to_have_count(0)
    expect(page.locator(f'.query[data-name="{query}"]')).to_be_visible()


def test_picture_and_table_of_the_grid(server: Server, page: Page, two: list[Run]) -> None:
    query = two[0].splits()["test"][4]
    page.goto(address(server, two, query) + "&k=8")
    expect(page.locator(".tile img")).to_have_count(16)
    with page.expect_download() as picture:
        page.get_by_role("button", name="PNG", exact=True).click()
    with Image.open(picture.value.path()) as image:
        assert image.width > 8 * 64
    with page.expect_download() as ranking:
        page.get_by_role("button", name="CSV", exact=True).click()
    lines = ranking.value.path().read_text().splitlines()
    assert len(lines) == 1 + 2 * (len(two[0].splits()["test"]) - 1)
    assert lines[1].split(",")[4] == brute_force(two[0], query)[0]


@pytest.mark.timed
def test_real_dlrsd_in_two_browsers(server: Server, page: Page, browser: Browser, archives: Path) -> None:
    """Train on the real archive, retrieve, follow results, and open the same link elsewhere."""
    config = RunConfig.build(
        "instant", dataset="dlrsd", data_root=str(archives / "DLRSD.zip"), loss="mulsupcon"
    )
    run = runs.create(config, server.run_root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", server.environment["MACL_CACHE"])
        assert loop.run(run.path) == "finished"
    names = run.splits()["test"]
    assert len(names) == 411
    page.goto(address(server, [run], names[0]))
    expect_rows(page, [run], names[0])
    seconds = []
    for place in (0, 1, 2, 3, 4):
        shown = page.locator(".query").get_attribute("data-name")
        assert shown is not None
        following = brute_force(run, shown)[place]
        start = time.perf_counter()
        page.locator(".tile").nth(place).click()
        expect(page.locator(f'.query[data-name="{following}"]')).to_be_visible()
        seconds.append(time.perf_counter() - start)
        expect_rows(page, [run], following)
    print(f"from click to the next query: median {np.median(seconds):.2f} s")
    assert min(seconds) < 2.0  # 0.3 s on two idle cores

    elsewhere = browser.new_context()
    try:
        tab = elsewhere.new_page()
        page.wait_for_url(f"**query={following}*")
        tab.goto(page.url)
        expect_rows(tab, [run], following)
    finally:
        elsewhere.close()


def test_regions_that_add_nothing_are_dark(page: Page) -> None:
    """Drawn from made-up regions: with the first of one image all of the other take away, or add nothing."""
    module = (Path(why.__file__).parent / "why.js").read_text()
    data = {
        "images": ["", ""],
        "names": ["a", "b"],
        "alts": ["a", "b"],
        "maps": [[[-0.2, 0.6]], [[0.1, 0.3]]],
        "pairs": [[-0.2, 0.0], [0.3, 0.3]],
        "cosine": 0.4,
    }
    page.set_content('<div id="place"><div class="why"></div></div>')
    page.evaluate(
        """async ([module, data]) => {
            const file = new Blob([module], {type: "text/javascript"});
            const {default: draw} = await import(URL.createObjectURL(file));
            draw({data: [data], parentElement: document.getElementById("place")});
        }""",
        [module, data],
    )
    shade = """(canvas) => {
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return Array.from({length: canvas.width}, (_, i) => data[4 * i + 3]);
    }"""
    first, second = page.locator("canvas").all()
    dark = round(255 * 0.86)
    assert first.evaluate(shade) == pytest.approx([dark, 0], abs=1)
    page.locator("button").first.focus()
    assert second.evaluate(shade) == pytest.approx([dark, dark], abs=1)
    page.locator("button").nth(1).focus()
    assert second.evaluate(shade) == pytest.approx([0, 0], abs=1)  # all the same
