"""From page to page in one session: each keeps what was left on it, and only that; and the ways back."""

import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import PATIENCE_MS, Server, field, pick, wait

# Every value that a person can see in a widget, by its label, and the open tabs.
SEEN = """() => {
  const main = document.querySelector("[data-testid=stMain]");
  const text = (node) => node.innerText.replace(/\\s+/g, " ").trim();
  const found = [];
  for (const node of main.querySelectorAll("input:not([type=file])"))
    found.push([node.getAttribute("aria-label") ?? text(node.closest("label") ?? node),
                node.type === "checkbox" ? node.checked : node.value]);
  for (const node of main.querySelectorAll("[data-testid=stMultiSelect]")) found.push(["", text(node)]);
  const chosen = "[data-testid=stButtonGroup] [data-selected=true], [role=tab][aria-selected=true]";
  for (const node of main.querySelectorAll(chosen)) found.push(["", text(node)]);
  return found;
}"""
NAMES = ["Home", "Data", "Train", "Compare", "Retrieval", "Archive", "Embeddings", "Mechanism", "Sensitivity"]


@pytest.fixture(autouse=True)
def _runs(server: Server, finished_runs: Path) -> None:
    if not server.run_root.joinpath("copied").exists():
        shutil.copytree(finished_runs, server.run_root, dirs_exist_ok=True)
        server.run_root.joinpath("copied").touch()


