"""`macl runs`, `stop`, `evaluate` and `export`: what one can do with a run that is there."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from core import launch, runs
from core.cli.console import RunRoot, err, out, root_of, score_table
from core.errors import MaclError


def evaluate(
    run: str,
    protocol: Annotated[str, typer.Option(help="paper or imbriaco.")] = "paper",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    run_root: RunRoot = None,
) -> None:
    """Compute the metrics of a run again from its saved test embeddings."""
    from core import metrics

    found = runs.find(run, root_of(run_root))
    if protocol not in ("paper", "imbriaco"):
        raise MaclError(f"--protocol: need paper or imbriaco, got {protocol!r}")
    z, y = found.embeddings()
    found_scores = {"metrics": metrics.evaluate(z, y, protocol=protocol)}
    if protocol == "paper":
        found_scores |= {"chance": metrics.chance(y), "oracle": metrics.oracle(y)}
    scores = {part: runs.without_nan(values) for part, values in found_scores.items()}
    if as_json:
        out.print_json(json.dumps(scores))
    else:
        out.print(score_table(found.id, scores))


def list_all(run_root: RunRoot = None) -> None:
    """List runs, newest first, with their state."""
    found = runs.list_runs(root_of(run_root))
    shown = Table(box=None)
    # never cut: the name is what the other commands take
    shown.add_column("run", no_wrap=True, min_width=max((len(run.id) for run in found), default=0))
    for title in ("state", "data set", "loss", "preset", "seed"):
        shown.add_column(title)
    for run in found:
        try:
            config = run.config
        except MaclError as error:
            err.print(f"left out: {escape(str(error))}")
            continue
        shown.add_row(run.id, run.state, config.dataset, config.loss, config.preset, str(config.seed))
    out.print(shown)


def stop(run: str, run_root: RunRoot = None) -> None:
    """Ask a running or queued run to stop; it saves a checkpoint first."""
    found = runs.find(run, root_of(run_root))
    if found.state not in ("queued", "running"):
        raise MaclError(f"{found.id} is {found.state}: nothing to stop")
    launch.stop(found)
    out.print(f"asked {found.id} to stop")


def export(
    run: str,
    to: Annotated[Path, typer.Option(help="Folder to write to; made if missing.")] = Path("export"),
    run_root: RunRoot = None,
) -> None:
    """Write the whole encoder (backbone and head) with its configuration and test embeddings to a folder."""
    from core import export as exporter

    found = runs.find(run, root_of(run_root))
    exporter.write(found, to)
    out.print(str(to.resolve()))
