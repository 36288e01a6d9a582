"""The command line `macl`. torch is imported only by the commands that train."""

import os
import re
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from core.cli import archive, benchmark, cache, data, launcher, loss, run, sweep, table, tracking, train
from core.cli.console import absolute, err
from core.errors import MaclError, words
from core.files import PROJECT
from core.queue import launch

app = typer.Typer(
    help="Train, compare and understand multi-label contrastive losses for remote-sensing image retrieval.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(train.train)
app.command()(train.resume)
app.command()(run.evaluate)
app.command()(benchmark.benchmark)
app.command()(table.table)
app.command()(sweep.sweep)
app.command()(sweep.pause)
app.command()(sweep.unpause)
app.command("runs")(run.list_all)
app.command()(run.stop)
app.command()(run.export)
app.command("cache")(cache.show)
app.add_typer(data.app, name="data")
app.add_typer(archive.app, name="archive")
app.add_typer(loss.app, name="loss")
app.add_typer(launcher.app, name="launcher")
app.add_typer(tracking.app, name="mlflow")


@app.command("app")
def open_app(
    host: Annotated[
        list[str] | None,
        typer.Option(help="A further name under which a tunnel or a proxy leads here; several: repeat it."),
    ] = None,
) -> None:
    """Serve the app on localhost, and start a worker so that it is ready when the page is."""
    names = [_host(name) for name in host or ()]
    with suppress(MaclError):  # the page will say what is wrong
        launch.ensure_worker()
    os.chdir(PROJECT)
    flags: list[str] = []
    if names:
        settings = tomllib.loads(Path(".streamlit/config.toml").read_text())
        for name in (*settings["server"]["allowedHosts"], *names):
            flags += ["--server.allowedHosts", name]
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", "app/main.py", *flags])


def _host(name: str) -> str:
    """A host that the app may be called by, as browsers write it."""
    if name in ("0.0.0.0", "::"):
        raise MaclError(f"host: need a name; the app listens on this machine alone, got {name!r}")
    if not re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", name.lower()):
        raise MaclError(f"host: need a name as lab.example.org, without http:// and port, got {name!r}")
    return name.lower()


def main() -> None:
    """Entry point: a person's mistake is one line on stderr and exit code 1."""
    for name in ("MACL_RUN_ROOT", "MACL_DATA_ROOT", "MACL_CACHE", "MACL_LOSSES", "MACL_LAUNCHERS"):
        if place := absolute(os.environ.get(name)):  # app and workers run in another folder
            os.environ[name] = place
    try:
        app()
    except (MaclError, OSError) as error:  # a full disk, a folder that cannot be written
        said = words(error) if isinstance(error, OSError) else str(error)
        err.print(f"[red]error:[/red] {escape(said)}")
        sys.exit(1)
