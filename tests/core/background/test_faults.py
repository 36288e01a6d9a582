"""What `make faults` does, small: every kind of process killed once, and nothing lost."""

import subprocess
import sys

import pytest

from core.files import PROJECT


@pytest.mark.timeout(600)
def test_every_kind_of_process_may_be_killed() -> None:
    command = [sys.executable, "-m", "tests.faults", "--smoke"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].startswith("8 kills")
    assert lines[-1].endswith("nothing lost")
    assert sum("the same to the last bit" in line for line in lines) == 8
