"""`macl table`: finished runs compared."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from core import report, runs
from core.cli.console import RunRoot, err, out, root_of
from core.errors import MaclError


def table(
    csv: Annotated[Path | None, typer.Option(help="Write the table as CSV.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the table as LaTeX (booktabs).")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this data set.")] = None,
    preset: Annotated[str | None, typer.Option(help="Only this preset.")] = None,
    run_root: RunRoot = None,
) -> None:
    """Compare finished runs: the 7 metrics in percent, mean ± std over seeds, with chance and oracle."""
    finished = []
    for run in runs.list_runs(root_of(run_root)):
        try:
            if run.state == "finished":
                finished.append(report.read(run))
        except MaclError as error:
            err.print(f"left out: {escape(str(error))}")
    rows = report.summary(finished, dataset=dataset, preset=preset)
    if not rows:
        raise MaclError("no finished run to compare: start one with `macl train`")
    for path, text in (
        (csv, report.to_csv),
        (latex, report.to_latex),
        (markdown, report.to_markdown),
    ):
        if path is not None:
            path.write_text(text(rows))
            err.print(f"wrote {path}")
    out.print(report.to_text(rows), markup=False)
