"""Images decoded and resized once: one memory-mapped uint8 array per content and size."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from hashlib import sha256
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from core.background.cache import cache_root, discard, use, used, writing
from core.background.cores import cores
from core.data.decode import decode, quiet_decoding, reason
from core.errors import MaclError
from core.files import write_atomic

VERSION = 3  # part of every key: raise it when the same files would give other pixels
BATCH = 16  # images per task: with fewer the queue costs time, with more the progress bar jumps
UNUSED = 28 * 24 * 3600  # an array not opened for this many seconds makes room for a newer one
LISTED = 10  # names printed per list

Progress = Callable[[int, int, str], None]
Skipped = tuple[tuple[str, str], ...]
Item = TypeVar("Item")
Result = TypeVar("Result")


class Readable(Protocol):
    """Something an image can be read from, such as `core.data.source.File`."""

    def read(self) -> bytes:
        """The undecoded content."""
        ...


def prepared_size(image_size: int) -> int:
    """Side P of a prepared image: at least 1.25 × image_size (pixels), a multiple of 8.

    The margin leaves the random resized crop something to cut away; without it the crop only blurs.
    """
    if not 1 <= image_size <= 4096:
        raise ValueError(f"need image_size from 1 to 4096 pixels, got {image_size}")
    return (5 * image_size + 31) // 32 * 8


def in_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], progress: Progress | None, what: str
) -> list[Result]:
    """`[work(item) for item in items]` on all cores; `progress` is called from the calling thread only.

    Threads, not processes: reading, decoding and resizing release the interpreter's lock, and no worker needs
    to import anything.
    """
    results: dict[int, list[Result]] = {}
    starts = range(0, len(items), BATCH)

    def batch(start: int) -> list[Result]:
        return [work(item) for item in items[start : start + BATCH]]

    with ThreadPoolExecutor(min(cores(), 32)) as pool:
        start_of: dict[Future[list[Result]], int] = {pool.submit(batch, start): start for start in starts}
        pending = set(start_of)
        done = 0
        try:
            while pending:
                if progress:
                    progress(done, len(items), what)
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    results[start_of[future]] = future.result()
                    done += len(results[start_of[future]])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if progress:
        progress(len(items), len(items), what)
    return [result for start in starts for result in results[start]]


def key_of(checksums: Sequence[str], size: int) -> str:
    """The key of a prepared array before it exists: its files in order, its size, this code's version."""
    return sha256("\n".join([f"{VERSION} {size}", *checksums]).encode()).hexdigest()[:32]


def prepare(
    names: Sequence[str],
    files: Sequence[Readable],
    key: str,
    size: int,
    skip_broken: bool = False,
    progress: Progress | None = None,
    known_broken: Skipped = (),
    origin: str = "",
) -> tuple[np.ndarray, np.ndarray, Skipped]:
    """All files as one array on disk; nothing is decoded if `key` is there already.

    A new array replaces those of the same origin that nobody has opened for weeks.

    Args:
        names: Names of the images in messages.
        files: The files they are read from.
        key: `key_of` their checksums and size.
        size: Side P in pixels.
        skip_broken: Leave broken images out instead of raising.
        progress: Called with (done, total, what).
        known_broken: Images already found unusable, to be named in the same message.
        origin: Their data set and its path.

    Returns:
        images (n, size, size, 3) uint8, memory-mapped read-only; kept (n,) int64 indices into `files`;
        skipped (name, reason) of the rest.

    Raises:
        MaclError: If images are broken and not to be skipped, or the disk is full.
    """
    folder = cache_root() / "prepared" / key
    if not is_kept(key, files, size):
        discard(folder)
        _write(folder, names, files, size, skip_broken, progress, known_broken, origin)
        _drop_unused(folder.parent, origin)
    broken = _broken(folder)
    use(folder)
    used(folder / "kept.json")  # opened now
    skipped = tuple((names[index], why) for index, why in sorted(broken.items()))
    if (known_broken or skipped) and not skip_broken:
        raise MaclError(broken_message((*known_broken, *skipped), len(files) + len(known_broken)))
    rows = np.array([index for index in range(len(files)) if index not in broken], dtype=np.int64)
    return np.load(folder / "images.npy", mmap_mode="r"), rows, skipped


