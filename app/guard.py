"""Who may reach the app, and what its pages may do in a browser.

Streamlit (1.67) looks at the host of a session alone, and lets any page frame the app.
"""

import base64
import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

import streamlit
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

from app.kit import tab

HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")  # in lower case
FRAME = Path(streamlit.__file__).parent / "static" / "index.html"  # the page that Streamlit serves for all
INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def policy() -> str:
    """The content security policy: all from this server, and no script but its own files and two texts.

    Streamlit writes styles into the page, hands the scripts of components to the browser as blobs, and counts
    in WebAssembly; code from text needs no page.
    """
    texts = INLINE.findall(FRAME.read_text() + tab.SCRIPT)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    scripts = " ".join(f"'sha256-{digest}'" for digest in digests)
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' blob: 'wasm-unsafe-eval' {scripts}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' blob: data:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class Guard:
    """Refuses what does not come from a page of this app, and says in every answer what a page may do.

    Args:
        app: What answers the others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.headers = {
            "Content-Security-Policy": policy(),
            "Cross-Origin-Resource-Policy": "same-origin",  # no picture of the app on another page
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or session."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        if scope["type"] not in ("http", "websocket") or welcome(Headers(scope=scope)):
            await self.app(scope, receive, guarded)
        elif scope["type"] == "http":
            await PlainTextResponse(refusal(), 403)(scope, receive, guarded)
        else:
            await send({"type": "websocket.close", "code": 1008})  # before it is open: 403


def welcome(headers: Headers) -> bool:
    """Whether a request names a host that the app answers to, and comes from no page but the app's own."""
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    if len(hosts) != 1 or len(origins) > 1:
        return False
    host = hosts[0].lower()
    found = HOST.fullmatch(host)
    if not found or found["name"].strip("[]") not in names():
        return False
    return not origins or urlsplit(origins[0].lower()).netloc == host


def names() -> list[str]:
    """The hosts that the app answers to; none where it was started without its settings."""
    return [str(name).lower() for name in config.get_option("server.allowedHosts")]


def refusal() -> str:
    """What a person reads who came by another name."""
    if not (known := names()):
        return "The app was started without its settings and answers nobody: start it with `macl app`.\n"
    return (
        f"The app answers to pages on {', '.join(known)} alone. `macl app --host NAME` adds a name "
        "under which a tunnel or a proxy leads here.\n"
    )
