"""Files of a data set: in folders or in archives (a zip or a plain tar is read in place), at any depth."""

from __future__ import annotations

import os
import posixpath
import stat
import struct
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import IO

from core.data import unpacked, zips
from core.data.prepared import Progress
from core.data.unpacked import MOST_FILES, Span
from core.errors import MaclError

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2"})
# what zipfile raises for a directory whose bytes are damaged
BAD_DIRECTORY = (
    zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, IndexError, OverflowError,
    MemoryError, struct.error,
)  # fmt: skip
ZIP_DEPTH = 2  # folders down: an archive may lie in the folder itself or one sub-folder down


@dataclass(frozen=True, slots=True)
class File:
    """One file, plain or inside an archive.

    Attributes:
        path: Relative to the folder or archive it was found in, with "/" between the parts.
        at: The file on disk: the file itself, or the zip or plain tar that holds it.
        size: In bytes, unpacked.
        member: The entry of the zip's directory, or the place in the tar; None for a plain file.
        archive: The archive's name without its extension; empty for a plain file.
    """

    path: str
    at: Path
    size: int
    member: zipfile.ZipInfo | Span | None = None
    archive: str = ""

    @property
    def parts(self) -> tuple[File, ...]:
        """The files that its content depends on."""
        return (self,)

    @property
    def names(self) -> tuple[str, ...]:
        """What a table may call it: its path, with and without extension."""
        return self.path, posixpath.splitext(self.path)[0]

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
            ValueError: If the tar is.
        """
        if isinstance(self.member, Span):
            return unpacked.read(self.at, self.member)
        return self.at.read_bytes() if self.member is None else zips.read(self.at, self.member)

    def open(self) -> IO[bytes]:
        """The content as a stream, for what is too large to be read at once; close it.

        Raises:
            OSError: If the file cannot be read.
            zipfile.BadZipFile: If the zip is damaged at this file; while reading, too.
        """
        if self.member is None:
            return self.at.open("rb")
        if isinstance(self.member, Span):
            return unpacked.stream(self.at, self.member)
        with zipfile.ZipFile(self.at) as archive:  # which stays open as long as the stream is
            return archive.open(self.member)


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
    """A text that changes with the name, size or time of any file under `root`; no archive is opened.

    Empty if nothing can be read; the same through a link.
    """
    try:
        root = root.resolve()
        if root.is_file():
            files = [(str(path), path.stat()) for path in unpacked.parts_of(root) or (root,)]
        else:
            files = list(_walk(root))
    except (MaclError, OSError, ValueError):
        return ""
    stamps = sorted((path, info.st_size, info.st_mtime_ns, info.st_ctime_ns) for path, info in files)
    return sha256(repr(stamps).encode()).hexdigest()[:32]


def scan(
    root: Path, progress: Progress | None = None, may_unpack: bool = True, only: tuple[str, ...] = ()
) -> list[File]:
    """Every file under `root` (a folder or an archive), including those inside archives, sorted by path.

    If a path is both unpacked and in an archive beside it, the unpacked one counts. Different files of one
    path in two archives are told apart by the names of these.

    Args:
        root: The folder or archive.
        progress: Called with (done, total, what) while an archive is unpacked.
        may_unpack: Raise where an archive would have to be unpacked first, which takes long: for pages.
        only: How the names of the files of a tar end that are wanted; empty: all are.

    Raises:
        MaclError: If root does not exist, is neither a folder nor an archive that can be read, or holds too
            many files.
    """
    try:
        is_folder = stat.S_ISDIR(root.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise MaclError(
            f"{root} does not exist: give the folder or the archive that holds the data set"
        ) from None
    except (OSError, ValueError) as error:  # no permission, a name too long, or one with a zero byte
        why = error.strerror if isinstance(error, OSError) else error
        raise MaclError(
            f"{root} cannot be read ({why}): give the folder or the archive that holds the data set"
        ) from None
    if not is_folder:
        if root.is_file() and (parts := unpacked.parts_of(root)):  # reading a pipe would never end
            packed = list(_in_tar(parts, progress, may_unpack, only))
        elif root.is_file() and zipfile.is_zipfile(root):
            packed = list(_in_zip(root, may_unpack))
        else:
            way = way_out(root.name) or ": give one of these"
            raise MaclError(f"{root} is neither a folder nor a readable .zip or .tar{way}")
        return sorted(_apart(packed), key=lambda file: file.path)
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
    packed = [file for archive in sorted(archives) for file in _in_zip(archive, may_unpack)]
    if not any(file.suffix in IMAGES for file in (*files.values(), *packed)):
        # else a tar is most likely what the images were unpacked from, and unpacking takes room
        near = {file.at: path for path, file in files.items() if path.count("/") < ZIP_DEPTH}
        for parts in unpacked.groups(near):
            packed += _in_tar(parts, progress, may_unpack, only)
            for part in parts:
                del files[near[part]]
    for file in _apart(packed):
        files.setdefault(file.path, file)
    return [files[path] for path in sorted(files)]


def _apart(packed: list[File]) -> list[File]:
    """Files of archives, below the archive's name where two archives have different ones of one path."""
    first: dict[str, File] = {}
    for file in packed:
        other = first.setdefault(file.path, file)
        if other.archive != file.archive and sum_of(other) != sum_of(file):
            return [replace(file, path=f"{file.archive}/{file.path}") for file in packed]
    return packed


