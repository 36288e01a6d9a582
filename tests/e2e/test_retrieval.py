"""The retrieval page in a real browser: click, keys, history, a permalink in another browser."""

import shutil
import time
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from core import runs, train
from core.runs import Run, RunConfig
from tests.e2e.conftest import Server


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
def two(server: Server, finished_runs: Path) -> list[Run]:
    shutil.copytree(finished_runs, server.run_root, dirs_exist_ok=True)
    return sorted(runs.list_runs(server.run_root), key=lambda run: run.config.loss)


def test_any_result_becomes_the_next_query(server: Server, page: Page, two: list[Run]) -> None:
    query = two[0].splits()["test"][0]
    page.goto(address(server, two, query))
    expect_rows(page, two, query)

    second = brute_force(two[0], query)[2]
    page.locator(".row").first.locator(".tile").nth(2).click()
    expect_rows(page, two, second)
    assert second in page.url

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


def test_real_dlrsd_in_two_browsers(server: Server, page: Page, browser: Browser, archives: Path) -> None:
    """Train on the real archive, retrieve, follow results, and open the same link elsewhere."""
    config = RunConfig.build(
        "instant", dataset="dlrsd", data_root=str(archives / "DLRSD.zip"), loss="mulsupcon"
    )
    run = runs.create(config, server.run_root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", server.environment["MACL_CACHE"])
        assert train.run(run.path) == "finished"
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
        tab.goto(page.url)
        expect_rows(tab, [run], following)
    finally:
        elsewhere.close()
