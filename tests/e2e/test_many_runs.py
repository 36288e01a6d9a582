"""Hundreds of runs in the list of the train page: chosen, deleted and brought back without a wait."""

import pytest
from playwright.sync_api import Page, expect

from app.kit.permalink import MOST_RUNS
from tests.bench.many_runs import BAR, actions, fill
from tests.e2e.conftest import Server

ROOM = 4  # a busy machine; `python -m tests.bench.many_runs` judges the bar itself


@pytest.mark.timed
def test_three_hundred_runs(server: Server, page: Page) -> None:
    fill(server.run_root, 300)
    taken = actions(page, server)
    assert max(taken.values()) < ROOM * BAR, taken
    expect(page.get_by_text(f"of the first {MOST_RUNS} of 3")).to_be_visible()  # and of the recorded ones
    page.wait_for_function("n => location.href.split('runs=').length - 1 === n", arg=MOST_RUNS)