def quiet(page: Page) -> None:
    """Until the script has ended, for long enough that nothing follows at once."""
    still = 0
    for _ in range(PATIENCE_MS // 50):
        running = page.locator("[data-testid=stApp]").get_attribute("data-test-script-state")
        still = still + 1 if running == "notRunning" else 0
        if still == 4:
            return
        page.wait_for_timeout(50)
    raise AssertionError("the page is never quiet")


def seen(page: Page) -> list[Any]:
    found: list[Any] = page.evaluate(SEEN)
    return found


# Counts the times that the script has ended; a run may begin long after the click that asked for it. One that
# is over at once is not seen, but then the address tells of it.
COUNT_RUNS = """() => {
  const app = document.querySelector("[data-testid=stApp]");
  window.before = location.href;
  window.ended = 0;
  window.endings?.disconnect();
  window.endings = new MutationObserver(() => {
    window.ended += app.getAttribute("data-test-script-state") === "notRunning";
  });
  window.endings.observe(app, { attributes: true, attributeFilter: ["data-test-script-state"] });
}"""


def settled(page: Page) -> list[Any]:
    """What the page shows once it shows the same at two looks."""
    expect(page.get_by_role("heading", level=1)).to_be_visible()  # nothing at all is no state of a page
    before: list[Any] = []

    def same() -> bool:
        quiet(page)
        nonlocal before
        before, last = seen(page), before
        return before == last

    wait(same)
    return before


def open_page(page: Page, name: str) -> None:
    page.get_by_test_id("stTopNavLink").filter(has_text=re.compile(f"^{name}$")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("MACL Lab" if name == "Home" else name)


def choose(page: Page, label: str, option: str) -> None:
    """An entry of a list."""
    page.evaluate(COUNT_RUNS)
    pick(page, label, option)
    page.wait_for_function("() => window.ended > 0 || location.href !== window.before")
    quiet(page)
    # a list for several stays open; to close it before the page has taken the choice undoes it
    if page.get_by_role("listbox").count():
        page.keyboard.press("Escape")
        quiet(page)


def fill(page: Page, label: str, text: str) -> None:
    field(page, label).first.fill(text)
    field(page, label).first.press("Enter")
    quiet(page)


def press(page: Page, label: str) -> None:
    """A segment of a row of buttons, a tab, or a switch."""
    page.get_by_text(label, exact=True).first.click()
    quiet(page)


def move(page: Page, label: str) -> None:
    """A slider, one step up."""
    page.locator(f'input[type=range][aria-label="{label}"]').first.press("ArrowRight")
    quiet(page)


def on_data(page: Page, tiny: Path) -> None:
    choose(page, "Data set", "Your own images")
    fill(page, "Its folder or archive", str(tiny))
    press(page, "96")
    fill(page, "Seed", "3")


def on_train(page: Page, tiny: Path) -> None:
    assert field(page, "Data set").input_value() == "Your own images"  # it was chosen on the data page
    assert field(page, "Its folder or archive").input_value() == str(tiny)
    choose(page, "Losses", "LBase")
    fill(page, "Seeds", "0-2")
    move(page, "Smoothing")
    press(page, "epoch")


def on_compare(page: Page, tiny: Path) -> None:
    choose(page, "Losses", "MulSupCon")
    choose(page, "Metric", "wAP@100")
    press(page, "best first")
    page.get_by_role("button", name="More filters").click()
    choose(page, "Seeds", "0")
    press(page, "All metrics")


def on_retrieval(page: Page, tiny: Path) -> None:
    move(page, "Images per run")
    press(page, "All splits")
    page.get_by_role("button", name="Next").click()
    quiet(page)


def on_archive(page: Page, tiny: Path) -> None:
    fill(page, "Folder of the archive", str(tiny.parent / "europe"))
    press(page, "every scene")


def on_embeddings(page: Page, tiny: Path) -> None:
    press(page, "PCA")
    choose(page, "Colour", "Number of labels")


def on_mechanism(page: Page, tiny: Path) -> None:
    choose(page, "Loss", "Wg-MACL")
    move(page, "α")
    move(page, "Images B")
    press(page, "rarity")


def on_sensitivity(page: Page, tiny: Path) -> None:
    press(page, "Sweeps")
    choose(page, "What", "Your own grid")
    fill(page, "Seeds", "4-5")
    fill(page, "Values", "0, 1")


SET: dict[str, Callable[[Page, Path], None]] = {
    "Data": on_data,
    "Train": on_train,
    "Compare": on_compare,
    "Retrieval": on_retrieval,
    "Archive": on_archive,
    "Embeddings": on_embeddings,
    "Mechanism": on_mechanism,
    "Sensitivity": on_sensitivity,
}


def every_pair(names: list[str]) -> list[str]:
    """A walk that goes once from each name to each other one (Hierholzer)."""
    ways = {name: [other for other in names if other != name] for name in names}
    path, done = [names[0]], []
    while path:
        if ways[path[-1]]:
            path.append(ways[path[-1]].pop())
        else:
            done.append(path.pop())
    return done[::-1]


@pytest.mark.timed
@pytest.mark.timeout(300)
def test_every_page_keeps_what_was_left_on_it_whichever_page_comes_next(
    server: Server, page: Page, tiny: Path
) -> None:
    page.goto(server.url)
    left: dict[str, list[Any]] = {"Home": settled(page)}
    for name, change in SET.items():
        open_page(page, name)
        before = settled(page)
        change(page, tiny)
        left[name] = settled(page)
        assert left[name] != before
    walk = every_pair(NAMES)
    assert len(set(pairwise(walk))) == len(NAMES) * (len(NAMES) - 1)
    open_page(page, walk[0])
    for last, name in pairwise(walk):
        open_page(page, name)
        quiet(page)
        if seen(page) != left[name]:
            assert settled(page) == left[name], f"from {last} to {name}"
        assert not page.get_by_text("encountered an error").count()


def test_back_brings_back_what_the_page_showed(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/compare")
    settled(page)
    choose(page, "Losses", "MulSupCon")
    page.wait_for_url(re.compile("losses=MulSupCon"))
    held, address = settled(page), page.url
    open_page(page, "Train")
    page.wait_for_url(re.compile("runs="))  # the page completes its address, which is no step
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare")
    assert settled(page) == held
    assert page.url == address


def test_one_press_leads_back_from_a_link_and_from_query_to_query(server: Server, page: Page) -> None:
    page.goto(server.url)
    page.get_by_role("link", name="See what they retrieve").click()
    page.wait_for_url(re.compile("query="))
    quiet(page)
    first = page.url
    page.get_by_role("button", name="Next").click()
    page.wait_for_function("before => location.href !== before", arg=first)
    quiet(page)
    page.go_back()
    page.wait_for_url(first)
    quiet(page)
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("MACL Lab")


def restart(server: Server, page: Page) -> None:
    """Kill the server and start it again, until the open tab has noticed both."""
    app = "[data-testid=stApp]"
    server.kill()
    page.locator(f"{app}:not([data-test-connection-state=CONNECTED])").wait_for()
    server.start()
    page.locator(f"{app}[data-test-connection-state=CONNECTED]").wait_for()


def test_the_first_click_after_a_restart_of_the_server_counts(server: Server, page: Page) -> None:
    # each part of a page is fetched when it is first needed: what is to be clicked has to be there before
    page.goto(f"{server.url}/retrieval")
    page.get_by_role("button", name="Next").wait_for()
    settled(page)
    before = page.url
    restart(server, page)
    page.get_by_role("button", name="Next").click()
    page.wait_for_function("before => location.href !== before", arg=before)

    page.goto(f"{server.url}/mechanism?m_alpha=2")
    settled(page)
    page.get_by_role("button", name="Open points").click()
    page.get_by_role("button", name="Back to the defaults").wait_for()
    restart(server, page)
    page.get_by_role("button", name="Back to the defaults").click()
    page.wait_for_function("() => !location.href.includes('m_alpha')")

    page.goto(f"{server.url}/compare?losses=MulSupCon")
    page.locator("table").first.wait_for()
    settled(page)
    restart(server, page)
    open_page(page, "Data")
    page.wait_for_url(f"{server.url}/data")  # with nothing of the page before
