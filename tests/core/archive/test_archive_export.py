"""Marked images taken along as a data set of one's own: whole files, tiles, bands, files of archives."""

import csv
import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine

from core.archive import Record, export, images, originals, scene
from core.archive.catalogue import Catalogue
from core.archive.images import number_of
from core.data import sets
from core.data.decode import quiet_decoding

DICE = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_decoding():
        yield


def written(path: Path, values: np.ndarray, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2],
        "dtype": values.dtype, "crs": "EPSG:32632", "transform": Affine(10, 0, 5e5, 0, -10, 5e6),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile | more) as file:
        file.write(values)
    return path


def records(source: Path, tile: int = 0) -> list[Record]:
    """What an archive would keep of all that is there."""
    found = []
    for item in Catalogue([str(source)]):
        parts = scene.parts_of(item.image)
        with scene.opened(parts) as datasets:
            windows = [images.text_of(one) for one in scene.tiles(datasets, tile, tile or None)] or [""]
        content = images.content_of(parts.values())
        found += [Record(number_of(content, window), 0, item.source, window) for window in windows]
    return found


def taken(given: dict[str, dict[int, bool]], kept: list[Record], place: Path) -> export.Exported:
    """The export, unpacked."""
    with place.with_suffix(".zip").open("wb") as file:
        done = export.export(file, given, {one.id: one for one in kept})
    with zipfile.ZipFile(place.with_suffix(".zip")) as archive:
        assert archive.testzip() is None
        archive.extractall(place)
    return done


def lines(place: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO((place / export.TABLE).read_text())))


