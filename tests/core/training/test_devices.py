"""One run on several devices: as many processes on the CPU stand in for GPUs, connected by gloo."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode

from core import runs
from core.background.process import MOST_DEATHS
from core.errors import MaclError
from core.files import locked_by
from core.losses import LOSSES, make_loss
from core.losses.file import describe, load
from core.losses.own import keep
from core.queue import launch
from core.runs import Run, RunConfig
from core.training import group, loop, ranks
from core.training.group import ALONE, Group
from tests.group_of_ranks import spawn
from tests.own_losses import own
from tests.small_runs import assert_same_outcome, curve, wait


def small(tiny: Path, **fields: Any) -> RunConfig:
    """Frozen features at 32 px; a batch of 15 falls into parts of unequal size."""
    given = {"image_size": 32, "batch_size": 15, "epochs": 4, "loss": "lmsc", "device": "cpu"} | fields
    return RunConfig.build("instant", dataset="folder", data_root=str(tiny), **given)


def own_loss() -> str:
    """The key of a person's own loss that learns, draws random numbers, and keeps a mean."""
    text = own(
        "self.mean.mul_(0.9).add_(z.detach().mean(0), alpha=0.1)\n"
        "        noise = torch.rand(len(z), dtype=z.dtype)[:, None]\n"
        "        return ((z - noise * self.mean) @ self.p).mean() + (z @ z.T * (1 - y @ y.T)).mean()",
        init="dim",
        body="self.p = nn.Parameter(torch.ones(dim))\n        self.register_buffer('mean', torch.zeros(dim))",
    )
    spec = describe(load(text, "mine"), "mine", text)
    return keep(spec, text, offer=True).key


@pytest.fixture
def prepared(tiny: Path, tmp_path: Path) -> Path:
    """`tiny`, once its images are prepared and its features computed."""
    assert loop.run(runs.create(small(tiny, epochs=1), tmp_path / "first").path) == "finished"
    return tiny


@pytest.mark.parametrize("size", [2, 4])
def test_every_loss_and_its_gradients_are_those_of_one_process(
    size: int, prepared: Path, tmp_path: Path
) -> None:
    mine = own_loss()
    first, *others = spawn(size, "losses", tmp_path / "group", tiny=str(prepared), own=mine)
    assert first.keys() == {f"{key} {kind}" for key in [*LOSSES, mine] for kind in ("float32", "float64")}
    for name, far in first.items():
        exact, near = (1e-12, 1e-11) if name.endswith("float64") else (1e-6, 1e-5)
        assert far["loss"] <= exact, name
        assert far["gradient"] <= exact, name
        assert far["scale"] > 1e-3, name  # or the gradient would be near whatever it is
        # Adam divides by the size of a gradient: of one that is nearly zero the last bits decide a step
        assert far["mean"] <= near, name
        assert exact > 1e-12 or far["weights"] <= near, name
        for other in others:
            assert other[name]["digest"] == far["digest"], name  # no process drifts away


