"""BigEarthNet v2: 480,038 patches of Sentinel-2 over ten countries of Europe, with 19 labels.

The files of a patch follow from its name, so that none of the millions of them is listed: the folders of the
products name the patches that are there.

References:
    Clasen, Hackel, Burgert, Sumbul, Demir and Markl, reBEN: Refined BigEarthNet dataset for remote sensing
    image analysis (IGARSS 2025).
    Sumbul et al., BigEarthNet-MM: a large-scale, multimodal, multilabel benchmark archive for remote sensing
    image classification and retrieval (IEEE GRSM 9(3), 2021): the 19 labels and their order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from core.data.band_files import Patch
from core.data.info import DatasetInfo, Found
from core.data.look import Look
from core.data.memory import is_short, out_of_memory
from core.data.parts import PARTS
from core.data.prepared import Progress
from core.data.reading import READ, Reading
from core.data.source import File, scan
from core.data.table import some
from core.data.unpacked import groups
from core.errors import MaclError

CLASSES = (
    "Urban fabric",
    "Industrial or commercial units",
    "Arable land",
    "Permanent crops",
    "Pastures",
    "Complex cultivation patterns",
    "Land principally occupied by agriculture, with significant areas of natural vegetation",
    "Agro-forestry areas",
    "Broad-leaved forest",
    "Coniferous forest",
    "Mixed forest",
    "Natural grassland and sparsely vegetated areas",
    "Moors, heathland and sclerophyllous vegetation",
    "Transitional woodland, shrub",
    "Beaches, dunes, sands",
    "Inland wetlands",
    "Coastal wetlands",
    "Inland waters",
    "Marine waters",
)
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
RGB = ("B04", "B03", "B02")
TABLE = "metadata.parquet"
IMAGES = "BigEarthNet-S2"  # the folder of the products
FILE = re.compile(r"(?:.*/)?(?P<patch>[^/]+_\d+_\d+)_(?P<band>B\d[\dA])\.tif")

BIGEARTHNET = DatasetInfo(
    name="bigearthnet",
    title="BigEarthNet v2",
    summary="480,038 patches of Sentinel-2, 1.2 km wide, in ten countries of Europe, 12 bands, 19 labels.",
    classes=CLASSES,
    images=480_038,
    train=237_871,
    val=122_342,
    terms="Community Data License Agreement, Permissive 1.0: free to use and share, not redistributed here.",
    where=f"bigearth.net: {TABLE} and BigEarthNet-S2 (59 GB packed), in one folder; packed or unpacked",
)


@dataclass(frozen=True)
class _Rows:
    """The rows of the table: names, (N, 19) uint8, the part of the split and the country of each."""

    names: list[str]
    labels: np.ndarray
    parts: list[str]
    countries: list[str]
    unknown: tuple[str, ...]


def find(
    root: Path, progress: Progress | None = None, reading: Reading = READ, may_unpack: bool = True
) -> Found:
    """The patches of the table that are there, with its labels and its split.

    Args:
        root: The folder with the table and the folder or the archive of the images.
        progress: Called with (done, total, what).
        reading: Bands and countries.
        may_unpack: Raise where an archive would have to be unpacked first, which takes long: for pages.

    Raises:
        MaclError: If the table or the images are missing, or the table is another one.
    """
    listed, wanted = _bands(reading.bands)
    try:
        table, patches = _in_folders(root, listed, wanted) or _in_archives(
            root, progress, may_unpack, listed, wanted
        )
    except OSError as error:
        raise MaclError(
            f"{error.filename} cannot be read ({error.strerror}): check its permissions"
        ) from None
    if table is None:
        raise MaclError(f"no {TABLE} of BigEarthNet v2 in {root}: get it from {BIGEARTHNET.where}")
    if not patches:
        raise MaclError(
            f"no image of BigEarthNet v2 in {root} ({IMAGES}/<product>/<patch>/<patch>_B04.tif and so on): "
            f"get it from {BIGEARTHNET.where}"
        )
    return _found(_read(table), table.path, patches, reading)


def mark(root: Path) -> str:
    """A text that changes with the table, the archives and the patches that are there, not with a band."""
    with suppress(OSError):
        said = [(path, info.st_size, info.st_mtime_ns, info.st_ctime_ns) for path, info in _stamps(root, 0)]
        return sha256(repr(sorted(said)).encode(errors="surrogateescape")).hexdigest()[:32]
    return ""


def _stamps(path: Path, depth: int) -> Iterator[tuple[str, os.stat_result]]:
    yield str(path), path.stat()
    if depth <= 3 and path.is_dir() and not re.match(r"S\d[A-D]_", path.name):
        for below in path.iterdir():
            yield from _stamps(below, depth + 1)


def _bands(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The bands to list, in the order of their numbers, and of these the ones to be read."""
    said = [part.strip() for part in text.split(",")] if text.strip() else list(RGB)
    if said == ["all"]:
        return BANDS, BANDS
    try:
        wanted = {BANDS[i] for i in Look(tuple(said)).chosen(BANDS)}
    except ValueError as error:
        raise MaclError(f"BigEarthNet v2: {error}") from None
    in_order = tuple(band for band in BANDS if band in wanted)
    # a number counts all bands, so that the look has to know them all
    return (BANDS if any(map(str.isdecimal, said)) else in_order), in_order


