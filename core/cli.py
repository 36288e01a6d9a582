"""The command line `macl`. torch is imported only by the commands that train."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from core import launch, report, runs
from core.data import DATASETS, check, fetch, load
from core.errors import MaclError
from core.losses import LOSSES
from core.metrics import METRICS
from core.runs import PRESETS, Run, RunConfig

app = typer.Typer(
    help="Train, compare and understand multi-label contrastive losses for remote-sensing image retrieval.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Find, check, prepare and download data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

RunRoot = Annotated[
    Path | None, typer.Option(help="Folder of the runs; default: checkpoints/ of this checkout.")
]
DataRoot = Annotated[
    str | None, typer.Option("--data-root", "--root", help="Folder or archive of the images.")
]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Leave out images that cannot be read.")]
Told = Callable[[int, int, str], None]


def main() -> None:
    """Entry point: a person's mistake is one line on stderr and exit code 1."""
    try:
        app()
    except (MaclError, OSError) as error:  # a full disk, a folder that cannot be written
        err.print(f"[red]error:[/red] {escape(str(error))}")
        sys.exit(1)


@contextmanager
def progress_bars() -> Iterator[Told]:
    """A callback (done, total, what) that shows one bar with rate and time left for each `what`."""
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=False) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, rate="")
            speed = bars.tasks[tasks[what]].speed
            bars.update(tasks[what], completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")

        yield tell


@app.command()
def train(
    dataset: Annotated[str, typer.Option(help=f"One of {', '.join(DATASETS)}.")] = "demo",
    loss: Annotated[str, typer.Option(help=f"One of {', '.join(LOSSES)}.")] = "macl",
    preset: Annotated[
        str | None,
        typer.Option(help=f"One of {', '.join(PRESETS)}; default: instant on a CPU, paper on a GPU."),
    ] = None,
    data_root: DataRoot = None,
    skip_broken: SkipBroken = False,
    param: Annotated[list[str] | None, typer.Option(help="Parameter of the loss, e.g. alpha=1.5.")] = None,
    backbone: Annotated[str | None, typer.Option(help="resnet18, 34, 50, 101 or any timm model.")] = None,
    weights: Annotated[str | None, typer.Option(help="imagenet, none, or a file.")] = None,
    trainable: Annotated[str | None, typer.Option(help="head (frozen features) or all.")] = None,
    augment: Annotated[bool | None, typer.Option(help="Augmentation of the paper's section 4.2.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the training images, pixels.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Width of the head's hidden layer.")] = None,
    dim: Annotated[int | None, typer.Option(help="Embedding size.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a batch.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or adamw.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay.")] = None,
    clip: Annotated[float | None, typer.Option(help="Largest gradient norm; 0: not clipped.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="step, cosine or constant.")] = None,
    step_epochs: Annotated[int | None, typer.Option(help="Epochs between two steps of the rate.")] = None,
    step_factor: Annotated[float | None, typer.Option(help="Factor of the rate at each step.")] = None,
    keep: Annotated[str | None, typer.Option(help="last epoch, or best on validation.")] = None,
    seed: Annotated[int, typer.Option(help="Split, initialisation, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or float32.")] = None,
    run_root: RunRoot = None,
) -> None:
    """Train one run here and now; the last line printed is the run folder."""
    given = {
        "backbone": backbone,
        "weights": absolute(weights) if weights not in ("imagenet", "none") else weights,
        "trainable": trainable,
        "augment": augment,
        "image_size": image_size,
        "hidden": hidden,
        "dim": dim,
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "lr": lr,
        "weight_decay": weight_decay,
        "clip": clip,
        "scheduler": scheduler,
        "step_epochs": step_epochs,
        "step_factor": step_factor,
        "keep": keep,
        "precision": precision,
    }
    fields: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    config = RunConfig.build(
        preset or default_preset(device),
        dataset=dataset,
        data_root=absolute(data_root),
        skip_broken=skip_broken,
        loss=loss,
        params=parse_params(loss, param or []),
        seed=seed,
        device=device,
        **fields,
    )
    run_here(runs.create(config, root_of(run_root)))


@app.command()
def resume(run: str, run_root: RunRoot = None) -> None:
    """Continue a stopped, failed or interrupted run from its last checkpoint."""
    found = runs.find(run, root_of(run_root))
    if found.state == "finished":
        raise MaclError(f"{found.id} is finished; nothing is left to resume")
    found.unmark("stop")
    run_here(found)


@app.command()
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


@app.command()
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


@app.command("runs")
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


@app.command()
def stop(run: str, run_root: RunRoot = None) -> None:
    """Ask a running or queued run to stop; it saves a checkpoint first."""
    found = runs.find(run, root_of(run_root))
    if found.state not in ("queued", "running"):
        raise MaclError(f"{found.id} is {found.state}: nothing to stop")
    launch.stop(found)
    out.print(f"asked {found.id} to stop")


@app.command()
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


@app.command("app")
def open_app() -> None:
    """Serve the app on localhost, and start a worker: it is ready when the page is there."""
    launch.ensure_worker()
    os.chdir(launch.PROJECT)
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", "app/main.py"])


@data_app.command("list")
def data_list() -> None:
    """List the data sets and where each is looked for."""
    from core.data import default_root

    shown = Table(box=None)
    for title in ("name", "data set", "looked for in"):
        shown.add_column(title)
    for name, info in DATASETS.items():
        shown.add_row(name, info.title, "drawn by the product" if name == "demo" else str(default_root(name)))
    out.print(shown)


@data_app.command("check")
def data_check(
    name: str,
    root: DataRoot = None,
    decode: Annotated[bool, typer.Option(help="Decode every image, to find broken ones.")] = True,
) -> None:
    """Say what was found, what is missing, what is broken."""
    with progress_bars() as tell:
        found = check(known(name), root, decode=decode, progress=tell)
    out.print(str(found), markup=False)
    if not found.ok:
        raise typer.Exit(1)


@data_app.command("prepare")
def data_prepare(
    name: str,
    root: DataRoot = None,
    image_size: Annotated[int, typer.Option(help="Training size; prepared at 1.25 times of it.")] = 128,
    skip_broken: SkipBroken = False,
) -> None:
    """Decode and resize all images once, so that later starts are instant."""
    with progress_bars() as tell:
        data = load(known(name), root, image_size=image_size, skip_broken=skip_broken, progress=tell)
    shape = "×".join(str(n) for n in data.images.shape)
    counts = ", ".join(f"{key} {len(rows)}" for key, rows in data.splits.items())
    out.print(f"{data.name}: {shape}, {counts}; {data.unlabelled} without a label left out")


@data_app.command("fetch")
def data_fetch(
    name: str, to: Annotated[Path | None, typer.Option(help="Folder to download into.")] = None
) -> None:
    """Download a data set where it has a stable address, else say where to get it."""
    with progress_bars() as tell:
        path = fetch(known(name), to, progress=tell)
    out.print(str(path))


def run_here(run: Run) -> None:
    """Train in this process with progress bars; exit code 0 only if the run finished."""
    err.print(f"run {run.id}")
    from core import train as training  # torch

    training.stop_on_signal(run.path)
    with progress_bars() as tell:
        state = training.run(run.path, tell)
    for line in run.log.splitlines():
        if " after " in line or "training took" in line or "device:" in line:
            err.print(escape(line.split(" ", 2)[2]))
    if state == "failed":
        err.print(f"[red]error:[/red] {escape(run.error)}")
    elif state == "stopped":
        err.print(f"stopped; go on with: macl resume {run.id}")
    else:
        out.print(score_table(run.id, run.scores()))
    print(run.path)
    if state != "finished":
        raise typer.Exit(1)


def score_table(title: str, scores: dict[str, Any]) -> Table:
    """The seven metrics of one run in percent beside chance and oracle."""
    shown = Table(title=title, box=None)
    shown.add_column("metric")
    columns: list[str] = [key for key in ("metrics", "chance", "oracle") if key in scores]
    for key in columns:
        shown.add_column({"metrics": "this run"}.get(key, key), justify="right")
    for key, metric in METRICS.items():
        values = [scores[column][key] for column in columns]
        shown.add_row(metric, *("–" if v is None else f"{100 * v:.2f}" for v in values))
    return shown


def root_of(run_root: Path | None) -> Path:
    """The folder of the runs, absolute: a run must be found from anywhere."""
    return run_root.expanduser().absolute() if run_root else launch.run_root()


def absolute(path: str | None) -> str | None:
    """A path as a run keeps it: whoever resumes the run may stand in another folder."""
    return str(Path(path).expanduser().absolute()) if path else None


def default_preset(device: str) -> str:
    """Instant on a CPU, paper on a GPU."""
    from core import device as devices

    return "instant" if devices.resolve(device).type == "cpu" else "paper"


def parse_params(loss: str, given: list[str]) -> dict[str, bool | float | str]:
    """`name=value` texts as values of the kinds that the loss declares; MaclError for anything else."""
    if loss not in LOSSES:
        raise MaclError(f"--loss: need one of {', '.join(LOSSES)}, got {loss!r}")
    known_parameters = {parameter.name: parameter for parameter in LOSSES[loss].parameters}
    parsed: dict[str, bool | float | str] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or name not in known_parameters:
            names = ", ".join(known_parameters) or "none"
            raise MaclError(f"--param: need NAME=VALUE with a parameter of {loss} ({names}), got {text!r}")
        kind = known_parameters[name].kind
        if kind == "float":
            try:
                parsed[name] = float(value)
            except ValueError:
                raise MaclError(f"--param {name}: need a number, got {value!r}") from None
        elif kind == "bool":
            if value.lower() not in ("true", "false", "1", "0", "on", "off"):
                raise MaclError(f"--param {name}: need true or false, got {value!r}")
            parsed[name] = value.lower() in ("true", "1", "on")
        else:
            parsed[name] = value
    return parsed


def known(name: str) -> str:
    """The name of a data set, or a MaclError with the names that exist."""
    if name not in DATASETS:
        raise MaclError(f"data set: need one of {', '.join(DATASETS)}, got {name!r}")
    return name