def way_out(name: str) -> str:
    """How to unpack an archive that is not read, in words; empty for other files."""
    is_tar = bool(unpacked.groups([Path(name)]))
    way = "tar -xf" if is_tar else unpacked.WAYS.get(posixpath.splitext(name.lower())[1])
    return f": unpack it with {way}, and give the folder" if way else ""


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Path and status of every file under a folder; as text, because a `Path` costs more than the look."""
    for count, entry in enumerate(walk(folder), 1):
        if count > MOST_FILES:
            raise MaclError(
                f"{folder} holds more than {MOST_FILES:,} files: give the folder of the data set itself"
            )
        try:
            info = entry.stat()
        except OSError as error:
            raise _unreadable(entry.path, error) from None
        yield entry.path, info


def walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every file under a folder, however many there are; hidden ones are passed over.

    Raises:
        MaclError: If a folder cannot be read.
    """
    if os.path.realpath(folder) == os.path.realpath(os.sep):
        raise MaclError(f"{folder} is the whole machine: give the folder of the data set itself")
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
                        yield entry
        except OSError as error:
            raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> MaclError:
    return MaclError(f"{path} cannot be read ({error.strerror}): check its permissions")


def _in_zip(archive: Path, may_unpack: bool, name: str = "", inner: str = "") -> Iterator[File]:
    """The files of a zip, and of the zips in it.

    Args:
        archive: The zip on disk.
        may_unpack: As for `scan`.
        name: Its name without its extension.
        inner: Its name in messages if it lies in another archive: zips in it stay closed.
    """
    said, name = inner or archive, name or archive.stem
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
    except BAD_DIRECTORY as error:
        raise MaclError(
            f"{said} cannot be read as a zip ({error}): the download may be cut, fetch it again"
        ) from None
    files: dict[str, File] = {}
    for member in members:
        if not member.is_dir() and (path := unpacked.safe_path(member.filename)):
            # if stored twice, the last counts, as in unzip
            files[path] = File(path, archive, member.file_size, member, name)
    locked = sum(member.flag_bits & 1 for member in members)
    if locked and any(file.suffix in IMAGES and _is_locked(file) for file in files.values()):
        raise MaclError(
            f"{said} is protected by a password ({locked} files are encrypted): unpack it with its password "
            "(7-Zip or unzip), and give the folder"
        )
    yield from files.values() if inner else _opened(files.values(), str(said), may_unpack)


def _is_locked(file: File) -> bool:
    return isinstance(file.member, zipfile.ZipInfo) and bool(file.member.flag_bits & 1)


def _in_tar(
    parts: tuple[Path, ...], progress: Progress | None, may_unpack: bool, only: tuple[str, ...]
) -> Iterator[File]:
    """The files of a tar, compressed and in parts or not, and of the zips in it."""
    tar, spans = unpacked.contents(parts, progress, may_unpack, only)
    name = unpacked.name_of(parts)
    files = (File(shown(path), tar, span.file_size, span, name) for path, span in spans.items())
    yield from _opened(files, str(parts[0]), may_unpack)


def _opened(files: Iterable[File], archive: str, may_unpack: bool) -> Iterator[File]:
    """The files of an archive and, where it holds no image itself, of the zips in it."""
    files = list(files)
    stay = any(file.suffix in IMAGES for file in files)
    for file in files:
        if stay or file.suffix != ".zip" or file.path.count("/") >= ZIP_DEPTH or _is_locked(file):
            yield file
            continue
        what = f"{file.path} in {archive}"
        with file.open() as stream:
            key = f"{file.at.resolve()} {file.path} {sum_of(file)}"
            path = unpacked.extracted(stream, key, file.size, what, may_unpack)
        yield from _in_zip(path, may_unpack, posixpath.splitext(file.path)[0], what)


def sum_of(file: File) -> str:
    """The checksum of a file of an archive."""
    return f"{file.member.CRC:08x}-{file.member.file_size}" if file.member else ""
