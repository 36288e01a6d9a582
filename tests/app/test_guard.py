"""Whom the guard lets through, by host and origin; what each answer says of what a page may do."""

import asyncio
from typing import Any

import pytest
from starlette.datastructures import Headers
from streamlit import config

from app.guard import Guard, welcome

LOCAL = ["localhost", "127.0.0.1", "::1"]


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that the app answers to, as the settings give them."""
    names = [*LOCAL, "Lab.Example"]
    monkeypatch.setattr(config, "get_option", {"server.allowedHosts": names}.__getitem__)
    return names


def let_in(*pairs: tuple[str, str]) -> bool:
    return welcome(Headers(raw=[(name.encode(), value.encode()) for name, value in pairs]))


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8501", "LOCALHOST", "127.0.0.1:1", "[::1]:8501", "[::1]", "lab.example:443"],
)
def test_it_answers_to_its_names(host: str) -> None:
    assert let_in(("host", host))
    assert let_in(("host", host), ("origin", f"http://{host}"))
    assert let_in(("host", host), ("origin", f"https://{host}"))


@pytest.mark.parametrize(
    "host",
    [
        "evil.test", "localhost.evil.test", "evil.test.", "localhost.", "127.0.0.1.evil.test", "[::2]",
        "0.0.0.0", "", "localhost@evil.test", "evil.test@localhost", "localhost:8501:1", "localhost/",
        "localhost evil.test", "localhost:", "*", "[localhost]", "::1", "localhost:8501@evil.test",
        "xlab.example",
    ],
)  # fmt: skip
def test_and_to_no_other(host: str) -> None:
    assert not let_in(("host", host))


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.test", "null", "", "http://localhost:9999", "http://localhost", "http://127.0.0.1:8501",
        "localhost:8501", "http://localhost:8501.evil.test", "http://evil.test/localhost:8501", "file://",
        "http://evil.test@localhost:8501", "http://localhost:8501@evil.test",
    ],
)  # fmt: skip
def test_only_its_own_pages_may_ask(origin: str) -> None:
    assert not let_in(("host", "localhost:8501"), ("origin", origin))


def test_one_host_and_one_origin() -> None:
    local = ("host", "localhost:8501")
    assert not let_in()
    assert not let_in(local, ("host", "evil.test"))
    assert not let_in(local, ("origin", "http://localhost:8501"), ("origin", "http://evil.test"))


def answered(kind: str, *pairs: tuple[str, str]) -> list[dict[str, Any]]:
    """What the guard sends to a request, with an app behind it that answers 200."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": [(b"x-frame-options", b"ALLOWALL")]}
        await send(start if kind == "http" else {"type": "websocket.accept"})

    async def run() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(dict(message))

        async def receive() -> Any:
            return {"type": "http.request"}

        headers = [(name.encode(), value.encode()) for name, value in pairs]
        await Guard(app)({"type": kind, "headers": headers, "method": "GET", "path": "/"}, receive, send)
        return sent

    return asyncio.run(run())


@pytest.mark.parametrize("host", ["localhost", "evil.test"])
def test_every_answer_says_what_a_page_may_do(host: str) -> None:
    start = answered("http", ("host", host))[0]
    headers = dict(Headers(raw=start["headers"]))
    assert start["status"] == (200 if host == "localhost" else 403)
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    rules = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert "'unsafe-" not in rules["script-src"]
    assert not any("http" in rule or "*" in rule for rule in rules.values())


def test_a_session_is_refused_before_it_is_open() -> None:
    assert answered("websocket", ("host", "localhost"))[0]["type"] == "websocket.accept"
    assert answered("websocket", ("host", "evil.test"))[0]["type"] == "websocket.close"
    assert answered("websocket", ("host", "localhost"), ("origin", "null"))[0]["type"] == "websocket.close"


def test_without_its_settings_it_answers_nobody(named: list[str]) -> None:
    named.clear()
    sent = answered("http", ("host", "localhost"))
    assert sent[0]["status"] == 403
    assert b"macl app" in sent[1]["body"]
