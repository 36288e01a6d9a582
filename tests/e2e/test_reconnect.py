"""Server or worker dies and comes back; training and the open tab do not notice for long."""

import os
import random
import signal
import time

import pytest
from playwright.sync_api import Page, expect

from core.queue import launch
from core.runs import Run
from tests.e2e.conftest import Server, last_step, wait

KILLS = int(os.environ.get("MACL_TEST_KILLS", "2"))
READ_SECONDS = 5.0  # until the state must be right


@pytest.mark.timeout(240 + 30 * KILLS)
def test_an_open_tab_goes_on_after_the_server_was_killed(server: Server, page: Page, long_run: Run) -> None:
    run, dice = long_run, random.Random(KILLS)
    page.goto(f"{server.url}/train?runs={run.id}")
    for _ in range(KILLS):
        wait(lambda: last_step(page) > 0)
        time.sleep(dice.uniform(0, 2))
        server.kill()
        at_death = run.history()[-1]["step"]
        assert run.state == "running"
        wait(lambda at_death=at_death: run.history()[-1]["step"] > at_death + 10)  # the worker outlives it
        seen = max(last_step(page), at_death + 10)
        server.start()
        wait(lambda seen=seen: last_step(page) > seen)
        assert f"runs={run.id}" in page.url
        assert run.state == "running"


def test_a_killed_worker_shows_at_once_and_the_run_goes_on(server: Server, page: Page, long_run: Run) -> None:
    page.goto(f"{server.url}/train?runs={long_run.id}")
    wait(lambda: last_step(page) > 0)
    for about in launch.workers(server.run_root).values():
        os.kill(int(str(about["pid"])), signal.SIGKILL)
    wait(lambda: long_run.state == "interrupted", READ_SECONDS)
    expect(page.get_by_text("was interrupted")).to_be_visible()
    reached = last_step(page)
    wait(lambda: last_step(page) > reached)  # the page has started a worker, which takes the run up
    expect(page.get_by_text("was interrupted")).to_be_hidden()
    assert long_run.state == "running"