def _in_folders(
    root: Path, listed: tuple[str, ...], wanted: tuple[str, ...]
) -> tuple[File | None, dict[str, Patch]] | None:
    """The table and the patches of an unpacked archive; None if it is not unpacked."""
    if not root.is_dir():
        return None
    near = [root] if root.name == IMAGES else [path / IMAGES for path in _near(root)]
    images = next((path for path in near if path.is_dir()), None)
    if images is None:
        return None
    holder = File(IMAGES, images, 0)
    patches = {
        entry.name: Patch(entry.name, holder, listed, wanted)
        for product in os.scandir(images)
        if product.is_dir()
        for entry in os.scandir(product.path)
        if entry.name.startswith(product.name)
    }
    return (_beside(root if images is not root else root.parent), patches) if patches else None


def _in_archives(
    root: Path,
    progress: Progress | None,
    may_unpack: bool,
    listed: tuple[str, ...],
    wanted: tuple[str, ...],
) -> tuple[File | None, dict[str, Patch]]:
    """The table and the patches of an archive, whole or in parts."""
    table = _beside(root) if root.is_dir() else _beside(root.parent)
    bands: dict[str, dict[str, File]] = {}
    for archive in _archives(root):
        for file in scan(archive, progress, may_unpack, (TABLE, *(f"_{band}.tif" for band in listed))):
            if file.path.rpartition("/")[2] == TABLE:
                table = table or file
            elif (match := FILE.fullmatch(file.path)) and file.member is not None:
                bands.setdefault(match["patch"], {})[match["band"]] = file
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    holders: dict[tuple[Path, str], File] = {}
    patches = {}
    for name, files in bands.items():
        there = tuple(band for band in BANDS if band in files)
        first = files[there[0]]
        holder = holders.setdefault((first.at, first.archive), File(IMAGES, first.at, 0, None, first.archive))
        patches[name] = Patch(
            name,
            holder,
            known.setdefault(there, there),
            wanted,
            tuple(files[band].member for band in there),
        )
    return table, patches


def _archives(root: Path) -> list[Path]:
    """The archives of the images, if others lie beside them; of parts the first."""
    if not root.is_dir():
        return [root]
    files = [path for folder in _near(root) for path in sorted(folder.iterdir()) if path.is_file()]
    archives = [parts[0] for parts in groups(files)] + [path for path in files if path.suffix == ".zip"]
    return [path for path in archives if "s2" in path.name.lower()] or archives


def _near(root: Path) -> list[Path]:
    """A folder and those in it."""
    return [root, *(path for path in sorted(root.iterdir()) if path.is_dir())]


def _beside(root: Path) -> File | None:
    """The table in a folder, or one folder down."""
    tables = (path / TABLE for path in _near(root))
    found = next((path for path in tables if path.is_file()), None)
    return File(TABLE, found, found.stat().st_size) if found else None


