"""`macl archive`: embed any number of images of one's own, and search them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from core import report, runs
from core.cli.console import RunRoot, err, out, progress_bars, root_of
from core.errors import MaclError
from core.report.spreadsheet import to_csv

COLUMNS = ("rank", "source", "window", "cosine", "label", "share", "lat", "lon")

# not a Path, which would make s3:/images of s3://images
Place = Annotated[
    str, typer.Argument(metavar="ARCHIVE", help="Folder of the archive, or milvus:http://HOST:19530/NAME.")
]
EncoderOf = Annotated[
    str, typer.Option("--run", help="Run, or id of the encoder; needed where there are several.")
]
Where = Annotated[str | None, typer.Option(help="Condition, such as: label = 'harbor' AND lat > 40")]

app = typer.Typer(
    help="Embed any number of images of your own with the encoder of a run, and search them.",
    no_args_is_help=True,
)


@app.command("add")
def add(
    archive: Place,
    source: Annotated[list[str], typer.Argument(help="Folders, archives (zip, tar), images or scenes.")],
    run: Annotated[list[str], typer.Option(help="Run whose encoder is used; may be given several times.")],
    tile: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Side of the tiles, pixels; TIFF and JPEG 2000 larger than it are cut. 0: none is. "
            "Default: 256, of those with 2,048 pixels or more on a side.",
        ),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="From one tile to the next, pixels; default: the tile.")
    ] = None,
    shard: Annotated[
        str, typer.Option(help="i/n: only the i-th of every n images, on several machines into one archive.")
    ] = "1/1",
    run_root: RunRoot = None,
) -> None:
    """Embed the images of folders, archives and scenes that are not there yet.

    After a kill the same command goes on where it was. What is there already is not embedded again.
    """
    from core.archive import ingest
    from core.archive.scene import TILE

    chosen = [runs.find(name, root_of(run_root)) for name in run]
    with progress_bars() as told:
        done = ingest.add(archive, chosen, source, tile, stride, parsed_shard(shard), told)
    for note in done.notes:
        err.print(note, markup=False)
    for name, reason in done.broken:
        err.print(f"cannot be read: {name}: {reason}", markup=False)
    size = TILE if tile is None else tile
    if done.scenes:
        err.print(
            f"{counted(done.scenes, 'scene')} cut into tiles of {size} pixels (choose with --tile), "
            f"{done.gaps:,} of them without data left out"
        )
    if done.outdated:
        err.print(f"{counted(done.outdated, 'image')} with another content now: the old rows are removed")
    for name, count in done.added.items():
        out.print(f"{name}: {counted(count, 'image')} added", markup=False)
    out.print(f"{done.there:,} there already, {len(done.broken):,} cannot be read")
    if done.broken and not done.there and not any(done.added.values()):
        raise MaclError("nothing was added: none of the images can be read")


@app.command("search")
def search(
    archive: Place,
    image: Annotated[Path, typer.Option(help="Image to search with.")],
    run: EncoderOf = "",
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 20,
    where: Where = None,
    exact: Annotated[bool, typer.Option("--exact", help="Do not use the index.")] = False,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write the results as CSV.")] = None,
    geojson: Annotated[Path | None, typer.Option("--geojson", help="Write them as GeoJSON.")] = None,
    run_root: RunRoot = None,
) -> None:
    """Find the images that are most like one."""
    from core.archive import query

    asked = query.asked(archive, run, root_of(run_root))
    answer = asked.archive.search(asked.embed(image), k, where, exact)
    rows: list[Sequence[object]] = []
    for rank, hit in enumerate(answer.hits, 1):
        kept = hit.record
        place = ["" if value is None else f"{value:.6f}" for value in (kept.lat, kept.lon)]
        share = f"{kept.share:.2f}" if kept.label else ""
        rows.append((rank, kept.source, kept.window, f"{hit.cosine:.4f}", kept.label, share, *place))
    if csv is not None:
        csv.write_text(to_csv([COLUMNS, *rows]))
    if geojson is not None:
        features = [
            feature(row, hit.record.lon, hit.record.lat) for row, hit in zip(rows, answer.hits, strict=True)
        ]
        placed = [one for one in features if one is not None]
        geojson.write_text(json.dumps({"type": "FeatureCollection", "features": placed}) + "\n")
        if len(placed) < len(features):
            err.print(
                f"{len(features) - len(placed)} of {len(features)} have no coordinates: not in {geojson}",
                markup=False,
            )
    lines = [list(COLUMNS), *([str(cell) for cell in row] for row in rows)]
    out.print(report.aligned(lines, left=3), markup=False)
    out.print(answer.how)


@app.command("info")
def info(archive: Place) -> None:
    """What an archive holds: one name and value a line, one block for each encoder."""
    from core.archive import parts
    from core.archive.table import recall_of

    for number, part in enumerate(parts(archive)):
        index = part.index
        about = {
            "run": part.encoder.run,
            "encoder": part.encoder.id,
            "rows": f"{len(part):,}",
            "removed": f"{part.removed:,}",
            "size": mb(part.size),
            "embedding": str(part.encoder.dim),
            "image size": str(part.encoder.image_size),
            "seen": part.encoder.look,
            "index": "none: answers are exact"
            if index is None
            else f"{index.kind}, {index.probes or 'unknown'} probes, {index.rows:,} rows, {recall_of(index)}",
        }
        if number:
            out.print()
        width = max(map(len, about))
        for name, value in about.items():
            out.print(f"{name:<{width}}  {value}", markup=False)


@app.command("remove")
def remove(
    archive: Place,
    source: Annotated[
        list[str] | None, typer.Argument(help="Files, or folders with all that is below them.")
    ] = None,
    where: Where = None,
    run: EncoderOf = "",
) -> None:
    """Remove images by source or condition, of one run or of all; the files themselves stay."""
    from core.archive import parts, query

    if not source and not where:
        raise MaclError("nothing to remove: give files or folders, or a condition with --where")
    condition = query.below(source or [], where)
    for part in query.of_run(archive, run) if run else parts(archive):
        count = part.remove(part.ids(condition))
        out.print(f"{part.encoder.name}: {counted(count, 'image')} removed", markup=False)


@app.command("compact")
def compact(archive: Place) -> None:
    """Drop removed images for good, and join small files."""
    from core.archive import parts

    for part in parts(archive):
        before = part.size
        part.compact()
        told = f"{mb(before)}, now {mb(part.size)}" if before else "Milvus has been asked to compact"
        out.print(f"{part.encoder.name}: {told}", markup=False)


@app.command("index")
def index(archive: Place, run: EncoderOf = "") -> None:
    """Build the index anew; `add` does it by itself beyond 100,000 images."""
    from core.archive import parts, query
    from core.archive.table import recall_of

    for part in query.of_run(archive, run) if run else parts(archive):
        built = part.build_index()
        worst = f"worst {built.worst:.2f}"
        out.print(f"{part.encoder.name}: {built.kind}, {recall_of(built)}, {worst}", markup=False)


def parsed_shard(text: str) -> tuple[int, int]:
    """(i, n) of "i/n"; MaclError if that is none."""
    first, _, every = text.partition("/")
    if not (first.isdecimal() and every.isdecimal() and 1 <= int(first) <= int(every)):
        raise MaclError(f"--shard: need i/n such as 1/4 to 4/4, got {text!r}")
    return int(first), int(every)


def feature(row: Sequence[object], lon: float | None, lat: float | None) -> dict[str, object] | None:
    """A result as a point of GeoJSON; None without coordinates."""
    if lon is None or lat is None:
        return None
    properties = dict(zip(COLUMNS[:6], row, strict=False))
    properties |= {
        name: float(str(properties[name])) for name in ("cosine", "share") if properties[name] != ""
    }
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [round(lon, 7), round(lat, 7)]},
        "properties": properties,
    }


def counted(number: int, what: str) -> str:
    """Such as "1 image" or "2,000 images"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def mb(size: int) -> str:
    """Bytes on disk; of an archive in Milvus only Milvus knows."""
    return f"{size / 1e6:,.1f} MB" if size else "known to Milvus"
