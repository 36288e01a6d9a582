"""No foreign web page gets in: on a name that leads here (DNS rebinding), around the app, or beside it."""

import http.client
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from core.cli.main import open_app
from core.errors import MaclError
from tests.e2e.conftest import CHROMIUM, FLAGS, Server, wait

FOREIGN, NAMED = "evil.test", "lab.test"
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


def ask(server: Server, path: str = "/", method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """The answer to one request, as read; `Host` is this machine's unless it is given."""
    client = http.client.HTTPConnection("localhost", server.port, timeout=30)
    client.request(method, path, headers={"Host": f"localhost:{server.port}"} | headers)
    answer = client.getresponse()
    answer.read()
    client.close()
    return answer


PATHS = ("/", "/train", "/_stcore/health", "/_stcore/host-config", "/media/x.png", "/static/js/x.js")


@pytest.mark.parametrize("path", PATHS)
def test_no_file_and_no_page_goes_to_a_foreign_name_or_page(started: Server, path: str) -> None:
    here = f"localhost:{started.port}"
    assert ask(started, path).status in (200, 404)
    assert ask(started, path, Origin=f"http://{here}").status in (200, 404)
    assert ask(started, path, Host=f"{FOREIGN}:{started.port}").status == 403
    for origin in (f"http://{FOREIGN}", "null", f"http://localhost:{started.port + 1}"):
        assert ask(started, path, Origin=origin).status == 403
        assert ask(started, path, method="PUT", Origin=origin).status == 403


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_says_what_a_page_may_do(started: Server, path: str) -> None:
    for answer in (ask(started, path), ask(started, path, Host=FOREIGN)):
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.fixture(scope="module")
def misled(browser: Browser) -> Iterator[Browser]:
    """A browser for which two foreign names lead to this machine."""
    rule = f"--host-resolver-rules=MAP {FOREIGN} 127.0.0.1, MAP {NAMED} 127.0.0.1"
    opened = browser.browser_type.launch(executable_path=CHROMIUM, args=[*FLAGS, rule])
    yield opened
    opened.close()


def test_a_page_on_a_foreign_name_shows_nothing_of_the_app(started: Server, misled: Browser) -> None:
    page = misled.new_page()
    drawn = page.get_by_role("heading", name="MACL Lab")
    page.goto(started.url)
    drawn.wait_for()  # what there is to see

    answer = page.goto(f"http://{FOREIGN}:{started.port}")
    assert answer is not None
    assert answer.status == 403
    shown = page.locator("body").inner_text()
    assert "macl app --host NAME" in shown
    assert not any(word in shown for word in ("MACL", "Train", "Retrieval", "Compare")), shown
    page.close()


HOSTILE = """<!doctype html><title>hostile</title>
<iframe src="http://localhost:PORT/train"></iframe>
<img src="http://localhost:PORT/static/favicon.png">
<script>
  const socket = new WebSocket("ws://localhost:PORT/_stcore/stream", ["streamlit"]);
  socket.onopen = () => document.title = "a session";
  socket.onerror = () => document.title += ", no session";
  const read = (method, otherwise) =>
    fetch("http://localhost:PORT/_stcore/health", { method }).then((answer) => answer.text())
      .then((text) => document.title = "read: " + text, () => document.title += otherwise);
  read("GET", ", nothing read");
  read("PUT", ", nothing put");
  document.querySelector("img").onload = () => document.title = "a picture";
  document.querySelector("img").onerror = () => document.title += ", no picture";
</script>"""


def test_a_foreign_page_can_neither_frame_the_app_nor_read_of_it(started: Server, misled: Browser) -> None:
    """It lies on a server of its own, as those that frame pages to steal a click do."""

    class Hostile(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(HOSTILE.replace("PORT", str(started.port)).encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("localhost", 0), Hostile) as foreign:
        threading.Thread(target=foreign.serve_forever, daemon=True).start()
        page = misled.new_page()
        page.goto(f"http://{FOREIGN}:{foreign.server_port}")
        wait(lambda: page.title().count(",") >= 4 or page.wait_for_timeout(50))
        assert sorted(page.title().split(", ")) == [
            "hostile", "no picture", "no session", "nothing put", "nothing read",
        ]  # fmt: skip
        frame = page.frames[1]
        wait(lambda: frame.url.startswith("chrome-error:") or page.wait_for_timeout(50))
        assert frame.locator("body").inner_text().count("Train") == 0
        page.close()
        foreign.shutdown()


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`macl app --host`, with a note of every address outside that its process asks for."""
    home = tmp_path_factory.mktemp("named")
    server = Server(home, home / "cache")
    server.run_root.mkdir()
    server.command = [
        str(Path(sys.executable).with_name("macl")),
        "app",
        "--host",
        NAMED,
        "--host",
        "Other.Test",
    ]
    watched(server, home)
    server.start()
    yield server
    server.close()


WATCH = """import sys

def note(event, given):
    if event in ("socket.connect", "socket.sendto"):
        host = given[1][0] if isinstance(given[1], tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = given[0]
    else:
        return
    if host not in (None, "", "localhost", "127.0.0.1", "::1"):
        with open({file!r}, "a") as file:
            print(event, host, file=file)

sys.addaudithook(note)
"""


def watched(server: Server, home: Path) -> None:
    """Let a server's process note what it connects to and which names it looks up."""
    (home / "watch").mkdir()
    (home / "asked").touch()
    (home / "watch" / "sitecustomize.py").write_text(WATCH.format(file=str(home / "asked")))
    before = server.environment.get("PYTHONPATH", "")
    server.environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(home / "watch"), before]))


def outside(server: Server) -> list[str]:
    """What it has asked for that is not on this machine."""
    return (server.home / "asked").read_text().splitlines()


def test_a_named_host_gets_in_and_no_other(named: Server, misled: Browser) -> None:
    for host in (f"{NAMED}:{named.port}", "other.test", f"localhost:{named.port}"):
        assert session(named, host) == 101
    assert session(named, FOREIGN) == 403
    assert session(named, f"{NAMED}:{named.port}", origin=FOREIGN) == 403
    page = misled.new_page()
    page.goto(f"http://{NAMED}:{named.port}")
    page.get_by_role("heading", name="MACL Lab").wait_for()
    page.close()


def test_the_server_asks_nobody_outside(named: Server, misled: Browser) -> None:
    """Streamlit asks an outside address for its own when the first page of an unknown origin comes."""
    for origin in (FOREIGN, "null", f"localhost:{named.port + 1}"):
        assert session(named, f"localhost:{named.port}", origin=origin) == 403
    assert session(named, f"localhost:{named.port}") == 101
    page = misled.new_page()
    for name in ("", "data", "train", "compare"):
        page.goto(f"{named.url}/{name}")
        page.get_by_role("heading", level=1).first.wait_for()
    page.close()
    assert not outside(named)


def test_the_watch_sees_one_that_does(tmp_path: Path) -> None:
    server = Server(tmp_path, tmp_path / "cache")
    watched(server, tmp_path)
    code = "import socket; socket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 1))"  # sends nothing
    subprocess.run([sys.executable, "-c", code], env=server.environment, check=False, capture_output=True)
    assert len(outside(server)) == 1


@pytest.mark.parametrize("name", ["http://lab.test", "lab.test:80", "*", "0.0.0.0", "::", "lab test", ""])
def test_what_is_no_name_of_a_host_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it was started"))
    with pytest.raises(MaclError, match=r"^host: need a name"):
        open_app([name])
