"""`macl app`, which `make app` calls: a server that answers, and a worker before the first click."""

import os
import signal
import socket
import sys
from pathlib import Path

from core.queue import launch
from tests.e2e.conftest import Server, wait


def test_macl_app_serves_and_has_a_worker_that_outlives_it(tmp_path: Path) -> None:
    server = Server(tmp_path, tmp_path / "cache")
    server.command = [str(Path(sys.executable).with_name("macl")), "app"]
    try:
        server.start()
        wait(lambda: bool(launch.workers(server.run_root)))
        server.kill(signal.SIGTERM)  # of the process that was started: it must not leave the server behind
        wait(lambda: not answers(server.port))
        assert launch.workers(server.run_root)
    finally:
        server.kill()
        for about in launch.workers(server.run_root).values():
            os.kill(int(str(about["pid"])), signal.SIGKILL)


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0
