"""A real Ray cluster of two nodes on this machine, in a process of its own that ends with this one.

`python -m tests.core.queue.ray_cluster` reads one command a line, `add` or `remove NODE`, and answers each
with a line of JSON; it ends all of the cluster when its input does.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from typing import Any

ADDRESS = "127.0.0.2"  # of this machine alone; for 127.0.0.1 Ray takes that of the network card
SEAT = "seat"  # of which the first node has one
SLOT = {"num_cpus": 1, "object_store_memory": 80 * 1024**2}


class Cluster:
    """Two nodes of one core; `head` is the node whose loss would be the end of it.

    Attributes:
        environment: What lets a process speak to it: its token, and where it keeps its files.
        address: HOST:PORT, of this machine alone.
        client: The same for clients.
        head: Name of the first node, as it stands in the hosts of runs.
        node: Name of the second one.
    """

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="macl")  # short: there are sockets in it
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_TMPDIR": self.folder,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DEDUP_LOGS": "0",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.core.queue.ray_cluster"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | self.environment,
        )  # fmt: skip
        first = self._answer()
        self.address, self.client, self.head = first["address"], first["client"], first["node"]
        self.node = self.add()

    def add(self) -> str:
        """Start another node; returns its name."""
        return str(self._ask("add")["node"])

    def remove(self, node: str) -> None:
        """Kill a node, by the cluster's own helper."""
        self._ask(f"remove {node}")

    def close(self) -> None:
        """End all of it."""
        try:
            self.process.communicate(timeout=120)
        finally:
            self.process.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _ask(self, command: str) -> Any:
        assert self.process.stdin is not None
        print(command, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if line.startswith("{"):  # Ray says other things too
                return json.loads(line)
        raise AssertionError(f"the cluster has ended: exit code {self.process.wait()}")


def main() -> None:
    """Keep a cluster."""
    from ray.cluster_utils import Cluster as Nodes

    def answer(**told: str) -> None:
        print(json.dumps(told), flush=True)

    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        client = free.getsockname()[1]
    nodes = Nodes(
        initialize_head=True,
        head_node_args=SLOT | {
            "include_dashboard": False, "node_ip_address": ADDRESS, "ray_client_server_port": client,
            "resources": {SEAT: 1},
            "_system_config": {"prestart_worker_first_driver": False},
        },
    )  # fmt: skip
    named = {nodes.head_node.node_id[:8]: nodes.head_node}
    answer(address=nodes.address, client=f"ray://{ADDRESS}:{client}", node=nodes.head_node.node_id[:8])
    for line in sys.stdin:
        command, _, name = line.strip().partition(" ")
        if command == "add":
            node = nodes.add_node(node_ip_address=ADDRESS, **SLOT)
            named[node.node_id[:8]] = node
            answer(node=node.node_id[:8])
        else:
            nodes.remove_node(named.pop(name), allow_graceful=False)
            answer(removed=name)
    nodes.shutdown()


if __name__ == "__main__":
    main()
