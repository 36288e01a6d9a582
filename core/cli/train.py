"""`macl train` and `macl resume`: train one run in this process."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from core import runs, tracking
from core.cli.console import DataRoot, RunRoot, Told, err, out, progress_bars, root_of, score_table
from core.cli.loss import loss_named
from core.cli.options import LAUNCHER, PRESET, named, option, with_fields
from core.errors import MaclError
from core.experiments.axes import parse_params
from core.queue import launch
from core.queue import launcher as launchers
from core.queue.hand_over import refuse_alive
from core.runs import Run, RunConfig
from core.runs.where import LOCAL


@with_fields
def train(
    fields: dict[str, Any],
    preset: Annotated[str | None, typer.Option(help=PRESET)] = None,
    param: Annotated[list[str] | None, typer.Option(help="Parameter of the loss, e.g. alpha=1.5.")] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Queue the run and return at once.")] = False,
    launcher: Annotated[str, typer.Option(help=f"{LAUNCHER} Only with --queue.")] = LOCAL,
    run_root: RunRoot = None,
) -> None:
    """Train one run here and now; the last line printed is the run folder.

    With --queue the run is handed to a launcher, and `macl runs` says how far it is.
    """
    loss = loss_named(fields.get("loss", RunConfig.model_fields["loss"].default))
    chosen = preset or default_preset(fields.get("device", "auto"))
    config = RunConfig.build(chosen, params=parse_params(loss, param or []), **fields | {"loss": loss})
    root = root_of(run_root)
    if launcher != LOCAL and not queue:
        raise MaclError(f"--launcher {launcher}: give --queue too, a run of a cluster is not trained here")
    if queue:
        print(launch.submit(config, root, launcher).path)
        return
    import core.training.loop  # noqa: F401  takes seconds; an interrupt during them must leave no run

    run_here(runs.create(config, root))


def resume(
    run: str,
    epochs: Annotated[
        int | None, typer.Option(help="Train to this many epochs in all; a finished run goes on.")
    ] = None,
    data_root: DataRoot = None,
    device: Annotated[str | None, option("device")] = None,
    devices: Annotated[int | None, option("devices")] = None,
    launcher: Annotated[
        str, typer.Option(help="Who trains; default: whoever had the run, local: here and now.")
    ] = "",
    run_root: RunRoot = None,
) -> None:
    """Continue a stopped, failed or interrupted run from its last checkpoint.

    --data-root, --device and --devices replace images or devices that are gone; on another number of devices
    it goes on from the same checkpoint, but not to the last bit as it would have. With --epochs a finished
    run trains on; its results stay until the new ones are there, and --epochs with their number goes back to
    them. A run that a cluster had is handed to it again, with the version of the program that is here now.
    """
    target = runs.find(run, root_of(run_root))
    name = launcher or launchers.last(target)
    chosen = launchers.launcher(name)
    if name == LOCAL:
        import core.training.loop  # noqa: F401  takes seconds, in which the state of the run may change

    if epochs is not None and epochs == runs.results_of(target):
        runs.take_back(target)
        out.print(score_table(target.id, target.scores()))
        print(target.path)
        return
    was_finished = target.state == "finished"
    if epochs is not None:
        runs.extend(target, epochs)
    if target.state in ("finished", "running"):
        raise MaclError(f"{target.id} is {target.state}; nothing is left to resume")
    refuse_alive(target)
    given = named({"data_root": data_root, "device": device, "devices": devices})
    config_before, checkpoint_before = (
        target.path.joinpath("config.json").read_text(errors="replace"),
        _saved(target),
    )
    if given:
        fields = target.config.model_dump() | given
        config = RunConfig.build(fields.pop("preset"), **fields)
        target.mark("config.json", config.model_dump_json(indent=2) + "\n")
    target.unmark("stop")
    if name != LOCAL:
        target.unmark("deaths")
        chosen.submit([target])
        print(target.path)
        return
    try:
        run_here(target)
    finally:
        if target.state == "failed" and _saved(target) == checkpoint_before:  # perhaps the images are others
            if given:
                target.mark("config.json", config_before)
            if was_finished:
                runs.take_back(target)


def _saved(run: Run) -> int:
    """Time of the last checkpoint in nanoseconds; 0 without one."""
    try:
        return (run.path / "resume.safetensors").stat().st_mtime_ns
    except OSError:
        return 0


def run_here(run: Run) -> None:
    """Train in this process with progress bars; exit code 0 only if the run finished."""
    err.print(f"run {escape(run.id)}")
    tracking.ensure(run.path.parent)
    if (how := tracking.mirroring(run.path.parent)) and not how.alive:
        err.print(escape(how.words))
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
    """A callback that prints one line per epoch, for a log file; all but training goes to `others`."""
    epochs, offset = run.config.epochs, 0

    def tell(done: int, total: int, what: str) -> None:
        nonlocal offset
        if what != "training":
            others(done, total, what)
        elif done % (total // epochs) == 0:  # an epoch has ended: its line of the curve is there
            rows, offset = run.history_after(offset)
            if rows:
                details = f"loss {rows[-1]['loss']:.4f}, {rows[-1]['images_per_s']:,.0f} images/s"
                err.print(f"epoch {done * epochs // total} of {epochs}: {details}")

    return tell


def default_preset(device: str) -> str:
    """Instant on a CPU, paper on a GPU."""
    from core import device as devices

    return "instant" if devices.resolve(device).type == "cpu" else "paper"
