"""The Slurm launcher against a real Slurm of two nodes: `tests/core/queue/slurm_cluster.py`.

With `MACL_TEST_SLURM=1` (as in `.ci/run`) a missing Slurm is a failure, else these tests are skipped then.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core import runs
from core.errors import MaclError
from core.experiments import sweep as sweeps
from core.experiments.benchmark import Method, Plan
from core.experiments.sweep import Sweep
from core.files import PROJECT
from core.queue import hand_over, launch, settings, version
from core.queue import launcher as launchers
from core.queue.slurm import name_and_index
from core.runs import Run, RunConfig, folder, where
from core.runs.where import Lease
from tests.core.queue.slurm_cluster import Cluster, missing
from tests.small_runs import assert_same_outcome, config

LONG = 100  # epochs of a run that is caught in the middle

# Alone: nodes, jobs and daemons are four processes and more on two cores.
pytestmark = [pytest.mark.timeout(900), pytest.mark.timed]


@pytest.fixture(scope="module")
def _cluster() -> Iterator[Cluster]:
    if lacks := missing():
        assert not os.environ.get("MACL_TEST_SLURM"), f"not installed: {', '.join(lacks)}"
        pytest.skip(f"needs Slurm and munge (apt-get install slurm-wlm munge): {', '.join(lacks)} not found")
    with tempfile.TemporaryDirectory(prefix="macl-slurm-") as place:  # short: sockets lie in it
        cluster = Cluster(Path(place))
        try:
            cluster.open()
            yield cluster
        finally:
            cluster.close()


@pytest.fixture
def cluster(_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster, with all nodes up and nothing in its queue, set up as the launcher `slurm`."""
    for name, value in _cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MACL_BEAT_SECONDS", "1")
    monkeypatch.setenv("MACL_CHECKPOINT_SECONDS", "0.2")
    set_up()
    yield _cluster
    _cluster.cancel_all()
    for node in ("n1", "n2"):
        if node not in _cluster.daemons:
            _cluster.start_node(node)
    _cluster.wait(lambda: _cluster.ready() == ["n1", "n2"], "both nodes are ready again")


