"""How a process joins a Ray cluster that somebody else has started; nothing here ever starts one.

Whoever reaches the ports of a cluster without tokens can run programs on all of its machines (CVE-2023-48022,
"ShadowRay"), so that one is refused.
"""

import os
import signal
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from core.errors import MaclError
from core.queue.settings import Ray

OLDEST = (2, 52)  # the first with tokens
REACH_SECONDS = 5.0
TOKEN = Path("~/.ray/auth_token")


def refuse() -> str:
    """The version of Ray that is installed.

    Raises:
        MaclError: If there is none, it is too old to ask for tokens, or it is not told to.
    """
    try:
        found = version("ray")
    except PackageNotFoundError:
        raise MaclError('Ray is not installed: pip install -e ".[ray]"') from None
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        raise MaclError(
            f"Ray {found} has no tokens, and whoever reaches its ports can run programs there: install "
            f"{'.'.join(map(str, OLDEST))} or newer on every machine of the cluster"
        )
    if os.environ.get("RAY_AUTH_MODE") != "token":
        raise MaclError(
            "without tokens whoever reaches Ray's ports can run programs on its machines: set "
            "RAY_AUTH_MODE=token here and wherever the cluster is started"
        )
    given = os.environ.get("RAY_AUTH_TOKEN")
    place = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or TOKEN).expanduser()
    if not given and not place.is_file():
        raise MaclError(
            f"there is no token of Ray in {place}: `ray get-auth-token --generate` makes one; every machine "
            "of the cluster needs the same"
        )
    return found


def join(address: str) -> Any:
    """Join the cluster; returns the package ray.

    Raises:
        MaclError: If it does not answer, or not to this token.
    """
    refuse()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    _reach(address)
    import ray

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ray.init(address=address, namespace="macl-lab", log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # of many kinds, some without a class of their own
        ray.shutdown()
        raise MaclError(f"Ray does not answer at {address} ({first_line(error)})") from None
    finally:
        for number, handler in handlers.items():  # it puts its own in their place
            signal.signal(number, handler)
    return ray


def _reach(address: str) -> None:
    """MaclError if nothing listens there: Ray itself would wait for minutes, or end this process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise MaclError(f"nothing answers at {address} ({error}): is the cluster started?") from None


def demand(settings: Ray) -> dict[str, float]:
    """What a task asks of a node, by Ray's names."""
    asked: dict[str, float] = {"CPU": settings.cores, "GPU": settings.gpus}
    asked["memory"] = int(settings.memory_gb * 1024**3)
    return {name: amount for name, amount in (asked | settings.resources).items() if amount > 0}


def room(nodes: list[dict[str, Any]], settings: Ray) -> int:
    """How many tasks the living nodes can train at the same time, as `ray.nodes()` lists them."""
    asked = demand(settings)
    return sum(
        min(int(node["Resources"].get(name, 0) / amount + 1e-9) for name, amount in asked.items())
        for node in nodes
        if node["Alive"]
    )


def wanted(settings: Ray) -> str:
    """What a task asks for, in words."""
    said = [f"{amount:g} {name}" for name, amount in demand(settings).items() if name != "memory"]
    return ", ".join(said + ([f"{settings.memory_gb:g} GB of memory"] if settings.memory_gb else []))


def first_line(error: BaseException) -> str:
    """The first line of an error, without the traceback that Ray puts into some."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
