"""The server dies and comes back; training and the open tab do not notice for long."""

from playwright.sync_api import Page

from core.runs import Run
from tests.e2e.conftest import Server, last_step, wait


def test_an_open_tab_goes_on_after_the_server_was_killed(server: Server, page: Page, long_run: Run) -> None:
    run = long_run
    page.goto(f"{server.url}/train?runs={run.id}")
    wait(lambda: last_step(page) > 0)
    server.kill()
    at_death = run.history()[-1]["step"]
    wait(lambda: run.history()[-1]["step"] > at_death + 10)  # the worker outlives the server
    seen = last_step(page)
    server.start()
    wait(lambda: last_step(page) > max(seen, at_death + 10))
    assert f"runs={run.id}" in page.url
    assert run.state == "running"
