"""Where a run is: leases, heartbeats, and runs that belong to somebody else."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from core import runs
from core.errors import MaclError
from core.files import NoLocks
from core.runs import Run, where
from core.runs.where import Hold, Lease
from tests.small_runs import config, wait


@pytest.fixture
def run(tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MACL_BEAT_SECONDS", "0.05")
    return runs.create(config(tiny), root)


def of_job(patch: pytest.MonkeyPatch, claim: str) -> None:
    """This process is the job of a hand-over."""
    for name, value in (
        (where.LAUNCHER, "slurm"),
        (where.CLAIM, claim),
        (where.HOST, "n1"),
        (where.JOB, "7_0"),
    ):
        patch.setenv(name, value)


def test_a_run_in_hand_says_where_it_is_and_beats(run: Run) -> None:
    with Hold(run.path):
        first = run.where
        assert (first.launcher, first.host, first.state) == ("local", where.host(), "running")
        wait(lambda: run.where.at > first.at)
        assert run.state == "running"
        assert not first.lives  # on this machine the lock says it
        assert replace(run.where, host="another").lives
    assert not (run.path / where.NAME).exists()
    assert run.state == "queued"


def test_a_run_that_lives_on_another_machine_runs_and_nobody_takes_it(run: Run) -> None:
    run.mark("started")
    lease = Lease(host="another", claim="theirs", state="running", at=time.time(), every=600)
    where.write(run.path, lease)
    assert run.state == "running"
    with pytest.raises(MaclError, match="is trained on another: wait for it"):
        Hold(run.path)
    with pytest.raises(MaclError, match="is running"):
        runs.delete(run)
    with pytest.raises(MaclError, match="is running"):
        runs.extend(run, 9)
    where.write(run.path, replace(lease, at=time.time() - 6001))
    assert run.state == "interrupted"
    with Hold(run.path):
        assert run.where.claim != "theirs"


def test_a_run_of_a_cluster_is_queued_until_its_job_takes_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    where.write(run.path, Lease("slurm", "macl-1", 3, state="waiting", at=time.time()))
    assert (run.state, run.lost, run.queued_again) == ("queued", False, False)
    with pytest.raises(MaclError, match="waits in the queue of slurm"):
        Hold(run.path)
    of_job(monkeypatch, "macl-0")  # of an earlier hand-over
    with pytest.raises(MaclError, match="waits in the queue of slurm"):
        Hold(run.path)
    of_job(monkeypatch, "macl-1")
    with Hold(run.path) as hold:
        assert (run.where.index, run.where.job, run.where.host) == (3, "7_0", "n1")
        assert run.where.lives
        assert run.state == "running"
        run.mark("started")
        hold.release(waits=True)
    assert (run.state, run.queued_again) == ("queued", True)
    with Hold(run.path):
        pass
    assert run.state == "interrupted"
    assert run.where.launcher == "slurm"  # a resume goes there


def test_a_process_lets_go_of_a_run_that_somebody_else_has_been_given(run: Run) -> None:
    with Hold(run.path) as hold:
        assert not hold.lost
        theirs = Lease("slurm", "macl-2", state="waiting", at=time.time())
        where.write(run.path, theirs)
        wait(lambda: hold.lost)
    assert run.where == theirs


def test_a_job_that_begins_again_while_its_first_process_lives_leaves_it_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is cut off from Slurm, not from the file system, goes on training."""
    of_job(monkeypatch, "macl-1")
    alive = replace(where.here(), holder="another", every=600.0)
    where.write(run.path, alive)
    monkeypatch.setattr(where, "lock", lambda _: True)
    with pytest.raises(MaclError, match=r"is trained on n1 \(job 7_0 of slurm\)"):
        Hold(run.path)
    where.write(run.path, replace(alive, at=time.time() - 3601))
    with Hold(run.path) as hold:
        where.write(run.path, alive)  # it lives after all
        wait(lambda: hold.lost)


def test_a_job_needs_no_locks_but_a_process_of_this_machine_does(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lustre without `flock` refuses them."""

    def refuse(_: Path) -> bool:
        raise NoLocks("no locks")

    monkeypatch.setattr(where, "lock", refuse)
    with pytest.raises(NoLocks):
        Hold(run.path)
    where.write(run.path, Lease("slurm", "macl-1", state="waiting", at=time.time()))
    of_job(monkeypatch, "macl-1")
    with Hold(run.path):
        assert run.state == "running"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"launcher": 7}', '{"unknown": 1}', '{"at": "then"}'])
def test_a_damaged_lease_is_none(text: str, run: Run) -> None:
    (run.path / where.NAME).write_text(text)
    assert run.where == Lease()
    assert run.state == "queued"


def test_a_trained_run_leaves_where_it_was_and_a_taken_one_leaves_its_files_alone(
    tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.training import loop

    monkeypatch.setenv("MACL_BEAT_SECONDS", "0.05")
    run = runs.create(config(tiny, epochs=3000), root)
    wanted = iter([False] * 5)
    assert loop.run(run.path, leave=lambda: next(wanted, True)) == "interrupted"
    assert (run.state, run.where) == ("interrupted", Lease())
    assert "left this machine" in run.log
    theirs = Lease("slurm", "macl-2", state="waiting", at=time.time())

    def given_away() -> bool:
        if run.progress().get("what") == "training":
            where.write(run.path, theirs)
        return False

    assert loop.run(run.path, leave=given_away) == "interrupted"
    assert run.where == theirs
    where.end(run.path, "NODE_FAIL")
    assert (run.state, run.where.reason) == ("interrupted", "NODE_FAIL")


def test_the_heartbeat_ends_with_its_process(run: Run) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom core.runs.where import Hold\n"
        "with Hold(Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {where.HOST: "another"}
    subprocess.run([sys.executable, "-c", code, str(run.path)], env=environment, check=False)
    run.mark("started")
    wait(lambda: run.state == "interrupted")
