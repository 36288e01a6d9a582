"""The mirror as a process beside a training: the server goes and comes, and no secret is written down."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from core import runs, tracking
from core.background.process import Process
from core.errors import MaclError
from core.files import PROJECT
from core.losses.file import describe, load
from core.losses.own import keep
from core.queue import launch
from core.runs import Run
from core.tracking import client
from tests import small_runs
from tests.own_losses import own
from tests.small_runs import assert_same_outcome, config
from tests.tracking_server import Server

MACL = [sys.executable, "-c", "from core.cli import main; main()"]
SECRETS = ("pa55-w0rd", "t0ken-of-mine")
# A loss that waits for a file once its curve has 2 rows, and once more at 6.
GATED = own(
    "run = os.environ.get('GATED_RUN', '')\n"
    "        curve = Path(run) / 'metrics.jsonl'\n"
    "        rows = curve.read_text().count('\\n') if run and curve.exists() else 0\n"
    "        for gate in (2, 6):\n"
    "            while rows >= gate and not (Path(run) / f'open{gate}').exists():\n"
    "                time.sleep(0.01)\n"
    "        return (z @ z.T * (1 - y @ y.T)).mean()",
    name="Gated",
    head="import os, time\nfrom pathlib import Path",
)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A run root whose mirrors are gone after the test."""
    folder = tmp_path / "runs"
    folder.mkdir()
    yield folder
    for path in folder.glob(".mlflow-*.lock"):
        if (pid := Process(path.with_suffix("")).pid) is not None:
            os.kill(pid, signal.SIGKILL)


def macl(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, **environment}
    return subprocess.run([*MACL, *arguments], capture_output=True, text=True, check=False, env=given)


@pytest.mark.timeout(1500)  # two starts of a server and two of a training: 40 s on a machine of its own
def test_a_server_that_is_down_for_a_while_misses_nothing(tiny: Path, root: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "mlflow")
    server.start()
    key = keep(describe(load(GATED, "gated"), "gated", GATED), GATED, offer=True).key
    alone = runs.create(config(tiny, loss=key, epochs=6), tmp_path / "alone")
    done = macl("resume", str(alone.path), "--run-root", str(alone.path.parent))
    assert done.returncode == 0, done.stderr

    uri = server.uri.replace("http://", f"http://me:{SECRETS[0]}@")
    run = runs.create(config(tiny, loss=key, epochs=6), root)
    environment = {"MACL_MLFLOW_URI": uri, "MLFLOW_TRACKING_TOKEN": SECRETS[1], "GATED_RUN": str(run.path)}
    with pytest.MonkeyPatch.context() as patch, (tmp_path / "said.txt").open("w") as said:
        for name, text in environment.items():
            patch.setenv(name, text)
        training = subprocess.Popen(
            [*MACL, "resume", run.id, "--run-root", str(root)], stdout=said, stderr=said
        )
        try:
            wait(lambda: len(steps(server, run)) == 2)
            assert server.runs()[run.id]["info"]["status"] == "RUNNING"
            server.stop()
            (run.path / "open2").touch()
            wait(lambda: len(run.history()) >= 6)  # training does not wait for the server
            wait(lambda: "cannot be reached (connection refused)" in words(root))
            (pid,) = (Process(p.with_suffix("")).pid for p in root.glob(".mlflow-*.lock"))
            assert not any(secret in Path(f"/proc/{pid}/cmdline").read_text() for secret in SECRETS)
            server.start()
            wait(lambda: len(steps(server, run)) >= 6)
            assert run.state == "running"
            (run.path / "open6").touch()
            assert training.wait(240) == 0, (tmp_path / "said.txt").read_text()
            wait(lambda: server.runs()[run.id]["info"]["status"] == "FINISHED")
        finally:
            training.kill()
            training.wait()
        wait(lambda: words(root) == f"Runs are mirrored to {server.uri}.")
    assert steps(server, run) == [row["step"] for row in run.history()]
    found = server.runs()[run.id]
    assert found["metrics"]["test/map_medium"]["value"] == run.scores()["metrics"]["map_medium"]
    assert server.history(found, "loss") == [(row["step"], row["loss"]) for row in run.history()]
    assert_same_outcome(run, alone)
    server.stop()
    for path in [tmp_path / "said.txt", *(path for path in root.rglob("*") if path.is_file())]:
        content = path.read_bytes()
        assert not [secret for secret in SECRETS if secret.encode() in content], path


def wait(for_what: Callable[[], bool]) -> None:
    small_runs.wait(for_what, 400)


def steps(server: Server, run: Run) -> list[int]:
    """The steps of its curve that the server has."""
    if not server.answers() or run.id not in (found := server.runs()):
        return []
    return [step for step, _ in server.history(found[run.id], "loss")]


def words(root: Path) -> str:
    found = tracking.mirroring(root)
    return found.words if found else ""


