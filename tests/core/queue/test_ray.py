"""Runs on a real Ray cluster of two nodes: a node is lost, the process that speaks to Ray is killed."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.background.process import Running
from core.errors import MaclError
from core.experiments import sweep
from core.queue import hand_over, launch, ray_cluster, ray_parts, ray_task, settings
from core.queue import launcher as launchers
from core.queue.launcher import Standing
from core.queue.ray_driver import Driver, Part
from core.queue.ray_parts import Handed
from core.runs import Run, create, where
from core.runs.where import Lease
from tests import small_runs
from tests.core.queue.ray_cluster import SEAT, Cluster
from tests.small_runs import assert_same_outcome, config

PATIENCE = 240.0  # seconds that anything here may take on a busy machine
EPOCHS = 24
LONG = 10_000  # epochs of a run that does not end by itself


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One run root, so that one process speaks to Ray for all tests, and its tasks find torch loaded."""
    root = tmp_path_factory.mktemp("ray") / "runs"
    yield root
    kill_driver(root)


@pytest.fixture(autouse=True)
def _set_up(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_BEAT_SECONDS", "0.5")
    monkeypatch.setenv("MACL_CHECKPOINT_SECONDS", "0.05")
    if "cluster" in request.fixturenames:
        cluster: Cluster = request.getfixturevalue("cluster")
        for name, value in cluster.environment.items():
            monkeypatch.setenv(name, value)
        write(f'[ray]\naddress = "{cluster.address}"\n')


def write(text: str) -> None:
    settings.place().parent.mkdir(parents=True, exist_ok=True)
    settings.place().write_text(text)


def one_at_a_time(cluster: Cluster) -> None:
    """Let each task ask for what only one of the nodes has, and only once."""
    write(f'[ray]\naddress = "{cluster.address}"\nresources = {{{SEAT} = 1}}\n')


def wait(for_what: Callable[[], object], runs: list[Run], poll: float = 0.05) -> None:
    """Until it is true, with the runs looked at as a page does; fails with what is known of them."""
    deadline, looked = time.monotonic() + PATIENCE, 0.0
    while not for_what():
        if time.monotonic() - looked > 1:
            hand_over.settle(runs)
            looked = time.monotonic()
        if time.monotonic() > deadline:
            told = [f"{run.id}: {run.state}, {run.where}, {run.error}" for run in runs]
            log = ray_parts.driver(runs[0].path.parent).file("log")
            pytest.fail("\n".join([*told, log.read_text() if log.exists() else "no log"]))
        time.sleep(poll)


def states(runs: list[Run]) -> set[str]:
    return {run.state for run in runs}


def standing(run: Run) -> Standing:
    return hand_over.settle([run])[run.id]


def freeze(run: Run) -> int | None:
    """Stop the process that trains a run between two of its checkpoints; None if it has none or is done."""
    if not (run.path / "resume.safetensors").exists() or run.finished:
        return None
    pid = int(run.log.rpartition("started, process ")[2].split()[0])
    os.kill(pid, signal.SIGSTOP)
    if run.finished or run.state != "running":
        os.kill(pid, signal.SIGCONT)
        return None
    return pid


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_driver(root: Path) -> None:
    if (pid := ray_parts.driver(root).pid) is not None:
        os.kill(pid, signal.SIGKILL)


def trained_once(run: Run, begun: int = 1) -> None:
    """One finish, as many starts as it must have, and a curve in which no step comes twice."""
    assert run.log.count(" started, process") == begun, run.log
    assert run.log.count(" finished\n") == 1, run.log
    steps = [row["step"] for row in run.history()]
    assert steps == sorted(set(steps))
    assert run.log.count(" resumed after step") == begun - 1


def locally(runs: list[Run], root: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The same runs trained by this process, with one thread as the tasks had."""
    import torch

    from core.training import loop

    threads = torch.get_num_threads()
    monkeypatch.setattr(loop, "THREADS", 1)
    try:
        same = [create(run.config, root) for run in runs]
        assert {loop.run(run.path) for run in same} == {"finished"}
    finally:
        torch.set_num_threads(threads)
    return same


@pytest.mark.timeout(900)
def test_a_sweep_survives_the_loss_of_a_node(
    cluster: Cluster, root: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = config(tiny, epochs=EPOCHS, device="auto").model_dump(exclude={"preset", "params", "own"})
    axes = {"loss": ["mulsupcon", "macl", "lproto"], "seed": [0, 1, 2, 3]}
    for name in axes:
        fields.pop(name)
    begun = sweep.start(sweep.grid("node", "instant", fields, axes), root, "ray")
    runs = [run for _, run in sweep.found(begun, sweep.known(root)) if run is not None]
    assert len(runs) == 12
    assert {run.where.launcher for run in runs} == {"ray"}

    frozen: dict[int, Run] = {}

    def one_is_frozen() -> bool:
        for run in runs:
            if run.where.host.endswith(cluster.node) and (pid := freeze(run)) is not None:
                frozen[pid] = run
        return bool(frozen)

    wait(one_is_frozen, runs, poll=0.005)
    ((pid, lost),) = frozen.items()
    cluster.remove(cluster.node)
    kill(pid)
    wait(lambda: states(runs) == {"finished"}, runs)
    for run in runs:
        trained_once(run, 2 if run == lost else 1)
        assert run.deaths == (0, 0)
    assert lost.where.host.endswith(cluster.head)
    for run, same in zip(runs, locally(runs, tmp_path / "local", monkeypatch), strict=True):
        assert_same_outcome(run, same)
    wait(lambda: not ray_parts.handed(root / ray_parts.FOLDER), runs)


@pytest.mark.timeout(600)
def test_position_stop_and_resume(cluster: Cluster, root: Path, tiny: Path) -> None:
    one_at_a_time(cluster)
    long, *short = launch.submit_all(
        [config(tiny, epochs=LONG), *(config(tiny, seed=seed) for seed in range(4))], root, "ray"
    )
    wait(lambda: (long.path / "resume.safetensors").exists(), [long])
    assert standing(long) == Standing("running", host=long.where.host)
    wait(lambda: standing(short[3]).before == 3, short)
    assert launchers.waits(standing(short[2]), short[2].where).startswith(
        f"ray, job {short[2].where.job}, 2 "
    )
    with pytest.raises(MaclError, match="waits in the queue of ray"):
        launch.resume(short[0])

    launch.stop(short[1])
    assert short[1].state == "stopped"
    wait(lambda: standing(short[3]).before == 2, short)
    launch.stop(long)
    wait(lambda: long.state == "stopped", [long])
    reached = long.history()[-1]["step"]
    wait(lambda: states([short[0], *short[2:]]) == {"finished"}, short)
    assert short[1].state == "stopped"

    launch.resume(long)
    launch.resume(short[1])
    wait(lambda: long.state == "running" and long.history()[-1]["step"] > reached, [long])
    launch.stop(long)
    wait(lambda: (long.state, short[1].state) == ("stopped", "finished"), [long, short[1]])
    for run in short:
        trained_once(run)


@pytest.mark.timeout(600)
def test_a_driver_that_is_killed_loses_and_doubles_nothing(
    cluster: Cluster, root: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_at_a_time(cluster)
    runs = launch.submit_all([config(tiny, epochs=EPOCHS, seed=seed) for seed in range(3)], root, "ray")
    frozen: list[int] = []

    def one_is_frozen() -> bool:
        if runs[0].where.lives and (pid := freeze(runs[0])) is not None:
            frozen.append(pid)
        return bool(frozen)

    wait(one_is_frozen, runs, poll=0.005)
    driver = ray_parts.driver(root)
    assert driver.pid is not None
    os.kill(driver.pid, signal.SIGKILL)
    kill(frozen[0])
    small_runs.wait(lambda: runs[0].queued_again, PATIENCE)
    assert states(runs) == {"queued"}
    assert driver.pid is None
    hand_over.settle(runs)  # a look starts the next one
    assert driver.pid is not None
    wait(lambda: states(runs) == {"finished"}, runs)
    for run in runs:
        trained_once(run, 2 if run == runs[0] else 1)
        assert run.deaths == (0, 0)
    for run, same in zip(runs, locally(runs, tmp_path / "local", monkeypatch), strict=True):
        assert_same_outcome(run, same)


@pytest.mark.timeout(600)
def test_a_cluster_is_reached_as_a_client_too(cluster: Cluster, tiny: Path, tmp_path: Path) -> None:
    write(f'[ray]\naddress = "{cluster.client}"\n')
    root = tmp_path / "runs"
    made = [create(config(tiny, seed=seed), root) for seed in range(2)]
    try:
        launchers.launcher("ray").submit(made, pack=2)
        wait(lambda: states(made) == {"finished"}, made)
    finally:
        kill_driver(root)
    assert made[0].where.host == made[1].where.host
    for run in made:
        trained_once(run)


@pytest.mark.timeout(600)
def test_the_check_says_what_works(cluster: Cluster, tmp_path: Path) -> None:
    found = list(launchers.launcher("ray").check(tmp_path))
    assert [finding.says for finding in found if not finding.works] == []
    said = " ".join(finding.says for finding in found)
    assert f"a cluster answers at {cluster.address}" in said
    assert f"{tmp_path} is the same on 127.0.0.2" in said
    write(f'[ray]\naddress = "{cluster.address}"\ngpus = 2\n')
    found = list(launchers.launcher("ray").check(tmp_path))
    (wrong,) = [finding.says for finding in found if not finding.works]
    assert re.fullmatch(r"none of its \d nodes has 1 CPU, 2 GPU: change \[ray\], or add nodes", wrong)


def test_the_package_ray_is_not_this_module() -> None:
    import ray

    from core.queue import ray as own

    assert ray.__version__ == ray_cluster.refuse.__globals__["version"]("ray")
    assert own.NAME == "ray"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("RAY_AUTH_MODE", "disabled", "set RAY_AUTH_MODE=token here and wherever the cluster is started"),
        ("RAY_AUTH_TOKEN_PATH", "nowhere", "there is no token of Ray in nowhere: `ray get-auth-token"),
    ],
)
def test_a_cluster_without_tokens_is_refused(
    variable: str, value: str, says: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv(variable, value)
    write("[ray]\n")
    run = create(config(tiny), tmp_path)
    with pytest.raises(MaclError, match=re.escape(says)):
        launchers.launcher("ray").submit([run])
    assert (run.state, run.where.elsewhere) == ("queued", False)
    (finding,) = launchers.launcher("ray").check(tmp_path)
    assert says in finding.says


def test_a_ray_without_tokens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "version", lambda _: "2.51.1")
    with pytest.raises(MaclError, match=r"Ray 2.51.1 has no tokens.*install 2.52 or newer on every"):
        ray_cluster.refuse()

    def missing(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(ray_cluster, "version", missing)
    with pytest.raises(MaclError, match=re.escape('pip install -e ".[ray]"')):
        ray_cluster.refuse()


@pytest.mark.parametrize("address", ["", "local", "ray://", "10.0.0.1", "http://10.0.0.1:8265"])
def test_an_address_that_would_start_a_cluster_is_none(address: str) -> None:
    write(f'[ray]\naddress = "{address}"\n')
    with pytest.raises(MaclError, match=r"ray\.address"):
        settings.read()


def test_a_gpu_that_no_task_asks_for_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "refuse", lambda: "2.60.0")
    write("[ray]\n")
    with pytest.raises(
        MaclError, match=r"device: need auto or cpu, as .ray. in .* asks for no GPU; got cuda:1"
    ):
        launchers.launcher("ray").submit([create(config(tiny, device="cuda:1"), tmp_path)])


def test_a_task_of_a_run_on_two_devices_asks_for_them(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "refuse", lambda: "2.60.0")
    handed: list[settings.Ray] = []
    monkeypatch.setattr(ray_parts, "hand", lambda root, claim, parts, commit, asked: handed.append(asked))
    for given in ("cores = 3\ngpus = 0.5\n", "cores = 3\n"):
        write(f"[ray]\n{given}")
        launchers.launcher("ray").submit([create(config(tiny, devices=n), tmp_path) for n in (1, 2)])
        launchers.launcher("ray").submit([create(config(tiny), tmp_path)])
    assert [(asked.gpus, asked.cores) for asked in handed] == [(2.0, 6), (0.5, 3), (0.0, 6), (0.0, 3)]


def test_a_cluster_that_does_not_answer_is_waited_for(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        port = free.getsockname()[1]
    write(f'[ray]\naddress = "127.0.0.2:{port}"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", "x" * 32)
        (run,) = launch.submit_all([config(tiny)], folder, "ray")
        try:
            wait(lambda: "nothing answers at 127.0.0.2" in standing(run).reason, [run])
            assert run.state == "queued"
            launch.stop(run)
            assert run.state == "stopped"
            wait(lambda: not ray_parts.handed(folder / ray_parts.FOLDER), [run])
        finally:
            kill_driver(folder)


def test_how_many_tasks_the_nodes_take() -> None:
    nodes: list[dict[str, Any]] = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0, "memory": 2 * 1024**3}},
        {"Alive": True, "Resources": {"CPU": 8.0}},
        {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 99.0}},
    ]
    for asked, number in (
        ({"cores": 3}, 4), ({"gpus": 1}, 2), ({"gpus": 0.5}, 4), ({"memory_gb": 1}, 2), ({"gpus": 4}, 0),
        ({"resources": {"tpu": 1}}, 0),
    ):  # fmt: skip
        assert ray_cluster.room(nodes, settings.Ray.model_validate(asked)) == number


def test_only_deaths_on_a_living_node_count(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create(config(tiny), tmp_path)
    lives = False
    monkeypatch.setattr(ray_task, "_node_lives", lambda host: lives)

    def again() -> bool:
        lease = Lease("ray", "macl-1.a", host="h-1", state="running", at=time.time() - 99, every=1)
        where.write(run.path, lease)
        return ray_task._is_free(run, "macl-1.a", lambda: False)

    assert [again() for _ in range(5)] == [True] * 5
    assert run.deaths == (0, 0)
    lives = True
    assert [again() for _ in range(3)] == [True, True, False]
    assert run.state == "failed"
    assert "died 3 times" in run.error


def test_a_run_whose_heartbeat_is_fresh_is_not_taken(tiny: Path, tmp_path: Path) -> None:
    run = create(config(tiny), tmp_path)
    where.write(run.path, Lease("ray", "macl-1.a", host="h-1", state="running", at=time.time(), every=600))
    asked = iter([False, False, True])
    assert not ray_task._is_free(run, "macl-1.a", lambda: next(asked))


def test_a_task_that_cannot_begin_fails_its_runs(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a node where the checkout is not on the same path."""
    import ray

    why = ray.exceptions.RayTaskError("train", "", ModuleNotFoundError("No module named 'core'"))

    def get(task: str) -> None:
        raise why

    run = create(config(tiny), tmp_path)
    handed = Handed(
        claim="macl-1", at=0, parts=((run.path,),), commit="", settings=settings.Ray(), variables={}
    )  # fmt: skip
    where.write(run.path, Lease("ray", "macl-1.a", state="waiting", at=time.time()))
    driver = Driver(tmp_path / ray_parts.FOLDER, Running(ray_parts.driver(tmp_path).path))
    driver.ray = SimpleNamespace(
        wait=lambda tasks, **_: (tasks, []), get=get, exceptions=ray.exceptions
    )  # fmt: skip
    driver.parts = [Part(handed, 0, task="t")]
    driver._let_go()
    assert run.state == "failed"
    assert "a node could not begin it (No module named 'core'): `macl launcher check ray`" in run.error
    assert driver.parts == []
