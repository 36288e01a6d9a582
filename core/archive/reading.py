"""What threads do beside the network: files are read, once, scenes cut, and all is decoded."""

from __future__ import annotations

import hashlib
import shutil
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock

import numpy as np

from core.archive import images, scene
from core.archive.images import Item
from core.archive.scene import Bytes, Parts, Window
from core.archive.table import Record
from core.background.cache import MB, cache_root, cannot_write, make_folder
from core.background.cores import cores
from core.data.band_files import BandFiles
from core.data.decode import decode, reason
from core.data.look import Look
from core.data.memory import is_short, out_of_memory
from core.data.raster import Readable
from core.data.source import File
from core.errors import MaclError
from core.files import clear_scratch, scratch

CHUNK = 64  # images or tiles of one task
HELD = 32 * MB  # of files that one task holds in memory
AHEAD = 2  # tasks beyond one for each core: the next batch is there before it is asked for
SPARE = 100 * MB  # left free on the disk
MERGED = 100_000  # numbers

Kind = tuple[int, Look]  # side and look of prepared images
Undecoded = bytes | Mapping[str, Readable]


class Known:
    """A set of numbers in 8 bytes each: one thread adds, all ask."""

    def __init__(self, numbers: object) -> None:
        self._sorted = np.unique(np.asarray(numbers, np.int64))
        self._new: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._new)

    def __contains__(self, number: int) -> bool:
        if number in self._new:  # first: what leaves it is among the others by then
            return True
        known = self._sorted
        at = int(np.searchsorted(known, number))
        return at < len(known) and int(known[at]) == number

    def add(self, number: int) -> None:
        """Add one that is not there."""
        self._new.add(number)
        if len(self._new) >= MERGED:
            self._sorted = np.union1d(self._sorted, np.fromiter(self._new, np.int64))
            self._new = set()


class Held:
    """The files of an image, read once: small ones in memory, large ones of archives in a folder on disk."""

    def __init__(self, image: File | BandFiles, room: Path) -> None:
        files, digest = scene.parts_of(image), hashlib.blake2b(digest_size=16)
        self._lock, self._unpacked, self._content = Lock(), list[Path](), ""
        held: dict[str, File | Bytes] = {}
        self.parts: Parts = held
        small = sum(file.size for file in files.values()) <= HELD
        if not small and all(file.member is None for file in files.values()):
            held.update(files)
            return
        try:
            for name, file in files.items():
                if small:
                    data = file.read()
                    digest.update(data)
                    held[name] = Bytes(data)
                else:
                    held[name] = self._unpack(file, room, digest)
        except BaseException:
            self.close()
            raise
        self._content = digest.hexdigest()

    @property
    def content(self) -> str:
        """A digest of all bytes."""
        with self._lock:
            if not self._content:
                self._content = images.content_of(self.parts.values())
        return self._content

    def data(self) -> Undecoded:
        """What `core.data.decode.decode` takes."""
        return self.parts[""].read() if "" in self.parts else self.parts

    def close(self) -> None:
        """Remove what was unpacked."""
        for path in self._unpacked:
            path.unlink(missing_ok=True)

    def _unpack(self, file: File, room: Path, digest: hashlib.blake2b) -> File:
        make_folder(room)
        free = shutil.disk_usage(room).free
        if file.size + SPARE > free:
            raise MaclError(
                f"{room.parent} has room for {free / MB:,.0f} MB, need {(file.size + SPARE) / MB:,.0f} MB to "
                f"unpack {file.path}: make room, point MACL_CACHE to another disk, or unpack it yourself"
            )
        path = scratch(room / "scene")
        self._unpacked.append(path)
        try:
            out = path.open("xb")
        except OSError as error:
            raise cannot_write(room, error) from None
        with file.open() as stream, out:
            while block := stream.read(1 << 20):
                digest.update(block)
                try:
                    out.write(block)
                except OSError as error:  # the disk, not the file that is read
                    raise cannot_write(room, error) from None
        return File(file.path, path, file.size)


@contextmanager
def room() -> Iterator[Path]:
    """A folder for scenes that have to be unpacked, made when it is needed, gone at the end."""
    folder = cache_root() / "unpacked"
    clear_scratch(folder)
    place = scratch(folder / "scenes")
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@dataclass(eq=False)
class Scene:
    """Tiles that are to be cut.

    Attributes:
        item: The scene.
        held: Its files.
        windows: Of the tiles.
        left: How many have not been read yet.
    """

    item: Item
    held: Held
    windows: list[Window]
    left: int

    def tasks(self) -> Iterator[Tiles]:
        """Tiles of one row each: what lies side by side in the file is decoded once."""
        rows: dict[int, list[Window]] = {}
        for window in self.windows:
            rows.setdefault(window[1], []).append(window)
        for row in rows.values():
            for start in range(0, len(row), CHUNK):
                yield Tiles(self, row[start : start + CHUNK])


@dataclass(frozen=True)
class Tiles:
    """Some tiles of a scene."""

    scene: Scene
    windows: list[Window]


Task = list[Item] | Tiles


