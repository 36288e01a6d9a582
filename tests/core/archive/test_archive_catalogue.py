"""Which images there are in sources: any number, each once, in shards that leave the others alone."""

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import cli
from core.archive import catalogue, folder
from core.archive.catalogue import Catalogue
from core.data import source, unpacked
from core.data.band_files import BandFiles
from core.data.decode import quiet_decoding
from core.data.source import File
from core.errors import MaclError
from tests.core.archive.test_archive_scene import noise, scene_file


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
    return path


def sources(*given: object, shard: tuple[int, int] = (1, 1)) -> list[str]:
    found = Catalogue([str(one) for one in given], shard=shard)
    listed = [item.source for item in found]
    assert len(found) == len(listed)
    return listed


def test_more_files_than_a_data_set_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MOST_FILES", 5)
    monkeypatch.setattr(unpacked, "MOST_FILES", 5)
    names = [str(image(tmp_path / "in" / f"{i % 3}" / f"{i:02d}.png")) for i in range(12)]
    with pytest.raises(MaclError, match="holds more than 5 files"):
        source.scan(tmp_path / "in")
    assert sources(tmp_path / "in") == sorted(names)
    with tarfile.open(tmp_path / "all.tar", "w") as packed:
        packed.add(tmp_path / "in", "in")
    assert len(sources(tmp_path / "all.tar")) == 12


def test_memory_does_not_grow_with_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times as many files (that a walk only claims to find) take no more of it."""
    import tracemalloc

    class Entry:
        def __init__(self, name: str) -> None:
            self.name, self.path = name, f"{tmp_path}/{name}"

    def claimed(number: int) -> Iterator[Entry]:
        return (Entry(f"{i * 7919 % number:09d}.png") for i in range(number))

    peaks = []
    for number in (2000, 8000):
        monkeypatch.setattr(catalogue, "walk", lambda _, number=number: claimed(number))
        tracemalloc.start()
        try:
            found = Catalogue([str(tmp_path)])
            assert len(found) == number
            names = iter(found)
            assert [next(names).source for _ in range(3)] == [f"{tmp_path}/{i:09d}.png" for i in range(3)]
            assert sum(1 for _ in names) == number - 3
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000  # 6,000 paths alone would be three times that


def test_sources_that_overlap_and_archives_among_files(tmp_path: Path) -> None:
    one, two = image(tmp_path / "in" / "b.png"), image(tmp_path / "in" / "deep" / "a.PNG")
    image(tmp_path / "in" / ".hidden.png")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    with zipfile.ZipFile(tmp_path / "in" / "more.zip", "w") as packed:
        packed.write(one, "x/z.png")
    inside = f"{tmp_path}/in/more.zip/x/z.png"
    whole = [str(one), str(two), inside]
    assert sources(tmp_path / "in") == whole
    assert sources(tmp_path / "in", tmp_path / "in" / "deep", one, tmp_path / "in" / "more.zip") == whole
    assert sources(tmp_path / "in" / "more.zip", tmp_path / "in") == [inside, str(one), str(two)]
    assert sources(two, tmp_path / "in") == [str(two), str(one), inside]
    assert sources(tmp_path / "in", tmp_path / "in") == whole


def test_a_damaged_archive_among_files_is_listed(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4 and no more")
    found = Catalogue([str(tmp_path)])
    assert [item.source for item in found] == [f"{tmp_path}/a.png"]
    ((name, reason),) = found.broken
    assert name == f"{tmp_path}/cut.zip"
    assert "cut.zip is neither a folder nor a readable .zip" in reason
    (tmp_path / "a.png").unlink()
    with pytest.raises(MaclError, match=r"no image in .*; .*cut\.zip is neither a folder nor"):
        Catalogue([str(tmp_path)])


def test_a_folder_with_a_tar_only(tmp_path: Path) -> None:
    one = image(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "all.tar", "w") as packed:
        packed.add(one, "x/a.png")
    assert sources(tmp_path / "in") == [f"{tmp_path}/in/all.tar/x/a.png"]
    shutil.copy(one, tmp_path / "in")
    assert sources(tmp_path / "in") == [f"{tmp_path}/in/a.png"]


def test_bands_are_joined_as_in_a_data_set(tmp_path: Path) -> None:
    for folder_of, start in (("s2/one", ""), ("s2/two", "T32_"), ("s2/flat", "a_"), ("s2/flat", "b_")):
        (tmp_path / folder_of).mkdir(parents=True, exist_ok=True)
        for band in ("B02", "B03", "B04"):
            scene_file(tmp_path / folder_of / f"{start}{band}.tif", noise(1, 8, 8))
    image(tmp_path / "s2" / "flat" / "photo.png")
    with quiet_decoding():
        items = list(Catalogue([str(tmp_path)]))
    assert [item.source.removeprefix(f"{tmp_path}/s2/") for item in items] == [
        "flat/a", "flat/b", "flat/photo.png", "one", "two",
    ]  # fmt: skip
    joined = [item.image for item in items if isinstance(item.image, BandFiles)]
    assert [[name for name, _ in one.bands] for one in joined] == [["B02", "B03", "B04"]] * 4


def test_shards_share_the_images_evenly_and_touch_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(image(tmp_path / f"{i % 3}" / f"{i:02d}.png")) for i in range(20)]
    touched: list[str] = []
    real = catalogue.mark_of
    monkeypatch.setattr(catalogue, "mark_of", lambda name, one: touched.append(name) or real(name, one))
    monkeypatch.setattr(File, "open", lambda *_: pytest.fail("read"))
    monkeypatch.setattr(File, "read", lambda *_: pytest.fail("read"))
    parts = [sources(tmp_path, shard=(i, 3)) for i in (1, 2, 3)]
    assert [len(part) for part in parts] == [7, 7, 6]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert sorted(touched) == sorted(names)  # each by one shard


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "http", "https", "abfss"])
def test_an_address_is_refused_with_what_to_do(scheme: str, tmp_path: Path) -> None:
    address = f"{scheme}://images/europe"
    with pytest.raises(MaclError, match=rf"^{address} is an address: .*mount it .* and give the folder$"):
        Catalogue([address])
    for given in (address, Path(address)):
        with pytest.raises(MaclError, match="is an address: need a folder"):
            folder.folder_of(given)
    for words in (("info", address), ("add", address, str(tmp_path), "--run", "any")):
        with pytest.raises(MaclError, match=rf"^({address} is an address|no run named)"):
            cli.app(["archive", *words], standalone_mode=False)
    assert folder.folder_of("c:/archive") == Path("c:/archive")


def test_no_room_for_the_list_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = catalogue.sqlite3.connect

    def small(name: str) -> catalogue.sqlite3.Connection:
        database = real(name)
        database.execute("PRAGMA max_page_count = 2")
        return database

    monkeypatch.setattr(catalogue.sqlite3, "connect", small)
    for i in range(200):
        (tmp_path / f"{'x' * 60}{i}.png").touch()
    with pytest.raises(
        MaclError, match=r"database or disk is full.*: make room there, or point SQLITE_TMPDIR"
    ):
        Catalogue([str(tmp_path)])
