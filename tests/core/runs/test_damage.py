"""What a machine that went down leaves in a run folder: the run goes on, and the others never notice."""

import errno
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core import cli, runs
from core.experiments import duration, sweep
from core.files import lock, unlock
from core.queue import launch
from core.queue.worker import Worker
from core.runs import Run, curve_row
from core.training import loop
from tests.small_runs import assert_same_outcome, config, curve, wait

AT = 9  # steps after which the run here is stopped; 28 are all
DAMAGED = {
    "zero bytes": bytes(80),
    "zero bytes in a line": bytes(80) + b"\n",
    "half a line": b'{"step": 9, "epoch": 2, "lo',
    "half a line and its end": b'{"step": 9, "epoch": 2, "lo\n',
    "a list": b"[1, 2]\n",
    "a number": b"7\n",
    "null": b"null\n",
    "no step": b'{"loss": 1.0}\n',
    "step null": b'{"step": null}\n',
    "step a text": b'{"step": "x"}\n',
    "step no number": b'{"step": NaN, "epoch": 2}\n',
    "step infinite": b'{"step": 1e999}\n',
    "step true": b'{"step": true}\n',
    "step negative": b'{"step": -3}\n',
    "a huge step": b'{"step": 1' + b"0" * 400 + b"}\n",
    "loss a text": b'{"step": 9, "loss": "x"}\n',
    "loss null": b'{"step": 9, "loss": null}\n',
    "loss infinite": b'{"step": 9, "loss": Infinity}\n',
    "no UTF-8": b'{"step": 9, "\xff\xfe": 1}\n',
    "an empty line": b"\n",
    "deep": b"[" * 100_000 + b"\n",
}