def is_kept(key: str, files: Sequence[Readable], size: int) -> bool:
    """Whether the array of this key is on disk, complete and undamaged.

    Images that were broken when it was made are decoded again: a zip stores the checksum of the intact image
    even if its bytes are damaged, so a better copy has the same key.
    """
    folder = cache_root() / "prepared" / key
    try:
        broken = _broken(folder)
        if len(np.load(folder / "images.npy", mmap_mode="r")) != len(files) - len(broken):
            return False
    except Exception:  # missing, or damaged in one of many ways: prepare it again
        return False
    with quiet_decoding():
        return all(_reason(files[index], size) is not None for index in broken)


def _broken(folder: Path) -> dict[int, str]:
    stored = json.loads((folder / "kept.json").read_text())
    return {int(index): why for index, why in stored["broken"].items()}


def _reason(file: Readable, size: int) -> str | None:
    """Why an image cannot be decoded; None if it can."""
    try:
        decode(file.read(), size)
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file
        return reason(error)
    return None


def broken_message(skipped: Skipped, total: int) -> str:
    """The first unusable images, how many more there are, and what the person can do."""
    listing = "; ".join(f"{name}: {why}" for name, why in skipped[:LISTED])
    more = f" and {len(skipped) - LISTED:,} more" if len(skipped) > LISTED else ""
    return (
        f"{len(skipped):,} of {total:,} images cannot be used: {listing}{more}. "
        "Mend or remove them, or use --skip-broken"
    )


def broken_among(names: Sequence[str], files: Sequence[Readable], progress: Progress | None) -> Skipped:
    """(name, reason) of the images that cannot be decoded; nothing is kept."""
    with quiet_decoding():
        whys = in_parallel(lambda file: _reason(file, 32), files, progress, "Decoding images")
    return tuple((name, why) for name, why in zip(names, whys, strict=True) if why is not None)


def _write(
    folder: Path,
    names: Sequence[str],
    files: Sequence[Readable],
    size: int,
    skip_broken: bool,
    progress: Progress | None,
    known_broken: Skipped,
    origin: str,
) -> None:
    rows = size * size * 3
    with writing(folder) as partial:
        partial.mkdir()
        with (partial / "images.npy").open("w+b") as stream:
            np.lib.format.write_array_header_1_0(stream, _header(len(files), size))
            stream.flush()
            start, handle = stream.tell(), stream.fileno()

            def one(index: int) -> str | None:
                try:
                    pixels = decode(files[index].read(), size)
                except Exception as error:  # Pillow's readers raise almost anything on a damaged file
                    return reason(error)
                # written, not mapped: on a full disk a write raises, while a mapping kills the process
                view = pixels.data.cast("B")
                position = start + index * rows
                while view:
                    sent = os.pwrite(handle, view, position)
                    view, position = view[sent:], position + sent
                return None

            with quiet_decoding():
                whys = in_parallel(one, range(len(files)), progress, "Preparing images")
            broken = {index: why for index, why in enumerate(whys) if why is not None}
            if len(broken) == len(files) or ((broken or known_broken) and not skip_broken):
                listed = tuple((names[index], why) for index, why in broken.items())
                raise MaclError(broken_message((*known_broken, *listed), len(files) + len(known_broken)))
            stream.truncate(start + len(files) * rows)  # the last images may be among the broken ones
        if broken:
            _close_gaps(partial / "images.npy", [i for i in range(len(files)) if i not in broken])
        with (partial / "images.npy").open("rb") as finished:
            os.fsync(finished.fileno())
        metadata = {"broken": broken, "created": time.time(), "origin": origin}
        write_atomic(partial / "kept.json", json.dumps(metadata))


def _header(count: int, size: int) -> dict[str, object]:
    return {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}


def _close_gaps(path: Path, kept: Sequence[int]) -> None:
    """Write the array again without the rows of broken images."""
    images = np.load(path, mmap_mode="r")
    dense = path.with_name("dense.npy")
    with dense.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, _header(len(kept), images.shape[1]))
        for index in kept:
            stream.write(images[index].tobytes())
    del images
    dense.replace(path)


def _drop_unused(prepared: Path, origin: str) -> None:
    """Delete arrays not opened for weeks, of this origin or (from an earlier version) of none."""
    for record in prepared.glob("*/kept.json"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            same = json.loads(record.read_text()).get("origin", origin) == origin
            if same and time.time() - record.stat().st_mtime > UNUSED:
                discard(record.parent)
