"""A real server and a real browser (Debian's Chromium); a missing browser fails, it does not skip."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, sync_playwright

from core.experiments import lab
from core.files import locked_by
from core.queue import launch
from core.runs import Run, RunConfig

ROOT = Path(__file__).resolve().parent.parent.parent
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000
LONG = 10_000  # epochs: longer than any test waits


class Server:
    """`streamlit run app/main.py` on its own port, with its own runs; it can be killed and started again."""

    def __init__(self, home: Path, cache: Path) -> None:
        self.home = home
        self.run_root = home / "runs"
        self.environment = {
            **os.environ,
            "MACL_RUN_ROOT": str(self.run_root),
            "MACL_CACHE": str(cache),
            "MACL_DATA_ROOT": str(home / "data"),
            "MACL_LOSSES": str(home / "losses"),
            "MACL_PROJECT_IDLE_SECONDS": "5",  # the process that computes UMAP ends soon after its last test
        }
        with socket.socket() as free:
            free.bind(("localhost", 0))
            self.port = free.getsockname()[1]
        self.environment["STREAMLIT_SERVER_PORT"] = str(self.port)
        self.url = f"http://localhost:{self.port}"
        self.command = [sys.executable, "-m", "streamlit", "run", "app/main.py"]
        self.cwd = ROOT
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5):
                    return
            except OSError:
                assert self.process.poll() is None, (self.home / "server.log").read_text()
                assert time.monotonic() < deadline, "the server did not answer within 60 s"
                time.sleep(0.1)

    def kill(self, how: int = signal.SIGKILL) -> None:
        """Kill the server, not the workers that it started."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def close(self) -> None:
        """End the server and all processes that it started."""
        self.kill(signal.SIGTERM)
        self.end_workers()
        for name in ("embedder/embedder.lock", "projections/worker.lock", "mechanism/worker.lock"):
            holder = locked_by(Path(self.environment["MACL_CACHE"]) / name)
            if holder is not None:
                os.kill(holder, signal.SIGKILL)

    def end_workers(self) -> None:
        """Kill the workers of the runs and of the lab, and wait until they write no more."""
        for root in (self.run_root, lab.folder(self.run_root)):
            for about in launch.workers(root).values():
                with suppress(ProcessLookupError):  # it has just ended by itself
                    os.kill(int(str(about["pid"])), signal.SIGKILL)
            wait(lambda root=root: not launch.workers(root))

    def log(self) -> str:
        """What the server printed."""
        return (self.home / "server.log").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server; tests of one file share it. Its workers are gone afterwards."""
    home = tmp_path_factory.mktemp("server")
    running = Server(home, tmp_path_factory.getbasetemp() / "home" / "cache")
    running.run_root.mkdir()
    running.start()
    yield running
    running.close()
    assert "Traceback" not in running.log(), running.log()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


VIOLATED = "the content security policy forbids"
TELL = f"""document.addEventListener("securitypolicyviolation", (event) =>
  console.error("{VIOLATED}", event.effectiveDirective, event.blockedURI, event.sample));"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab of its own; the test fails if a page asked any other machine, or for what its policy forbids."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(TELL)
    opened = context.new_page()
    foreign: list[str] = []
    forbidden: list[str] = []

    def note(request: Request) -> None:
        address = urlparse(request.url)
        if address.scheme not in ("data", "blob") and address.hostname != "localhost":
            foreign.append(request.url)

    context.on("request", note)
    context.on("console", lambda said: forbidden.append(said.text) if VIOLATED in said.text else None)
    yield opened
    context.close()
    assert not foreign, f"fetched from elsewhere: {foreign}"
    assert not forbidden, forbidden


def submit(server: Server, tiny: Path, **fields: Any) -> Run:
    given = {"loss": "mulsupcon", "image_size": 32, "batch_size": 16, "epochs": LONG} | fields
    config = RunConfig.build("instant", dataset="folder", data_root=str(tiny), **given)
    return launch.submit(config, server.run_root)


def wait(for_what: Callable[[], bool], seconds: float = PATIENCE_MS / 1000) -> None:
    deadline = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def last_step(page: Page) -> float:
    """The largest step of the first curve in the browser; 0 without one."""
    return float(
        page.evaluate(
            "() => Math.max(0, ...(document.querySelector('.js-plotly-plot')?._fullData ?? []).slice(0, 1)"
            ".flatMap(trace => Array.from(trace.x)))"
        )
    )


def field(page: Page, label: str) -> Locator:
    """The input itself, not the button that explains it."""
    return page.locator(f'input[aria-label="{label}"]')


def pick(page: Page, label: str, option: str) -> None:
    """An entry of a list, by typing its name first, as a person in a hurry does.

    Then all entries that are left are in sight: the pointer on one that is half hidden makes the list move
    under it, and a click as quick as a test's ends on what was beside it.
    """
    entry = page.get_by_role("option", name=option, exact=True)
    field(page, label).fill(option)
    entry.click()


@pytest.fixture
def long_run(server: Server, tiny: Path) -> Iterator[Run]:
    run = submit(server, tiny)
    wait(lambda: run.state == "running" and len(run.history()) > 3)
    yield run
    end(run)


def end(run: Run) -> None:
    if run.state in ("queued", "running"):
        launch.stop(run)
    wait(lambda: run.state == "stopped")
