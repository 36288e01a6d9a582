"""Images decoded and resized once: one memory-mapped uint8 array per content and size."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from core.background.cache import cache_root, discard, use, used
from core.background.cores import cores
from core.data import raster
from core.data.decode import decode, quiet_decoding, reason
from core.data.look import LOOK, Look
from core.data.memory import has_room, is_doubtful, is_short, out_of_memory
from core.data.unfinished import Rows, growing
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

    def read(self) -> bytes | Mapping[str, raster.Readable]:
        """The undecoded content; of one file per band, the file of each by its name."""
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
    waiting = iter(starts)

    def batch(start: int) -> list[Result]:
        return [work(item) for item in items[start : start + BATCH]]

    threads = min(cores(), 32)
    with ThreadPoolExecutor(threads) as pool:

        def submitted(count: int) -> dict[Future[list[Result]], int]:
            return {pool.submit(batch, start): start for start in islice(waiting, count)}

        # a few at a time: to wait for the first of all of them takes as long as there are many
        done = 0
        try:
            pending = submitted(4 * threads)
            while pending:
                if progress:
                    progress(done, len(items), what)
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    start = pending.pop(future)
                    results[start] = future.result()
                    done += len(results[start])
                    pending |= submitted(1)
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if is_short(error) and not isinstance(error, MaclError):
                raise out_of_memory(what) from None
            raise
    if progress:
        progress(len(items), len(items), what)
    return [result for start in starts for result in results[start]]


def key_of(checksums: Sequence[str], size: int, look: Look = LOOK) -> str:
    """The key of a prepared array before it exists: files in order, size, look, this code's version."""
    # plain images have the key they had before there were looks
    head = f"{VERSION} {size} {look.key}".rstrip()
    return sha256("\n".join([head, *checksums]).encode()).hexdigest()[:32]


def prepare(
    names: Sequence[str],
    files: Sequence[Readable],
    key: str,
    size: int,
    skip_broken: bool = False,
    progress: Progress | None = None,
    known_broken: Skipped = (),
    origin: str = "",
    look: Look = LOOK,
) -> tuple[np.ndarray, np.ndarray, Skipped]:
    """All files as one array on disk; nothing is decoded if `key` is there already.

    A new array replaces those of the same origin that nobody has opened for weeks. One that was begun, of the
    same key, is gone on with.

    Args:
        names: Names of the images in messages.
        files: The files they are read from.
        key: `key_of` their checksums, size and look.
        size: Side P in pixels.
        skip_broken: Leave broken images out instead of raising.
        progress: Called with (done, total, what).
        known_broken: Images already found unusable, to be named in the same message.
        origin: Their data set and its path.
        look: How they are seen.

    Returns:
        images (n, size, size, C) uint8, C as `look` says, memory-mapped read-only; kept (n,) int64
        indices into `files`; skipped (name, reason) of the rest.

    Raises:
        MaclError: If images are broken and not to be skipped, or the disk is full.
    """
    folder = cache_root() / "prepared" / key
    if not is_kept(key, files, size, look):
        with growing(folder, progress) as partial:
            if not is_kept(key, files, size, look):  # another process may have had it in hand
                discard(folder)
                _write(partial, names, files, size, skip_broken, progress, known_broken, origin, look)
        _drop_unused(folder.parent, origin)
    broken = _broken(folder)
    images = reopened(key)
    skipped = tuple((names[index], why) for index, why in sorted(broken.items()))
    if (known_broken or skipped) and not skip_broken:
        raise MaclError(broken_message((*known_broken, *skipped), len(files) + len(known_broken)))
    rows = np.array([index for index in range(len(files)) if index not in broken], dtype=np.int64)
    return images, rows, skipped


def reopened(key: str) -> np.ndarray:
    """The array of this key, memory-mapped, as `prepare` gave it.

    Raises:
        OSError: If it is not on disk.
        ValueError: If it is damaged.
    """
    folder = cache_root() / "prepared" / key
    images: np.ndarray = np.load(folder / "images.npy", mmap_mode="r")
    use(folder)
    used(folder / "kept.json")  # opened now
    return images


def is_kept(key: str, files: Sequence[Readable], size: int, look: Look = LOOK) -> bool:
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
    some = [files[index] for index in broken]
    try:
        return len(failures(some, [""] * len(some), size, None, "Looking again", look=look)) == len(some)
    except MaclError:  # too little memory to tell: preparing will say so
        return False


def _broken(folder: Path) -> dict[int, str]:
    stored = json.loads((folder / "kept.json").read_text())
    return {int(index): why for index, why in stored["broken"].items()}


