"""`macl mlflow`: runs at a team's tracking server, and how their mirror does."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from core import runs, tracking
from core.cli.console import RunRoot, err, out, progress_bars, root_of
from core.errors import MaclError
from core.files import lock, unlock

app = typer.Typer(
    help="Runs at a tracking server (MACL_MLFLOW_URI): send what it lacks, see how the mirror does.",
    no_args_is_help=True,
)
WAIT_SECONDS = 60.0  # longer than a mirror may wait for its server


@app.command()
def sync(
    run: Annotated[list[str] | None, typer.Argument(help="Runs; default: all.")] = None,
    files: Annotated[
        bool | None, typer.Option(help="Send the files of finished runs too; default: MACL_MLFLOW_FILES.")
    ] = None,
    run_root: RunRoot = None,
) -> None:
    """Send runs to the server, old ones too; asks it what it has, so that nothing is there twice."""
    root, server = root_of(run_root).resolve(), _server()
    chosen = [runs.find(name, root) for name in run or []]
    if elsewhere := [one.id for one in chosen if one.path.parent.resolve() != root]:
        raise MaclError(f"{elsewhere[0]} is not in {root}: name its folder with --run-root")
    from core.tracking.address import wants_files
    from core.tracking.client import connect
    from core.tracking.mirror import Mirror

    client = connect(server)
    process = tracking.stop(root, server)
    _wait_for(process.file("lock"), server.shown)
    try:
        wanted = wants_files() if files is None else files
        mirror = Mirror(client, server, root, process.file("sent"), files=wanted)
        mirror.recall()
        everything = chosen or mirror.changed()
        with progress_bars() as tell:
            for done, one in enumerate(everything):
                tell(done, len(everything), "runs")
                mirror.send(one)
            tell(len(everything), len(everything), "runs")
        if not chosen:
            mirror.mark_deleted()
        mirror.keep()
        begun = mirror.busy()
    finally:
        process.file("lock").unlink(missing_ok=True)  # before unlocking: see `core.files.lock`
        unlock(process.file("lock"))
    if begun:
        tracking.ensure(root)  # it was asked to end, and runs go on
    for name, why in mirror.wrong.items():
        err.print(f"left out: {name}: {escape(why)}")
    changed = len(mirror.sent - mirror.created)
    same = len(everything) - len(mirror.sent) - len(mirror.wrong)
    out.print(
        f"{server.shown}: {len(mirror.created)} new, {changed} brought up to date, {same} as they were",
        markup=False,
    )
    if mirror.wrong:
        raise typer.Exit(1)


@app.command()
def status(run_root: RunRoot = None) -> None:
    """Say where runs are mirrored to, whether the mirror lives, and what went wrong last."""
    root = root_of(run_root)
    found = tracking.mirroring(root)
    if found is None:
        out.print(f"Runs are not mirrored: {tracking.VARIABLE} names no server.")
        return
    out.print(found.words, markup=False)
    out.print("its process lives" if found.alive else "its process starts with the next training")


def _server() -> tracking.Address:
    server = tracking.address()
    if server is None:
        raise MaclError(
            f"{tracking.VARIABLE} names no server: set it to an address such as http://localhost:5000"
        )
    return server


def _wait_for(path: Path, shown: str) -> None:
    """Take the place of the mirror as soon as it has ended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + WAIT_SECONDS
    while not lock(path):
        if time.monotonic() > deadline:
            raise MaclError(f"the mirror to {shown} is still at work: try again in a minute")
        time.sleep(0.1)
