"""The mirror against a real MLflow server: what arrives, what sending twice does, what is marked."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import runs
from core.runs import Run
from core.tracking import address, entry, process
from core.tracking.client import NotTaken, Refused, asking, connect
from core.tracking.mirror import Mirror
from core.training import loop
from tests.small_runs import config
from tests.tracking_server import Server

# MLflow's own, at its import and at its requests
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(900),
]  # the server starts in the first


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("mlflow"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _named(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server is named as a person does it; what MLflow's client is told stays in the test."""
    monkeypatch.setenv("MACL_MLFLOW_URI", server.uri)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def root(tmp_path: Path, trained_runs: Path) -> Path:
    """Two finished runs as they were trained, with folders of their own."""
    (tmp_path / "runs").mkdir()
    for path in trained_runs.iterdir():
        if not path.name.startswith("."):
            shutil.copytree(path, tmp_path / "runs" / f"{path.name}-{tmp_path.name[-8:]}")
    return tmp_path / "runs"


def mirror(root: Path, *, files: bool = False) -> Mirror:
    """A mirror as the process makes it at its start."""
    server = address()
    assert server is not None
    return Mirror(connect(server), server, root, process(root, server).file("sent"), files=files)


def turn(root: Path, *, files: bool = False) -> Mirror:
    """One look by a new mirror, as after a restart of its process."""
    made = mirror(root, files=files)
    for run in made.changed():
        made.send(run)
    made.mark_deleted()
    made.keep()
    assert made.wrong == {}
    return made


def there(server: Server, root: Path) -> dict[str, dict[str, Any]]:
    """What the server has of the runs of this root."""
    key = entry.root_key(root)
    return {name: run for name, run in server.runs().items() if run["tags"]["macl.root"] == key}


def assert_complete(server: Server, run: Run) -> None:
    """Every number of curve and scores is at the server, at its step and but once, and nothing else is."""
    found = server.runs()[run.id]
    expected: dict[str, list[tuple[int, float]]] = {}
    for row in run.history():
        for name, value in row.items():
            if name != "step" and not math.isnan(value):
                expected.setdefault(entry.metric(name), []).append((int(row["step"]), value))
    scored = {}
    for part, title in (("test", "metrics"), ("chance", "chance"), ("oracle", "oracle")):
        values = run.scores().get(title, {})
        scored |= {f"{part}/{name}": value for name, value in values.items() if value is not None}
    assert found["metrics"].keys() == expected.keys() | scored.keys()
    for name, points in expected.items():
        assert server.history(found, name) == points, name
    for name, value in scored.items():
        assert found["metrics"][name]["value"] == value, name
    assert found["info"]["status"] == {"finished": "FINISHED"}[run.state]


def test_a_run_arrives_whole(server: Server, root: Path) -> None:
    made = turn(root)
    assert len(made.created) == 2
    found = there(server, root)
    for run in runs.list_runs(root):
        assert_complete(server, run)
        there_run = found[run.id]
        assert there_run["params"]["loss"] == run.config.loss
        assert there_run["params"]["epochs"] == "2"
        assert there_run["params"]["tau"] == str(run.config.params["tau"])
        assert there_run["experiment"] == f"MACL Lab: folder {Path(run.config.data_root or '').name}"
        assert there_run["info"]["run_name"].endswith("· instant · seed 0")
        assert server.files(there_run) == []


def test_twice_does_no_harm_with_and_without_what_was_remembered(server: Server, root: Path) -> None:
    turn(root)
    first = there(server, root)
    again = turn(root)
    assert (again.sent, again.created) == (set(), set())
    for path in root.glob(".mlflow-*"):
        path.write_text("{ half of it")
    again = turn(root)
    assert (again.sent, again.created) == (set(), set())
    # a mirror that died between sending points and tagging how far it had come
    for found in first.values():
        for tag in ("macl.steps", "macl.scores", "macl.config"):
            server.ask("runs/set-tag", run_id=found["info"]["run_id"], key=tag, value="")
    for path in root.glob(".mlflow-*"):
        path.unlink()
    assert len(turn(root).sent) == 2
    for run in runs.list_runs(root):
        assert_complete(server, run)
    assert there(server, root).keys() == first.keys()


def test_files_are_sent_on_request_and_once(server: Server, root: Path) -> None:
    turn(root)
    (run, _) = runs.list_runs(root)
    run.rename("with files")  # so that its folder has changed
    sent = turn(root, files=True)
    found = there(server, root)[run.id]
    assert {"config.json", "scores.json", "metrics.jsonl", "model.safetensors"} <= set(server.files(found))
    assert not {"resume.safetensors", "lock", "started"} & set(server.files(found))
    assert found["info"]["run_id"] in sent.sent
    assert turn(root, files=True).sent == set()


