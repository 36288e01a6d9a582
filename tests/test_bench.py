"""Every benchmark goes through all it does, in seconds: what is only run by hand would break unseen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import BENCHES
from tests.conftest import ROOT


def smoke(
    name: str, tmp_path_factory: pytest.TempPathFactory, **more: str
) -> subprocess.CompletedProcess[str]:
    scratch = tmp_path_factory.mktemp("bench")
    home = tmp_path_factory.getbasetemp() / "home" / "bench"  # images and features are made once
    own = {"MACL_CACHE": str(home), "MACL_RUN_ROOT": str(scratch), "MACL_DATA_ROOT": str(scratch), **more}
    command = [sys.executable, "-m", name, "--smoke"]
    environment = {**os.environ, **own}
    environment.pop("MACL_TEST_ARCHIVES", None)  # nobody has to have them
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)


def test_none_is_left_out() -> None:
    files = {path.stem for path in Path(__file__).with_name("bench").glob("*.py")}
    assert files - {"__init__", "__main__"} == set(BENCHES)


@pytest.mark.parametrize("name", BENCHES)
def test_a_benchmark_runs_to_its_end(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    done = smoke(f"tests.bench.{name}", tmp_path_factory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "gone through once; no bar was judged"  # at its end, and not left out on the way
    assert any(character.isdigit() for line in lines[:-1] for character in line)


def test_one_that_breaks_is_named(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (tmp_path / "one.py").write_text(
        "import sys\nfrom tests.bench import __main__ as all_of_them\n"
        "all_of_them.BENCHES = ('no_such_bench',)\nsys.exit(all_of_them.main())\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = smoke("one", tmp_path_factory, PYTHONPATH=path)
    assert done.returncode == 1
    assert "bars missed in: no_such_bench" in done.stdout