def test_whole_images_of_folders_and_archives_are_copied_as_they_are(tmp_path: Path, tiny: Path) -> None:
    """Two of one name, one in a zip below a folder, one in a zip by itself."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    shutil.copy(tiny / "scene000.png", tmp_path / "a" / "Same.png")
    shutil.copy(tiny / "scene001.png", tmp_path / "b" / "same.png")
    for name, index in (("a/inner.zip", 2), ("alone.zip", 3)):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.write(tiny / f"scene{index:03d}.png", f"deep/in it/scene{index:03d}.png")
    kept = [one for name in ("a", "b", "alone.zip") for one in records(tmp_path / name)]
    assert len(kept) == 4
    given = {"harbor": {one.id: i % 2 == 0 for i, one in enumerate(kept)}, "sea": {kept[1].id: True}}
    given["sea"] |= {one.id: False for one in kept if one is not kept[1]}
    done = taken(given, kept, tmp_path / "out")
    assert (done.images, done.left_out) == (4, [])
    table = lines(tmp_path / "out")
    assert table[0] == ["image", "harbor", "sea"]
    assert [row[1:] for row in table[1:]] == [["1", "0"], ["0", "1"], ["1", "0"], ["0", "0"]]
    by_name = {row[0]: (tmp_path / "out" / row[0]).read_bytes() for row in table[1:]}
    assert sorted(by_name) == [
        f"images/{n}" for n in ("Same.png", "same (2).png", "scene002.png", "scene003.png")
    ]
    assert sorted(by_name.values()) == sorted((tiny / f"scene00{i}.png").read_bytes() for i in range(4))
    for place in ("out", "out.zip"):
        report = sets.check("folder", str(tmp_path / place))
        assert (report.images, report.usable, dict(report.counts)) == (4, 3, {"harbor": 2, "sea": 1})


@pytest.mark.parametrize("kind", ["uint16", "float32", "palette", "mask"])
def test_tiles_keep_their_values_and_their_place(tmp_path: Path, kind: str) -> None:
    values = DICE.integers(0, 250, (1 if kind == "palette" else 4, 100, 130))
    values = values.astype("uint8" if kind in ("palette", "mask") else kind)
    path = written(tmp_path / "s" / "scene.tif", values, nodata=None if kind == "mask" else 7)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.descriptions = [f"B{i}" for i in range(1, len(values) + 1)]
        if kind == "palette":
            file.write_colormap(1, {i: (i, 255 - i, 3, 255) for i in range(256)})
        if kind == "mask":
            file.write_mask(values[0] > 100)
    kept = records(path, 40)
    assert len(kept) == 12
    done = taken({"a": {one.id: True for one in kept}}, kept, tmp_path / "out")
    assert done.images == 12
    names = [row[0] for row in lines(tmp_path / "out")[1:]]
    assert names[0] == "images/scene_0_0_40_40.tif"
    for one, name in zip(kept, names, strict=True):
        left, top, width, height = map(int, one.window.split())
        with rasterio.open(tmp_path / "out" / name) as cut, rasterio.open(path) as whole:
            assert (cut.crs, cut.dtypes, cut.nodata) == (whole.crs, whole.dtypes, whole.nodata)
            assert cut.descriptions == whole.descriptions
            np.testing.assert_array_equal(cut.read(), values[:, top : top + height, left : left + width])
            assert cut.transform == whole.transform * Affine.translation(left, top)
            if kind == "palette":
                assert cut.colormap(1) == whole.colormap(1)
            window = rasterio.windows.Window(left, top, width, height)
            np.testing.assert_array_equal(cut.dataset_mask(), whole.dataset_mask(window=window))
    report = sets.check("folder", str(tmp_path / "out.zip"))
    assert (report.images, report.usable) == (12, 12)


@pytest.mark.parametrize("alone", [True, False])
def test_images_of_a_file_for_each_band_stay_so(tmp_path: Path, alone: bool) -> None:
    """Whole, and as tiles whose second band has pixels of twice the size."""
    folder = tmp_path / "s" / "patch"
    written(folder / "x_B02.tif", DICE.integers(0, 9000, (1, 60, 60)).astype("uint16"))
    written(folder / "x_B05.tif", coarse := DICE.integers(0, 9000, (1, 30, 30)).astype("uint16"))
    if not alone:
        for band in ("B02", "B05"):
            shutil.copy(folder / f"x_{band}.tif", folder / f"y_{band}.tif")
            with rasterio.open(folder / f"y_{band}.tif", "r+") as file:
                file.write(file.read() + 1)
    for root in (tmp_path / "s", folder):
        kept = [*records(root), *records(root, 20)]
        assert len(kept) == (10 if alone else 20)
        place = tmp_path / f"out-{root.name}"
        done = taken({"a": {one.id: True for one in kept}}, kept, place)
        assert done.left_out == []
        names = [row[0] for row in lines(place)[1:]]
        at = next(i for i, one in enumerate(kept) if one.window == "20 40 20 20")
        with rasterio.open(place / names[at] / "B05.tif") as file:
            np.testing.assert_array_equal(file.read(), coarse[:, 20:30, 10:20])
        report = sets.check("folder", str(place))
        assert (report.images, report.usable) == (len(kept), len(kept))


def test_what_is_gone_or_another_image_now_is_left_out_and_said(tmp_path: Path, tiny: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for index in range(4):
        shutil.copy(tiny / f"scene00{index}.png", own / f"{index}.png")
    kept = records(own)
    (own / "0.png").unlink()
    shutil.copy(tiny / "scene009.png", own / "1.png")
    given = {"a": {one.id: True for one in kept[:3]} | {77: True}}
    done = taken(given, kept, tmp_path / "out")
    assert done.images == 1
    assert [(name.rpartition("/")[2], why) for name, why in done.left_out] == [
        ("0.png", "its file is not there any more"),
        ("1.png", "its file has another content now"),
        ("image 77", "it is not in the archive any more"),
    ]
    assert [row[0] for row in lines(tmp_path / "out")] == ["image", "images/2.png"]
    about = (tmp_path / "out" / export.ABOUT).read_text()
    assert "1 images" in about
    assert "1.png: its file has another content now" in about
    shutil.rmtree(own)  # the folder above is not searched through
    assert taken(given, kept, tmp_path / "none").images == 0


def test_it_is_bounded_and_what_is_beyond_is_said(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = records(tiny)[:9]
    given = {"a": {one.id: True for one in kept}}
    monkeypatch.setattr(export, "MOST_IMAGES", 5)
    done = taken(given, kept, tmp_path / "few")
    assert (done.images, len(done.left_out)) == (5, 4)
    assert done.left_out[0][1] == "beyond 5 images or 200 MB"
    monkeypatch.setattr(export, "MOST_BYTES", 2 * (tiny / "scene000.png").stat().st_size)
    done = taken(given, kept, tmp_path / "small")
    assert done.images < 5
    assert sum(path.stat().st_size for path in (tmp_path / "small" / "images").iterdir()) <= export.MOST_BYTES
    assert len(lines(tmp_path / "small")) == done.images + 1


def test_names_that_a_table_or_a_system_would_change_are_made_plain(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in (
        "=1+1.png",
        "**x**<img src=x onerror=alert(1)>.png",
        " a  b .png",
        'say "x", y.png',
        "ü.png",
    ):
        Image.fromarray(DICE.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(own / name, "PNG")
    kept = records(own)
    assert len(kept) == 5
    taken({"a": {one.id: True for one in kept}}, kept, tmp_path / "out")
    rows = lines(tmp_path / "out")[1:]
    assert all((tmp_path / "out" / row[0]).is_file() for row in rows)
    assert {row[0] for row in rows} == {
        "images/_1_1.png", "images/__x___img src_x onerror_alert(1)_.png", "images/a b .png",
        "images/say _x__ y.png", "images/ü.png",
    }  # fmt: skip
    report = sets.check("folder", str(tmp_path / "out.zip"))
    assert (report.images, report.usable) == (5, 5)


def test_a_look_for_a_file_does_not_walk_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "er" / "still").mkdir(parents=True)
    for place in ("deep/a.zip", "deep/er/b.zip", "deep/er/still/c.zip"):
        with zipfile.ZipFile(tmp_path / place, "w") as archive:
            archive.writestr("x.png", b"")
    looked: list[str] = []

    def scan(root: Path, may_unpack: bool) -> list[object]:
        looked.append(root.name)
        return []

    monkeypatch.setattr(originals, "scan", scan)
    assert originals.Originals()._named(f"{tmp_path}/deep/gone/x.png") is None
    assert looked == ["a.zip", "b.zip"]
