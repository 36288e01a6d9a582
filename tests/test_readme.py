"""What README.md and the tables beside the benchmarks say is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from core import report
from core.experiments import benchmark
from core.files import PROJECT
from core.metrics import METRICS

TEXT = (PROJECT / "README.md").read_text()
TABLES = PROJECT / "assets" / "benchmarks" / "README.md"


def test_the_lines_for_a_training_of_ones_own_run() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(float(encoder.weight.grad.norm()) > 0)"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["True"]


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
    named |= {"MACL (denominator=own)": "MACL with `denominator=own`", "chance": "chance"}
    for row in report.summary(found.results, dataset="dlrsd"):
        if row.name in named:
            assert f"{named[row.name]} {report.cell(row, 'map_medium').text}" in words, row.name
    assert "map_medium" in METRICS


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", TEXT)
    assert len(links) > 3
    assert not [link for link in links if not (PROJECT / link).exists()]
