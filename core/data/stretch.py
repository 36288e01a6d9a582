"""One stretch for a whole data set, from a sample of its images: what is dark in all of them stays dark.

With a stretch of its own each image has the same mean and spread, and what tells water from sand is lost.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from core.background.cache import cache_root, used, writing
from core.data import decode, raster
from core.data.look import (
    ALL,
    Limits,
    Look,
    MissingBand,
    counted,
    natural,
    parsed_bands,
    parsed_stretch,
    plain_name,
    position,
)
from core.data.prepared import Progress, Readable, in_parallel
from core.data.reading import Reading
from core.errors import MaclError

TAILS = 2, 98  # percentiles of a sample of all images that become 0 and 255
IMAGES = 200  # in the sample, evenly spaced in the order of their names
SIDE = 128  # pixels of each of them, at most, each way; evenly spaced
VERSION = 2  # part of what is remembered by: raise it when the same images would give other limits or notes


@dataclass(frozen=True)
class _Seen:
    """One image of the sample: whether it is plain, its bands if it is deep, or what is wrong with them.

    `told` says which bands are seen where nobody has chosen them.
    """

    plain: bool
    values: tuple[np.ndarray, ...] = ()
    told: str = ""
    missing: str = ""


def look_of(
    names: Sequence[str],
    files: Sequence[Readable],
    sums: Sequence[str],
    reading: Reading,
    progress: Progress | None = None,
) -> tuple[Look, tuple[str, ...]]:
    """How the images of a data set are seen, and what to say of it; remembered by content.

    The limits of the stretch are the `TAILS` of each band over a sample by fixed rule: at most `IMAGES` of
    them, of each at most `SIDE` × `SIDE` pixels, without those that have no data or are transparent.

    Args:
        names: Name of each image.
        files: What they are read from.
        sums: Their checksums; empty: nothing is remembered.
        reading: Bands and stretch as the person says.
        progress: Called with (done, total, what).

    Raises:
        MaclError: If no image of the sample has the bands.
    """
    (bands, shown), limits = parsed_bands(reading.bands), parsed_stretch(reading.stretch)
    which = f"{bands} {shown}" if shown else f"{bands}"
    key = sha256("\n".join([f"look {VERSION} {which} {limits}", *sums]).encode()).hexdigest()[:32]
    remembered = cache_root() / "looks" / f"{key}.json"
    if sums:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # missing or damaged: look again
            stored = json.loads(remembered.read_text())
            used(remembered)
            return replace(Look.of(stored["look"]), plain=stored["plain"]), tuple(stored["notes"])
    with decode.quiet_decoding():
        if bands == ALL:
            whole, told = _whole(names, files, shown, progress)
            look, notes = _look(names, files, whole, limits, progress)
            notes = (told, *notes)
        else:
            asked = Look(bands, shown=tuple(map(bands.index, shown)))
            look, notes = _look(names, files, asked, limits, progress)
    if sums:
        with writing(remembered) as partial:
            partial.write_text(json.dumps({"look": look.text, "plain": look.plain, "notes": notes}))
    return look, notes


def _look(
    names: Sequence[str],
    files: Sequence[Readable],
    look: Look,
    limits: Limits | None,
    progress: Progress | None,
) -> tuple[Look, tuple[str, ...]]:
    rows = _sample(files)

    def one(row: int) -> _Seen | None:
        return _seen(files[row], look, limits is None)

    seen = in_parallel(one, rows, progress, "Looking at a sample")
    missing = [
        (names[row], image.missing) for row, image in zip(rows, seen, strict=True) if image and image.missing
    ]
    if missing and len(missing) == sum(image is not None for image in seen):
        raise MaclError(f"{missing[0][0]} has {missing[0][1]}")
    images = [image for image in seen if image and not image.missing]
    plain = all(image.plain for image in images)
    notes: list[str] = []
    if told := next((image.told for image in images if image.told), ""):
        notes.append(told)
    deep = [image.values for image in images if image.values]
    if 0 < len(deep) < len(images):
        notes.append(
            f"{len(deep)} of {len(images)} images have more than 8 bits; the others are left as they are"
        )
    if limits is None and deep:
        most = max(map(len, deep))
        limits = tuple(_tails([values[i] for values in deep if len(values) == most]) for i in range(most))
        shown = ", ".join(f"{low:.6g} to {high:.6g}" for low, high in limits[:3])
        more = f" and so on for {counted(len(limits))}" if len(limits) > 3 else ""
        notes.append(
            f"images of more than 8 bits: one stretch for all, {shown}{more} become black to white "
            f"({TAILS[0]} to {TAILS[1]} % of {len(deep)} images), or another with --stretch"
        )
    return replace(look, limits=limits or (), plain=plain), tuple(notes)


def _sample(files: Sequence[Readable]) -> list[int]:
    count = min(IMAGES, len(files))
    return [i * len(files) // count for i in range(count)]


def _whole(
    names: Sequence[str], files: Sequence[Readable], shown: Sequence[str], progress: Progress | None
) -> tuple[Look, str]:
    """The look at all bands, as most images of the sample have them, and what to say of it."""

    def one(row: int) -> tuple[str, ...] | None:
        try:
            return tuple(decode.bands(files[row].read()))
        except MemoryError:
            raise
        except Exception:  # a damaged image is named when all are decoded
            return None

    found = Counter(filter(None, in_parallel(one, _sample(files), progress, "Looking at a sample")))
    if not found:
        raise MaclError(f"neither {names[0]} nor another image of a sample can be read: mend or remove them")
    counts = Counter[int]()
    for each, times in found.items():
        counts[len(each)] += times
    count = counts.most_common(1)[0][0]
    most = [each for each, _ in found.most_common() if len(each) == count]
    told = next(filter(all, most), most[0])  # an image without names has them in this order
    short = [re.split(r"[,;(]", name)[0].strip() for name in told]
    # a name that is a number, is there twice, or does not fit into a line, is none
    named = len(set(map(plain_name, short))) == count and all(
        plain_name(name) and not name.isdecimal() and name.isprintable() for name in short
    )
    of_all = tuple(short if named else (str(number) for number in range(1, count + 1)))
    try:
        colours = tuple(position(band, of_all) for band in shown) or natural(of_all)
    except MissingBand as error:
        raise MaclError(f"{names[0]} has {error}") from None
    look = Look(of_all, whole=True, shown=colours)
    seen = [*dict.fromkeys(of_all[i] for i in look.rgb(np.arange(count)))]
    by_name = f" ({', '.join(of_all)})" if named else ""
    as_what = "are shown as red, green and blue" if len(seen) > 1 else "is shown as grey"
    note = f"the network sees {counted(count)}{by_name}; {', '.join(seen)} {as_what}"
    return look, f"{note}: choose others with --bands all:{','.join(seen)}" if count > 1 else note


def _guessed(names: Sequence[str], chosen: Sequence[int]) -> str:
    """What is said of the bands that are seen where nobody has chosen them."""
    bands = ", ".join(names[i] or str(i + 1) for i in chosen)
    which = f"bands {bands}" if [*chosen] != [0, 1, 2] else f"of {len(names)} bands {bands}"
    if len(chosen) == 1:
        return f"of {len(names)} bands {bands} is shown, as grey: choose others with --bands"
    return f"{which} are shown as red, green and blue: choose others with --bands"


def _seen(file: Readable, look: Look, with_values: bool) -> _Seen | None:
    """What one image tells; None if it cannot be read."""
    try:
        data = file.read()
        if isinstance(data, bytes) and not raster.wanted(data, look):
            return _Seen(plain=True)
        plain = isinstance(data, bytes) and raster.is_plain(data)
        names = raster.band_names(data, look) if isinstance(data, bytes) else list(data)
        try:
            chosen = look.chosen(names)
        except ValueError as error:
            return _Seen(plain, missing=str(error))
        unsure = not plain and not look.bands and (len(names) not in (1, 3) or chosen not in ([0], [0, 1, 2]))
        told = _guessed(names, chosen) if unsure else ""
        if not with_values:
            return _Seen(plain, told=told)
        read = raster.read(data, look) if isinstance(data, bytes) else raster.read_files(data, look)
        values = tuple(_thinned(band, read.known) for band in read.values) if read.deep else ()
        return _Seen(plain, values, told)
    except MemoryError:
        raise
    except Exception:  # a damaged image is named when all are decoded
        return None


def _thinned(band: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Some of the values of a band that are known."""
    rows, columns = (slice(None, None, -(-side // SIDE)) for side in band.shape)
    values = band[rows, columns]
    values = values.ravel() if known is None else values[known[rows, columns]]
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _tails(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    """Both ends of a band's stretch; its extremes where the tails are equal."""
    values = np.concatenate([part.astype(np.float64) for part in parts])
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, TAILS))
    return (low, high) if low < high else (float(values.min()), float(values.max()))
