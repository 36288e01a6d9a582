"""`macl table`: compare finished runs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from core import report, runs
from core.cli.console import RunRoot, err, out, root_of
from core.data import DATASETS
from core.errors import MaclError
from core.experiments import benchmark
from core.losses import spec_of
from core.metrics import METRICS
from core.metrics.significance import conclusion
from core.report import Row
from core.runs import PRESETS

MOST_NAMES = 8


def table(
    csv: Annotated[
        Path | None, typer.Option(help="Write the table as CSV; a missing value is empty.")
    ] = None,
    latex: Annotated[Path | None, typer.Option(help="Write the table as LaTeX (booktabs).")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the table as Markdown.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only this data set.")] = None,
    preset: Annotated[str | None, typer.Option(help="Only this preset.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Compare with this loss (a key, or a method as the table names it): corrected resampled "
            "t-test over seeds, Holm over the methods of a table."
        ),
    ] = None,
    metric: Annotated[str, typer.Option(help=f"Metric of the sentences: {', '.join(METRICS)}.")] = "map_easy",
    published: Annotated[
        bool, typer.Option("--published", help="Put the paper's values into the files.")
    ] = False,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Add the benchmark that came with the program.")
    ] = False,
    run_root: RunRoot = None,
) -> None:
    """Compare finished runs: the 7 metrics in percent, mean ± std over seeds, with chance and oracle.

    The rows of your own benchmarks (macl benchmark) are among them.
    """
    if metric not in METRICS:
        raise MaclError(f"--metric: need one of {', '.join(METRICS)}, got {metric!r}")
    if dataset is not None and dataset not in DATASETS:
        raise MaclError(f"--dataset: need one of {', '.join(DATASETS)}, got {dataset!r}")
    if preset is not None and preset not in PRESETS:
        raise MaclError(f"--preset: need one of {', '.join(PRESETS)}, got {preset!r}")
    finished = []
    for run in runs.list_runs(root_of(run_root)):
        try:
            if run.state == "finished":
                finished.append(report.read(run))
        except MaclError as error:
            err.print(f"left out: {escape(str(error))}")
    for path in [*(benchmark.recorded() if recorded else ()), *benchmark.own(root_of(run_root))]:
        try:
            finished += benchmark.read(path).results
        except MaclError as error:
            err.print(f"left out: {escape(str(error))}")
    rows = report.summary(finished, dataset=dataset, preset=preset)
    if not rows and finished:
        combinations = dict.fromkeys(f"{result.config.dataset} {result.config.preset}" for result in finished)
        raise MaclError(f"no finished run of this data set and preset: there are {', '.join(combinations)}")
    if not rows:
        raise MaclError("no finished run to compare: start one with `macl train`")
    if baseline:
        rows = pinned(rows, baseline)
    for path, text in (
        (csv, report.to_csv),
        (latex, report.to_latex),
        (markdown, report.to_markdown),
    ):
        if path is not None:
            path.write_text(text(rows, published))
            err.print(f"wrote {escape(str(path))}")
    out.print(report.to_text(rows), markup=False)
    if lacking := report.missing(rows):
        err.print(lacking, markup=False)
    if not baseline:
        return
    for block in report.blocks(rows):
        sentence = said(block, metric)
        if not any(row.baseline for row in block):
            sentence = ambiguous(block, baseline) or f"{baseline} is not in this table."
        if sentence:
            out.print(f"\n{block[0].dataset}, {block[0].protocol}: {sentence}", markup=False)


def pinned(rows: list[Row], name: str) -> list[Row]:
    """The rows, each block compared with the baseline if it has it; MaclError if no block has it."""
    rows_named = [(block, report.named(block, name)) for block in report.blocks(rows)]
    whole = "(" in name  # a name with parameters must match a row of the table exactly
    if all(report.named(block, name, variant=not whole) is None for block, _ in rows_named):
        if several := ambiguous(rows, name):
            raise MaclError(f"--baseline: {several}")
        names = first_of(row.name for row in rows if not row.reference)
        raise MaclError(f"--baseline: need one of {names} or a key of these losses, got {name!r}")
    return [row for block, base in rows_named for row in (report.pin(block, base) if base else block)]


def ambiguous(rows: list[Row], name: str) -> str:
    """What to name instead of a loss without a row at its defaults; empty if it has no row at all."""
    alike = [row for row in rows if not row.reference and name in (row.loss, spec_of(row.loss).title)]
    return f"several rows are of {name}: name one of {first_of(row.name for row in alike)}" if alike else ""


def first_of(names: Iterable[str]) -> str:
    """The names, each once, as many as fit on a line."""
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - MOST_NAMES} more" if len(unique) > MOST_NAMES else ""
    return ", ".join(unique[:MOST_NAMES]) + more


def said(block: list[Row], metric: str) -> str:
    """The conclusion from a block with a baseline; empty without one."""
    base = next((row.name for row in block if row.baseline), "")
    comparisons = [(row.name, row.against[metric]) for row in block if metric in row.against]
    return conclusion(base, METRICS[metric], comparisons) if comparisons else ""