class Locked(BaseHTTPRequestHandler):
    """A server that lets nobody in, and repeats what it was given."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()
        self.wfile.write(f"no entry with {self.headers['Authorization']} {SECRETS[0]}".encode())

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def locked() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Locked)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_lets_nobody_in_ends_the_mirror_with_a_sentence(
    locked: str, root: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.create(config(tiny), root)
    monkeypatch.setenv("MACL_MLFLOW_URI", f"http://me:{SECRETS[0]}@{locked}")
    tracking.ensure(root)
    wait(lambda: not tracking.mirroring(root).alive)  # type: ignore[union-attr]
    assert words(root).startswith(f"Runs are not mirrored to http://{locked}: http://{locked} lets nobody in")
    assert "MLFLOW_TRACKING_TOKEN" in words(root)
    done = macl("mlflow", "sync", "--run-root", str(root))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for text in [done.stderr, *(path.read_text() for path in root.glob(".mlflow-*"))]:
        assert SECRETS[0] not in text


def test_sync_says_in_one_sentence_what_it_lacks(root: Path) -> None:
    done = macl("mlflow", "sync", "--run-root", str(root), MACL_MLFLOW_URI="")
    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        ["error: MACL_MLFLOW_URI names no server: set it to an address such as http://localhost:5000"],
    )
    done = macl("mlflow", "sync", "--run-root", str(root), MACL_MLFLOW_URI="http://x:hidden@127.0.0.1:1")
    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        ["error: http://127.0.0.1:1 cannot be reached (connection refused)"],
    )
    done = macl("mlflow", "status", "--run-root", str(root), MACL_MLFLOW_URI="localhost:hidden@x:1")
    assert "is no address" in done.stdout
    assert "hidden" not in done.stdout + done.stderr


def test_nothing_happens_where_no_server_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MACL_MLFLOW_URI", raising=False)
    tracking.ensure(root)
    assert tracking.mirroring(root) is None
    assert list(root.iterdir()) == []


def test_whatever_sees_to_a_worker_starts_the_mirror(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_MLFLOW_URI", "http://127.0.0.1:1")
    monkeypatch.setattr(launch, "workers", lambda _: {"cpu": {"takes": ["auto"]}})  # one lives
    launch.ensure_worker(root=root)
    assert tracking.mirroring(root).alive  # type: ignore[union-attr]


def test_the_lab_is_not_mirrored(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_MLFLOW_URI", "http://127.0.0.1:1")
    (root / ".lab").mkdir()
    tracking.ensure(root / ".lab")
    assert list((root / ".lab").iterdir()) == []


def test_without_the_extra_a_sentence_and_no_process(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_MLFLOW_URI", "http://127.0.0.1:1")
    monkeypatch.setattr(client, "find_spec", lambda _: None)
    tracking.ensure(root)
    assert list(root.iterdir()) == []
    assert words(root) == (
        "Runs are not mirrored to http://127.0.0.1:1: MLflow's client is not installed here: "
        "pip install -e '.[mlflow]' brings it."
    )
    named = tracking.address()
    assert named
    with pytest.raises(MaclError, match="not installed"):
        client.connect(named)


def test_another_server_ends_the_mirror_to_the_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_MLFLOW_URI", "http://127.0.0.1:1")
    tracking.ensure(root)
    first = tracking.process(root, tracking.address())  # type: ignore[arg-type]
    assert first.pid is not None
    monkeypatch.setenv("MACL_MLFLOW_URI", "http://127.0.0.1:2")
    tracking.ensure(root)
    wait(lambda: first.pid is None)
    assert tracking.mirroring(root).alive  # type: ignore[union-attr]


def test_nothing_that_trains_or_draws_imports_mlflow() -> None:
    names = ["core.training.loop", "core.queue.worker", "core.cli", "core.tracking", "app.train.mirrored"]
    code = f"import sys\nfor name in {names!r}: __import__(name)\nprint('mlflow' in sys.modules)"
    environment = {**os.environ, "MACL_MLFLOW_URI": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=True, cwd=PROJECT, env=environment,
    )  # fmt: skip
    assert done.stdout.split()[-1] == "False"


@pytest.mark.parametrize(
    ("given", "uri", "shown"),
    [
        ("http://h:5000", "http://h:5000", "http://h:5000"),
        ("https://me:se%2Fcret@h/mlflow/?key=se%2Fcret", "https://h/mlflow", "https://h/mlflow"),
        ("http://[::1]:5000/", "http://[::1]:5000", "http://[::1]:5000"),
        ("databricks", "databricks", "databricks"),
        ("postgresql://me:secret@h/db", "postgresql://me:secret@h/db", "postgresql://h/db"),
    ],
)
def test_what_is_shown_of_an_address(
    given: str, uri: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_MLFLOW_URI", given)
    found = tracking.address()
    assert found is not None
    assert (found.uri, found.shown) == (uri, shown)
    assert "cret" not in repr(found)
    assert "cret" not in found.clean(f"{found.uri} does not know {found.password or 'me'}")


@pytest.mark.parametrize("given", ["localhost:5000", "http://", "http://h:port", "h", "http://[::1"])
def test_what_is_no_address(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_MLFLOW_URI", given)
    with pytest.raises(MaclError, match="is no address"):
        tracking.address()


def test_what_is_remembered_is_small(root: Path) -> None:
    """A megabyte for a thousand runs would be written again at every look."""
    from core.tracking import memory

    tags = {f"macl.{n}": "x" * 16 for n in range(9)}
    known = {f"run{n:04d}": memory.Known("f" * 32, "a name", "FINISHED", tags, 1, 1) for n in range(1000)}
    memory.save(root / "note", known)
    assert (root / "note").stat().st_size < 1_000_000
    assert memory.load(root / "note") == known
    (root / "note").write_text(json.dumps({"run": {"server": "x", "unknown": 1}}))
    assert memory.load(root / "note") is None
