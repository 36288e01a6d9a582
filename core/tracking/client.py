"""The one place that imports MLflow, in the process that mirrors and in `macl mlflow sync` only.

Its import takes some seconds, and a server that is down would hold its client up for minutes.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from core.errors import MaclError
from core.tracking.address import Address

LACKING = "MLflow's client is not installed here: pip install -e '.[mlflow]' brings it"
SETTINGS = {  # what a person has set counts
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # runs are nobody's business but that server's
}
NOT_ALLOWED = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED")


class Unreachable(MaclError):
    """The server does not answer; `why` is the reason alone."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class Refused(MaclError):
    """The server wants another user, password or token."""


class NotTaken(MaclError):
    """The server answers, but does not take what it was sent; `code` is MLflow's word for why."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def installed() -> bool:
    """Whether MLflow's client is there; does not import it."""
    return find_spec("mlflow") is not None


def connect(address: Address) -> Any:
    """An `mlflow.MlflowClient` for this server; asks it nothing yet.

    Raises:
        MaclError: If MLflow is not installed, or cannot use such an address.
    """
    if not installed():
        raise MaclError(LACKING)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if address.user:
        # instead of in the address, which MLflow repeats in its messages
        os.environ["MLFLOW_TRACKING_USERNAME"] = address.user
        os.environ["MLFLOW_TRACKING_PASSWORD"] = address.password
    for name in ("mlflow", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a line for each request that is tried again
    with asking(address):
        from mlflow import MlflowClient

        return MlflowClient(address.uri)


@contextmanager
def asking(address: Address) -> Iterator[None]:
    """Requests in this block fail with one sentence, without a secret in it.

    Raises:
        Unreachable, Refused, NotTaken: What went wrong.
    """
    try:
        yield
    except MaclError:
        raise
    except Exception as error:
        code = str(getattr(error, "error_code", ""))
        if code in NOT_ALLOWED:
            raise Refused(
                f"{address.shown} lets nobody in with what it was given ({code}): set MLFLOW_TRACKING_TOKEN, "
                "or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, and start again"
            ) from None
        if type(error).__name__ == "RestException":
            why = address.clean(str(error))
            raise NotTaken(f"{address.shown} does not take it: {why[:300]}", code) from None
        why = address.clean(_reason(error))
        raise Unreachable(f"{address.shown} cannot be reached ({why})", why) from None


def _reason(error: BaseException) -> str:
    """The operating system's word at the bottom of a chain of errors, else that of the first."""
    first, seen = error, list[BaseException]()
    while error not in seen:
        seen.append(error)
        if isinstance(error, OSError) and error.strerror:
            return error.strerror.lower()
        reason = getattr(error, "reason", None) or next(iter(error.args), None)
        nested = (
            error.__cause__ or error.__context__ or (reason if isinstance(reason, BaseException) else None)
        )
        error = nested or error
    return f"{type(first).__name__}: {first}"[:200]
