"""Both pages on the real DLRSD, as a person does it for the first time: find, train, watch, retrieve."""

from pathlib import Path

from playwright.sync_api import Page, expect

from core.runs import Run, list_runs
from tests.e2e.conftest import PATIENCE_MS, Server, field, last_step, pick, wait
from tests.e2e.test_retrieval import expect_rows

EPOCHS = 120  # some seconds of training: long enough for a reload in its middle
STEPS = EPOCHS * (1475 // 128)


def test_from_the_archive_to_the_images(server: Server, page: Page, archives: Path) -> None:
    page.goto(f"{server.url}/train?loss=MulSupCon")
    pick(page, "Data set", "DLRSD")
    folder = field(page, "Its folder or archive")
    folder.fill(str(archives / "DLRSD.zip"))
    folder.press("Enter")
    page.get_by_text("Settings of the preset").click()
    field(page, "Epochs").fill(str(EPOCHS))
    field(page, "Epochs").press("Enter")
    page.get_by_text("The same on the command line").click()
    expect(page.get_by_text(f"--epochs {EPOCHS}").first).to_be_visible()
    page.get_by_role("button", name="Start the run").click()

    wait(lambda: len(list_runs(server.run_root)) == 1)
    (run,) = list_runs(server.run_root)
    page.wait_for_url(f"**runs={run.id}*")  # until then the curves are those of the recorded runs
    wait(lambda: bool(run.history() or run.error), 3 * PATIENCE_MS / 1000)
    assert not run.error
    wait(lambda: 0 < last_step(page) <= run.history()[-1]["step"])
    seen = last_step(page)
    page.reload()
    wait(lambda: last_step(page) >= seen)
    assert f"runs={run.id}" in page.url
    wait(lambda: last_step(page) == STEPS)
    wait(lambda: run.state == "finished")
    check_scores(run)

    page.get_by_role("link", name="Retrieval", exact=True).first.click()
    expect(page.locator(".tile img").first).to_be_visible()
    page.wait_for_url("**/retrieval?runs=*&query=*")
    query = page.locator(".query").get_attribute("data-name")
    assert query is not None
    names = run.splits()["test"]
    assert len(names) == 411
    page.goto(f"{server.url}/retrieval?runs={run.id}&query={names[7]}")
    expect_rows(page, [run], names[7])


def check_scores(run: Run) -> None:
    """The bars of an instant run with MulSupCon; 15 epochs are enough for them."""
    scores = run.scores()["metrics"]
    for key, bar in (("map_sim", 0.93), ("map_easy", 0.74), ("map_medium", 0.56), ("map_hard", 0.43)):
        assert scores[key] >= bar
