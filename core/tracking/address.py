"""Where the tracking server is, and what of it may be shown: never a user, a password or a token."""

import os
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from core.errors import MaclError

VARIABLE = "MACL_MLFLOW_URI"
FILES = "MACL_MLFLOW_FILES"
SECRET = re.compile(r"MLFLOW_TRACKING_(PASSWORD|TOKEN)|DATABRICKS_TOKEN|DATABRICKS_CLIENT_SECRET")
YES, NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


@dataclass(frozen=True, repr=False)
class Address:
    """A tracking server.

    Attributes:
        uri: As MLflow's client takes it; of http(s) without user and password.
        shown: The same for people and files: without user, password and query.
        user: Name to log in with; empty if the address has none.
        password: Its password; empty if the address has none.
    """

    uri: str
    shown: str
    user: str = ""
    password: str = ""

    def clean(self, text: str) -> str:
        """A text without any of the secrets in the address or the environment, on one line."""
        secrets = {self.password, *(value for name, value in os.environ.items() if SECRET.fullmatch(name))}
        for secret in sorted(secrets - {""}, key=len, reverse=True):
            for written in (secret, quote(secret, safe="")):
                text = text.replace(written, "***")
        return " ".join(text.replace(self.uri, self.shown).split())


def address() -> Address | None:
    """The server that MACL_MLFLOW_URI names; None if it names none.

    Raises:
        MaclError: If it is no address; the message does not repeat it, as it may hold a password.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        return None
    try:
        parts = urlsplit(given)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise _no_address() from None
    web = parts.scheme in ("http", "https")
    if (web and not host) or ("://" not in given and given != "databricks"):
        raise _no_address()
    place = f"[{host}]{port}" if ":" in host else f"{host}{port}"
    shown = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", "")) if parts.scheme else given
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return Address(shown if web else given, shown, user, password)


def wants_files() -> bool:
    """Whether the files of finished runs are to be sent too: MACL_MLFLOW_FILES.

    Raises:
        MaclError: If it is neither yes nor no.
    """
    word = os.environ.get(FILES, "").strip().lower()
    if word not in YES + NO:
        raise MaclError(f"{FILES}: need 1 or 0, got {word!r}")
    return word in YES


def _no_address() -> MaclError:
    return MaclError(f"{VARIABLE} is no address: need one such as http://localhost:5000")
