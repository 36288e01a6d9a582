"""Archives of every usual kind are read as the folder in them; what cannot be read is said with a way out."""

import io
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from core import data
from core.background import cache
from core.data import source, unpacked
from core.data.source import scan
from core.errors import MaclError
from core.files import PROJECT
from tests import data_fakes as fakes

COUNT = 12


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "mine"
    for i in range(COUNT):
        fakes.picture(root / "images" / f"im{i:02d}.png", i)
    fakes.table(root / "labels.csv", ["image", "a", "b"], [f"im{i:02d}" for i in range(COUNT)], labels())
    return root


def labels():
    return fakes.labels(COUNT, 2)


def tarred(folder: Path, name: str, mode: str = "w") -> Path:
    path = folder.parent / name
    with tarfile.open(path, "w" if mode == "zst" else mode) as archive:
        archive.add(folder, "./mine" if mode == "w:gz" else "mine")
    if mode == "zst":
        import pyarrow

        content = path.read_bytes()
        with pyarrow.OSFile(str(path), "wb") as file, pyarrow.CompressedOutputStream(file, "zstd") as out:
            out.write(content)
    return path


def in_parts(path: Path, size: int = 1500, width: int = 2) -> list[Path]:
    """As `split` does it: .tar.gzaa, .tar.gzab and so on."""
    content, parts = path.read_bytes(), []
    for number, start in enumerate(range(0, len(content), size)):
        end = f"{chr(97 + number // 26)}{chr(97 + number % 26)}" if width == 2 else f".{number:03d}"
        parts.append(path.with_name(path.name + end))
        parts[-1].write_bytes(content[start : start + size])
    path.unlink()
    assert len(parts) > 2
    return parts


def same(root: Path, folder: Path) -> None:
    """Whether an archive gives the images, labels and key of its folder, and needs no second look."""
    plain, packed = data.load("folder", folder, 8), data.load("folder", root, 8)
    assert packed.key == plain.key
    assert (packed.images == plain.images).all()
    assert packed.labels.tolist() == plain.labels.tolist() == labels().tolist()
    assert [name.rpartition("/")[2] for name in packed.names] == [f"im{i:02d}.png" for i in range(COUNT)]
    assert data.is_prepared("folder", root, 8)


