"""`macl sweep`, `macl pause` and `macl unpause`: many runs through the queue."""

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from core import report
from core.cli.console import DataRoot, RunRoot, absolute, err, out, root_of
from core.cli.loss import loss_named
from core.cli.options import LAUNCHER, PACK, option
from core.errors import MaclError
from core.experiments import duration
from core.experiments import sweep as sweeps
from core.experiments.axes import parse_axis, parse_one, parse_seeds
from core.experiments.studies import STUDIES
from core.experiments.surface import cells
from core.experiments.sweep import Sweep
from core.metrics import METRICS
from core.queue import hand_over, launch
from core.runs import PRESETS

TAKE_UP_SECONDS = 2.0
Given = TypeVar("Given")


def sweep(
    axes: Annotated[
        list[str] | None,
        typer.Argument(help="alpha=0:3:7 (seven values from 0 to 3), lr=0.1,0.01, seed=0-2 …"),
    ] = None,
    study: Annotated[str | None, typer.Option(help=f"Ready-made: {', '.join(STUDIES)}.")] = None,
    dataset: Annotated[str, option("dataset")] = "demo",
    data_root: DataRoot = None,
    loss: Annotated[str, typer.Option(help="Loss of all runs, unless it is an axis.")] = "macl",
    preset: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(PRESETS)}; default: instant.")
    ] = None,
    fix: Annotated[
        list[str] | None, typer.Option("--set", help="A field or parameter that all runs share: beta=0.1.")
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(help='A list instead of a grid: --point "alpha=1 beta=0" --point "alpha=2 beta=0.5".'),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="0 or 0,1,2 or 0-4; default: 0.")] = None,
    device: Annotated[str, option("device")] = "auto",
    title: Annotated[str, typer.Option(help="Name of the sweep.")] = "",
    launcher: Annotated[str, typer.Option(help=f"{LAUNCHER} Default: who had the runs, else local.")] = "",
    pack: Annotated[int, typer.Option(min=1, help=PACK)] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and stop.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait for the end and print the scores.")] = False,
    metric: Annotated[str, typer.Option(help=f"Printed with --wait: {', '.join(METRICS)}.")] = "map_medium",
    resume: Annotated[str | None, typer.Option(help="Continue the sweep of this name.")] = None,
    run_root: RunRoot = None,
) -> None:
    """Queue a grid over any fields of a run and parameters of its loss, or a ready-made study of the paper.

    Runs that exist are not repeated, so the same command continues a sweep, failed and stopped runs included.
    """
    root = root_of(run_root)
    if metric not in METRICS:
        raise MaclError(f"--metric: need one of {', '.join(METRICS)}, got {metric!r}")
    loss = loss_named(loss)
    axes = [_with_losses(text) for text in axes or []]
    fixed = _once(parse_one(text, loss) for text in fix or [])
    if "seed" in fixed:
        raise MaclError("--set seed: give seeds as --seeds 0-2")
    fields = {"dataset": dataset, "data_root": absolute(data_root), "device": device, **fixed}
    seed_list = parse_seeds(seeds or "0")
    if resume is not None and (axes or point or study or fix or seeds):
        raise MaclError("--resume: give the name alone, the sweep holds all the rest")
    if study is not None and (axes or point or loss != "macl"):
        raise MaclError("--study: leave out axes, --point and --loss, the study names its own")
    if resume is not None:
        planned = sweeps.read(resume, root)
    elif study is not None:
        if study not in STUDIES:
            raise MaclError(f"--study: need one of {', '.join(STUDIES)}, got {study!r}")
        usual = STUDIES[study].preset or "instant"
        planned = STUDIES[study].build(preset or usual, fields, list(seed_list))
    elif point:
        places = [_once(parse_one(text, loss) for text in line.replace(",", " ").split()) for line in point]
        if seeds and any("seed" in place for place in places):
            raise MaclError("--seeds: leave it out, the points name their seeds")
        points = [{**place, "seed": place.get("seed", n)} for place in places for n in seed_list]
        planned = sweeps.listed(title or "list", preset or "instant", {"loss": loss, **fields}, points)
    else:
        given = _once(parse_axis(text, loss) for text in axes)
        if not given:
            raise MaclError("say what to vary, such as alpha=0:3:7 beta=0,0.1,1, or take a --study")
        if seeds and "seed" in given:
            raise MaclError("--seeds: leave it out, seed is an axis")
        if clash := sorted(set(given) & set(fixed)):
            raise MaclError(f"--set {clash[0]}: leave it out, {clash[0]} is an axis")
        named = title or " × ".join(given)
        planned = sweeps.grid(
            named,
            preset or "instant",
            {"loss": loss, **fields},
            {**given, "seed": given.get("seed", seed_list)},
        )
    known_runs = sweeps.known(root)
    estimate = duration.preview(planned, known_runs)
    basis = (
        "as finished runs like these took" if estimate.measured else "a guess: no run like these has finished"
    )
    err.print(
        f"{escape(planned.title)}: {estimate.total} runs, {estimate.there} of them there; the others take "
        f"about {duration.words(estimate.seconds)} one after another ({basis})"
    )
    if planned.note:
        err.print(escape(planned.note))
    if dry_run:
        return
    planned = sweeps.start(planned, root, launcher, pack)
    if launch.paused(root):
        err.print("the queue is paused: macl unpause lets it go on")
    if not wait:
        print(planned.id)
        return
    _wait(planned, root)
    out.print(_table(planned, root, metric))
    reasons = _reasons(planned, root)
    for reason, count in reasons.items():
        err.print(escape(f"{count} of {len(planned.points)} runs {reason}"))
    print(planned.id)
    if reasons:
        raise typer.Exit(1)


