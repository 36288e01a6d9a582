"""One short text for each image that identifies its content; those of plain files are remembered."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from core.background.cache import cache_root, writing
from core.data.prepared import Progress, in_parallel
from core.data.source import File, sum_of

TOGETHER = 20_000  # images whose checksums are remembered in one file, and held in memory, at a time


class Parts(Protocol):
    """An image: one file, or one for each band."""

    @property
    def parts(self) -> tuple[File, ...]:
        """The files that its content depends on."""
        ...


def checksums(files: Sequence[Parts], progress: Progress | None = None) -> list[str]:
    """One short text per image that identifies its content: CRC-32 and size, the same zipped and unpacked.

    An archive's directory holds them. Plain files are read once and recognised by size, times and inode, so
    that a second call reads nothing.
    """
    found: list[str] = []
    for start in range(0, len(files), TOGETHER):
        some = files[start : start + TOGETHER]
        if sums := _plain(some):
            _remember(sums, _shifted(progress, start, len(files)) if len(files) > TOGETHER else progress)
        found += [
            " ".join(sums[part.at] if part.member is None else sum_of(part) for part in file.parts)
            for file in some
        ]
    return found


def _shifted(progress: Progress | None, start: int, whole: int) -> Progress:
    """The progress of some images of many."""

    def tell(done: int, total: int, what: str) -> None:
        if progress:
            progress(start + done * min(TOGETHER, whole - start) // max(total, 1), whole, what)

    return tell


def _plain(files: Sequence[Parts]) -> dict[Path, str]:
    """An empty checksum for every file that is not in an archive."""
    return {part.at: "" for file in files for part in file.parts if part.member is None}


def all_remembered(files: Sequence[Parts]) -> bool:
    """Whether `checksums` can answer at once, without reading a file."""
    some = (_plain(files[start : start + TOGETHER]) for start in range(0, len(files), TOGETHER))
    return not any(sums and _recall(sums)[0] for sums in some)


def _recall(sums: dict[Path, str]) -> tuple[list[Path], dict[Path, list[int]]]:
    """Fill in remembered checksums; returns the other paths, and the stamp of every path."""
    try:
        remembered = json.loads(_memory(sums).read_text())
    except (OSError, ValueError):
        remembered = {}
    stamps = {path: _stamp(path) for path in sums}
    unknown = []
    for path, stamp in stamps.items():
        entry = remembered.get(str(path))
        if entry is not None and entry[0] == stamp:
            sums[path] = entry[1]
        else:
            unknown.append(path)
    return unknown, stamps


def _memory(sums: dict[Path, str]) -> Path:
    return cache_root() / "checksums" / f"{_digest(str(path.parent) for path in sums)}.json"


def _remember(sums: dict[Path, str], progress: Progress | None) -> None:
    """Fill in the checksum of every path."""
    unknown, stamps = _recall(sums)
    if unknown:
        memory_file = _memory(sums)
        for path, checksum in zip(
            unknown, in_parallel(_checksum, unknown, progress, "Reading files"), strict=True
        ):
            sums[path] = checksum
        # A file written just now may change again within one tick of the file system's clock. Only the time
        # of the last change tells: that of writing may be anything, even in the future, as unzip sets it.
        too_recent = time.time_ns() - 2_000_000_000
        rows = {str(p): [stamps[p], sums[p]] for p in sums if stamps[p] and stamps[p][2] < too_recent}
        with writing(memory_file) as partial:
            partial.write_text(json.dumps(rows))


def _stamp(path: Path) -> list[int]:
    try:
        info = path.stat()
    except OSError:
        return []
    return [info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino]


def _checksum(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"unreadable {error.errno}"  # preparing will name it, with the reason
    return f"{zlib.crc32(data):08x}-{len(data)}"


def _digest(parts: Iterable[str]) -> str:
    text = "\n".join(sorted(set(parts)))
    return sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]