def failures(
    files: Sequence[Readable],
    names: Sequence[str],
    size: int,
    progress: Progress | None,
    what: str,
    keep: Callable[[int, np.ndarray], None] = lambda index, pixels: None,
    look: Look = LOOK,
) -> dict[int, str]:
    """Decode all files in parallel: the indices of those that cannot be, with the reason.

    Where a decoder leaves open whether the data or the memory failed it, it is asked again, alone.

    Args:
        files: One for each image.
        names: The names of the images in messages.
        size: Side P in pixels.
        progress: As `in_parallel`.
        what: As `in_parallel`.
        keep: Takes the index of an image and its pixels (P, P, C).
        look: How they are seen.

    Raises:
        MaclError: If memory is short: that says nothing of the images.
    """

    def attempt(index: int) -> Exception | None:
        try:
            pixels = decode(files[index].read(), size, look)
        except Exception as error:  # Pillow's readers raise almost anything on a damaged file
            if is_short(error):
                raise out_of_memory(what, names[index]) from None
            return error
        keep(index, pixels)
        return None

    whys: dict[int, str] = {}
    with quiet_decoding():
        for index, error in enumerate(in_parallel(attempt, range(len(files)), progress, what)):
            if error is not None and is_doubtful(error):
                error = attempt(index)
                if error is not None and not has_room(files[index].read()):
                    raise out_of_memory(what, names[index])
            if error is not None:
                whys[index] = reason(error)
    return whys


def broken_message(skipped: Skipped, total: int, skip_broken: bool = False) -> str:
    """The first unusable images, how many more there are, and what the person can still do."""
    listing = "; ".join(f"{name}: {why}" for name, why in skipped[:LISTED])
    more = f" and {len(skipped) - LISTED:,} more" if len(skipped) > LISTED else ""
    other = "" if skip_broken else ", or use --skip-broken"
    return f"{len(skipped):,} of {total:,} images cannot be used: {listing}{more}. Mend or remove them{other}"


def broken_among(
    names: Sequence[str], files: Sequence[Readable], progress: Progress | None, look: Look = LOOK
) -> Skipped:
    """(name, reason) of the images that cannot be decoded; nothing is kept."""
    whys = failures(files, names, 32, progress, "Decoding images", look=look)
    return tuple((names[index], why) for index, why in whys.items())


def _write(
    partial: Path,
    names: Sequence[str],
    files: Sequence[Readable],
    size: int,
    skip_broken: bool,
    progress: Progress | None,
    known_broken: Skipped,
    origin: str,
    look: Look,
) -> None:
    """The array in a folder that another process may have begun to fill, from the same files and look."""
    rows, path = size * size * look.channels, partial / "images.npy"
    write_atomic(partial / "begun.json", json.dumps({"origin": origin}))
    path.touch()
    with path.open("r+b") as stream:
        np.lib.format.write_array_header_1_0(stream, _header(len(files), size, look.channels))
        stream.flush()
        start, handle = stream.tell(), stream.fileno()
        with Rows(partial / "rows", len(files), handle) as written:
            written.done[max(0, path.stat().st_size - start) // rows :] = False  # of a file that was cut
            missing = np.flatnonzero(~written.done).tolist()
            had = len(files) - len(missing)

            def tell(done: int, total: int, what: str) -> None:
                if progress:
                    progress(had + done, had + total, what)

            def keep(index: int, pixels: np.ndarray) -> None:
                # written, not mapped: on a full disk a write raises, while a mapping kills the process
                view = pixels.data.cast("B")
                position = start + missing[index] * rows
                while view:
                    sent = os.pwrite(handle, view, position)
                    view, position = view[sent:], position + sent
                written.add(missing[index])

            whys = failures(
                [files[i] for i in missing],
                [names[i] for i in missing],
                size,
                tell,
                "Preparing images",
                keep,
                look,
            )
        broken = {missing[index]: why for index, why in whys.items()}
        if len(broken) == len(files) or ((broken or known_broken) and not skip_broken):
            listed = tuple((names[index], why) for index, why in broken.items())
            total = len(files) + len(known_broken)
            raise MaclError(broken_message((*known_broken, *listed), total, skip_broken))
        stream.truncate(start + len(files) * rows)  # the last images may be among the broken ones
    for unfinished in ("rows", "begun.json"):  # before rows change their places
        (partial / unfinished).unlink()
    if broken:
        _close_gaps(path, [i for i in range(len(files)) if i not in broken])
    with path.open("rb") as finished:
        os.fsync(finished.fileno())
    metadata = {"broken": broken, "created": time.time(), "origin": origin, "look": look.text}
    write_atomic(partial / "kept.json", json.dumps(metadata))


def _header(count: int, size: int, channels: int) -> dict[str, object]:
    return {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, channels)}


def _close_gaps(path: Path, kept: Sequence[int]) -> None:
    """Write the array again without the rows of broken images."""
    images = np.load(path, mmap_mode="r")
    dense = path.with_name("dense.npy")
    with dense.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, _header(len(kept), *images.shape[2:]))
        for index in kept:
            stream.write(images[index].tobytes())
    del images
    dense.replace(path)


def _drop_unused(prepared: Path, origin: str) -> None:
    """Delete arrays not opened for weeks, or left unfinished, of this origin or (of old) of none."""
    for record in (*prepared.glob("*/kept.json"), *prepared.glob("*.part/begun.json")):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            same = json.loads(record.read_text()).get("origin", origin) == origin
            if same and time.time() - record.stat().st_mtime > UNUSED:
                discard(record.parent)
