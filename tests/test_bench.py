"""Every benchmark goes through all it does, in seconds: what is only run by hand would break unseen."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from tests import bench
from tests.bench.__main__ import BENCHES
from tests.conftest import ROOT


def smoke(
    name: str, tmp_path_factory: pytest.TempPathFactory, options: Sequence[str] = (), **more: str
) -> subprocess.CompletedProcess[str]:
    scratch = tmp_path_factory.mktemp("bench")
    home = tmp_path_factory.getbasetemp() / "home" / "bench"  # images and features are made once
    own = {"MACL_CACHE": str(home), "MACL_RUN_ROOT": str(scratch), "MACL_DATA_ROOT": str(scratch), **more}
    command = [sys.executable, "-m", name, "--smoke", *options]
    environment = {**os.environ, **own}
    environment.pop("MACL_TEST_ARCHIVES", None)  # nobody has to have them
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)


def test_none_is_left_out() -> None:
    files = {path.stem for path in Path(__file__).with_name("bench").glob("*.py")}
    assert files - {"__init__", "__main__"} == set(BENCHES)


@pytest.mark.parametrize("name", BENCHES)
def test_a_benchmark_runs_to_its_end(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    figures = tmp_path_factory.mktemp("figures") / "figures.jsonl"
    done = smoke(f"tests.bench.{name}", tmp_path_factory, **{bench.FIGURES: str(figures)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "gone through once; no bar was judged"  # at its end, and not left out on the way
    assert any(character.isdigit() for line in lines[:-1] for character in line)
    noted = [json.loads(line) for line in figures.read_text().splitlines()]
    assert noted, "it puts nothing into the table"
    for figure in noted:
        assert figure["name"]
        assert math.isfinite(figure["value"])
        assert figure.get("met") is None
        assert "bar" not in figure or re.fullmatch(r"[≤≥] [\d.e+-]+", figure["bar"])
    assert any("bar" in figure for figure in noted)


def test_what_keeps_its_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SMOKE", False)
    monkeypatch.setenv(bench.FIGURES, str(tmp_path / "figures"))
    kept = [
        bench.measured("a", 1.0, "s", 1.0, seed=3),
        bench.measured("b", 1.1, "s", 1.0),
        bench.measured("c", 1.1, "s", 1.0, least=True),
        bench.measured("d", 0.9, "s", 1.0, least=True),
        bench.measured("e", 0.9, "s"),
        bench.measured("f", 0.9, "s", math.inf),
    ]
    assert kept == [True, False, True, False, True, True]
    lines = [json.loads(line) for line in (tmp_path / "figures").read_text().splitlines()]
    assert [line.get("met") for line in lines] == [*kept[:4], None, None]
    assert lines[0] == {"name": "a", "value": 1.0, "unit": "s", "bar": "≤ 1", "met": True, "seed": 3}
    assert [line.get("bar") for line in lines[1:]] == ["≤ 1", "≥ 1", "≥ 1", None, None]


TWO = """
import sys
from tests.bench import __main__ as all_of_them
all_of_them.BENCHES = ("losses", "no_such_bench")
sys.exit(all_of_them.main())
"""


def test_all_figures_are_one_table_and_a_file_with_the_facts_of_the_machine(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "two.py").write_text(TWO)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = smoke("two", tmp_path_factory, options=["--to", str(tmp_path / "out.json")], PYTHONPATH=path)
    assert done.returncode == 1  # of no_such_bench
    kept = json.loads((tmp_path / "out.json").read_text())
    assert set(kept["machine"]) >= {"processor", "cores", "memory_gib", "load", "torch", "date"}
    assert kept["machine"]["torch"] == version("torch")
    assert kept["missed"] == ["no_such_bench"]
    assert kept["smoke"] is True
    (macl,) = (figure for figure in kept["figures"] if figure["name"] == "macl: time of a step")
    assert macl["benchmark"] == "losses"
    assert macl["command"] == "python -m tests.bench.losses --smoke"
    assert (macl["unit"], macl["bar"], macl["seed"]) == ("× SupConLoss", "≤ 1", 0)
    table = done.stdout[done.stdout.index("benchmark  ") :].splitlines()
    assert table[0].split() == ["benchmark", "name", "value", "unit", "bar", "met"]
    (line,) = (line for line in table if "  macl: time of a step  " in line)
    assert f"{macl['value']:.4g}" in line
    assert sum(line.startswith("losses ") for line in table) == len(kept["figures"]) - 1
    assert any(kept["machine"]["processor"] in line for line in table)


def test_one_that_breaks_is_named(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (tmp_path / "one.py").write_text(
        "import sys\nfrom tests.bench import __main__ as all_of_them\n"
        "all_of_them.BENCHES = ('no_such_bench',)\nsys.exit(all_of_them.main())\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = smoke("one", tmp_path_factory, PYTHONPATH=path)
    assert done.returncode == 1
    assert "bars missed in: no_such_bench" in done.stdout
    assert not (ROOT / "bench.json").exists()  # a walk through them overwrites nothing
