"""A closed terminal stops a training resumably, as Ctrl-C does; under nohup it goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import runs
from core.background.signals import on_stop
from core.experiments.benchmark.train import Work
from core.runs import Run
from tests.small_runs import config, wait

# starts a command in a terminal of its own, and closes that terminal when there is a curve
TERMINAL = """
import os, pty, sys, time
from pathlib import Path
child, terminal = pty.fork()
if not child:
    os.execv(sys.argv[2], sys.argv[2:])
while not list(Path(sys.argv[1]).glob("*/metrics.jsonl")):
    os.read(terminal, 1 << 16)
os.close(terminal)
print(child, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(autouse=True)
def _plain() -> Iterator[None]:
    """As in a terminal, whatever this process was started with, or an earlier test has left."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("command", ["train", "resume"])
def test_a_closed_terminal_loses_nothing(command: str, tiny: Path, tmp_path: Path) -> None:
    """Nothing can be written to it any more, either: neither progress nor how the run ended."""
    macl = [sys.executable, "-c", "from core.cli import main; main()", command]
    if command == "train":
        macl += ["--preset", "instant", "--dataset", "folder", "--data-root", str(tiny), "--device", "cpu"]
        macl += ["--image-size", "32", "--batch-size", "16", "--epochs", "9999", "--run-root", str(tmp_path)]
    else:
        macl.append(str(runs.create(config(tiny, epochs=9999), tmp_path).path))
    done = subprocess.run(
        [sys.executable, "-c", TERMINAL, str(tmp_path), *macl],
        env={**os.environ, "MACL_CHECKPOINT_SECONDS": "9999"},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert not done.stdout.endswith(" 0\n")
    (run,) = runs.list_runs(tmp_path)
    assert run.state == "stopped", (run.error, run.log)
    assert (run.path / "resume.safetensors").exists()


def test_under_nohup_a_hangup_is_nothing(tiny: Path, tmp_path: Path) -> None:
    run = runs.create(config(tiny, epochs=9999), tmp_path)
    command = ["nohup", sys.executable, "-m", "core.training", str(run.path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(lambda: bool(run.history()))
        process.send_signal(signal.SIGHUP)
        after = len(run.history()) + 5
        wait(lambda: len(run.history()) > after or process.poll() is not None)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 1
        assert run.state == "stopped"
    finally:
        process.kill()
        process.wait()


def test_a_reader_that_has_gone_ends_no_training(tiny: Path, tmp_path: Path) -> None:
    """`macl train … 2>&1 | head -1`."""
    command = [sys.executable, "-c", "from core.cli import main; main()", "resume"]
    run = runs.create(config(tiny, epochs=3), tmp_path)
    process = subprocess.Popen([*command, str(run.path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.wait(100)
    assert run.state == "finished", run.error


@pytest.mark.parametrize("again", [1, 3])
def test_a_terminal_may_say_twice_that_it_is_closed(again: int) -> None:
    said: list[int] = []
    before = signal.getsignal(signal.SIGHUP)
    usual = on_stop(lambda: said.append(1))
    try:
        for _ in range(again):
            os.kill(os.getpid(), signal.SIGHUP)
        assert len(said) == again
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    assert signal.getsignal(signal.SIGHUP) == before


def test_a_benchmark_is_stopped_by_a_hangup(tmp_path: Path) -> None:
    work = Work(tmp_path, 1, None, print)
    run = Run(tmp_path / "run")
    run.path.mkdir()
    work.current = run.path
    with work.stop_on_signal():
        os.kill(os.getpid(), signal.SIGHUP)
    assert work.stopped
    assert (run.path / "stop").exists()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
