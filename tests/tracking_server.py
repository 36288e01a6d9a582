"""A real MLflow server, started and stopped by the tests, and asked without MLflow's client."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


class Server:
    """`mlflow server` on a free port of this machine, with SQLite and files below one folder."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.folder, self.options, self.environment = folder, options, environment
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 240) -> None:
        """Returns when it answers; fails if it has not after so many seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/runs.db",
            "--artifacts-destination", str(self.folder / "files"), *self.options,
        ]  # fmt: skip
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        given = {name: text for name, text in os.environ.items() if not name.startswith("MLFLOW_")}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, cwd=self.folder,
                env={**given, **quiet, **self.environment},
            )  # fmt: skip
        deadline = time.monotonic() + seconds
        while not self.answers():
            said = (self.folder / "server.log").read_text()[-2000:]
            assert self.process.poll() is None, f"the server has ended: {said}"
            assert time.monotonic() < deadline, f"the server does not answer: {said}"
            time.sleep(0.1)

    def stop(self) -> None:
        """End it and the processes it has started."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def forget(self) -> None:
        """Stop it and lose all it had."""
        self.stop()
        shutil.rmtree(self.folder)

    def ask(self, path: str, **what: Any) -> dict[str, Any]:
        """Answer to a POST of JSON, or with nothing to post to a GET."""
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/mlflow/{path}",
            data=json.dumps(what).encode() if what else None,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return dict(json.load(answer))

    def runs(self) -> dict[str, dict[str, Any]]:
        """Every run of the mirror by the name of its folder, with the last point of each metric."""
        experiments = self.ask("experiments/search", max_results=100).get("experiments", [])
        ids = [one["experiment_id"] for one in experiments]
        found = self.ask("runs/search", experiment_ids=ids, max_results=1000).get("runs", [])
        named = {one["experiment_id"]: one["name"] for one in experiments}
        by_name: dict[str, dict[str, Any]] = {}
        for run in found:
            data = run["data"]
            tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
            if name := tags.get("macl.run"):
                assert name not in by_name, f"{name} is there twice"
                by_name[name] = {
                    "info": run["info"],
                    "tags": tags,
                    "params": {one["key"]: one["value"] for one in data.get("params", [])},
                    "metrics": {one["key"]: one for one in data.get("metrics", [])},
                    "experiment": named[run["info"]["experiment_id"]],
                }
        return by_name

    def history(self, run: dict[str, Any], key: str) -> list[tuple[int, float]]:
        """Step and value of every point of one metric, in the order of steps."""
        path = f"metrics/get-history?run_id={run['info']['run_id']}&metric_key={key}"
        points = self.ask(path).get("metrics", [])
        return sorted((int(point["step"]), float(point["value"])) for point in points)

    def files(self, run: dict[str, Any]) -> list[str]:
        found = self.ask(f"artifacts/list?run_id={run['info']['run_id']}")
        return sorted(one["path"] for one in found.get("files", []))
