"""`macl loss`, and losses as the other commands name them: real processes for what a person does first."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core import cli
from core.experiments import sweep
from core.losses import LOSSES, known, own, spec_of
from core.runs import Run, list_runs

MARGIN = Path(__file__).parent.parent.parent / "own" / "margin.py"
MACL = [sys.executable, "-c", "from core.cli import main; main()"]


def macl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MACL, *arguments], capture_output=True, text=True, check=False, timeout=200)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments))


def small(tiny: Path, root: Path) -> list[str]:
    return [
        *("--preset", "instant", "--dataset", "folder", "--data-root", str(tiny), "--epochs", "1"),
        *("--image-size", "32", "--batch-size", "16", "--device", "cpu", "--run-root", str(root)),
    ]


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """The same loss with other code, in a folder of its own."""
    (tmp_path / "changed").mkdir()
    path = tmp_path / "changed" / "margin.py"
    path.write_text(MARGIN.read_text() + "\n# another version\n")
    return path


def test_add_train_list_remove(tiny: Path, tmp_path: Path) -> None:
    added = macl("loss", "add", str(MARGIN))
    assert added.returncode == 0, added.stderr
    key = added.stdout.split()[-1]
    assert key == own.resolve("margin") == own.key_of("margin", MARGIN.read_text())
    assert "margin is on every page now" in added.stderr
    assert "× MulSupCon" in added.stderr
    assert list(known()) == [*LOSSES, key]

    listed = macl("loss", "list")
    assert "margin=0.2, squared=True" in listed.stdout
    assert key in macl("train", "--help").stdout.replace("\n", "")

    trained = macl("train", "--loss", "margin", "--param", "margin=0.3", *small(tiny, tmp_path))
    assert trained.returncode == 0, trained.stderr
    run = Run(Path(trained.stdout.split()[-1]))
    assert run.state == "finished"
    assert run.config.loss == key
    assert run.config.params == {"margin": 0.3, "squared": True}
    assert (run.path / "margin.py").read_text() == MARGIN.read_text()

    shown = macl("table", "--run-root", str(tmp_path))
    assert "margin (margin=0.3)" in shown.stdout
    removed = macl("loss", "remove", "margin")
    assert removed.returncode == 0
    assert Path(removed.stdout.strip(), f"{key}.py").is_file()
    again = macl("train", "--loss", "margin", *small(tiny, tmp_path))
    assert again.returncode == 1
    assert again.stderr.splitlines()[-1].startswith("error: --loss: need one of supcon_all,")
    assert "margin (margin=0.3)" in macl("table", "--run-root", str(tmp_path)).stdout


def test_a_parameter_with_the_name_of_a_setting_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "margin.py"
    file.write_text(MARGIN.read_text().replace("margin: float", "lr: float").replace("= margin,", "= lr,"))
    refused = invoke("loss", "add", str(file))
    assert refused.exit_code == 1
    assert str(refused.exception) == (
        "margin.py: lr is the name of a setting of every run, --lr: give the parameter another name"
    )
    assert list(known()) == list(LOSSES)


def test_a_file_is_used_as_it_is_and_can_be_resumed(tiny: Path, changed: Path, tmp_path: Path) -> None:
    first = invoke("train", "--loss", str(MARGIN), *small(tiny, tmp_path / "runs"))
    assert first.exit_code == 0, first.output
    assert list(known()) == list(LOSSES)  # not offered: nobody added it
    second = invoke("train", "--loss", str(changed), *small(tiny, tmp_path / "runs"))
    assert second.exit_code == 0, second.output
    changed.unlink()
    newer, older = list_runs(tmp_path / "runs")
    assert (older.config.spec.title, newer.config.spec.title) == ("margin", "margin (2)")
    assert older.config.identity != newer.config.identity
    table = invoke("table", "--run-root", str(tmp_path / "runs")).stdout
    assert re.findall(r"  (margin.*?)  ", table) == ["margin", "margin (2)"]
    base = invoke("table", "--run-root", str(tmp_path / "runs"), "--baseline", "margin (2)")
    assert base.exit_code == 0, base.output
    more = invoke("resume", newer.id, "--epochs", "2", "--run-root", str(tmp_path / "runs"))
    assert more.exit_code == 0, more.output  # its text was kept when the person named the file
    assert newer.config.epochs == 2


def test_a_benchmark_and_a_sweep_take_own_losses(tiny: Path, tmp_path: Path) -> None:
    assert invoke("loss", "add", str(MARGIN)).exit_code == 0
    key = own.resolve("margin")
    done = invoke(
        *("benchmark", "--preset", "instant", "--datasets", "folder", "--data-root", f"folder={tiny}"),
        *("--losses", "margin:margin=0.3,mulsupcon", "--seeds", "0", "--set", "epochs=1"),
        *("--set", "image_size=32", "--set", "batch_size=16", "--run-root", str(tmp_path / "runs")),
    )
    assert done.exit_code == 0, done.output
    (summary,) = tmp_path.glob("runs/benchmarks/*/summary.json")
    row = json.loads(summary.read_text())["runs"][0]["config"]
    assert (row["loss"], row["params"]) == (key, {"margin": 0.3})
    own.remove("margin")
    (own.folder() / "margin.json").unlink()  # as on another machine
    from core.experiments.benchmark import read

    (result, _) = read(summary).results
    assert result.config.spec.title == f"margin ({key[-8:]})"

    planned = invoke(
        *("sweep", f"loss=macl,{MARGIN}", "seed=0-1", "--dataset", "demo", "--dry-run"),
        *("--run-root", str(tmp_path / "runs")),
    )
    assert planned.exit_code == 0, planned.output
    assert "4 runs" in planned.output
    made = sweep.grid("m", "instant", {"loss": key}, {"margin": [0.1, 0.3], "squared": [True, False]})
    assert [point.config.params["margin"] for point in made.points] == [0.1, 0.1, 0.3, 0.3]


def test_a_copied_run_brings_no_code(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = tmp_path / "margin.py"
    trap.write_text(MARGIN.read_text() + f"\nopen({str(tmp_path / 'executed')!r}, 'a').close()\n")
    assert invoke("train", "--loss", str(trap), *small(tiny, tmp_path / "runs")).exit_code == 0
    (tmp_path / "executed").unlink()
    monkeypatch.setenv("MACL_LOSSES", str(tmp_path / "another machine"))
    (run,) = list_runs(tmp_path / "runs")
    for command in (
        ("table", "--run-root", str(tmp_path / "runs")),
        ("runs", "--run-root", str(tmp_path / "runs")),
        ("evaluate", run.id, "--run-root", str(tmp_path / "runs")),
        ("export", run.id, "--run-root", str(tmp_path / "runs"), "--to", str(tmp_path / "exported")),
        ("train", "--loss", run.config.loss, *small(tiny, tmp_path / "runs")),
    ):
        invoke(*command)
        assert not (tmp_path / "executed").exists(), command
    more = ("resume", run.id, "--epochs", "2", "--run-root", str(tmp_path / "runs"))
    refused = invoke(*more)
    assert refused.exit_code == 1
    assert "never executed unasked: read margin.py in the run folder" in refused.output.replace("\n", "")
    assert not (tmp_path / "executed").exists()
    assert run.state == "finished"
    added = invoke("loss", "add", str(run.path / "margin.py"))
    assert added.exit_code == 0, added.output
    assert spec_of(run.config.loss).title == "margin"
    (tmp_path / "executed").unlink()
    assert invoke(*more).exit_code == 0
    assert (tmp_path / "executed").exists()


def test_a_broken_file_is_one_line_and_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("class Broken(:\n")
    refused = macl("loss", "add", str(tmp_path / "broken.py"))
    assert refused.returncode == 1
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert line == "error: broken.py, line 1: invalid syntax: correct the syntax"
    assert list(known()) == list(LOSSES)
    unknown = macl("loss", "check", str(tmp_path / "nowhere.py"))
    assert unknown.returncode == 1
    assert len(unknown.stderr.splitlines()) == 1
    macl_py = tmp_path / "macl.py"
    macl_py.write_text(MARGIN.read_text())
    taken = macl("train", "--loss", str(macl_py))
    assert taken.stderr.splitlines()[-1] == (
        "error: macl.py: macl is the name of the built-in MACL: give the file another name"
    )
