"""What README.md and the tables beside the benchmarks say is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from core import report
from core.experiments import benchmark
from core.files import PROJECT
from core.losses import LOSSES
from core.losses.check import examine
from core.metrics import METRICS

TEXT = (PROJECT / "README.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
TABLES = PROJECT / "assets" / "benchmarks" / "README.md"


def test_the_lines_for_a_training_of_ones_own_run() -> None:
    code, _ = CODE
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(float(encoder.weight.grad.norm()) > 0)"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["True"]


def test_the_example_of_a_loss_of_ones_own_passes_its_check() -> None:
    _, text = CODE
    report = examine(text, "margin")
    assert (report.errors, report.warnings) == ([], [])
    assert report.spec
    assert [(p.name, p.low, p.high) for p in report.spec.parameters] == [
        ("margin", -1.0, 1.0), ("squared", None, None),
    ]  # fmt: skip


def test_the_tables_are_those_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.cli.table import table

    monkeypatch.setenv("MACL_RUN_ROOT", str(tmp_path))
    command = next(line for line in TEXT.splitlines() if line.endswith("the tables"))
    assert command.split("  ")[0].split() == [
        "macl", "table", "--recorded", "--markdown", str(TABLES.relative_to(PROJECT)),
    ]  # fmt: skip
    table(markdown=tmp_path / "README.md", recorded=True)
    assert (tmp_path / "README.md").read_text() == TABLES.read_text()


def test_the_figures_of_the_readme_are_those_of_the_tables() -> None:
    found = benchmark.read(PROJECT / "assets" / "benchmarks" / "instant.json")
    words = " ".join(TEXT.split())
    named = {"MulSupCon": "MulSupCon", "LProto": "LProto", "MACL": "MACL as printed"}
    named |= {"MACL (denominator=own)": "MACL with `denominator=own`", "MACL-nested": "MACL-nested"}
    named |= {"chance": "chance"}
    for row in report.summary(found.results, dataset="dlrsd"):
        if row.name in named:
            assert f"{named[row.name]} {report.cell(row, 'map_medium').text}" in words, row.name
    assert "map_medium" in METRICS


TUNED = benchmark.read(PROJECT / "assets" / "benchmarks" / "instant-tuned.json")


def test_no_loss_was_best_at_an_edge_of_the_search() -> None:
    for dataset, methods in TUNED.about["tuned"].items():
        assert len(methods) == len(LOSSES) + 1
        for name, result in methods.items():
            values = sorted(map(float, result["validation"]))
            assert len(values) == 13, (dataset, name)
            assert values[0] < result["chosen"] < values[-1], (dataset, name)


def test_what_the_readme_says_of_macl_nested() -> None:
    """First places, and against how many of the others it is better, each at its best temperature."""
    words = " ".join(TEXT.split())
    first, better = {}, {}
    for dataset in ("dlrsd", "ml_aid", "whdld"):
        (block,) = report.blocks(report.summary(TUNED.results, dataset=dataset))
        base = report.named(block, "macl_nested")
        assert base is not None
        rows = report.pin(block, base)
        first[dataset] = [key for key in METRICS if base.rank.get(key) == 1]
        for key in METRICS:
            verdicts = [row.against[key] for row in rows if key in row.against]
            better[dataset, key] = sum(verdict.verdict == "worse" for verdict in verdicts)
    assert first["ml_aid"] == [key for key in METRICS if key != "map_sim"]
    assert first["dlrsd"] == ["map_easy", "ndcg"]
    assert first["whdld"] == ["map_easy", "map_medium", "map_hard", "ndcg", "wap"]
    ml_aid = [better["ml_aid", key] for key in ("map_easy", "map_medium", "map_hard", "ndcg", "wap")]
    assert ml_aid == [13, 14, 12, 14, 14]
    assert (better["dlrsd", "map_medium"], better["whdld", "map_medium"]) == (8, 7)
    assert "Better than all 14 others in mAP Medium (72.86 ± 1.18), nDCG and wAP" in words
    assert "In Medium it is better than eight losses" in words


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", TEXT)
    assert len(links) > 3
    assert not [link for link in links if not (PROJECT / link).exists()]
