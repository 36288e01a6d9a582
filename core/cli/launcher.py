"""`macl launcher check`: what works and what does not, in words."""

from typing import Annotated

import typer

from core.cli.console import RunRoot, err, out, root_of
from core.queue import launcher as launchers

app = typer.Typer(
    help="Who trains queued runs: this machine, or the queue of a cluster.", no_args_is_help=True
)


@app.callback()
def several() -> None:
    """Keep `check` a command of its own, though it is the only one."""


@app.command()
def check(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(launchers.LAUNCHERS)}.")],
    run_root: RunRoot = None,
) -> None:
    """Say what works and what does not; exit code 0 only if all of it works."""
    wrong = 0
    for finding in launchers.launcher(name).check(root_of(run_root)):
        wrong += not finding.works
        (out if finding.works else err).print(
            f"{'ok ' if finding.works else 'NOT'} {finding.says}", markup=False
        )
    if wrong:
        raise typer.Exit(1)