def test_in_a_group_a_run_ends_as_in_one_process(prepared: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    of = {
        name: runs.create(small(prepared, **fields), root)
        for name, fields in {
            "alone": {}, "whole": {}, "parts": {}, "one": {}, "left": {}, "diverged": {},
            "more": {"epochs": 2},
            "own": {"loss": own_loss(), "epochs": 2},
            "patience": {"keep": "best", "patience": 2},
        }.items()
    }  # fmt: skip
    assert loop.run(of["alone"].path) == "finished"

    def stop(done: int, total: int, what: str) -> None:
        if what == "training" and done == 9:
            of["one"].mark("stop")

    assert loop.run(of["one"].path, stop) == "stopped"
    paths = {name: str(run.path) for name, run in of.items() if name != "alone"}
    first, second = spawn(2, "courses", tmp_path / "group", runs=paths)
    assert first == {
        "whole": "finished", "stopped": "stopped", "parts": "finished", "one": "finished", "left": "stopped",
        "own": "finished", "patience": "finished", "more": "finished", "extended": "finished",
        "diverged": "failed",
    }  # fmt: skip
    ended_otherwise = {"stopped", "left", "diverged"}
    assert second == {name: str(int(name in ended_otherwise)) for name in first}

    alone, whole = of["alone"], of["whole"]
    assert len(curve(whole)) == len(curve(alone))
    for here, there in zip(curve(alone), curve(whole), strict=True):
        assert here[:3] == pytest.approx(there[:3], rel=1e-4)  # step, epoch, loss
    z, other = alone.embeddings()[0], whole.embeddings()[0]
    assert (z * other).sum(1).min() > 1 - 1e-3
    assert whole.scores()["device"].startswith("2 × cpu")
    assert set(whole.scores()) == set(alone.scores())

    # stopped together and gone on, and given more epochs: as if neither had been
    assert_same_outcome(whole, of["parts"])
    assert "resumed after step 10" in of["parts"].log
    assert_same_outcome(whole, of["more"])
    assert of["more"].scores()["epochs"] == 4

    assert of["patience"].scores()["epochs"] == 3
    assert of["patience"].scores()["epoch"] == 1
    assert "stopped early" in of["patience"].log
    assert "step 10 (epoch 2)" in of["diverged"].error
    assert "training diverged" in of["diverged"].error

    # another number of processes goes on, and says what that means
    assert "goes on with 2 processes, after 1" in of["one"].log
    assert of["left"].state == "stopped"
    assert loop.run(of["left"].path) == "finished"
    assert "resumed after step 10" in of["left"].log
    assert "goes on with 1 process, after 2: what comes is not bit for bit" in of["left"].log
    for run in (of["one"], of["left"]):
        assert run.history()[-1]["loss"] == pytest.approx(alone.history()[-1]["loss"], rel=1e-3)


def pids(run: Run) -> list[int]:
    """Process ids of the ranks that were started last."""
    found = dict(re.findall(r"rank (\d+) of \d+ is process (\d+)", run.log))
    return [int(found[number]) for number in sorted(found)]


def test_a_rank_that_dies_ends_the_run_resumably_with_its_number(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_CHECKPOINT_SECONDS", "0")
    run = runs.create(small(prepared, devices=2, epochs=5000), tmp_path)

    def kill(done: int, total: int, what: str) -> None:
        if what == "training" and done == 20:
            os.kill(pids(run)[1], signal.SIGKILL)

    assert loop.run(run.path, kill) == "failed"
    assert run.error.startswith("rank 1 of 2 was killed by SIGKILL (out of memory?)")
    assert "resume" in run.error
    assert run.error in run.log
    assert locked_by(run.path / ranks.LOCK) is None
    fields = run.config.model_dump() | {"devices": 1}
    run.mark("config.json", RunConfig.build(fields.pop("preset"), **fields).model_dump_json())

    def stop(done: int, total: int, what: str) -> None:
        if what == "training":
            run.mark("stop")

    assert loop.run(run.path, stop) == "stopped"
    resumed = re.search(r"resumed after step (\d+)", run.log)
    assert resumed is not None
    assert int(resumed[1]) >= 14  # the epoch before


def test_what_fails_in_one_rank_is_said_in_its_words(
    prepared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = own("raise RuntimeError('only here') if len(z) == 15 else 0\n        return (z @ z.T).mean()")
    key = keep(describe(load(text, "odd"), "odd", text), text, offer=True).key
    run = runs.create(small(prepared, devices=2, loss=key), tmp_path)
    assert loop.run(run.path) == "failed"
    assert "only here" in run.error
    assert "Traceback" not in run.error


def test_the_worker_trains_such_a_run_and_no_rank_outlives_it(prepared: Path, root: Path) -> None:
    run = launch.submit(small(prepared, devices=2, epochs=5000), root)
    wait(lambda: len(run.history()) > 3 or bool(run.error))
    assert run.state == "running", run.error
    before = pids(run)
    worker = launch.worker("cpu", root).pid
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    wait(lambda: not any(alive(pid) for pid in before))
    assert run.state == "interrupted"
    launch.ensure_worker("cpu", root)  # which takes it up
    wait(lambda: run.state == "running" and pids(run) != before and bool(run.progress()))
    wait(lambda: run.progress().get("what") == "training" or bool(run.error))
    launch.stop(run)
    wait(lambda: run.state in ("stopped", "failed"))
    assert run.state == "stopped", run.error
    assert not any(alive(pid) for pid in pids(run))
    assert run.deaths[0] < MOST_DEATHS


def alive(pid: int) -> bool:
    """Whether a process lives; one that has ended and that nobody asked after does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_torchrun_trains_a_run_and_sigterm_stops_all_ranks(prepared: Path, tmp_path: Path) -> None:
    run = runs.create(small(prepared, epochs=5000), tmp_path)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = subprocess.Popen(
        [*launcher, "-m", "core.training", str(run.path)], stderr=subprocess.PIPE, text=True
    )
    try:
        wait(lambda: bool(run.history()) or process.poll() is not None)
        process.terminate()
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert run.state == "stopped", run.error + said
    assert run.config.devices == 1
    assert "2 × cpu" in run.log


def test_who_is_gone_is_found_out_without_the_one_that_started_them(tmp_path: Path) -> None:
    assert spawn(3, "missing", tmp_path / "group") == [[2], [], []]


def test_a_loss_of_ranks_is_one_sentence_with_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Group, "missing", lambda self, seconds: [1, 3])
    said = loop.named(group.Lost("Connection closed by peer"), Group(size=4, joined=True))
    assert str(said).startswith("rank 1, 3 of 4 has ended: resume the run")
    other = MaclError("another")
    assert loop.named(other, ALONE) is other


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"RANK": "0"}, "not WORLD_SIZE, MASTER_ADDR, MASTER_PORT"),
        ({"RANK": "x", "WORLD_SIZE": "2", "MASTER_ADDR": "h", "MASTER_PORT": "1"}, "whole numbers"),
        ({"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "h", "MASTER_PORT": "1"}, "RANK: need 0 to 1"),
    ],
)
def test_half_an_environment_is_refused(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MaclError, match=words):
        group.of_environment()


def test_without_variables_a_process_trains_alone() -> None:
    assert group.of_environment() is ALONE
    assert ALONE.told(1.5, 2) == [1.5, 2]
    rows = torch.rand(3, 2)
    assert ALONE.gather(rows, 3) is rows


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"devices": 8}, "devices: need two images of a batch for each, got 8 for a batch of 15"),
        ({"devices": 2, "device": "cuda:1"}, "devices: need 1 when device is cuda:1, got 2"),
        ({"micro_batch": 1}, "micro_batch: need 2 images or more, or 0"),
    ],
)
def test_what_cannot_be_shared_is_refused(fields: dict[str, Any], words: str, tiny: Path) -> None:
    with pytest.raises(MaclError, match=re.escape(words)):
        small(tiny, **fields)


@pytest.mark.parametrize(("kind", "there"), [("cuda", 1), ("mps", 0)])
def test_too_few_devices_are_one_sentence(
    kind: str, there: int, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks.devices, "resolve", lambda name: torch.device(kind))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    run = runs.create(small(tiny, devices=2, device="auto"), tmp_path)
    assert loop.run(run.path) == "failed"
    assert run.error.startswith(f"devices: need 2 devices of the kind {kind}")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_parts_are_all_images_in_order_and_of_nearly_one_size(size: int) -> None:
    for count in (size, 13, 64):
        parts = [range(count)[Group(size=size).part(count, rank)] for rank in range(size)]
        assert [place for part in parts for place in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_gpu_of_a_rank_is_that_of_its_number_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    member = Group(rank=5, size=8, local=1, joined=True)
    for there, index in ((4, 1), (1, 0)):  # a cluster may show each process only its own
        monkeypatch.setattr(torch.cuda, "device_count", lambda there=there: there)
        assert member.device(torch.device("cuda")) == torch.device("cuda", index) == chosen[-1]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(MaclError, match="found 3 for process 5"):
        Group(rank=5, size=8, local=5, joined=True).device(torch.device("cuda"))
    assert member.device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("key", ["macl", "lmsc", "oml"])
def test_what_is_gathered_stays_on_its_device(key: str) -> None:
    """Fake tensors on CUDA, and a fake group: a tensor that was left on the CPU would be refused."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=1, world_size=3, store=FakeStore())
    try:
        with FakeTensorMode():
            together = Group(rank=1, size=3, local=1, joined=True)
            labels = torch.zeros(40, 6)
            with torch.device("cuda"):
                part = together.part(13)
                rows = torch.rand(part.stop - part.start, 8)
                z = together.gather(rows, 13)
                together.add([torch.rand(3, 2), torch.rand(4)])
                y = torch.zeros(13, 6)
                loss = make_loss(key, labels, 8)
            assert z.shape == (13, 8)
            assert z.device.type == loss(z, y).device.type == "cuda"
    finally:
        dist.destroy_process_group()
