"""`macl train` and `macl resume`: one run, here and now."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from core import runs
from core.cli.console import (
    DataRoot,
    RunRoot,
    SkipBroken,
    Told,
    absolute,
    err,
    out,
    progress_bars,
    root_of,
    score_table,
)
from core.data import DATASETS
from core.errors import MaclError
from core.losses import LOSSES
from core.runs import PRESETS, Run, RunConfig


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
    patience: Annotated[
        int | None, typer.Option(help="With keep best: stop after so many epochs without a better one.")
    ] = None,
    embed_every: Annotated[
        int | None, typer.Option(help="Save test embeddings every so many epochs; 0: never.")
    ] = None,
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
        "patience": patience,
        "embed_every": embed_every,
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
    root = root_of(run_root)
    import core.training.loop  # noqa: F401  seconds; whoever interrupts them has begun no run

    run_here(runs.create(config, root))


def resume(
    run: str,
    epochs: Annotated[
        int | None, typer.Option(help="Train to so many epochs in all; a finished run goes on.")
    ] = None,
    data_root: DataRoot = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    run_root: RunRoot = None,
) -> None:
    """Continue a stopped, failed or interrupted run from its last checkpoint.

    With --data-root and --device for one whose images or device are gone. With --epochs a finished run trains
    on; its results stay until the new ones are there, and --epochs with their number goes back to them.
    """
    found = runs.find(run, root_of(run_root))
    import core.training.loop  # noqa: F401  seconds, in which its state may change

    if epochs is not None and epochs == runs.results_of(found):
        runs.take_back(found)
        out.print(score_table(found.id, found.scores()))
        print(found.path)
        return
    was_finished = found.state == "finished"
    if epochs is not None:
        runs.extend(found, epochs)
    if found.state in ("finished", "running"):
        raise MaclError(f"{found.id} is {found.state}; nothing is left to resume")
    options = {"data_root": absolute(data_root), "device": device}
    before, saved = found.path.joinpath("config.json").read_text(errors="replace"), _saved(found)
    if given := {name: value for name, value in options.items() if value is not None}:
        fields = found.config.model_dump() | given
        config = RunConfig.build(fields.pop("preset"), **fields)
        found.mark("config.json", config.model_dump_json(indent=2) + "\n")
    found.unmark("stop")
    try:
        run_here(found)
    finally:
        if found.state == "failed" and _saved(found) == saved:  # other images are there, say
            if given:
                found.mark("config.json", before)
            if was_finished:
                runs.take_back(found)


def _saved(run: Run) -> int:
    """When the last checkpoint was written, in nanoseconds; 0 without one."""
    try:
        return (run.path / "resume.safetensors").stat().st_mtime_ns
    except OSError:
        return 0


def run_here(run: Run) -> None:
    """Train in this process with progress bars; exit code 0 only if the run finished."""
    err.print(f"run {escape(run.id)}")
    from core.training import loop as training

    training.stop_on_signal(run.path)
    with progress_bars() as tell:
        state = training.run(run.path, tell if err.is_terminal else epoch_lines(run, tell))
    for line in run.log.splitlines():
        if " after " in line or "training took" in line or "device:" in line:
            err.print(escape(line.split(" ", 2)[2]))
    if state == "failed":
        err.print(f"[red]error:[/red] {escape(run.error)}")
    elif state == "stopped":
        err.print(f"stopped; go on with: macl resume {escape(run.id)}")
    else:
        out.print(score_table(run.id, run.scores()))
    print(run.path)
    if state != "finished":
        raise typer.Exit(1)


def epoch_lines(run: Run, others: Told) -> Told:
    """A callback that says one line for each epoch, for a log file; all but the training goes to `others`."""
    epochs, offset = run.config.epochs, 0

    def tell(done: int, total: int, what: str) -> None:
        nonlocal offset
        if what != "training":
            others(done, total, what)
        elif done % (total // epochs) == 0:  # an epoch has ended: its line of the curve is there
            rows, offset = run.history_after(offset)
            if rows:
                about = f"loss {rows[-1]['loss']:.4f}, {rows[-1]['images_per_s']:,.0f} images/s"
                err.print(f"epoch {done * epochs // total} of {epochs}: {about}")

    return tell


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