def set_up(**given: object) -> None:
    """Write the settings of the launcher."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in {"partition": "tiny", **given}.items()]
    settings.place().parent.mkdir(parents=True, exist_ok=True)
    settings.place().write_text("\n".join(["[slurm]", *lines, ""]))


def jobs_of(cluster: Cluster, run: Run) -> list[str]:
    """Jobs in the queue that would train a run: those of its claim and index."""
    listed = cluster.ask("squeue", "--array", "--noheader", "--format=%i %K %T %j")
    wanted, found = name_and_index(run.where), []
    for job, index, state, name in (line.split() for line in listed.splitlines()):
        if (name, int(index) if index.isdecimal() else 0) == wanted:
            found.append(f"{job} {state}")
    return found


def process_of(run: Run) -> int:
    """The process that trains a run, or trained it last."""
    return int(run.log.rpartition("started, process ")[2].split()[0])


def twelve(tiny: Path) -> Sweep:
    """Twelve runs; every third is long, so that each of four jobs of three begins with a long one."""
    fields = {
        "dataset": "folder", "data_root": str(tiny), "image_size": 32, "batch_size": 16, "device": "cpu",
        "loss": "mulsupcon", "embed_every": 0,
    }  # fmt: skip
    places = [{"seed": seed, "epochs": 2 if seed % 3 else LONG} for seed in range(12)]
    return sweeps.listed("twelve", "instant", fields, places)


@pytest.fixture(scope="module")
def trained_here(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], dict[str, Run]]:
    """The twelve runs trained by a process of this machine, beside the cluster; by their identity."""
    root = tmp_path_factory.mktemp("here")
    for point in twelve(tiny).points:
        runs.create(point.config, root)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from core.runs import list_runs\nfrom core.training import loop\n"
        "for run in list_runs(Path(sys.argv[1])): assert loop.run(run.path) == 'finished', run.error"
    )
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MACL_CACHE": str(tmp_path_factory.getbasetemp() / "home" / "cache"),
    }
    process = subprocess.Popen([sys.executable, "-c", code, str(root)], cwd=PROJECT, env=environment)

    def finished() -> dict[str, Run]:
        assert process.wait(600) == 0
        return {run.config.identity: run for run in runs.list_runs(root)}

    return finished


def test_a_sweep_survives_the_loss_of_a_node(
    cluster: Cluster, tiny: Path, root: Path, trained_here: Callable[[], dict[str, Run]]
) -> None:  # fmt: skip
    planned = sweeps.start(twelve(tiny), root, "slurm", pack=3)
    made = [run for _, run in sweeps.found(planned, sweeps.known(root)) if run is not None]
    assert len(made) == 12
    assert {run.state for run in made} <= {"queued", "running"}
    assert len({(run.where.claim, run.where.index) for run in made}) == 4

    held: dict[str, list[Run]] = {"n1": [], "n2": []}

    def hold() -> bool:
        """Stop the processes of two runs of each node in the middle of their training."""
        for run in made:
            caught = held.get(run.where.host, [])
            if run not in caught and (run.path / "resume.safetensors").exists() and run.state == "running":
                os.kill(process_of(run), signal.SIGSTOP)
                caught.append(run)
        return [len(caught) for caught in held.values()] == [2, 2]

    cluster.wait(hold, "all four jobs train")
    alive, lost = held["n2"][0], held["n1"]
    with pytest.MonkeyPatch.context() as patch:  # a file system that does not show locks
        patch.setattr(folder, "locked_by", lambda _: None)
        patch.setattr(where, "lock", lambda _: True)
        patch.setattr(where, "MISSED", 1e9)  # its heart stands still as long as it is held
        assert alive.state == "running"
        with pytest.raises(MaclError, match="is trained on n2"):
            hand_over.refuse_alive(alive)
        launch.resume(alive)  # takes back a stop that was asked for, no more
        with pytest.raises(MaclError, match="is trained on n2"):
            where.Hold(alive.path)  # as `macl train` or a worker would
        patch.setattr(Lease, "lives", property(lambda _: False))  # and its heartbeat is late
        assert alive.state == "queued"
        with pytest.raises(MaclError, match=r"is trained on n2 \(job \d+_\d of slurm\)"):
            launch.resume(alive)
    assert len(jobs_of(cluster, alive)) == 1

    cluster.kill_node("n1")
    cluster.wait(
        lambda: all(run.state == "queued" and run.queued_again for run in lost), "they are queued again"
    )
    waiting = [launch.submit(config(tiny, seed=seed, device="cpu"), root, "slurm") for seed in (90, 91)]
    cluster.wait(
        lambda: {standing.state for standing in hand_over.settle(lost).values()} == {"waiting"},
        "Slurm has noticed the loss",
    )
    assert {standing.reason for standing in hand_over.settle(lost).values()} == {"BeginTime"}
    assert all(run.queued_again for run in lost)
    standings = launchers.launcher("slurm").look(waiting)
    first, second = (standings[run.id] for run in waiting)  # n2 is full as long as its runs are held
    assert (first.state, second.state) == ("waiting", "waiting")
    assert first.before is not None
    assert second.before == first.before + 1
    for run in waiting:
        launch.stop(run)
    cluster.wait(lambda: all(run.state == "stopped" for run in waiting), "those that wait can be stopped")
    cluster.wait(lambda: not any(jobs_of(cluster, run) for run in waiting), "and have left the queue")

    for run in held["n2"]:
        os.kill(process_of(run), signal.SIGCONT)
    cluster.begin_now()
    cluster.wait(lambda: all(run.state == "finished" for run in made), "all twelve finish", 600)
    here = trained_here()
    for run in made:
        again = run in lost
        assert run.log.count("started, process") == 1 + again, run.log
        assert ("resumed after step" in run.log) == again, run.log
        assert run.log.count("finished") == 1
        assert run.deaths == (0, 0)
        assert run.where.state == "ended"
        assert_same_outcome(run, here[run.config.identity])


def test_a_job_that_is_warned_saves_a_checkpoint_and_begins_again(
    cluster: Cluster, tiny: Path, root: Path
) -> None:
    run = launch.submit(config(tiny, epochs=3000, device="cpu"), root, "slurm")
    cluster.wait(lambda: run.state == "running" and len(run.history()) > 5, "it trains")
    first = run.where.job
    assert first == jobs_of(cluster, run)[0].split()[0]
    cluster.ask("scancel", "--signal=USR2", first)  # as Slurm does before the time limit
    cluster.wait(lambda: run.queued_again, "it has left its machine")
    reached = int(run.history()[-1]["step"])
    assert "left this machine" in run.log
    cluster.wait(lambda: jobs_of(cluster, run) == [f"{first} PENDING"], "the same job waits again")
    cluster.begin_now()
    cluster.wait(lambda: run.state == "running" and run.log.count("resumed after step") == 1, "it goes on")
    assert int(run.log.rpartition("resumed after step ")[2].split()[0]) >= reached

    # pre-emption: a partition that comes first takes the machine back, by SIGTERM and a time of grace
    greedy = cluster.folder / "greedy.sh"
    greedy.write_text("#!/bin/bash\nsleep 1\n")
    cluster.ask("sbatch", "--partition=first", "--nodes=2", "--exclusive", "--output=/dev/null", str(greedy))
    cluster.wait(lambda: run.log.count("left this machine") == 2, "it has left once more")
    cluster.wait(
        lambda: "PENDING" in "".join(jobs_of(cluster, run)) and run.queued_again, "and waits once more"
    )
    launch.stop(run)
    assert run.state == "stopped"
    assert run.deaths == (0, 0)
    cluster.wait(lambda: not jobs_of(cluster, run), "its job is gone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(version, "commit", lambda: "0123456789ab")
        launch.resume(run)
    cluster.wait(lambda: run.state == "failed", "another version is refused")
    assert f"is at commit {version.commit()}" in run.error
    assert "handed over at commit 0123456789ab: macl resume" in run.error
    launch.resume(run)
    cluster.wait(lambda: run.state == "running" and run.log.count("resumed after step") == 2, "it goes on")
    launch.stop(run)
    cluster.wait(lambda: run.state == "stopped", "a running one stops by its marker")
    assert (
        not jobs_of(cluster, run) or cluster.wait(lambda: not jobs_of(cluster, run), "its job ends") is None
    )


def test_a_job_of_a_run_on_two_devices_asks_for_them_and_leaves_as_one(
    cluster: Cluster, tiny: Path, root: Path, tmp_path: Path
) -> None:
    set_up(setup=[f"export MACL_CACHE={tmp_path}/$SLURMD_NODENAME"])  # prepared images on the node's own disk
    run = launch.submit(config(tiny, epochs=3000, device="cpu", devices=2), root, "slurm")
    cluster.wait(lambda: run.state == "running" and len(run.history()) > 5, "it trains")
    job = run.where.job
    assert cluster.ask("squeue", f"--job={job}", "--noheader", "--format=%C").strip() == "2"
    assert "rank 1 of 2 is process" in run.log
    assert (tmp_path / run.where.host / "prepared").is_dir()
    cluster.ask("scancel", "--signal=USR2", job)  # reaches the processes of both ranks, too
    cluster.wait(lambda: run.queued_again, "it has left its machine")
    reached = int(run.history()[-1]["step"])
    assert not (run.path / "stop").exists()
    assert not (run.path / "stopped").exists()
    cluster.wait(lambda: jobs_of(cluster, run) == [f"{job} PENDING"], "the same job waits again")
    cluster.begin_now()
    cluster.wait(lambda: run.state == "running" and "resumed after step" in run.log, "it goes on")
    assert int(run.log.rpartition("resumed after step ")[2].split()[0]) >= reached
    launch.stop(run)
    cluster.wait(lambda: run.state == "stopped", "a running one stops by its marker")
    assert run.deaths == (0, 0)


SBATCH = """#!/bin/sh
# The real sbatch, held before or after it has done its work, so that whoever called it is killed there.
touch {folder}/called
[ -e {folder}/before ] && exec sleep 600
{sbatch} "$@" || exit 1
[ -e {folder}/after ] && touch {folder}/taken && exec sleep 600
exit 0
"""


def test_a_dispatcher_killed_in_the_middle_loses_and_doubles_nothing(
    cluster: Cluster, tiny: Path, root: Path, tmp_path: Path
) -> None:
    wrapped = tmp_path / "bin"
    wrapped.mkdir()
    real = cluster.ask("sh", "-c", "command -v sbatch")
    (wrapped / "sbatch").write_text(SBATCH.format(folder=tmp_path, sbatch=real))
    (wrapped / "sbatch").chmod(0o755)
    command = [
        sys.executable, "-c", "from core.cli import main; main()", "sweep", "seed=0-5", "--launcher", "slurm",
        "--pack", "6", "--dataset", "folder", "--data-root", str(tiny), "--loss", "mulsupcon",
        "--device", "cpu", "--set", "image_size=32", "--set", "batch_size=16", "--set", "epochs=2",
        "--run-root", str(root),
    ]  # fmt: skip
    environment = os.environ | {"PATH": f"{wrapped}:{os.environ['PATH']}"}

    def dispatch_and_kill(when: Callable[[], bool], words: str) -> None:
        with subprocess.Popen(command, cwd=PROJECT, env=environment, start_new_session=True) as process:
            try:
                cluster.wait(when, words)
            finally:
                os.killpg(process.pid, signal.SIGKILL)

    cluster.ask("scontrol", "update", "PartitionName=tiny", "State=DOWN")  # jobs wait, and can be counted
    try:
        (tmp_path / "before").touch()  # however late it is killed, Slurm has nothing
        dispatch_and_kill(lambda: len(runs.list_runs(root)) > 2, "three runs are there")
        (tmp_path / "called").unlink(missing_ok=True)
        dispatch_and_kill(lambda: (tmp_path / "called").exists(), "it calls sbatch")
        made = runs.list_runs(root)
        assert len(made) == 6
        assert {run.state for run in made} == {"queued"}
        assert not any(jobs_of(cluster, run) for run in made)
        (tmp_path / "before").unlink()
        (tmp_path / "after").touch()
        dispatch_and_kill(lambda: (tmp_path / "taken").exists(), "Slurm has taken the job")
        assert {len(jobs_of(cluster, run)) for run in made} == {1}
        claims = {run.where.claim for run in made}
        assert len(claims) == 1
        (tmp_path / "after").unlink()
        subprocess.run(command, cwd=PROJECT, env=environment, check=True)
        assert {run.where.claim for run in made} == claims  # Slurm has it, so it is not handed over again
        # what the dispatcher had not yet put in its place makes that job useless; nothing is lost by it
        cluster.ask("scancel", f"--name={claims.pop()}")
        subprocess.run(command, cwd=PROJECT, env=environment, check=True)
        assert {len(jobs_of(cluster, run)) for run in made} == {1}
    finally:
        cluster.ask("scontrol", "update", "PartitionName=tiny", "State=UP")
    assert len(runs.list_runs(root)) == 6
    cluster.wait(lambda: all(run.state == "finished" for run in made), "all six finish")
    assert {run.log.count("started, process") for run in made} == {1}
    assert len({run.where.job for run in made}) == 1


def test_a_benchmark_through_slurm_equals_one_here(cluster: Cluster, tiny: Path, tmp_path: Path) -> None:
    from core.experiments.benchmark.train import train

    fields = {"image_size": 32, "batch_size": 16, "epochs": 2}
    plan = Plan("instant", {"folder": str(tiny)}, (Method("mulsupcon"),), (0, 1), fields, device="cpu")
    there = train(plan, tmp_path / "there", say=lambda _: None, launcher="slurm", pack=2)
    assert there.failures == []
    command = (
        "import sys\nfrom pathlib import Path\nfrom core.training import loop\n"
        "from core.runs import RunConfig, create\n"
        "for text in sys.argv[2:]:\n"
        "    run = create(RunConfig.model_validate_json(text), Path(sys.argv[1]))\n"
        "    assert loop.run(run.path) == 'finished', run.error"
    )
    texts = [run.config.model_dump_json() for run in there.runs]
    subprocess.run(
        [sys.executable, "-c", command, str(tmp_path / "here"), *texts], cwd=PROJECT, check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    by_seed = {run.config.seed: run for run in runs.list_runs(tmp_path / "here")}
    for run in there.runs:
        assert_same_outcome(run, by_seed[run.config.seed])
    again = train(plan, tmp_path / "there", say=lambda _: None, launcher="slurm")  # nothing is left to do
    assert [run.id for run in again.runs] == [run.id for run in there.runs]


def test_check_says_in_words_what_works(cluster: Cluster, root: Path) -> None:
    slurm = launchers.launcher("slurm")
    findings = list(slurm.check(root))
    assert all(finding.works for finding in findings), findings
    says = "\n".join(finding.says for finding in findings)
    for words in ("sbatch", "partition tiny exists", "is the same on n", version.commit(), "shows the locks"):
        assert words in says
    set_up(partition="night")
    *_, last = launchers.launcher("slurm").check(root)
    assert (last.works, "there is no partition night: Slurm has first, tiny" in last.says) == (False, True)
    set_up(memory_gb=4000)
    *_, last = launchers.launcher("slurm").check(root)
    assert not last.works
    assert "Slurm does not take the job" in last.says


def test_a_silent_slurm_is_said_and_takes_no_run_away(
    cluster: Cluster, tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = runs.create(RunConfig.build("instant", dataset="folder", data_root=str(tiny)), root)
    where.write(run.path, Lease("slurm", "macl-0", state="waiting", at=time.time() - 999))
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: no route' >&2\nexit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        patch.setattr("core.queue.slurm.LOOK_SECONDS", 0.0)
        assert hand_over.settle([run])[run.id].reason == "slurm_load_jobs error: no route"
        assert run.state == "queued"
    monkeypatch.setattr("core.queue.slurm.SILENT_SECONDS", 0.0)
    assert hand_over.settle([run])[run.id].state == "gone"
    assert run.lost  # created, and in nobody's hands