@dataclass
class Read:
    """What one task has read: records without labels, and their pixels (n, P, P, C) in each kind.

    Attributes:
        records: One for each new image.
        pixels: Theirs.
        scenes: Images of the task that have to be cut.
        broken: Name and reason of what cannot be read.
        gaps: Tiles left out.
        there: Images and tiles that were there already.
        done: Images and tiles that are done with.
    """

    records: list[Record] = field(default_factory=list)
    pixels: dict[Kind, np.ndarray] = field(default_factory=dict)
    scenes: list[Scene] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    gaps: int = 0
    there: int = 0
    done: int = 0


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads tasks.

    Attributes:
        kinds: How images are prepared for the encoders.
        tile: As `core.archive.scene.tiles`.
        stride: As there.
        stamps: Of what is there, for each encoder.
        ids: Of what is there, for each encoder.
        room: Folder for what has to be unpacked.
    """

    kinds: Sequence[Kind]
    tile: int | None
    stride: int | None
    stamps: Sequence[Known]
    ids: Sequence[Known]
    room: Path

    def is_known(self, stamp: int) -> bool:
        """Whether an image or a tile need not be read again."""
        return all(stamp in known for known in self.stamps)

    def read(self, task: Task) -> Read:
        """What a task holds that is not there yet with every encoder."""
        read = Read()
        pixels: list[list[np.ndarray]] = [[] for _ in self.kinds]
        for item in [task.scene.item] if isinstance(task, Tiles) else task:
            try:
                if isinstance(task, Tiles):
                    self._tiles(task, read, pixels)
                else:
                    self._image(item, read, pixels)
            except MaclError:
                raise
            except Exception as error:  # readers raise almost anything on a damaged file
                if is_short(error):
                    raise out_of_memory("Embedding images", item.source) from None
                read.broken.append((item.source, reason(error)))
        read.done = len(task.windows) if isinstance(task, Tiles) else len(task) - len(read.scenes)
        if read.records:
            read.pixels = {kind: np.stack(some) for kind, some in zip(self.kinds, pixels, strict=True)}
        return read

    def _image(self, item: Item, read: Read, pixels: list[list[np.ndarray]]) -> None:
        held = Held(item.image, self.room)
        try:
            if windows := self._windows(item, held):
                new = [window for window in windows if not self.is_known(item.stamp(window))]
                read.there += len(windows) - len(new)
                read.scenes.append(Scene(item, held, new, len(new)))
                return
            data = held.data()
            place = images.place_of(item.image, data if isinstance(data, bytes) else None, held.parts)
            record = Record(
                images.number_of(held.content, ""), item.stamp(), item.source, "", **asdict(place)
            )
            self._decode(record, dict.fromkeys((look for _, look in self.kinds), (data, None)), read, pixels)
        finally:
            if not (read.scenes and read.scenes[-1].held is held and read.scenes[-1].windows):
                held.close()

    def _windows(self, item: Item, held: Held) -> list[Window]:
        if not item.is_raster or self.tile == 0:
            return []
        try:
            with scene.opened(held.parts) as datasets:
                return scene.tiles(datasets, self.tile, self.stride)
        except (ValueError, OSError):
            return []  # decoding will say what is wrong with it

    def _tiles(self, task: Tiles, read: Read, pixels: list[list[np.ndarray]]) -> None:
        item, held = task.scene.item, task.scene.held
        looks = {look for _, look in self.kinds}
        with scene.opened(held.parts) as datasets:
            first = next(iter(datasets.values()))
            for window in task.windows:
                cut = {look: tile for look in looks if (tile := scene.cut(datasets, window, look))}
                if len(cut) < len(looks):
                    read.gaps += 1
                    continue
                name = images.text_of(window)
                place = replace(scene.place_of(first, window), date=images.date_in(item.image.path))
                record = Record(
                    images.number_of(held.content, name),
                    item.stamp(window),
                    item.source,
                    name,
                    **asdict(place),
                )
                self._decode(record, cut, read, pixels)

    def _decode(
        self,
        record: Record,
        data: Mapping[Look, tuple[Undecoded, Look | None]],
        read: Read,
        pixels: list[list[np.ndarray]],
    ) -> None:
        """Keep a record and its pixels; `data` says for each look what to decode, and with which instead."""
        if all(record.id in ids for ids in self.ids):
            read.there += 1
            return
        seen = [decode(data[look][0], side, data[look][1] or look) for side, look in self.kinds]
        read.records.append(replace(record, thumbnail=images.thumbnail(self.kinds[0][1].rgb(seen[0]))))
        for some, one in zip(pixels, seen, strict=True):
            some.append(one)


def in_order(tasks: Iterator[Task], reader: Reader) -> Generator[Read, None, None]:
    """What the tasks hold, in their order, read by all cores a few tasks ahead of the caller."""
    queue: deque[tuple[Task, Future[Read]]] = deque()
    found: deque[Iterator[Tiles]] = deque()  # of scenes: what is unpacked is done with before others are

    def following() -> Task | None:
        while found:
            if (tiles := next(found[0], None)) is not None:
                return tiles
            found.popleft()
        return next(tasks, None)

    with ThreadPoolExecutor(cores()) as pool:
        try:
            while True:
                while len(queue) < cores() + AHEAD and (task := following()) is not None:
                    queue.append((task, pool.submit(reader.read, task)))
                if not queue:
                    return
                task, future = queue.popleft()
                read = future.result()
                if isinstance(task, Tiles):
                    task.scene.left -= len(task.windows)
                    if not task.scene.left:
                        task.scene.held.close()
                found.extend(scene.tasks() for scene in read.scenes)
                yield read
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
