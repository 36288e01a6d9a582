"""`macl data`: find, check, prepare and download data sets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from core.cli.console import DataRoot, SkipBroken, err, out, progress_bars
from core.cli.options import with_reading
from core.data import DATASETS, ImageSet, Reading, check, fetch
from core.errors import MaclError
from core.report.spreadsheet import to_csv

ImageSize = Annotated[
    int, typer.Option(min=1, max=4096, help="Training size; images are prepared 1.25 times larger.")
]

app = typer.Typer(help="Find, check, prepare and download data sets.", no_args_is_help=True)


@app.command("list")
def data_list() -> None:
    """List the data sets and where each is searched."""
    from core.data import default_root

    table = Table(box=None)
    for title in ("name", "data set", "looked for in"):
        table.add_column(title)
    for name, info in DATASETS.items():
        table.add_row(name, info.title, escape(str(default_root(name))))
    out.print(table)


@app.command("check")
@with_reading
def data_check(
    name: str,
    reading: Reading,
    root: DataRoot = None,
    decode: Annotated[bool, typer.Option(help="Decode every image, to find broken ones.")] = True,
) -> None:
    """Report what was found, what is missing and what is broken."""
    with progress_bars() as tell:
        report = check(known(name), root, decode=decode, progress=tell, reading=reading)
    out.print(str(report), markup=False)
    if not report.ok:
        raise typer.Exit(1)


@app.command("prepare")
@with_reading
def data_prepare(
    name: str,
    reading: Reading,
    root: DataRoot = None,
    image_size: ImageSize = 128,
    skip_broken: SkipBroken = False,
) -> None:
    """Decode and resize all images once, so that later starts are instant."""
    with progress_bars() as tell:
        data = ImageSet(known(name), root, image_size, skip_broken, reading).load(progress=tell)
    shape = "×".join(str(n) for n in data.images.shape)
    counts = ", ".join(f"{key} {len(rows)}" for key, rows in data.splits.items())
    broken = f", {len(data.skipped)} broken" if data.skipped else ""
    out.print(f"{data.name}: {shape}, {counts}; {data.unlabelled} without a label{broken} left out")


@app.command("duplicates")
@with_reading
def data_duplicates(
    name: str,
    reading: Reading,
    root: DataRoot = None,
    image_size: ImageSize = 128,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split.")] = 0,
    similarity: Annotated[float, typer.Option(min=0.5, max=1.0, help="Least similarity of a pair.")] = 0.7,
    to: Annotated[Path | None, typer.Option("--csv", help="Write the pairs as CSV.")] = None,
    skip_broken: SkipBroken = False,
) -> None:
    """Find images of the same place, and how many test images have a twin in the training split."""
    from core.data import duplicates

    with progress_bars() as tell:
        data = ImageSet(known(name), root, image_size, skip_broken, reading).load(seed, progress=tell)
        pairs = [pair for pair in duplicates.look(data, tell) if pair.similarity >= similarity]
    split_by_row = duplicates.split_of(data.splits)
    if to is not None:
        rows: list[Sequence[object]] = [("image", "split", "other", "other_split", "similarity", "overlap")]
        for pair in pairs:
            names = (data.names[pair.a], split_by_row[pair.a], data.names[pair.b], split_by_row[pair.b])
            rows.append((*names, f"{pair.similarity:.3f}", f"{pair.overlap:.3f}"))
        to.write_text(to_csv(rows))
    for (one, other), count in duplicates.across(pairs, data.splits).items():
        out.print(f"{one} and {other}: {count} pairs" if one != other else f"both {one}: {count} pairs")
    leaked = duplicates.leaked(pairs, data.splits)
    out.print(f"{leaked} of {len(data.splits['test'])} test images have a twin in the training split")


@app.command("fetch")
def data_fetch(
    name: str, to: Annotated[Path | None, typer.Option(help="Folder to download into.")] = None
) -> None:
    """Download a data set if it has a stable address, else say where to get it."""
    with progress_bars() as tell:
        path = fetch(known(name), to, progress=tell)
    if (download := DATASETS[name].download) and download.note:
        err.print(download.note, markup=False)
    out.print(str(path), markup=False)


def known(name: str) -> str:
    """The name itself if there is such a data set, else a MaclError with the names that exist."""
    if name not in DATASETS:
        raise MaclError(f"data set: need one of {', '.join(DATASETS)}, got {name!r}")
    return name
