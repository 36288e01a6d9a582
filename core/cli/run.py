"""`macl runs`, `stop`, `evaluate` and `export`: commands for existing runs."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from core import report, runs
from core.cli.console import RunRoot, err, out, progress_bars, root_of, score_table
from core.errors import MaclError
from core.experiments import duration
from core.queue import hand_over, launch
from core.queue import launcher as launchers
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

    target = runs.find(run, root_of(run_root))
    for option, value, known in (
        ("protocol", protocol, ("paper", "imbriaco")), ("gallery", gallery, ("test", "all"))
    ):  # fmt: skip
        if value not in known:
            raise MaclError(f"--{option}: need {' or '.join(known)}, got {value!r}")
    if [protocol != "paper", gallery != "test", write].count(True) > 1:
        raise MaclError("--protocol imbriaco, --gallery all and --write exclude each other: choose one")
    if write:
        added = scoring.complete(target)
        word = f"added {', '.join(added)}" if added else "nothing was missing"
        err.print(f"scores.json of {target.id}: {word}", markup=False)
    title = target.id
    if gallery == "all":
        with progress_bars() as told:
            scores = scoring.over_all(target, told)
        title += f": {scores['queries']} test images search all {scores['images']} images"
    else:
        scores = scoring.again(target, protocol)
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
    """List runs, newest first, with their state and progress."""
    lines = [["run", "state", "progress", "data set", "loss", "preset", "seed"]]
    listed = runs.list_runs(root_of(run_root))
    standings = hand_over.settle(listed)
    for run in listed:
        try:
            config = run.config
        except MaclError as error:
            err.print(f"left out: {escape(str(error))}")
            continue
        state = run.state
        done = progress(run, config.epochs) if state == "running" else ""
        if state == "queued" and run.id in standings:
            done = launchers.waits(standings[run.id], run.where)
        word = "queued again" if state == "queued" and run.queued_again else state
        lines.append([run.id, word, done, config.dataset, config.loss, config.preset, str(config.seed)])
    out.print(report.aligned(lines, left=6), markup=False)


def progress(run: Run, epochs: int) -> str:
    """Progress of a running run, and the time left."""
    report = run.progress()
    if not report:
        return "starting"
    text = f"{report['what']} {report['done']} of {report['total']}"
    if report["what"] == "training" and (rows := run.history()) and "epoch" in rows[-1]:
        text = f"epoch {rows[-1]['epoch']} of {epochs}"
    return text if report["eta_s"] is None else f"{text}, {duration.words(report['eta_s'])} left"


def stop(run: str, run_root: RunRoot = None) -> None:
    """Ask a running or queued run to stop; it saves a checkpoint first."""
    target = runs.find(run, root_of(run_root))
    if target.state not in ("queued", "running"):
        raise MaclError(f"{target.id} is {target.state}: nothing to stop")
    launch.stop(target)
    out.print(f"asked {target.id} to stop", markup=False)


def export(
    run: str,
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to, made if missing; default: export/RUN.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write even into a folder that is not empty.")
    ] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write the encoder as ONNX too.")] = False,
    run_root: RunRoot = None,
) -> None:
    """Write to a folder what other programs need from a run.

    encoder.safetensors: weights of backbone and head.
    encoder.onnx: with --onnx, both as one graph, normalisation inside (needs the extra `onnx`).
    encoder.json: backbone, classes, and the recipe from an image file to its embedding, step by step.
    embeddings.csv: labels and embedding of every test image.
    config.json, scores.json, splits.json: as in the run.
    """
    from core.encoder import export as exporter

    target = runs.find(run, root_of(run_root))
    folder = to or Path("export") / target.id
    exporter.write(target, folder, force, onnx)
    out.print(str(folder.resolve()), markup=False)
