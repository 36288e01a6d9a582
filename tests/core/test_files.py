"""Atomic files and record locks, across real processes."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import MaclError
from core.files import lock, locked_by, unlock, write_atomic

HOLD = """
import sys, time
from pathlib import Path
from core.files import lock
print(lock(Path(sys.argv[1])), flush=True)
time.sleep(60)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_lock_is_seen_by_others_and_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert locked_by(path) is None
    process = hold(path)
    try:
        assert first_line(process) == "True"
        assert locked_by(path) == process.pid
        assert not lock(path)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert locked_by(path) is None
    finally:
        end(process)
    assert lock(path)
    unlock(path)


def test_looking_at_an_own_lock_does_not_drop_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock(path)
    assert locked_by(path) == os.getpid()
    assert not lock(path)  # not twice
    process = hold(path)
    try:
        assert first_line(process) == "False"
    finally:
        end(process)
        unlock(path)
    assert locked_by(path) is None


def test_children_do_not_keep_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    script = HOLD.replace(
        "time.sleep(60)",
        "import subprocess; subprocess.Popen(['sleep', '5'], stdout=subprocess.DEVNULL); time.sleep(60)",
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    assert first_line(process) == "True"
    time.sleep(0.3)
    end(process)
    assert locked_by(path) is None


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    write_atomic(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_readable_for_whom_the_umask_lets_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "file.json", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "file.json").stat().st_mode & 0o777 == 0o640


def test_a_disk_that_cannot_lock_is_named_and_not_taken_for_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "lockf", none)
    with pytest.raises(MaclError, match=r"cannot lock files .* local or NFSv4"):
        lock(tmp_path / "lock")
