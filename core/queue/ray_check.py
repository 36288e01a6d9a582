"""What `macl launcher check ray` finds out: each thing that a run needs, tried on the nodes themselves.

The command joins the cluster for these looks; no run rests on it.
"""

import ipaddress
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.errors import MaclError
from core.files import PROJECT, NoLocks, lock, unlock
from core.queue import ray_cluster, ray_parts, ray_task, version
from core.queue.launcher import Finding
from core.queue.settings import Ray

PATIENCE_SECONDS = 120.0
MOST_NODES = 16  # that are looked at: a cluster's nodes are alike


def findings(settings: Ray, root: Path) -> Iterator[Finding]:
    """One sentence after the other, up to the first thing without which the rest cannot be tried."""
    try:
        found = ray_cluster.refuse()
        yield Finding(True, f"Ray {found} is installed, and is told to ask for a token")
        ray = ray_cluster.join(settings.address)
    except MaclError as error:
        yield Finding(False, str(error))
        return
    yield Finding(True, f"a cluster answers at {settings.address}")
    try:
        yield from _of_cluster(ray, settings, root)
    finally:
        ray.shutdown()


def _of_cluster(ray: Any, settings: Ray, root: Path) -> Iterator[Finding]:
    nodes = [node for node in ray.nodes() if node["Alive"]]
    open_to_all = [address for node in nodes if _is_public(address := node["NodeManagerAddress"])]
    if open_to_all:
        yield Finding(
            False,
            f"{', '.join(open_to_all)}: a public address, where anybody can try Ray's ports; put the cluster "
            "into a private network, or behind a firewall",
        )
    number, asked = ray_cluster.room(nodes, settings), ray_cluster.wanted(settings)
    if number:
        yield Finding(True, f"its {len(nodes)} nodes train {number} runs at the same time ({asked} each)")
    else:
        yield Finding(False, f"none of its {len(nodes)} nodes has {asked}: change [ray], or add nodes")
    folder = root / ray_parts.FOLDER / f"check-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True)
        lock(folder / "lock")  # held by this process, if the file system shows locks of other machines
    except NoLocks:
        yield Finding(False, f"{root} cannot lock files: the process that speaks to Ray cannot start there")
        return
    except OSError as error:
        yield Finding(False, f"{root} cannot be written ({error.strerror})")
        return
    try:
        for node in nodes[:MOST_NODES]:
            yield from _of_node(node["NodeManagerAddress"], _look(ray, node["NodeID"], folder), root)
    finally:
        unlock(folder / "lock")
        shutil.rmtree(folder, ignore_errors=True)


def _is_public(address: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(address).is_global
    return False


def _look(ray: Any, node: str, folder: Path) -> dict[str, str]:
    """What a task saw on this node, or the error that it ended with."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(ray_task.look_around).options(
        num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        runtime_env={"env_vars": ray_parts.variables(1)},
    )  # fmt: skip
    try:
        seen: dict[str, str] = ray.get(task.remote(str(folder)), timeout=PATIENCE_SECONDS)
    except Exception as error:  # whatever keeps a task from its work there
        return {"error": ray_cluster.first_line(getattr(error, "cause", None) or error)}
    return seen


def _of_node(name: str, seen: dict[str, str], root: Path) -> Iterator[Finding]:
    if "error" in seen:
        yield Finding(False, f"{name} cannot begin a task ({seen['error']}): is {PROJECT} the same there?")
        return
    if not seen["shared"]:
        yield Finding(False, f"{root} is not the same on {name}: runs need a shared path")
        return
    yield Finding(True, f"{root} is the same on {name}")
    if seen["mode"] != "token":
        yield Finding(
            False,
            f"{name} asks nobody for a token: start its part of the cluster with RAY_AUTH_MODE=token",
        )
    theirs, ours = seen["commit"] or "unknown", version.commit() or "unknown"
    if theirs == ours:
        yield Finding(True, f"the checkout on {name} is at the same commit, {ours}")
    else:
        yield Finding(False, f"{PROJECT} on {name} is at commit {theirs}, this checkout at {ours}")
    if seen["locks"] != "held":
        yield Finding(
            False,
            f"the file system of {root} does not show the locks of this machine on {name}: only heartbeats "
            "tell that a run lives",
        )