def test_a_new_name_and_a_deleted_folder_are_marked(server: Server, root: Path) -> None:
    turn(root)
    kept, deleted = runs.list_runs(root)
    before = there(server, root)[kept.id]["info"]["run_name"]
    kept.rename("the good one")
    runs.delete(deleted)
    turn(root)
    found = there(server, root)
    assert found[kept.id]["info"]["run_name"] == "the good one"
    assert found[kept.id]["tags"]["macl.renamed_from"] == before
    assert found[deleted.id]["tags"]["macl.deleted"]
    assert found[deleted.id]["info"]["lifecycle_stage"] == "active"
    runs.restore(runs.trashed(root)[0])
    turn(root)
    assert "macl.deleted" not in there(server, root)[deleted.id]["tags"]
    assert_complete(server, deleted)


def test_a_folder_deleted_while_nobody_remembers_is_marked(server: Server, root: Path) -> None:
    turn(root)
    deleted = runs.list_runs(root)[0]
    for path in [*root.glob(".mlflow-*"), deleted.path]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    turn(root)
    assert there(server, root)[deleted.id]["tags"]["macl.deleted"]


def test_states_become_statuses(server: Server, tiny: Path, tmp_path: Path) -> None:
    def status(run: Run) -> str:
        turn(root)
        return str(there(server, root)[run.id]["info"]["status"])

    root = tmp_path / "runs"
    run = runs.create(config(tiny), root)
    turn(root)
    assert there(server, root) == {}  # it waits, and has nothing to show
    run.mark("started")
    assert status(run) == "KILLED"  # nobody holds its lock: it was interrupted
    run.mark("stopped")
    assert status(run) == "KILLED"
    run.mark("submitted")
    assert status(run) == "SCHEDULED"
    run.unmark("submitted", "stopped")
    run.mark("error.txt", "the disk is full")
    assert status(run) == "FAILED"
    found = there(server, root)[run.id]["tags"]
    assert (found["macl.state"], found["macl.error"]) == ("failed", "the disk is full")


def test_a_run_given_more_epochs_goes_on_where_it_was(server: Server, root: Path) -> None:
    turn(root)
    run = runs.list_runs(root)[0]
    runs.extend(run, 4)
    run.mark("submitted")
    turn(root)
    assert there(server, root)[run.id]["info"]["status"] == "SCHEDULED"
    assert loop.run(run.path) == "finished"
    turn(root)
    assert_complete(server, run)
    found = there(server, root)[run.id]
    assert (found["params"]["epochs"], found["tags"]["macl.now.epochs"]) == ("2", "4")
    assert len(server.history(found, "test/map_medium")) == 2  # after two epochs, and after four


def test_a_curve_that_was_cut_back_and_written_again_is_there_once(server: Server, root: Path) -> None:
    """As after a kill: the steps beyond the checkpoint come again, equal but for the time they took."""
    run = runs.list_runs(root)[0]
    rows = run.history()
    turn(root)
    slower = [row | {"seconds": row["seconds"] + 5, "images_per_s": 1.0} for row in rows[1:]]
    lines = [json.dumps(runs.without_nan(row)) for row in [rows[0], *slower]]
    run.mark("metrics.jsonl", "".join(line + "\n" for line in lines))
    for path in root.glob(".mlflow-*"):
        path.unlink()
    turn(root)
    steps = [step for step, _ in server.history(there(server, root)[run.id], "loss")]
    assert steps == [row["step"] for row in rows]


def test_what_a_person_deleted_at_the_server_stays_deleted(server: Server, root: Path) -> None:
    turn(root)
    run = runs.list_runs(root)[0]
    server.ask("runs/delete", run_id=there(server, root)[run.id]["info"]["run_id"])
    run.rename("another name")
    turn(root)
    for path in root.glob(".mlflow-*"):
        path.unlink()
    assert turn(root).created == set()
    assert run.id not in there(server, root)


def test_a_server_that_has_lost_all_gets_all_again(server: Server, root: Path, tmp_path: Path) -> None:
    turn(root)
    note = next(root.glob(".mlflow-*")).read_text()
    for found in there(server, root).values():
        note = note.replace(found["info"]["run_id"], "f" * 32)  # as if these had been another server's
    next(root.glob(".mlflow-*")).write_text(note)
    run = runs.list_runs(root)[0]
    run.rename("seen again")
    made = mirror(root)
    made.send(run)  # learns that the server has no such run, and asks it
    made.send(run)
    assert made.wrong == {}
    assert there(server, root)[run.id]["info"]["run_name"] == "seen again"


def test_a_damaged_run_does_not_hold_up_the_others(server: Server, root: Path) -> None:
    sound, damaged = runs.list_runs(root)
    damaged.mark("scores.json", "{ half of it")
    made = mirror(root)
    for run in made.changed():
        made.send(run)
    assert list(made.wrong) == [damaged.id]
    assert "scores.json is damaged" in made.wrong[damaged.id]
    assert damaged not in made.changed()  # until it is another, or a minute later
    made.again()
    assert damaged in made.changed()
    assert_complete(server, sound)


def test_what_a_server_does_not_take_is_one_sentence(server: Server) -> None:
    named = address()
    assert named is not None
    client = connect(named)
    with pytest.raises(NotTaken, match="does not take it: RESOURCE_DOES_NOT_EXIST") as told, asking(named):
        client.get_run("0" * 32)
    assert told.value.code == "RESOURCE_DOES_NOT_EXIST"
    assert not isinstance(told.value, Refused)
