"""A person's own loss from its file to every page, in a real browser."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.runs import list_runs
from tests.e2e.conftest import Server, wait

FILE = Path(__file__).parent.parent / "own" / "margin.py"
SECONDS = 60


def add(server: Server) -> str:
    """`macl loss add margin.py` in the server's environment; the key it prints."""
    command = [sys.executable, "-c", "from core.cli import main; main()", "loss", "add", str(FILE)]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


@pytest.mark.timed
def test_from_its_file_to_every_page(server: Server, page: Page) -> None:
    began = time.monotonic()
    key = add(server)
    page.goto(f"{server.url}/train?loss=margin")
    page.get_by_text("margin: parameters").click()
    expect(page.get_by_text("Pull pairs that share labels")).to_be_visible()
    page.get_by_role("button", name="Start the run").click()
    wait(lambda: len(list_runs(server.run_root)) == 1)
    (run,) = list_runs(server.run_root)
    assert run.config.loss == key
    assert (run.path / "margin.py").read_text() == FILE.read_text()
    wait(lambda: run.state in ("finished", "failed"))
    assert not run.error

    page.goto(f"{server.url}/compare?datasets=Demo&presets=instant")
    expect(page.get_by_role("row", name="margin").first).to_be_visible()
    page.goto(f"{server.url}/retrieval?runs={run.id}")
    expect(page.locator(".tile img").first).to_be_visible()
    expect(page.get_by_text("margin").first).to_be_visible()
    page.goto(f"{server.url}/embeddings?runs={run.id}")
    expect(page.get_by_text("margin").first).to_be_visible()
    page.goto(f"{server.url}/mechanism?run={run.id}&m_loss=margin&m_b=16")
    page.locator(".heatmaps[data-drawn]").first.wait_for()
    expect(page.locator('.pair tr[data-term="force"]')).to_be_visible()
    page.goto(f"{server.url}/sensitivity?lab_loss=margin")
    expect(page.get_by_text("margin").first).to_be_visible()
    assert time.monotonic() - began < SECONDS
