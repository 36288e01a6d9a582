"""Archives that cannot be read at random: unpacked once into the cache, to one plain file each.

A compressed tar becomes a plain tar, and nothing of it is ever written under a name of its own: no path or
link in it can lead anywhere. A tar has no directory, so one pass over it notes where each file lies; then its
files are read in place, as those of a zip are.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple

from core.background.cache import GB, MB, cache_root, make_folder, use, writing
from core.data.prepared import Progress
from core.errors import MaclError
from core.files import lock, unlock

MOST_FILES = 500_000  # a typed "/" must not walk the whole disk
MOST_NAMED = 6_000_000  # where the names of the files are known: BigEarthNet has 5.8 million
MOST_BYTES = 200 * GB  # of one archive, unpacked
MOST_TIMES = 100  # so many times as large as packed, beyond 1 GB: images hardly shrink
SPARE = 100 * MB  # left free on the disk
CHUNK = 1 << 20
_TAR = re.compile(
    r"(?P<name>.+\.(?:tar\.(?:gz|bz2|xz|zst)|tgz|tbz2?|txz|tzst|tar))(?:[._-]?(?:part)?(?P<part>[a-z]{2}|\d{2,3}))?"
)
Opener = Callable[[Any], Any]


def _zstd(stream: IO[bytes]) -> Any:
    import pyarrow  # 0.1 s, and only this kind needs it

    return pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, mode="r"), "zstd")


_MAGIC: dict[bytes, Opener] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x28\xb5\x2f\xfd": _zstd,
}
WAYS = {
    ".rar": "unar or 7-Zip",
    ".7z": "7-Zip",
    ".zst": "tar --zstd -xf",
    ".lz4": "lz4 -d",
    ".z": "uncompress",
    ".zip": "unzip",
    ".gz": "gunzip",
}


class Span(NamedTuple):
    """Where a file lies in a tar: its first byte, its size in bytes and its checksum (named as a zip's)."""

    offset: int
    file_size: int
    CRC: int


def groups(paths: Iterable[Path]) -> list[tuple[Path, ...]]:
    """The tar archives among some files, each with its parts: `a.tar.gz`, or `a.tar.gzaa`, `a.tar.gzab`."""
    found: dict[tuple[Path, bool], list[Path]] = {}
    for path in sorted(paths):
        if match := _TAR.fullmatch(path.name.lower()):
            found.setdefault((path.with_name(match["name"]), bool(match["part"])), []).append(path)
    return [tuple(parts) for parts in found.values()]


def parts_of(path: Path) -> tuple[Path, ...]:
    """The tar archive that a file is, or is a part of, with all its parts; empty if it is none."""
    if (match := _TAR.fullmatch(path.name.lower())) is None:
        return ()
    if not match["part"]:
        return (path,)
    beside = (other for other in path.parent.iterdir() if other.is_file())
    return next(group for group in groups(beside) if path in group)


def name_of(parts: Sequence[Path]) -> str:
    """The name of a tar without its extensions."""
    match = _TAR.fullmatch(parts[0].name.lower())
    return re.sub(r"\.(tar(\.\w+)?|t\w+)$", "", parts[0].name[: match.end("name") if match else None])


def contents(
    parts: tuple[Path, ...], progress: Progress | None, may_unpack: bool, only: tuple[str, ...] = ()
) -> tuple[Path, dict[str, Span]]:
    """The plain tar on disk, and where each regular file lies in it; later calls read nothing.

    With `only`, files whose names end otherwise are passed over, unread.

    Raises:
        MaclError: If it is damaged, a part is missing, it is too large, the disk is too full, or it would
            have to be unpacked and may not.
    """
    _check_parts(parts)
    key = _key(parts)
    folder = cache_root() / "unpacked"
    of = f".{sha256(repr(only).encode()).hexdigest()[:8]}" if only else ""
    index = folder / f"{key}{of}.json"
    begin = _start(parts[0])
    opener = next((way for magic, way in _MAGIC.items() if begin.startswith(magic)), None)
    tar = parts[0] if opener is None and len(parts) == 1 else folder / f"{key}.tar"
    if not (tar.exists() and index.exists()):
        if not may_unpack:
            raise MaclError(
                f"{parts[0]} is not unpacked yet: prepare it on the Data page or with `macl data`"
            )
        with _alone(folder / f"{key}.lock", progress):
            if not tar.exists():
                _unpack(parts, opener, tar, progress)
            if not index.exists():
                spans = dict(_spans(tar, parts[0], progress, only))
                with writing(index) as partial:
                    partial.write_text(json.dumps(spans))
    use(index)
    if tar.parent == folder:
        use(tar)
    return tar, _index(index)


def extracted(stream: IO[bytes], key: str, size: int, what: str, may_unpack: bool) -> Path:
    """A zip that lies in another archive, as a file of its own in the cache.

    Args:
        stream: The zip.
        key: Identifies its content.
        size: In bytes.
        what: Its name in messages.
        may_unpack: Raise instead.

    Raises:
        MaclError: If it is damaged or too large, the disk is too full, or it may not be unpacked.
    """
    path = cache_root() / "unpacked" / f"{sha256(key.encode()).hexdigest()[:32]}.zip"
    if not path.exists():
        if not may_unpack:
            raise MaclError(f"{what} is not unpacked yet: prepare it on the Data page or with `macl data`")
        _room(path.parent, size, what)
        _bound(size, size, what)
        with writing(path) as partial, partial.open("wb") as out:
            while chunk := _read(stream, what):
                out.write(chunk)
    use(path)
    return path


def read(at: Path, span: Span) -> bytes:
    """A file inside a plain tar; safe to call from many threads at once.

    Raises:
        OSError: If the tar cannot be read.
        ValueError: If it has changed or is damaged here.
    """
    handle = os.open(at, os.O_RDONLY)
    try:
        data = os.pread(handle, span.file_size, span.offset)
    finally:
        os.close(handle)
    if len(data) != span.file_size or zlib.crc32(data) != span.CRC:
        raise ValueError("damaged inside the tar")
    return data


def stream(at: Path, span: Span) -> IO[bytes]:
    """A file inside a plain tar as a stream."""
    return io.BufferedReader(_Part(at, span))


class _Part(io.RawIOBase):
    """Some bytes of a file, as a stream."""

    def __init__(self, at: Path, span: Span) -> None:
        self.file, self.left = at.open("rb"), span.file_size
        self.file.seek(span.offset)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self.file.read(min(len(buffer), self.left))
        buffer[: len(data)] = data
        self.left -= len(data)
        return len(data)

    def close(self) -> None:
        self.file.close()
        super().close()


def safe_path(name: str) -> str:
    """The path of a file inside an archive; empty if it is hidden or leads out of the archive."""
    # "./a.png" is how bsdtar writes it
    path = "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))
    return "" if "/." in f"/{path}" or "__MACOSX" in path else path


def _check_parts(parts: Sequence[Path]) -> None:
    """Whether no part is missing between the first and the last that are there."""
    endings = [match["part"] for path in parts if (match := _TAR.fullmatch(path.name.lower()))]
    if endings == [None]:
        return
    first = endings[0]
    numbers = [int(end) if end.isdigit() else 26 * (ord(end[0]) - 97) + ord(end[1]) - 97 for end in endings]
    begins = numbers[0] == 0 or (first.isdigit() and numbers[0] == 1)
    if not begins or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        there = ", ".join(path.name for path in parts)
        raise MaclError(f"parts of an archive are missing, there are {there} only: get the others too")


def _key(parts: Sequence[Path]) -> str:
    try:
        stamps = [(str(path.resolve()), path.stat()) for path in parts]
    except OSError as error:
        raise MaclError(f"{parts[0]} cannot be read ({error.strerror}): check its permissions") from None
    said = [(path, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino) for path, info in stamps]
    return sha256(repr(said).encode(errors="surrogateescape")).hexdigest()[:32]


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(8)
    except OSError as error:
        raise MaclError(f"{path} cannot be read ({error.strerror}): check its permissions") from None


class _Joined(io.RawIOBase):
    """Files one after the other, as one stream that counts the bytes read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.left, self.count = [path.open("rb") for path in paths], 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while self.left:
            if got := self.left[0].readinto(buffer):
                self.count += got
                return got
            self.left.pop(0).close()
        return 0

    def close(self) -> None:
        for stream in self.left:
            stream.close()
        super().close()


def _unpack(
    parts: Sequence[Path],
    opener: Opener | None,
    target: Path,
    progress: Progress | None,
) -> None:
    """The parts, joined and decompressed, as one plain tar; whole or not at all."""
    packed, what = sum(path.stat().st_size for path in parts), str(parts[0])
    _room(target.parent, packed, what)
    written = 0
    with _Joined(parts) as joined, writing(target) as partial, partial.open("wb") as out:
        source = io.BufferedReader(joined, CHUNK)
        stream = opener(source) if opener else source
        while chunk := _read(stream, what):
            out.write(chunk)
            if written // (256 * MB) != (written := written + len(chunk)) // (256 * MB):
                _room(target.parent, 0, what)
            _bound(written, packed, what)
            if progress:
                progress(joined.count // MB, packed // MB, "Unpacking, MB")


def _read(stream: IO[bytes], what: str) -> bytes:
    try:
        return stream.read(CHUNK)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise MaclError(
            f"{what} cannot be unpacked ({error}): the download may be cut or a part missing, fetch it again"
        ) from None


def _bound(size: int, packed: int, what: str) -> None:
    most = min(MOST_BYTES, GB + MOST_TIMES * packed)
    if size > most:
        raise MaclError(
            f"{what} unpacks to more than {most / GB:.1f} GB: unpack it yourself, and give the folder"
        )


def _room(folder: Path, need: int, what: str) -> None:
    make_folder(folder)
    free = shutil.disk_usage(folder).free
    if (need := need + SPARE) > free:
        raise MaclError(
            f"{folder} has room for {free / MB:.0f} MB, need more than {need / MB:.0f} MB to unpack "
            f"{what}: make room, point MACL_CACHE to another disk, or unpack it yourself and give the folder"
        )


def _spans(
    tar: Path, archive: Path, progress: Progress | None, only: tuple[str, ...]
) -> Iterator[tuple[str, Span]]:
    """Path and place of every regular file; if one is there twice, the last counts, as for tar."""
    total, count, most = tar.stat().st_size, 0, MOST_NAMED if only else MOST_FILES
    try:
        with tar.open("rb") as bytes_of, tarfile.open(tar, "r:") as opened:
            while (member := opened.next()) is not None:
                opened.members = []  # type: ignore[attr-defined]  # or all of them stay in memory
                path = safe_path(member.name)
                if not path or not member.isreg() or member.issparse():
                    continue
                if only and not path.endswith(only):
                    continue
                count += 1
                if count > most:
                    raise MaclError(
                        f"{archive} holds more than {most:,} files: unpack it yourself, and give the "
                        "folder of the data set itself"
                    )
                yield path, Span(member.offset_data, member.size, _checksum(bytes_of, member))
                if progress:
                    progress(member.offset_data // MB, total // MB, "Reading the archive, MB")
            bytes_of.seek(opened.offset)
            if bytes_of.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile would say nothing
                raise EOFError("it ends too early")
    except (tarfile.TarError, EOFError) as error:
        raise MaclError(
            f"{archive} cannot be read as a tar ({error}): the download may be cut, fetch it again"
        ) from None


def _checksum(stream: IO[bytes], member: tarfile.TarInfo) -> int:
    stream.seek(member.offset_data)
    checksum, left = 0, member.size
    while left:
        chunk = stream.read(min(CHUNK, left))
        if not chunk:
            raise EOFError("it ends within a file")
        checksum, left = zlib.crc32(chunk, checksum), left - len(chunk)
    return checksum


@lru_cache(maxsize=8)
def _index(path: Path) -> dict[str, Span]:
    return {name: Span(*place) for name, place in json.loads(path.read_text()).items()}


@contextmanager
def _alone(guard: Path, progress: Progress | None) -> Iterator[None]:
    """Wait until no other process unpacks the same."""
    make_folder(guard.parent)
    while not lock(guard):
        if progress:
            progress(0, 1, "Waiting for the other process that unpacks it")
        time.sleep(0.1)
    try:
        yield
    finally:
        guard.unlink(missing_ok=True)
        unlock(guard)
