"""What the commands share: consoles, common options, progress bars, tables of scores."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from core.metrics import METRICS
from core.queue import launch
from core.report import single


class Quiet(Console):
    """A console that falls silent when its reader has gone, so that training goes on."""

    def on_broken_pipe(self) -> None:
        """Fall silent; by default Rich would end the program."""
        self.quiet = True


out = Quiet(soft_wrap=True, highlight=False)
err = Quiet(stderr=True, soft_wrap=True, highlight=False)

RunRoot = Annotated[
    Path | None, typer.Option(help="Folder of the runs; default: checkpoints/ of this checkout.")
]
DataRoot = Annotated[
    str | None, typer.Option("--data-root", "--root", help="Folder or archive of the images.")
]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Leave out images that cannot be read.")]
Told = Callable[[int, int, str], None]


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
    # speed over the whole task: a run of a benchmark takes longer than Rich looks back by default
    with Progress(*columns, console=err, transient=False, speed_estimate_period=math.inf) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, rate="")
            speed = bars.tasks[tasks[what]].speed
            bars.update(tasks[what], completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")

        yield tell


def score_table(title: str, scores: dict[str, Any]) -> Table:
    """The seven metrics of one run in percent, beside chance and oracle."""
    table = Table(title=escape(title), box=None)
    table.add_column("metric")
    columns: list[str] = [key for key in ("metrics", "chance", "oracle") if key in scores]
    for key in columns:
        table.add_column({"metrics": "this run"}.get(key, key), justify="right")
    for key, metric in METRICS.items():
        table.add_row(metric, *(single(scores[column], key).value for column in columns))
    return table


def root_of(run_root: Path | None) -> Path:
    """The folder of the runs as an absolute path, so that a run is found from anywhere."""
    return run_root.expanduser().absolute() if run_root else launch.run_root()


def absolute(path: str | None) -> str | None:
    """A path as a run keeps it, absolute because the run may be resumed from another folder."""
    return str(Path(path).expanduser().absolute()) if path else None
