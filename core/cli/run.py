"""`macl runs`, `stop`, `evaluate` and `export`: what one can do with a run that is there."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from core import report, runs
from core.cli.console import RunRoot, err, out, progress_bars, root_of, score_table
from core.errors import MaclError
from core.experiments import duration
from core.queue import launch
from core.runs import Run


def evaluate(
    run: str,
    protocol: Annotated[str, typer.Option(help="paper or imbriaco.")] = "paper",
    gallery: Annotated[
        str, typer.Option(help="What is searched: test (the paper's), or all, training and validation too.")
    ] = "test",
    write: Annotated[
        bool, typer.Option("--write", help="Add to scores.json the metrics that it lacks; no value changes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    run_root: RunRoot = None,
) -> None:
    """Compute the metrics of a run again from its saved test embeddings.

    With --gallery all, the test images search every image of the data set, embedded anew by the run's
    network: not the paper's protocol, and never written into the run.
    """
    from core.report import scoring

    named = runs.find(run, root_of(run_root))
    for option, value, known in (
        ("protocol", protocol, ("paper", "imbriaco")), ("gallery", gallery, ("test", "all"))
    ):  # fmt: skip
        if value not in known:
            raise MaclError(f"--{option}: need {' or '.join(known)}, got {value!r}")
    if [protocol != "paper", gallery != "test", write].count(True) > 1:
        raise MaclError("--protocol imbriaco, --gallery all and --write exclude each other: choose one")
    if write:
        added = scoring.complete(named)
        word = f"added {', '.join(added)}" if added else "nothing was missing"
        err.print(f"scores.json of {named.id}: {word}", markup=False)
    title = named.id
    if gallery == "all":
        with progress_bars() as told:
            scores = scoring.over_all(named, told)
        title += f": {scores['queries']} test images search all {scores['images']} images"
    else:
        scores = scoring.again(named, protocol)
    if as_json:
        out.print_json(json.dumps(scores))
        return
    out.print(score_table(title, scores))
    if protocol == "imbriaco":
        out.print("wAP of this protocol counts shared labels: it may exceed 100.")
    if gallery == "all":
        out.print(
            "Not the paper's protocol, in which test images search test images only: training and validation "
            "images are found too, so compare these values with none of `macl table`."
        )


def list_all(run_root: RunRoot = None) -> None:
    """List runs, newest first, with their state and how far they are."""
    lines = [["run", "state", "progress", "data set", "loss", "preset", "seed"]]
    for run in runs.list_runs(root_of(run_root)):
        try:
            config = run.config
        except MaclError as error:
            err.print(f"left out: {escape(str(error))}")
            continue
        state = run.state
        done = progress(run, config.epochs) if state == "running" else ""
        lines.append([run.id, state, done, config.dataset, config.loss, config.preset, str(config.seed)])
    out.print(report.aligned(lines, left=6), markup=False)


def progress(run: Run, epochs: int) -> str:
    """How far a running run is, and the time left."""
    about = run.progress()
    if not about:
        return "starting"
    said = f"{about['what']} {about['done']} of {about['total']}"
    if about["what"] == "training" and (rows := run.history()) and "epoch" in rows[-1]:
        said = f"epoch {rows[-1]['epoch']} of {epochs}"
    return said if about["eta_s"] is None else f"{said}, {duration.words(about['eta_s'])} left"


def stop(run: str, run_root: RunRoot = None) -> None:
    """Ask a running or queued run to stop; it saves a checkpoint first."""
    found = runs.find(run, root_of(run_root))
    if found.state not in ("queued", "running"):
        raise MaclError(f"{found.id} is {found.state}: nothing to stop")
    launch.stop(found)
    out.print(f"asked {found.id} to stop", markup=False)


def export(
    run: str,
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to, made if missing; default: export/RUN.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also into a folder that is not empty.")] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write the encoder as ONNX too.")] = False,
    run_root: RunRoot = None,
) -> None:
    """Write what other programs need of a run to a folder.

    encoder.safetensors: weights of backbone and head.
    encoder.onnx: with --onnx, both as one graph, normalisation inside (needs the extra `onnx`).
    encoder.json: backbone, classes, and the recipe from an image file to its embedding, step by step.
    embeddings.csv: labels and embedding of every test image.
    config.json, scores.json, splits.json: as in the run.
    """
    from core.encoder import export as exporter

    found = runs.find(run, root_of(run_root))
    folder = to or Path("export") / found.id
    exporter.write(found, folder, force, onnx)
    out.print(str(folder.resolve()), markup=False)
