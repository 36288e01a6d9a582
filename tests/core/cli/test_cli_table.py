"""`macl table` with a baseline, recorded results and published values."""

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from core import cli
from core.errors import MaclError
from core.losses import LOSSES
from core.metrics import METRICS


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No run, and a benchmark of two losses on DLRSD, four seeds, that came with the program."""
    lines, splits = [], {}
    for seed in range(4):
        chance, oracle = dict.fromkeys(METRICS, 0.1 + seed / 100), dict.fromkeys(METRICS, 1.0)
        split = f"dlrsd {seed}"
        splits[split] = {"images": 411, "train_images": 1475, "chance": chance, "oracle": oracle}
        for loss, mean in (("macl", 0.5), ("oml", 0.8), ("lbase", 0.5)):
            value = mean + (seed if loss == "macl" else -seed) / 1000
            scores = {"metrics": dict.fromkeys(METRICS, value)}
            config = {"dataset": "dlrsd", "loss": loss, "params": {}, "seed": seed}
            run = {"run": f"{loss}-{seed}", "split": split, "preset": "instant", "config": config}
            lines.append(run | {"scores": scores})
    folder = tmp_path / "recorded"
    folder.mkdir()
    (folder / "b.json").write_text(json.dumps({"about": {"study": ""}, "splits": splits, "runs": lines}))
    monkeypatch.setenv("MACL_BENCHMARK_ROOT", str(folder))
    return tmp_path


def table(root: Path, *arguments: str) -> None:
    cli.app(["table", "--run-root", str(root), *arguments], standalone_mode=False)


def test_a_baseline_by_key_or_name(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("macl", LOSSES["macl"].title):
        table(root, "--recorded", "--baseline", name, "--metric", "wap")
        said = capsys.readouterr().out
        verdict = "OML is better than MACL; LBase cannot be told from MACL."
        assert f"dlrsd, instant: wAP@100, on these 4 seeds: {verdict}" in said


def test_files_hold_baseline_and_published_values(root: Path) -> None:
    csv, markdown = root / "t.csv", root / "t.md"
    given = (
        "--recorded",
        "--baseline",
        "lbase",
        "--published",
        "--csv",
        str(csv),
        "--markdown",
        str(markdown),
    )
    table(root, *given)
    frame = pd.read_csv(io.StringIO(csv.read_text())).set_index("method")
    assert frame.loc["OML", "map_easy_difference"] == 30.0
    assert frame.loc["OML", "map_easy_published"] == 29.28
    assert "− worse than LBase" in markdown.read_text()


def variant(root: Path, target: Path, **changes: dict[str, object]) -> None:
    """Put a copy of the benchmark there, with some parameters by loss and another study."""
    held = json.loads((root / "recorded" / "b.json").read_text())
    held["about"]["study"] = "τ tuned on validation"
    for run in held["runs"]:
        run["config"]["params"] = changes.get(run["config"]["loss"], {})
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(held))


def test_the_baseline_of_another_study_is_the_only_variant_of_its_loss(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variant(root, root / "recorded" / "tuned.json", macl={"tau_scale": 0.5})
    for name in ("macl", "MACL"):
        table(root, "--recorded", "--baseline", name, "--metric", "wap")
        said = capsys.readouterr().out
        assert "dlrsd, instant: wAP@100, on these 4 seeds: OML is better than MACL;" in said
        assert (
            "tuned on validation: wAP@100, on these 4 seeds: OML is better than MACL (tau_scale=0.5);" in said
        )


def test_a_table_without_the_baseline_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variant(root, root / "recorded" / "tuned.json", macl={"tau_scale": 0.5})
    held = json.loads((root / "recorded" / "tuned.json").read_text())
    held["runs"] = [run for run in held["runs"] if run["config"]["loss"] != "macl"]
    (root / "recorded" / "tuned.json").write_text(json.dumps(held))
    table(root, "--recorded", "--baseline", "macl")
    said = capsys.readouterr().out
    assert "dlrsd, instant, τ tuned on validation: macl is not in this table" in said
    assert said.count("is not in this table") == 1


def test_own_benchmarks_are_in_the_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variant(root, root / "benchmarks" / "mine" / "summary.json")
    (root / "benchmarks" / "bad").mkdir()
    (root / "benchmarks" / "bad" / "summary.json").write_text("{")
    table(root)
    shown = capsys.readouterr()
    methods = [re.split("  +", line)[2] for line in shown.out.splitlines()]
    assert methods == ["method", "chance", "LBase", "OML", "MACL", "oracle"]
    (line,) = (line for line in shown.err.splitlines() if line.startswith("left out"))
    assert "bad/summary.json" in line


def test_what_is_not_there_is_named(root: Path) -> None:
    with pytest.raises(MaclError, match="need one of LBase, OML, MACL or a key"):
        table(root, "--recorded", "--baseline", "LMsc")
    for name in ("OML (temperature=0.5)", "MACL (typo", "MACL (alpha=9)"):
        with pytest.raises(
            MaclError, match=r"--baseline: need one of LBase, OML, MACL or .*, got 'M?O?"
        ) as said:
            table(root, "--recorded", "--baseline", name)
        assert str(said.value).endswith(f"got {name!r}")
    with pytest.raises(MaclError, match="--metric: need one of map_sim"):
        table(root, "--metric", "accuracy")
    with pytest.raises(MaclError, match=r"--dataset: need one of demo, dlrsd, .*, got 'dlrds'"):
        table(root, "--recorded", "--dataset", "dlrds")
    with pytest.raises(MaclError, match=r"--preset: need one of instant, .*, got 'insant'"):
        table(root, "--recorded", "--preset", "insant")
    with pytest.raises(MaclError, match=r"of this data set and preset: there are dlrsd instant$"):
        table(root, "--recorded", "--dataset", "whdld")
    with pytest.raises(MaclError, match="no finished run to compare: start one"):
        table(root)


def test_a_loss_with_several_rows_is_no_baseline_by_its_key(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(10):
        params = {"tau_scale": 1.1 + number / 10}
        variant(root, root / "benchmarks" / str(number) / "summary.json", macl=params)
    message = r"--baseline: several rows are of macl: name one of MACL \(tau_scale=1.1\),.* and 2 more$"
    with pytest.raises(MaclError, match=message):
        table(root, "--baseline", "macl")
    table(root, "--recorded", "--baseline", "macl")  # the recorded block has the plain one
    assert "τ tuned on validation: several rows are of macl: name one of MACL" in capsys.readouterr().out


def test_a_path_with_brackets_is_printed_as_it_is(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    (root / "x[").mkdir()
    for name in ("x[/a].csv", "[a].csv"):
        table(root, "--recorded", "--csv", name)
        assert f"wrote {name}" in capsys.readouterr().err
