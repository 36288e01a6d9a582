"""Files of a data set: in folders or in zip archives (read in place), at any depth.

References:
    The layout of a zip's local header: PKWARE APPNOTE.TXT 6.3.10, section 4.3.7.
"""

from __future__ import annotations

import json
import os
import posixpath
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from core.background.cache import cache_root, writing
from core.data.prepared import Progress, in_parallel
from core.errors import MaclError

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2"})
ZIP_DEPTH = 2  # an archive may lie in the folder itself or one sub-folder down
MOST_FILES = 500_000  # a typed "/" must not walk the whole disk
LARGEST = 1 << 30  # bytes of one file inside a zip; a larger one counts as a zip bomb


@dataclass(frozen=True, slots=True)
class File:
    """One file, plain or inside a zip.

    Attributes:
        path: Relative to the folder or zip it was found in, with "/" between the parts.
        at: The file on disk: the file itself, or the zip that holds it.
        size: In bytes, unpacked.
        member: The entry of the zip's directory; None for a plain file.
    """

    path: str
    at: Path
    size: int
    member: zipfile.ZipInfo | None = None

    @property
    def stem(self) -> str:
        """The name without folder and extension, in lower case: what tables are matched by."""
        return posixpath.splitext(self.name)[0]

    @property
    def name(self) -> str:
        """The name without folder, in lower case."""
        return self.path.rpartition("/")[2].lower()

    @property
    def suffix(self) -> str:
        """The extension with its dot, in lower case."""
        return posixpath.splitext(self.name)[1]

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of `path`, in lower case."""
        return tuple(self.path.lower().split("/")[:-1])

    def read(self) -> bytes:
        """The content; safe to call from many threads at once.

        Raises:
            OSError: If the file cannot be read.
            zipfile.BadZipFile: If the zip is damaged at this file.
        """
        return self.at.read_bytes() if self.member is None else _read_member(self.at, self.member)


def _read_member(archive: Path, member: zipfile.ZipInfo) -> bytes:
    """Read one file of a zip without a shared `ZipFile`, whose reference count is not thread-safe."""
    if member.flag_bits & 1:
        raise zipfile.BadZipFile("encrypted inside the zip")
    if member.file_size > LARGEST:
        raise zipfile.BadZipFile(f"{member.file_size / 1e9:.1f} GB inside the zip")
    handle = os.open(archive, os.O_RDONLY)
    try:
        header = os.pread(handle, 30, member.header_offset)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise zipfile.BadZipFile("damaged inside the zip")
        name, extra = struct.unpack("<HH", header[26:30])
        data = os.pread(handle, member.compress_size, member.header_offset + 30 + name + extra)
    finally:
        os.close(handle)
    if member.compress_type == zipfile.ZIP_DEFLATED:
        try:
            # the limit keeps a member that unpacks to more than it declares from filling the memory
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.file_size + 1)
        except zlib.error:
            raise zipfile.BadZipFile("damaged inside the zip") from None
    elif member.compress_type != zipfile.ZIP_STORED:
        raise zipfile.BadZipFile("packed by a method other than deflate: unzip the archive first")
    if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
        raise zipfile.BadZipFile("damaged inside the zip")
    return data


def place(root: str | Path) -> Path:
    """The path a person means: `~` is their home; `~name` is left alone if there is no such user."""
    return Path(os.path.expanduser(root))


def shown(path: str) -> str:
    """A path for people to read: parts that are not UTF-8 are read as Windows-1252, used by old systems."""

    def readable(part: str) -> str:
        try:
            part.encode()
        except UnicodeEncodeError:
            return os.fsencode(part).decode("cp1252", errors="replace")
        return part

    return path if path.isascii() else "/".join(map(readable, path.split("/")))


def mark(root: Path) -> str:
    """A text that changes with the name, size or time of any file under `root`; no zip is opened.

    Empty if nothing can be read; the same through a link.
    """
    try:
        root = root.resolve()
        files = [(str(root), root.stat())] if root.is_file() else list(_walk(root))
    except (MaclError, OSError, ValueError):
        return ""
    stamps = sorted((path, info.st_size, info.st_mtime_ns, info.st_ctime_ns) for path, info in files)
    return sha256(repr(stamps).encode()).hexdigest()[:32]


def scan(root: Path) -> list[File]:
    """Every file under `root` (a folder or a zip), including those inside zips, sorted by path.

    If a path is both unpacked and in a zip beside it, the unpacked one counts.

    Raises:
        MaclError: If root does not exist, is neither a folder nor a readable zip, or holds too many files.
    """
    try:
        is_folder = stat.S_ISDIR(root.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise MaclError(
            f"{root} does not exist: give the folder or the .zip that holds the data set"
        ) from None
    except (OSError, ValueError) as error:  # no permission, a name too long, or one with a zero byte
        why = error.strerror if isinstance(error, OSError) else error
        raise MaclError(
            f"{root} cannot be read ({why}): give the folder or the .zip that holds the data set"
        ) from None
    if not is_folder:
        if not root.is_file() or not zipfile.is_zipfile(root):  # reading a pipe would never end
            raise MaclError(f"{root} is neither a folder nor a readable .zip: give one of these")
        return sorted(_in_zip(root), key=lambda file: file.path)
    files: dict[str, File] = {}
    archives: list[Path] = []
    start = len(os.path.join(root, ""))
    for path, info in _walk(root):
        relative = shown(path[start:])
        if path.lower().endswith(".zip"):
            if relative.count("/") < ZIP_DEPTH:
                archives.append(Path(path))
        else:
            files[relative] = File(relative, Path(path), info.st_size)
    for archive in sorted(archives):
        for file in _in_zip(archive):
            files.setdefault(file.path, file)
    return [files[path] for path in sorted(files)]


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Path and status of every file under a folder; as text, because a `Path` costs more than the look."""
    count = 0
    stack = [str(folder)]
    seen: set[tuple[int, int]] = set()  # a linked folder may lead back to one above it
    while stack:
        path = stack.pop()
        try:
            info = os.stat(path)
            if (info.st_dev, info.st_ino) in seen:
                continue
            seen.add((info.st_dev, info.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name == "__MACOSX":
                        continue
                    if entry.is_dir():
                        stack.append(entry.path)
                    elif entry.is_file():  # false for a link to nowhere
                        count += 1
                        if count > MOST_FILES:
                            raise MaclError(
                                f"{folder} holds more than {MOST_FILES:,} files: "
                                "give the folder of the data set itself"
                            )
                        yield entry.path, entry.stat()
        except OSError as error:
            raise MaclError(f"{path} cannot be read ({error.strerror}): check its permissions") from None


def _in_zip(archive: Path) -> Iterator[File]:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise MaclError(
            f"{archive} cannot be read as a zip ({error}): the download may be cut, fetch it again"
        ) from None
    files: dict[str, File] = {}
    for member in members:
        # "./a.png" is how bsdtar writes it; a path with ".." is left out below
        parts = member.filename.replace("\\", "/").split("/")
        path = "/".join(part for part in parts if part not in ("", "."))
        if not member.is_dir() and "/." not in f"/{path}" and "__MACOSX" not in path:
            # if stored twice, the last counts, as in unzip
            files[path] = File(path, archive, member.file_size, member)
    yield from files.values()


def checksums(files: Sequence[File], progress: Progress | None = None) -> list[str]:
    """One short text per file that identifies its content: CRC-32 and size, the same zipped and unpacked.

    A zip's directory holds them. Plain files are read once and recognised by size, times and inode, so that a
    second call reads nothing.
    """
    sums = {file.at: "" for file in files if file.member is None}
    if sums:
        _remember(sums, progress)
    return [
        sums[file.at] if file.member is None else f"{file.member.CRC:08x}-{file.member.file_size}"
        for file in files
    ]


def all_remembered(files: Sequence[File]) -> bool:
    """Whether `checksums` can answer at once, without reading a file."""
    sums = {file.at: "" for file in files if file.member is None}
    return not sums or not _recall(sums)[0]


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