KINDS = {
    ".tar": "w",
    ".tar.gz": "w:gz",
    ".tgz": "w:gz",
    ".tar.bz2": "w:bz2",
    ".tar.xz": "w:xz",
    ".tar.zst": "zst",
    ".TAR.GZ": "w:gz",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", ["itself", "its folder"])
def test_tars(folder: Path, kind: str, given: str) -> None:
    (folder.parent / "down").mkdir()
    path = tarred(folder, f"down/mine{kind}", KINDS[kind])
    same(path if given == "itself" else path.parent, folder)
    kept = sorted(path.suffix for path in (folder.parent / "cache" / "unpacked").iterdir())
    assert kept == ([".json"] if kind == ".tar" else [".json", ".tar"]), "a plain tar is read in place"


def test_a_tar_is_unpacked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tarred(folder, "mine.tar.gz", "w:gz")
    steps: list[tuple[int, int, str]] = []
    data.find("folder", path, lambda *step: steps.append(step))
    assert {what for _, _, what in steps} == {"Unpacking, MB", "Reading the archive, MB"}
    monkeypatch.setattr(unpacked, "_unpack", None)
    monkeypatch.setattr(unpacked, "_spans", None)
    assert len(data.find("folder", path).names) == COUNT
    monkeypatch.undo()
    os.utime(path, ns=(1, 1))  # another file
    monkeypatch.setenv("MACL_CACHE", str(folder.parent / "cache"))
    assert not data.is_prepared("folder", path, 8)


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("given", ["a part", "its folder"])
def test_parts(folder: Path, width: int, given: str) -> None:
    (folder.parent / "down").mkdir()
    parts = in_parts(tarred(folder, "down/mine.tar.gz", "w:gz"), width=width)
    before = data.fingerprint("folder", parts[1])
    same(parts[1] if given == "a part" else parts[0].parent, folder)
    os.utime(parts[0], ns=(5, 5))
    assert data.fingerprint("folder", parts[1]) != before


@pytest.mark.parametrize("lost", [0, 1, -1])
def test_a_part_that_is_missing_is_said(folder: Path, lost: int) -> None:
    parts = in_parts(tarred(folder, "mine.tar.gz", "w:gz"))
    parts.pop(lost).unlink()
    with pytest.raises(MaclError, match=r"missing.*get the others too|part missing, fetch it again"):
        data.find("folder", parts[0])
    assert not [path for path in cache.cache_root().rglob("*.tar") if path.is_file()]


@pytest.mark.parametrize("outer", ["zip", "tar", "tar.gz"])
def test_a_zip_in_an_archive(folder: Path, outer: str) -> None:
    place = folder.parent / "outer"
    place.mkdir()
    (folder / "labels.csv").rename(place / "labels.csv")
    fakes.pack(folder, place / "images.zip")
    (place / "labels.csv").rename(folder / "labels.csv")
    shutil.copy(folder / "labels.csv", place)
    if outer == "zip":
        path = fakes.pack(place, folder.parent / "outer.zip", zipfile.ZIP_STORED)
    else:
        path = tarred(place, f"outer.{outer}", "w:gz" if outer == "tar.gz" else "w")
    same(path, folder)


def test_a_zip_two_archives_down_is_said(folder: Path) -> None:
    path = folder
    for name in ("one", "two", "three"):
        place = folder.parent / name
        place.mkdir()
        fakes.pack(path, place / f"{name}.zip")
        path = place
    with pytest.raises(MaclError, match=r"no image found in .*one\.zip is not read: unpack it with unzip"):
        data.find("folder", folder.parent / "three")


def test_what_leads_out_of_a_tar_is_never_read_or_written(folder: Path) -> None:
    path = folder.parent / "bad.tar.gz"
    good = (folder / "images" / "im00.png").read_bytes()
    with tarfile.open(path, "w:gz") as archive:
        for name in ("../out.png", "a/../../out.png", "/abs.png", ".hidden.png", "ok.png"):
            member = tarfile.TarInfo(name)
            member.size = len(good)
            archive.addfile(member, io.BytesIO(good))
        for name, kind, target in (
            ("link.png", tarfile.SYMTYPE, "/etc/passwd"),
            ("hard.png", tarfile.LNKTYPE, "../out.png"),
            ("pipe.png", tarfile.FIFOTYPE, ""),
            ("device.png", tarfile.CHRTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    before = {file for file in folder.parent.rglob("*") if "cache" not in file.parts}
    assert [file.path for file in scan(path)] == ["abs.png", "ok.png"]
    assert {file for file in folder.parent.rglob("*") if "cache" not in file.parts} == before
    assert not Path("/abs.png").exists()


def test_bounds_are_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tarred(folder, "mine.tar.gz", "w:gz")
    monkeypatch.setattr(unpacked, "MOST_FILES", 5)
    with pytest.raises(MaclError, match=r"mine\.tar\.gz holds more than 5 files: unpack it yourself"):
        data.find("folder", path)
    os.utime(path, ns=(1, 1))
    monkeypatch.setattr(unpacked, "MOST_BYTES", 10_000)
    monkeypatch.setattr(unpacked, "GB", 1)
    with pytest.raises(
        MaclError, match=r"unpacks to more than .* GB: unpack it yourself, and give the folder"
    ):
        data.find("folder", path)
    monkeypatch.setattr(unpacked, "MOST_BYTES", 1 << 40)
    monkeypatch.setattr(unpacked, "MOST_TIMES", 1.1)
    with pytest.raises(MaclError, match="unpacks to more than"):  # far larger than packed
        data.find("folder", path)
    monkeypatch.setattr(unpacked, "SPARE", 1 << 60)
    with pytest.raises(MaclError, match=r"has room for .* MB, need more than .* point MACL_CACHE to another"):
        data.find("folder", path)
    assert not [file for file in cache.cache_root().rglob("*.part")]


@pytest.mark.parametrize("kind", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"])
def test_a_cut_tar_is_one_sentence(folder: Path, kind: str) -> None:
    path = tarred(folder, f"mine{kind}", KINDS[kind])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (problem,) = data.check("folder", path).problems
    assert "the download may be cut" in problem
    assert "\n" not in problem
    path.write_bytes(b"")
    (problem,) = data.check("folder", path).problems
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("name", "way"),
    [("mine.rar", "unar or 7-Zip"), ("mine.7z", "7-Zip"), ("mine.tar.lz4", "lz4 -d")],
)
def test_archives_that_are_not_read_are_said_with_the_way_out(folder: Path, name: str, way: str) -> None:
    path = folder.parent / "down" / name
    path.parent.mkdir()
    path.write_bytes(b"Rar!\x1a\x07\x00" + bytes(99))
    for root in (path, path.parent):
        with pytest.raises(MaclError, match=rf"{name}.*: unpack it with {way}, and give the folder") as error:
            data.find("folder", root)
        assert "\n" not in str(error.value)
    shutil.copy(path, folder / name)
    notes = data.find("folder", folder).notes
    assert f"{name} is not read: unpack it with {way}, and give the folder" in notes


def test_an_encrypted_zip_is_one_sentence_with_the_way_out(folder: Path) -> None:
    path = fakes.pack(folder, folder.parent / "mine.zip")
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:  # each entry of the directory says that it is encrypted
        content[at + 8] |= 1
        at = content.find(b"PK\x01\x02", at + 4)
    path.write_bytes(bytes(content))
    (problem,) = data.check("folder", path).problems
    assert "mine.zip is protected by a password" in problem
    assert "unpack it with its password (7-Zip or unzip), and give the folder" in problem
    shutil.copy(path, folder / "more.zip")
    with pytest.raises(MaclError, match="protected by a password"):
        data.find("folder", folder)


def test_a_tar_beside_what_was_unpacked_from_it_stays_closed(folder: Path) -> None:
    shutil.copy(tarred(folder, "mine.tar.gz", "w:gz"), folder)
    found = data.find("folder", folder)
    assert len(found.names) == COUNT
    assert "mine.tar.gz is not read: unpack it with tar -xf, and give the folder" in found.notes
    assert not (folder.parent / "cache" / "unpacked").exists()


def test_pages_never_unpack(folder: Path) -> None:
    path = tarred(folder, "mine.tar.gz", "w:gz")
    assert not data.is_prepared("folder", path, 8)
    for look in (
        lambda: data.load("folder", path, 8, only_prepared=True),
        lambda: data.sides("folder", path),
    ):
        with pytest.raises(MaclError, match="is not unpacked yet"):
            look()
    assert not list((folder.parent / "cache").rglob("*.tar"))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_archives_named_by_parts_of_the_split(folder: Path, kind: str) -> None:
    """train.zip and test.zip, the files in both of one name."""
    root = folder.parent / "parts"
    rows = []
    for number, (part, count) in enumerate((("train", 8), ("val", 2), ("test", 3))):
        for i in range(count):
            fakes.picture(root / part / f"{i}.png", 100 * number + i)
            rows.append(f"{part}/{i}.png,1,{int(part == 'test')}")
        if kind == "zip":
            fakes.pack(root / part, root / f"{part}.zip")
        else:
            with tarfile.open(root / f"{part}.tar.gz", "w:gz") as archive:
                archive.add(root / part, ".")
        shutil.rmtree(root / part)
    (root / "labels.csv").write_text("image,a,b\n" + "\n".join(rows))
    loaded = data.load("folder", root, 8)
    assert {part: len(rows) for part, rows in loaded.splits.items()} == {"train": 8, "val": 2, "test": 3}
    assert (loaded.labels[loaded.splits["test"], 1] == 1).all()
    assert loaded.labels[:, 1].sum() == 3


def test_archives_named_by_parts_with_files_of_different_names(folder: Path) -> None:
    root = folder.parent / "parts"
    rows, number = [], 0
    for part, count in (("train", 8), ("val", 2), ("test", 3)):
        for _ in range(count):
            fakes.picture(root / part / f"{number}.png", number)
            rows.append(f"{number}.png,1,{int(part == 'test')}")
            number += 1
        fakes.pack(root / part, root / f"{part}.zip")
        shutil.rmtree(root / part)
    (root / "labels.csv").write_text("image,a,b\n" + "\n".join(rows))
    loaded = data.load("folder", root, 8)
    assert loaded.names[:2] == ("0.png", "1.png"), "names as before"
    assert {part: len(rows) for part, rows in loaded.splits.items()} == {"train": 8, "val": 2, "test": 3}


def test_a_kill_leaves_nothing_half(folder: Path) -> None:
    with tarfile.open(folder.parent / "big.tar.gz", "w:gz", compresslevel=0) as archive:
        archive.add(folder, "mine")
        member = tarfile.TarInfo("filling.bin")
        member.size = 200 * 2**20
        with open(
            "/dev/urandom", "rb"
        ) as noise:  # in memory it would count for tests of memory after this one
            archive.addfile(member, noise)
    path = folder.parent / "big.tar.gz"
    code = f"from core import data; data.find('folder', {str(path)!r})"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT)
    place = cache.cache_root() / "unpacked"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not [p for p in place.glob(".*.part") if p.stat().st_size > 1e6]:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not list(place.glob("*.tar"))
    assert len(data.find("folder", path).names) == COUNT
    assert not list(place.glob(".*.part"))


def find(path: Path) -> int:
    return len(data.find("folder", path).names)


def test_two_processes_unpack_once(folder: Path) -> None:
    path = tarred(folder, "mine.tar.gz", "w:gz")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(find, [path, path]) == [COUNT, COUNT]
    assert len(list((cache.cache_root() / "unpacked").glob("*.tar"))) == 1
    assert not list((cache.cache_root() / "unpacked").glob("*.lock"))


def test_what_is_in_use_is_not_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tarred(folder, "mine.tar.gz", "w:gz")
    files = scan(path)
    monkeypatch.setitem(cache.BOUNDS, "unpacked", 0)
    cache.tidy()
    assert all(file.read() for file in files)


def test_damage_inside_a_tar_is_that_of_one_image(folder: Path) -> None:
    path = tarred(folder, "mine.tar")
    files = {file.name: file for file in scan(path)}
    member = files["im05.png"].member
    assert isinstance(member, unpacked.Span)
    content = bytearray(path.read_bytes())
    content[member.offset + 60] ^= 0xFF
    with path.open("r+b") as stream:
        stream.write(content)
    with pytest.raises(ValueError, match="damaged inside the tar"):
        files["im05.png"].read()
    assert source.File("x", path, 1).read() == bytes(content)
    assert files["im04.png"].read() == (folder / "images" / "im04.png").read_bytes()
    with files["im04.png"].open() as stream:
        assert stream.read() == (folder / "images" / "im04.png").read_bytes()


def test_a_zip_beside_images_in_a_zip_stays_closed(folder: Path) -> None:
    """As before: it may hold anything, such as the same images at another size."""
    fakes.pack(folder, folder / "more.zip")
    found = data.find("folder", fakes.pack(folder, folder.parent / "mine.zip"))
    assert len(found.names) == COUNT
    assert "more.zip is not read: unpack it with unzip, and give the folder" in found.notes