def pause(run_root: RunRoot = None) -> None:
    """Let no worker begin another run; running ones go on to their end."""
    launch.pause(root_of(run_root))
    out.print("paused")


def unpause(run_root: RunRoot = None) -> None:
    """Let the queue go on."""
    launch.unpause(root_of(run_root))
    out.print("the queue goes on")


def _with_losses(axis: str) -> str:
    """`loss=macl,./margin.py` with the keys of the losses; any other axis as it is."""
    name, equals, values = axis.partition("=")
    if name.strip() != "loss":
        return axis
    keys = (loss_named(value.strip()) for value in values.split(",") if value.strip())
    return f"{name}{equals}{','.join(keys)}"


def _once(pairs: Iterable[tuple[str, Given]]) -> dict[str, Given]:
    by_name: dict[str, Given] = {}
    for name, values in pairs:
        if name in by_name:
            raise MaclError(f"{name} is given twice: give it once")
        by_name[name] = values
    return by_name


def _wait(planned: Sweep, root: Path) -> None:
    """Wait until every run has ended; a worker that dies is replaced."""
    last_done, interrupted_before = -1, set[str]()
    while True:
        sweep_runs = [run for _, run in sweeps.found(planned, sweeps.known(root))]
        hand_over.settle(run for run in sweep_runs if run is not None)
        states = [run.state if run else "gone" for run in sweep_runs]
        done = sum(state in ("finished", "failed", "stopped", "gone") for state in states)
        if done != last_done:
            err.print(f"{done} of {len(states)}")
            last_done = done
        if done == len(states):
            return
        if not launch.paused(root):
            for run in [*launch.queue(root), *launch.dropped(root)]:
                device = launch.device_of(run)
                launch.ensure_worker(device, root)
                if why := launch.trouble(root, device):
                    raise MaclError(f"the runs wait, but no worker can start: {why}")
            left = [run for run in sweep_runs if run and run.state == "interrupted"]
            for run in left:  # not a worker's, or the worker's note is damaged: nobody else takes it up
                if run.id in interrupted_before:
                    launch.take_up(run)
            interrupted_before = {run.id for run in left}
        time.sleep(TAKE_UP_SECONDS)


def _reasons(planned: Sweep, root: Path) -> Counter[str]:
    """Why runs have not finished, and how many for each reason."""
    reasons: Counter[str] = Counter()
    for _, run in sweeps.found(planned, sweeps.known(root)):
        if run is None:
            reasons["are gone, or were trained on other images: the same command trains them"] += 1
        elif run.state != "finished":
            reasons[f"{run.state}{f': {run.error}' if run.error else ''}"] += 1
    return reasons


def _table(planned: Sweep, root: Path, metric: str) -> Table:
    pairs = sweeps.found(planned, sweeps.known(root))
    scores = {}
    for _, run in pairs:
        if run and run.state == "finished":
            try:
                scores[run.id] = report.read(run).scores["metrics"]
            except MaclError as error:
                err.print(f"left out: {escape(str(error))}")
    table = Table(title=f"{planned.title}: {METRICS[metric]}", box=None)
    names = [name for name in planned.axes if name != "seed"]
    for name in names:
        table.add_column(name)
    table.add_column("percent", justify="right")
    cell_at = {tuple(cell.at[name] for name in names): cell for cell in cells(pairs, scores, metric)}
    no_value = report.lack(scores.values(), metric)
    done = [point for point, run in pairs if run and run.id in scores]
    for place in dict.fromkeys(tuple(point.at[name] for name in names) for point in done):
        cell = cell_at.get(place)  # none: the metric has no value there
        spread = "" if cell is None or cell.spread is None else f" ± {cell.spread:.2f}"
        table.add_row(*map(str, place), no_value if cell is None else f"{cell.mean:.2f}{spread}")
    return table
