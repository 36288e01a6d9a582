"""A web page on a foreign name that resolves to this machine (DNS rebinding) does not get in."""

import http.client
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.e2e.conftest import CHROMIUM, FLAGS, Server, wait

FOREIGN = "evil.test"
WAYS = {  # to start the app, and where from
    "streamlit": ([sys.executable, "-m", "streamlit", "run", "app/main.py"], None),
    "macl": ([str(Path(sys.executable).with_name("macl")), "app"], "elsewhere"),
}


@pytest.fixture(scope="module", params=WAYS)
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp(request.param)
    server = Server(home, home / "cache")
    server.run_root.mkdir()
    server.command, elsewhere = WAYS[request.param]
    if elsewhere:
        server.cwd = home / elsewhere
        server.cwd.mkdir()
    server.start()
    yield server
    server.close()


def session(server: Server, host: str, origin: str | None = None) -> int:
    """The answer to a page on `origin` (else on `host`) that opens a session: 101 where it gets one."""
    client = http.client.HTTPConnection("localhost", server.port, timeout=30)
    client.putrequest("GET", "/_stcore/stream", skip_host=True)
    for name, value in {
        "Host": host,
        "Origin": f"http://{origin or host}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "bWFjbC1sYWItdGVzdC1rZQ==",
        "Sec-WebSocket-Protocol": "streamlit",
    }.items():
        client.putheader(name, value)
    client.endheaders()
    status = client.getresponse().status
    client.close()
    return status


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_this_machine_gets_a_session_whatever_it_calls_itself(started: Server, name: str) -> None:
    assert session(started, f"{name}:{started.port}") == 101
    assert session(started, name) == 101  # forwarded from port 80


@pytest.mark.parametrize(
    "name", [FOREIGN, "localhost.evil.test", "evil.test.", "127.0.0.1.evil.test", "[::2]", "0.0.0.0", ""]
)
def test_a_foreign_name_gets_none(started: Server, name: str) -> None:
    assert session(started, f"{name}:{started.port}") == 403


def test_a_foreign_page_that_asks_for_this_machine_gets_none(started: Server) -> None:
    assert session(started, f"localhost:{started.port}", origin=FOREIGN) == 403


def test_a_page_on_a_foreign_name_shows_nothing_of_the_app(started: Server, browser: Browser) -> None:
    rule = f"--host-resolver-rules=MAP {FOREIGN} 127.0.0.1"
    misled = browser.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, rule])
    try:
        page = misled.new_page()
        drawn = page.get_by_role("heading", name="MACL Lab")
        page.goto(started.url)
        drawn.wait_for()  # what there is to see

        refused: list[str] = []
        page.on("websocket", lambda socket: socket.on("socketerror", lambda why: refused.append(why)))
        page.goto(f"http://{FOREIGN}:{started.port}")
        wait(lambda: len(refused) > 1 or page.wait_for_timeout(50) or drawn.is_visible())
        assert all("403" in why for why in refused)
        shown = page.locator("body").inner_text()  # Streamlit's empty frame at most
        assert not any(word in shown for word in ("MACL", "Train", "Retrieval", "Compare")), shown
    finally:
        misled.close()