@pytest.fixture(scope="module")
def begun(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted after its checkpoint at step 9 (`run`), and the same in one go (`whole`)."""
    place = tmp_path_factory.mktemp("begun")

    def stop(done: int, total: int, what: str) -> None:
        if what == "training" and done == AT - 1:
            (place / "run" / "stop").touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", str(tmp_path_factory.getbasetemp() / "home" / "cache"))
        for name in ("run", "whole"):
            made = runs.create(config(tiny, epochs=4, device="cpu"), place)
            made.path.rename(place / name)
        assert loop.run(place / "run", stop) == "stopped"
        assert loop.run(place / "whole") == "finished"
    Run(place / "run").unmark("stopped")  # as if it had been killed
    return place


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "runs"
    place.mkdir()
    yield place
    for about in launch.workers(place).values():
        os.kill(int(str(about["pid"])), signal.SIGKILL)


def interrupted(begun: Path, root: Path, name: str = "run") -> Run:
    """The interrupted run, in the hands of a worker of this name that has died."""
    shutil.copytree(begun / "run", root / name)
    (root / f".worker-{name}.json").write_text(json.dumps({"pid": 1, "run": name}))
    assert Run(root / name).state == "interrupted"
    return Run(root / name)


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("where", ["at the end", "in the middle"])
def test_a_damaged_curve_is_cut_back_to_its_sound_lines(
    damage: bytes, where: str, begun: Path, root: Path
) -> None:
    run = interrupted(begun, root)
    path = run.path / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    sound = curve(run)
    assert len(sound) > 1
    whole_line = damage.endswith(b"\n")
    at = len(lines) if where == "at the end" else 1
    path.write_bytes(b"".join([*lines[:at], damage, *lines[at:]]))
    if where == "in the middle" and not whole_line:
        sound = sound[:1] + sound[2:]  # the line that it runs into is lost
    assert curve(run) == sound
    rows, offset = run.history_after(0)
    assert len(rows) == len(sound)
    assert path.read_bytes()[offset:] == (b"" if whole_line or where == "in the middle" else damage)
    launch.take_up(run)
    assert (run.state, run.deaths) == ("queued", (1, int(sound[-1][0])))


@pytest.mark.parametrize("name", ["zero bytes", "half a line and its end", "a list", "step null"])
def test_a_run_with_a_damaged_curve_is_resumed_to_the_bit(name: str, begun: Path, root: Path) -> None:
    run = interrupted(begun, root)
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(DAMAGED[name])
    assert loop.run(run.path) == "finished", run.error
    assert_same_outcome(Run(begun / "whole"), run)
    for line in (run.path / "metrics.jsonl").read_bytes().splitlines():
        assert curve_row(line) is not None


def test_lines_after_the_checkpoint_are_cut_whatever_lies_between(begun: Path, root: Path) -> None:
    run = interrupted(begun, root)
    later = [row for row in (begun / "whole" / "metrics.jsonl").read_bytes().splitlines(keepends=True)]
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(DAMAGED["zero bytes in a line"] + b"".join(later[-3:]) + DAMAGED["zero bytes"])
    assert run.history()[-1]["step"] == 28
    assert loop.run(run.path) == "finished", run.error
    assert_same_outcome(Run(begun / "whole"), run)


def test_one_worker_takes_up_every_damaged_run_and_serves_the_others(
    begun: Path, root: Path, tiny: Path
) -> None:
    made = []
    for number, damage in enumerate(DAMAGED.values()):
        if number % 3 == 0:  # a few of all kinds: each is trained to its end
            run = interrupted(begun, root, f"run{number}")
            with (run.path / "metrics.jsonl").open("ab") as file:
                file.write(damage)
            (run.path / "progress.json").write_bytes(damage)
            made.append(run)
    broken = {}
    for number, text in enumerate([bytes(80), b"[1]", b'{"device": 5}', b'{"device": "../x"}', b'{"dev']):
        run = Run(root / f"broken{number}")
        shutil.copytree(begun / "run", run.path)
        (run.path / "config.json").write_bytes(text)
        run.mark("submitted")
        broken[run.id] = run
    for number, text in enumerate([b"", bytes(80), b"[]"]):
        run = interrupted(begun, root, f"checkpoint{number}")
        (run.path / "resume.safetensors").write_bytes(text)
        broken[run.id] = run
    for number, text in enumerate([b"[1]", bytes(9), b'{"run": 5}', b'{"run": "a\\u0000b"}', b'{"run": []}']):
        (root / f".worker-note{number}.json").write_bytes(text)
    other = launch.submit(config(tiny, device="cpu"), root)
    wait(lambda: all(run.state == "finished" for run in [other, *made]))
    wait(lambda: all(run.state == "failed" for run in broken.values()))
    for run in made:
        assert_same_outcome(Run(begun / "whole"), run)
    for name, run in broken.items():
        said = "is damaged" if name.startswith("checkpoint") else "config.json"
        assert said in run.error
        assert "Traceback" not in run.log


def test_whatever_a_run_raises_the_worker_goes_on(tiny: Path, root: Path) -> None:
    for seed in (0, 1):
        runs.create(config(tiny, seed=seed), root).mark("submitted")
    asked = []

    def train_run(folder: Path) -> None:
        asked.append(folder)
        if len(asked) == 1:
            raise UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no such letter")
        Run(folder).unmark("submitted")

    worker = Worker(root, "cpu", 0.5)
    worker.takes = ["auto", "cpu"]
    worker._drain(train_run)
    assert len(set(asked)) == 2


def test_a_full_disk_does_not_end_the_worker(tiny: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    runs.create(config(tiny), root).mark("submitted")
    monkeypatch.setattr("core.background.process.write_atomic", full)
    worker = Worker(root, "cpu", 0.2)
    worker.takes = ["auto"]
    asked = []
    worker._drain(lambda folder: (asked.append(folder), Run(folder).unmark("submitted")))
    assert len(asked) == 1


def test_a_folder_that_cannot_be_written_does_not_end_the_worker(
    begun: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = interrupted(begun, root, "bad"), interrupted(begun, root, "good")
    take_up = launch.take_up

    def refused(run: Run) -> None:
        if run == bad:
            raise PermissionError(13, "Permission denied")
        take_up(run)

    monkeypatch.setattr(launch, "take_up", refused)
    Worker(root, "cpu", 0.0)._take_up()
    assert (bad.state, good.state) == ("interrupted", "queued")


@pytest.mark.parametrize("note", ["[1]", "7", "{}", '{"pid": "x"}', '{"takes": 5}', "\0" * 80])
def test_a_worker_with_a_damaged_note_is_alive(note: str, root: Path) -> None:
    assert lock(root / ".worker-cpu.lock")
    try:
        (root / ".worker-cpu.json").write_text(note)
        (about,) = launch.workers(root).values()
        assert about["pid"] == os.getpid()
        launch.ensure_worker("cpu", root)  # starts none: this one is alive
        assert not launch.worker("cpu", root).file("log").exists()
    finally:
        unlock(root / ".worker-cpu.lock")


@pytest.mark.parametrize(
    "progress",
    [
        *DAMAGED.values(),
        b'{"what": "training", "done": "x", "total": 3, "eta_s": null}',
        b'{"what": "training", "done": 1, "total": 3, "eta_s": NaN}',
        b'{"what": "training", "done": 1, "total": 3}',
        b'{"what": 5, "done": 1, "total": 3, "eta_s": 2}',
        b'{"what": "training", "done": 1, "total": Infinity, "eta_s": 2}',
    ],
)
def test_damaged_progress_is_none(progress: bytes, begun: Path, root: Path) -> None:
    run = interrupted(begun, root)
    (run.path / "progress.json").write_bytes(progress)
    assert run.progress() == {}


def test_the_command_line_reads_damaged_runs(begun: Path, root: Path) -> None:
    going, done = interrupted(begun, root, "going"), Run(root / "done")
    shutil.copytree(begun / "whole", done.path)
    (done.path / "scores.json").write_bytes(bytes(80))
    for run in (going, done):
        (run.path / "metrics.jsonl").write_bytes(b'{"step": 3}\n' + bytes(80) + b"\n[1]\n")
    (going.path / "progress.json").write_text('{"what": "training", "done": 3, "total": 9, "eta_s": null}')
    assert lock(going.path / "lock")
    try:
        listed = CliRunner().invoke(cli.app, ["runs", "--run-root", str(root)])
        assert listed.exit_code == 0, listed.exception
        assert "training 3 of 9" in listed.output
        among = sweep.known(root)
        assert (
            duration.seconds_of(going.config, among)[1] is False
        )  # a guess: the only one like it is damaged
        assert duration.waits(root, among) == []
    finally:
        unlock(going.path / "lock")


def test_what_is_no_frame_is_none(begun: Path, root: Path) -> None:
    run = interrupted(begun, root)
    (run.path / "frames").mkdir(exist_ok=True)
    for name in ("00001", "00001 (copy)", "1e5", ".00002"):
        (run.path / "frames" / f"{name}.safetensors").touch()
    assert run.frames() == [0, 1]


def test_the_best_weights_that_are_gone_are_named(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(config(tiny, epochs=2, device="cpu", keep="best"), tmp_path)

    def spoil(done: int, total: int, what: str) -> None:
        if what == "training" and done == total:
            (run.path / "best.safetensors").write_bytes(bytes(80))

    assert loop.run(run.path, spoil) == "failed"
    assert "best.safetensors are gone or damaged" in run.error
    assert "Traceback" not in run.log
