"""The interface of launchers: settings, the local one, and what those of clusters have in common."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from core import runs
from core.errors import MaclError
from core.queue import hand_over, launch, settings
from core.queue import launcher as launchers
from core.queue.launcher import LAUNCHERS, Standing
from core.runs import Run, where
from core.runs.where import Lease
from tests.small_runs import config, wait


def write(text: str) -> None:
    settings.place().parent.mkdir(parents=True, exist_ok=True)
    settings.place().write_text(text)


class Engine:
    """What an engine is asked for here: it keeps what it was given, and says what it is told to."""

    def __init__(self) -> None:
        self.claims: list[str] = []
        self.says = Standing("waiting", 2, "Resources")
        self.cancelled: list[Lease] = []

    def submit(self, runs: Sequence[Run], pack: int = 1) -> None:
        hand_over.submit("slurm", runs, pack, self.hand)

    def hand(self, claim: str, parts: list[list[Path]]) -> list[str]:
        self.claims.append(claim)
        return [f"7_{index}" for index in range(len(parts))]

    def look(self, runs: Sequence[Run]) -> Mapping[str, Standing]:
        return dict.fromkeys((run.id for run in runs), self.says)

    def stop(self, run: Run) -> None:
        hand_over.stop(run, self.cancelled.append)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr(launchers, "launcher", lambda name: engine)
    monkeypatch.setattr(hand_over, "launcher", lambda name: engine)
    return engine


def test_without_a_file_only_this_machine_is_set_up() -> None:
    assert launchers.set_up() == ["local"]
    with pytest.raises(MaclError, match=r"slurm is not set up: put a table \[slurm\] into"):
        launchers.launcher("slurm")
    with pytest.raises(MaclError, match="need one of local"):
        launchers.launcher("pbs")


def test_a_table_sets_a_launcher_up() -> None:
    write("[slurm]\n")
    assert launchers.set_up() == ["local", "slurm"]
    write('[slurm]\npartition = "gpu"\ngpus = 1\nsetup = ["module load cuda"]\noptions = {qos = "long"}\n')
    slurm = settings.read().slurm
    assert slurm is not None
    assert (slurm.partition, slurm.gpus, slurm.setup) == ("gpu", 1, ("module load cuda",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[slurm]\npartitions = 1\n", "slurm.partitions: there is no such field"),
        ("[slurm]\ngpus = -1\n", "slurm.gpus: need at least 0, got -1"),
        ("[pbs]\n", "pbs: there is no such field"),
        ("slurm", "is no TOML file"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(text: str, says: str) -> None:
    write(text)
    with pytest.raises(MaclError, match=says) as raised:
        launchers.set_up()
    assert str(settings.place()) in str(raised.value)


def test_every_launcher_has_a_table_and_a_class() -> None:
    tables = settings.Launchers.model_fields
    assert [*tables] == [name for name in LAUNCHERS if name != "local"]
    for name in tables:
        write(f"[{name}]\n")
        for method in ("submit", "look", "stop", "check"):
            assert callable(getattr(launchers.launcher(name), method))


def test_the_local_launcher_queues_and_says_the_place(
    tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(launch, "ensure_worker", lambda *given: asked.append(given))
    made = [runs.create(config(tiny, seed=seed, device="cpu"), root) for seed in range(3)]
    local = launchers.launcher("local")
    local.submit(made)
    assert asked == [("cpu", root)]
    assert [local.look(made)[run.id].before for run in made] == [0, 1, 2]
    local.stop(made[0])
    assert made[0].state == "stopped"
    standing = local.look(made)
    assert (standing[made[0].id].state, standing[made[2].id].before) == ("gone", 1)
    assert all(finding.works for finding in local.check(root))


def test_a_run_handed_over_waits_with_its_cluster(tiny: Path, root: Path, engine: Engine) -> None:
    made = launch.submit_all([config(tiny, seed=seed) for seed in range(5)], root, "slurm")
    (claim,) = engine.claims
    assert [run.where.claim for run in made] == [claim] * 5
    assert [run.where.job for run in made] == [f"7_{index}" for index in range(5)]
    assert {run.state for run in made} == {"queued"}
    assert launch.queue(root) == []  # no worker takes it
    assert launchers.waits(hand_over.settle(made)[made[1].id], made[1].where) == (
        "slurm, job 7_1, 2 before it, Resources"
    )
    with pytest.raises(MaclError, match="waits in the queue of slurm"):
        launch.resume(made[0])
    launch.stop(made[0])
    assert made[0].state == "stopped"
    assert [lease.job for lease in engine.cancelled] == ["7_0"]
    launch.resume(made[0])
    assert (made[0].state, made[0].where.claim) == ("queued", engine.claims[1])


def test_runs_packed_into_one_job_are_stopped_one_by_one(tiny: Path, root: Path, engine: Engine) -> None:
    made = [runs.create(config(tiny, seed=seed), root) for seed in range(5)]
    engine.submit(made, 2)
    assert [(run.where.index, run.where.alone) for run in made] == [
        (0, False), (0, False), (1, False), (1, False), (2, True),
    ]  # fmt: skip
    launch.stop(made[1])
    assert engine.cancelled == []
    assert (made[0].state, made[1].state) == ("queued", "stopped")


def test_a_running_run_is_stopped_by_its_marker(tiny: Path, root: Path, engine: Engine) -> None:
    run = launch.submit(config(tiny), root, "slurm")
    alive = Lease("slurm", run.where.claim, host="n1", state="running", at=time.time(), every=600)
    where.write(run.path, alive)
    launch.stop(run)
    assert (run.state, engine.cancelled) == ("running", [])
    assert (run.path / "stop").exists()
    assert launch.resume(run).state == "running"  # a person has changed their mind
    assert not (run.path / "stop").exists()


def test_what_the_engine_does_not_know_is_given_back(tiny: Path, root: Path, engine: Engine) -> None:
    run = launch.submit(config(tiny), root, "slurm")
    run.mark("started")
    assert run.queued_again
    engine.says = Standing("gone", reason="NODE_FAIL")
    hand_over.settle([run])
    assert run.state == "queued"  # it may be on its way yet
    hand_over.settle([run], grace=0)
    assert (run.state, run.where.reason) == ("interrupted", "NODE_FAIL")
    for _ in range(2 * launch.MOST_DEATHS):  # lost nodes are no deaths of a run
        launch.take_up(run)
        assert run.state == "queued"
        hand_over.settle([run], grace=0)
    assert run.deaths == (0, 0)
    engine.says = Standing("gone", reason="OUT_OF_MEMORY", died=True)
    for death in range(1, launch.MOST_DEATHS + 1):
        launch.take_up(run)
        hand_over.settle([run], grace=0)
        assert run.deaths[0] == death - 1
    launch.take_up(run)
    assert run.state == "failed"
    assert "died 3 times" in run.error


def test_a_silent_engine_keeps_its_runs(tiny: Path, root: Path, engine: Engine) -> None:
    run = launch.submit(config(tiny), root, "slurm")
    run.mark("started")
    lease = Lease("slurm", run.where.claim, host="n1", state="running", at=time.time() - 999, every=1)
    where.write(run.path, lease)
    engine.says = Standing("unknown", reason="cannot connect to slurmctld")
    hand_over.settle([run], grace=0)
    assert (run.state, run.queued_again) == ("queued", True)
    with pytest.raises(MaclError, match="does not say whether it still has it"):
        launch.resume(run)


def test_an_engine_that_refuses_leaves_runs_as_they_were(
    tiny: Path, root: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> list[str]:
        raise MaclError("there is no partition gpu")

    monkeypatch.setattr(engine, "hand", refuse)
    failed, stopped = (runs.create(config(tiny, seed=seed), root) for seed in range(2))
    failed.mark("error.txt", "why")
    stopped.mark("stopped")
    with pytest.raises(MaclError, match="no partition"):
        engine.submit([failed, stopped])
    assert (failed.state, failed.error, stopped.state) == ("failed", "why", "stopped")


def test_a_worker_leaves_alone_what_a_cluster_has(tiny: Path, root: Path, engine: Engine) -> None:
    run = launch.submit(config(tiny, epochs=1), root, "slurm")
    run.mark("submitted")  # by an earlier version, say
    other = launch.submit(config(tiny, epochs=1, seed=1), root)
    assert other.where.launcher == "slurm"  # the fixture's
    launch.requeue(other)
    where.end(other.path)
    launch.ensure_worker("auto", root)
    wait(lambda: other.state == "finished")
    assert run.state == "queued"
