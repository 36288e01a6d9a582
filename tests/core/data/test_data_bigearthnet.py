"""BigEarthNet v2 in its published layout: unpacked, and as archives in parts."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from core import data
from core.cli.main import app
from core.data import bigearthnet, checksums, raster, source, unpacked
from core.data.reading import Reading
from core.errors import MaclError
from tests import data_fakes as fakes

COUNT = 25
PARTS = {"train": "train", "validation": "val", "test": "test"}
Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    now = checksums.time.time_ns() + 10**11
    monkeypatch.setattr(checksums.time, "time_ns", lambda: now)  # the files are old


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rows]:
    root = tmp_path_factory.mktemp("bigearthnet")
    rows = fakes.bigearthnet(root, COUNT)
    time.sleep(2.1)  # checksums of files as young as these are not remembered
    return root, rows


def packed(root: Path, to: Path, kind: str, parts: int) -> Path:
    """The images as one tar, compressed and cut into parts, beside the table and other archives."""
    to.mkdir()
    shutil.copy(root / "metadata.parquet", to)
    name = to / f"BigEarthNet-S2.tar.{kind}"
    with tarfile.open(to / "plain", "w") as tar:
        tar.add(root / "BigEarthNet-S2", "BigEarthNet-S2")
    content = (to / "plain").read_bytes()
    (to / "plain").unlink()
    if kind == "zst":
        import pyarrow

        with pyarrow.OSFile(str(name), "wb") as file, pyarrow.CompressedOutputStream(file, "zstd") as out:
            out.write(content)
    else:
        import gzip

        name.write_bytes(gzip.compress(content, 1))
    whole = name.read_bytes()
    if parts > 1:
        name.unlink()
        size = -(-len(whole) // parts)
        for i in range(parts):
            name.with_name(f"{name.name}a{chr(97 + i)}").write_bytes(whole[i * size : (i + 1) * size])
    with tarfile.open(to / "Reference_Maps.tar", "w") as tar:  # as published beside it
        tar.add(root / "metadata.parquet", "Reference_Maps/S2A_x/S2A_x_0_0/S2A_x_0_0_reference_map.tif")
    return to


def expected(rows: Rows) -> tuple[tuple[str, ...], np.ndarray, dict[str, list[str]]]:
    """Names, labels and split as the rows say."""
    rows = sorted(rows, key=lambda row: row["patch_id"])
    labels = np.array([[name in row["labels"] for name in fakes.BIGEARTHNET_19] for row in rows], np.uint8)
    names = tuple(row["patch_id"] for row in rows)
    split = {part: [row["patch_id"] for row in rows if row["split"] == said] for said, part in PARTS.items()}
    return names, labels, split


def seen(number: int, bands: tuple[str, ...], low: float, high: float, size: int) -> np.ndarray:
    """A patch between two values, as it is prepared: nearest to 120 pixels, stretched, then resized."""
    planes = [np.kron(v, np.ones((120 // len(v),) * 2)) for v in (fakes.sentinel(number, b) for b in bands)]
    levels = np.rint((np.stack(planes, -1) - low).clip(0, high - low) * (255 / (high - low))).astype(np.uint8)
    return np.asarray(Image.fromarray(levels).resize((size, size), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("kind", ["folder", "its parent", "images", "tar.gz", "tar.gz in parts", "tar.zst"])
def test_labels_split_and_pixels(made: tuple[Path, Rows], tmp_path: Path, kind: str) -> None:
    root, rows = made
    if kind.startswith("tar"):
        at = packed(root, tmp_path / "packed", kind[4:].split()[0], 3 if "parts" in kind else 1)
    elif kind == "its parent":
        at = tmp_path
        (tmp_path / "BigEarthNet").symlink_to(root)
    else:
        at = root / "BigEarthNet-S2" if kind == "images" else root
    names, labels, split = expected(rows)
    d = data.load("bigearthnet", at, 16, reading=Reading(stretch="0:2000"))
    assert d.classes == tuple(fakes.BIGEARTHNET_19)
    assert d.names == names
    assert (d.labels == labels).all()
    assert {part: [names[i] for i in at] for part, at in d.splits.items()} == split
    assert d.given_by == "metadata.parquet"
    by_name = {row["patch_id"]: i for i, row in enumerate(rows)}
    for row, name in enumerate(names):
        want = seen(by_name[name], ("B04", "B03", "B02"), 0, 2000, 24)
        assert np.abs(d.images[row].astype(int) - want).max() <= 1
    assert data.is_prepared("bigearthnet", at, 16, Reading(stretch="0:2000"))
    assert data.check("bigearthnet", at).ok
    if kind.startswith("tar"):
        held = list((tmp_path / "cache" / "unpacked").glob("*.tar"))
        assert len(held) == 1, "what lies beside the images is not unpacked"


def test_unpacked_and_packed_are_the_same_images(made: tuple[Path, Rows], tmp_path: Path) -> None:
    archive = packed(made[0], tmp_path / "packed", "gz", 2)
    assert data.load("bigearthnet", archive, 16).key == data.load("bigearthnet", made[0], 16).key
    assert data.load("bigearthnet", archive / "BigEarthNet-S2.tar.gzab", 16).key


@pytest.mark.parametrize(
    ("said", "bands"),
    [
        ("B08,B11,B01", ("B08", "B11", "B01")),
        ("b8,b8a,12", ("B08", "B8A", "B12")),
        ("9,10,4", ("B8A", "B09", "B04")),
        ("B12", ("B12", "B12", "B12")),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_other_bands_are_brought_to_the_size_of_the_largest(
    made: tuple[Path, Rows], tmp_path: Path, said: str, bands: tuple[str, ...], kind: str
) -> None:
    root = made[0] if kind == "folder" else packed(made[0], tmp_path / "packed", "gz", 1)
    d = data.load("bigearthnet", root, 16, reading=Reading(bands=said, stretch="0:2000"))
    one = next(i for i, row in enumerate(made[1]) if row["patch_id"] == d.names[3])
    if len(set(bands)) == 1:  # nothing larger is seen, so it stays as small as it is
        plane = fakes.sentinel(one, bands[0])
        grey = np.rint(plane * (255 / 2000)).astype(np.uint8)
        want = np.asarray(Image.fromarray(grey).convert("RGB").resize((24, 24), Image.Resampling.BICUBIC))
    else:
        want = seen(one, bands, 0, 2000, 24)
    assert np.abs(d.images[3].astype(int) - want).max() <= 1
    with pytest.raises(MaclError, match=r"no band B10: it has B01, .*B12"):
        data.find("bigearthnet", root, reading=Reading(bands="B10,B02,B03"))


def test_the_stretch_is_that_of_the_data_set(made: tuple[Path, Rows]) -> None:
    d = data.load("bigearthnet", made[0], 16)
    means = [float(image.mean()) for image in d.images]
    assert max(means) - min(means) > 20, "dark patches stay dark"
    assert len(d.look.limits) == 3


def test_only_the_bands_that_are_seen_are_opened(
    made: tuple[Path, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real, summed = source.File.read, checksums._checksum
    monkeypatch.setattr(source.File, "read", lambda file: opened.append(file.path) or real(file))
    monkeypatch.setattr(checksums, "_checksum", lambda path: opened.append(str(path)) or summed(path))
    data.load("bigearthnet", made[0], 16, reading=Reading(stretch="0:2000"))
    bands = [path[-7:-4] for path in opened if path.endswith(".tif")]
    assert set(bands) == {"B02", "B03", "B04"}
    assert max(opened.count(path) for path in opened) <= 2, "once for its checksum, once for its pixels"


def test_nothing_of_a_tar_is_listed_but_the_bands_that_are_seen(
    made: tuple[Path, Rows], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacked, "MOST_FILES", 10)  # all files together would be too many
    root = packed(made[0], tmp_path / "packed", "gz", 1)
    assert len(data.find("bigearthnet", root).files) == COUNT
    monkeypatch.setattr(unpacked, "MOST_NAMED", 3 * COUNT - 1)
    with pytest.raises(MaclError, match="holds more than 74 files"):
        data.find("bigearthnet", root, reading=Reading(bands="B01,B02,B05"))


@pytest.fixture
def copy(made: tuple[Path, Rows], tmp_path: Path) -> Path:
    shutil.copytree(made[0], tmp_path / "copy")
    return tmp_path / "copy"


def test_a_part_of_the_archive(made: tuple[Path, Rows], copy: Path) -> None:
    gone = sorted((copy / "BigEarthNet-S2").iterdir())[0]
    missing = sorted(path.name for path in gone.iterdir())
    shutil.rmtree(gone)
    other = next((copy / "BigEarthNet-S2").iterdir())
    (other / f"{other.name}_99_99").mkdir()  # with snow: in no table
    found = data.find("bigearthnet", copy)
    assert list(found.without_image) == missing
    assert len(found.names) == COUNT - len(missing)
    assert any("1 patches are not in metadata.parquet" in note for note in found.notes)
    report = data.check("bigearthnet", copy)
    assert report.ok
    assert f"rows without image: {len(missing)}" in str(report)
    anew = data.load("bigearthnet", copy, 16, reading=Reading(split="random"))
    assert [len(anew.splits[part]) for part in ("train", "val")] == [
        len(anew) * 237_871 // 480_038,
        len(anew) * 122_342 // 480_038,
    ]


def test_a_band_that_is_missing_or_damaged_is_named(copy: Path) -> None:
    first, second, *_ = sorted((copy / "BigEarthNet-S2").glob("*/*"))
    (first / f"{first.name}_B03.tif").unlink()
    (second / f"{second.name}_B04.tif").write_bytes(b"II*\0")
    with pytest.raises(MaclError, match=f"2 of {COUNT} images cannot be used") as caught:
        data.load("bigearthnet", copy, 16)
    assert f"{first.name}: cannot be read (No such file" in str(caught.value)
    assert f"{second.name}: " in str(caught.value)
    assert len(data.load("bigearthnet", copy, 16, skip_broken=True)) == COUNT - 2


def test_what_changes_is_noticed(copy: Path) -> None:
    before, key = data.fingerprint("bigearthnet", copy), data.load("bigearthnet", copy, 16).key
    assert data.fingerprint("bigearthnet", copy) == before != ""
    patch = next((copy / "BigEarthNet-S2").glob("*/*"))
    fakes.geotiff(patch / f"{patch.name}_B03.tif", fakes.sentinel(9, "B03") + np.uint16(7))
    assert data.load("bigearthnet", copy, 16).key != key
    shutil.rmtree(patch)
    assert data.fingerprint("bigearthnet", copy) != before


def table(copy: Path, **columns: list[Any]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    old = parquet.read_table(copy / "metadata.parquet")
    for name, values in columns.items():
        at = old.schema.get_field_index(name)
        old = old.set_column(at, name, pa.array(values)) if values else old.remove_column(at)
    parquet.write_table(old, copy / "metadata.parquet")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"labels": [["Arable land", "Lava"]] * COUNT}, "labels that are none of the 19: Lava"),
        ({"labels": []}, "has no column labels"),
        ({"patch_id": ["S2A_x_1_2"] * COUNT}, "none of the 25 patches is in metadata.parquet"),
    ],
)
def test_another_table(copy: Path, columns: dict[str, list[Any]], message: str) -> None:
    table(copy, **columns)
    with pytest.raises(MaclError, match=message):
        data.load("bigearthnet", copy, 16)
    assert any(message in problem for problem in data.check("bigearthnet", copy).problems)


def test_parts_that_are_none_are_left_out(copy: Path) -> None:
    table(copy, split=["train", "validation", "test", "none", None] * 5)
    d = data.load("bigearthnet", copy, 16)
    assert (len(d), d.unnamed) == (15, 10)


def test_what_is_missing_is_said(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MaclError, match=r"no metadata\.parquet of BigEarthNet v2 in .*bigearth\.net"):
        data.find("bigearthnet", tmp_path / "empty")
    shutil.rmtree(copy / "BigEarthNet-S2")
    with pytest.raises(MaclError, match=r"no image of BigEarthNet v2 in .*<patch>_B04\.tif"):
        data.find("bigearthnet", copy)
    with pytest.raises(MaclError, match="get it from"):
        data.load("bigearthnet")
    with pytest.raises(MaclError, match=r"bigearth\.net"):
        data.fetch("bigearthnet")
    with pytest.raises(MaclError, match="does not exist"):
        data.find("bigearthnet", tmp_path / "nowhere")


def test_an_empty_folder_beside_the_archive(made: tuple[Path, Rows], tmp_path: Path) -> None:
    root = packed(made[0], tmp_path / "packed", "gz", 1)
    (root / "BigEarthNet-S2").mkdir()  # an unpacking that was stopped at once
    assert len(data.find("bigearthnet", root).files) == COUNT


def test_a_folder_that_cannot_be_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(bigearthnet.os, "scandir", closed)
    with pytest.raises(MaclError, match=r"BigEarthNet-S2 cannot be read \(Permission denied\): check its"):
        data.find("bigearthnet", copy)


def test_countries(made: tuple[Path, Rows]) -> None:
    root, rows = made
    wanted = sorted(row["patch_id"] for row in rows if row["country"] in ("Finland", "Serbia"))
    d = data.load("bigearthnet", root, 16, reading=Reading(country="serbia, Finland"))
    assert list(d.names) == wanted
    assert any("--country" in note for note in d.notes)
    with pytest.raises(MaclError, match="no patch is in atlantis: need some of Finland, Portugal, Serbia"):
        data.find("bigearthnet", root, reading=Reading(country="Atlantis"))
    with pytest.raises(MaclError, match="says no countries"):
        data.find("demo", reading=Reading(country="Finland"))


def test_on_the_command_line(made: tuple[Path, Rows]) -> None:
    call = ["--root", str(made[0]), "--limit", "15", "--bands", "B08,B04,B03"]
    checked = CliRunner().invoke(app, ["data", "check", "bigearthnet", *call])
    assert checked.exit_code == 0, checked.output
    assert "splits       train 9, val 3, test 3 (given by metadata.parquet)" in checked.output
    assert "note: 15 of 25 usable images are drawn, within each part of the split (--limit)" in checked.output
    done = CliRunner().invoke(app, ["data", "prepare", "bigearthnet", "--image-size", "16", *call])
    assert done.exit_code == 0, done.output
    assert "bigearthnet: 15×24×24×3, train 9, val 3, test 3" in done.output


LOADER = """
import os, signal, sys
from core import data
from core.data import unfinished
unfinished.SECONDS = 0
begun = []
def progress(done, total, what):
    if what == "Preparing images":
        begun.append(done)
        if len(sys.argv) > 2 and done > begun[0]:
            os.kill(os.getpid(), signal.SIGKILL)
data.load("bigearthnet", sys.argv[1], 16, progress=progress)
"""


def test_killed_on_the_way_it_makes_what_one_go_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "set"
    fakes.bigearthnet(root, 80, ("B02", "B03", "B04"))
    command = [sys.executable, "-c", LOADER, str(root)]
    for _ in range(3):
        assert subprocess.run([*command, "kill"]).returncode == -signal.SIGKILL
    (partial,) = (tmp_path / "cache" / "prepared").glob("*.part")
    assert 48 <= np.count_nonzero(np.fromfile(partial / "rows", np.uint8)) <= 80
    after = data.load("bigearthnet", root, 16)
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "other"))
    once = data.load("bigearthnet", root, 16)
    assert after.key == once.key
    assert (np.array(after.images) == np.array(once.images)).all()


def test_the_published_names() -> None:
    info = bigearthnet.BIGEARTHNET
    assert info.classes == tuple(fakes.BIGEARTHNET_19)
    assert (info.images, info.train, info.val, info.test) == (480_038, 237_871, 122_342, 119_825)
    assert "Permissive" in info.terms
    assert os.fspath(data.default_root("bigearthnet")).endswith("bigearthnet")
    assert raster.TIFF  # the bands are TIFFs