def _read(table: File) -> _Rows:
    """Patches, labels, split and countries of the table, without its other columns."""
    from pyarrow import compute, parquet

    columns = ["patch_id", "labels", "split", "country"]
    names: list[str] = []
    parts: list[str] = []
    countries: list[str] = []
    labels: list[np.ndarray] = []
    unknown: dict[str, None] = {}
    try:
        with table.open() as stream, parquet.ParquetFile(stream) as opened:
            missing = [name for name in columns[:3] if name not in opened.schema_arrow.names]
            if missing:
                raise MaclError(
                    f"{table.path} has no column {', '.join(missing)}: get that of BigEarthNet v2"
                )
            has = [name for name in columns if name in opened.schema_arrow.names]
            for batch in opened.iter_batches(columns=has):
                names += batch.column("patch_id").to_pylist()
                parts += batch.column("split").to_pylist()
                countries += batch.column("country").to_pylist() if "country" in has else [""] * len(batch)
                lists = batch.column("labels")
                said = compute.list_flatten(lists)
                of = compute.list_parent_indices(lists).to_numpy(zero_copy_only=False)
                at = _columns(said)
                unknown |= dict.fromkeys(value for value in said.filter(at < 0).unique().to_pylist())
                rows = np.zeros((len(batch), len(CLASSES)), np.uint8)
                rows[of[at >= 0], at[at >= 0]] = 1
                labels.append(rows)
    except MaclError:
        raise
    except Exception as error:  # arrow has an error for every layer
        if is_short(error):
            raise out_of_memory("Reading the label table", table.path) from None
        raise MaclError(f"{table.path} cannot be read ({error}): get it again") from None
    shared = {part: PARTS.get(str(part).lower(), "") for part in set(parts)}
    return _Rows(
        names,
        np.concatenate([np.zeros((0, len(CLASSES)), np.uint8), *labels]),
        [shared[part] for part in parts],
        countries,
        tuple(map(str, unknown)),
    )


def _columns(said: Any) -> np.ndarray:
    """The column of each label, -1 for one that is none of the 19; without regard to case."""
    import pyarrow as pa
    from pyarrow import compute

    known = pa.array([name.lower() for name in CLASSES])
    found = compute.index_in(compute.utf8_lower(said.cast(pa.string())), value_set=known)
    columns: np.ndarray = found.fill_null(-1).to_numpy(zero_copy_only=False)
    return columns


def _found(rows: _Rows, labels_from: str, patches: dict[str, Patch], reading: Reading) -> Found:
    chosen = _of_countries(rows.countries, reading.country)
    there = sorted((rows.names[i], i) for i in chosen if rows.names[i] in patches)
    if len({name for name, _ in there}) < len(there):
        raise MaclError(f"{labels_from} names some patches twice: get that of BigEarthNet v2")
    if not there:
        raise MaclError(f"none of the {len(patches):,} patches is in {labels_from}: get both from one place")
    order = [i for _, i in there]
    notes = []
    if other := len(patches.keys() - set(rows.names)):
        notes.append(
            f"{other:,} patches are not in {labels_from}, which leaves out snow, clouds and shadow: not used"
        )
    if reading.country:
        notes.append(f"{len(there):,} patches are in {reading.country} (--country)")
    problems: tuple[str, ...] = ()
    if rows.unknown:
        problems = (f"{labels_from} has labels that are none of the 19: {some(rows.unknown)}",)
    return Found(
        classes=CLASSES,
        names=tuple(name for name, _ in there),
        files=tuple(patches[name] for name, _ in there),
        labels=rows.labels[order],
        labels_from=labels_from,
        without_image=tuple(sorted(rows.names[i] for i in chosen if rows.names[i] not in patches)),
        notes=tuple(notes),
        problems=problems,
        given=tuple(rows.parts[i] for i in order),
        given_by=labels_from,
        whole=BIGEARTHNET.images if len(there) < BIGEARTHNET.images else 0,
    )


def _of_countries(countries: Sequence[str], text: str) -> Iterable[int]:
    """The rows of some countries; all if none is said."""
    if not text:
        return range(len(countries))
    said = [part.strip().lower() for part in text.split(",")]
    known = sorted({str(name) for name in countries})
    if unknown := [part for part in said if part not in {name.lower() for name in known}]:
        raise MaclError(f"--country: no patch is in {', '.join(unknown)}: need some of {', '.join(known)}")
    return [i for i, name in enumerate(countries) if str(name).lower() in said]
