"""Scenes: where tiles lie, what is left out, and that a tile is seen as a file of its own would be."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform

from core.archive import scene
from core.archive.catalogue import Catalogue
from core.data.band_files import BandFiles
from core.data.decode import decode, quiet_decoding
from core.data.look import LOOK, Look
from core.data.source import File


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet_decoding():
        yield


def scene_file(path: Path, values: np.ndarray, **profile: Any) -> File:
    """A TIFF or JPEG 2000 of (bands, height, width)."""
    driver = "JP2OpenJPEG" if path.suffix == ".jp2" else "GTiff"
    count, height, width = values.shape
    options = {"driver": driver, "count": count, "height": height, "width": width, "dtype": values.dtype}
    if driver == "JP2OpenJPEG":
        options |= {"QUALITY": "100", "REVERSIBLE": "YES"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rasterio of no coordinates, and affine of rasterio
        with rasterio.open(path, "w", **options | profile) as file:
            file.write(values)
    return File(path.name, path, path.stat().st_size)


def origin(west: float, north: float, step: float) -> rasterio.Affine:
    """Pixels of `step`, north up."""
    return rasterio.Affine(step, 0, west, 0, -step, north)


def noise(bands: int, height: int, width: int, kind: Any = np.uint8, seed: int = 0) -> np.ndarray:
    top = 256 if kind == np.uint8 else 4000
    return np.random.default_rng(seed).integers(1, top, (bands, height, width)).astype(kind)


@contextmanager
def opened(image: File | BandFiles) -> Iterator[dict[str, Any]]:
    with scene.opened(image) as datasets:
        yield datasets


def test_windows_cover_the_scene_and_end_at_its_edges() -> None:
    found = scene.windows(600, 520, 256, 256)
    assert [w[:2] for w in found] == [
        (0, 0), (256, 0), (344, 0), (0, 256), (256, 256), (344, 256), (0, 264), (256, 264), (344, 264),
    ]  # fmt: skip
    assert {w[2:] for w in found} == {(256, 256)}
    assert scene.windows(512, 256, 256, 128) == [(0, 0, 256, 256), (128, 0, 256, 256), (256, 0, 256, 256)]
    assert scene.windows(100, 300, 256, 256) == [(0, 0, 100, 256), (0, 44, 100, 256)]
    covered = np.zeros((520, 600), bool)
    for left, top, width, height in found:
        covered[top : top + height, left : left + width] = True
    assert covered.all()


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:32719", "EPSG:3857", "EPSG:4326"])
@pytest.mark.parametrize("kind", ["tif", "jp2"])
def test_coordinates_are_right_to_half_a_pixel(tmp_path: Path, crs: str, kind: str) -> None:
    step = 1e-4 if crs == "EPSG:4326" else 10.0
    west, north = (9.3, 48.1) if crs == "EPSG:4326" else (512_340.0, 5_312_340.0)
    file = scene_file(
        tmp_path / f"s.{kind}", noise(3, 300, 500), crs=crs, transform=origin(west, north, step)
    )
    with opened(file) as datasets:
        (dataset,) = datasets.values()
        for window in scene.windows(500, 300, 128, 100):
            found = scene.place_of(dataset, window)
            assert found.crs == crs
            (x,), (y,) = transform("EPSG:4326", crs, [found.lon], [found.lat])
            assert abs((x - west) / step - (window[0] + window[2] / 2)) < 0.5
            assert abs((north - y) / step - (window[1] + window[3] / 2)) < 0.5


def test_a_scene_without_coordinates_has_none(tmp_path: Path) -> None:
    file = scene_file(tmp_path / "s.tif", noise(3, 300, 300))
    with opened(file) as datasets:
        assert scene.place_of(datasets[""], (0, 0, 64, 64)) == scene.Place()


@pytest.mark.parametrize("how", ["no-data value", "nan", "mask", "alpha", "nothing said"])
def test_tiles_without_data_are_left_out(tmp_path: Path, how: str) -> None:
    """The left half of the scene is a gap, to the middle of the second column of tiles."""
    values = noise(3, 128, 256, np.float32 if how == "nan" else np.uint16)
    gap = np.zeros((128, 256), bool)
    gap[:, :80] = True
    values[:, gap] = {"no-data value": 7, "nan": np.nan}.get(how, 0)
    options: dict[str, Any] = {"nodata": {"no-data value": 7, "nan": np.nan}.get(how)}
    if how == "alpha":
        values = np.concatenate([values, np.where(gap, 0, 65535)[None].astype(np.uint16)])
        options |= {"photometric": "RGB", "alpha": "unspecified"}
    file = scene_file(tmp_path / "s.tif", values, **options)
    if how == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(file.at, "r+") as written:
            written.write_mask(~gap)
    elif how == "alpha":
        with rasterio.open(file.at, "r+") as written:
            written.colorinterp = [*written.colorinterp[:3], rasterio.enums.ColorInterp.alpha]
    look = Look(limits=((0.0, 4000.0),))
    with opened(file) as datasets:
        tiles = {w[0]: scene.cut(datasets, w, look) for w in scene.windows(256, 128, 64, 64) if w[1] == 0}
    assert tiles[0] is None
    assert all(tiles[left] is not None for left in (64, 128, 192))
    assert tiles[64] is not None
    data, tile_look = tiles[64]  # its left quarter is a gap, and black
    assert decode(data, 64, tile_look)[:, :14].max() <= 2
    assert decode(data, 64, tile_look)[:, 20:].mean() > 50


def test_a_tile_with_more_gaps_than_data_is_left_out(tmp_path: Path) -> None:
    values = noise(1, 64, 128)
    values[:, :, :40], values[:, :, 88:] = 255, 255
    values[:, :, 40:88] = np.minimum(values[:, :, 40:88], 254)
    file = scene_file(tmp_path / "s.tif", values, nodata=255)
    with opened(file) as datasets:
        assert scene.cut(datasets, (0, 0, 64, 64), LOOK) is None
        assert scene.cut(datasets, (16, 0, 64, 64), LOOK) is not None


@pytest.mark.parametrize(
    ("kind", "bands", "look"),
    [
        (np.uint8, 3, LOOK),
        (np.uint8, 1, LOOK),
        (np.uint8, 4, Look(("4", "3", "2"))),
        (np.uint16, 1, Look(limits=((0.0, 4000.0),))),
        (np.uint16, 5, Look(("5", "3", "1"), ((0.0, 4000.0), (100.0, 3000.0), (50.0, 2000.0)))),
        (np.float32, 4, Look(("2",), ((10.0, 3900.0),))),
        (np.int16, 3, Look()),
    ],
)
def test_a_tile_is_seen_as_a_file_of_its_own(tmp_path: Path, kind: Any, bands: int, look: Look) -> None:
    """With the run's bands and stretch: equal to the same part saved as an image and decoded."""
    values = noise(bands, 200, 230, kind)
    file = scene_file(tmp_path / "scene.tif", values)
    alone = scene_file(tmp_path / "alone.tif", values[:, 70:134, 100:164])
    with opened(file) as datasets:
        tile = scene.cut(datasets, (100, 70, 64, 64), look)
    assert tile is not None
    np.testing.assert_array_equal(decode(tile[0], 40, tile[1]), decode(alone.read(), 40, look))


def test_a_tile_of_a_palette_has_its_colours(tmp_path: Path) -> None:
    values = noise(1, 100, 100) % 3
    file = scene_file(tmp_path / "s.tif", values, photometric="palette")
    colours = {0: (250, 10, 10, 255), 1: (10, 250, 10, 255), 2: (10, 10, 250, 255)}
    with rasterio.open(file.at, "r+") as written:
        written.write_colormap(1, colours)
    with opened(file) as datasets:
        tile = scene.cut(datasets, (20, 30, 50, 50), LOOK)
    assert tile is not None
    expected = np.array([colours[i][:3] for i in range(3)], np.uint8)[values[0, 30:80, 20:70]]
    np.testing.assert_array_equal(decode(tile[0], 50, tile[1]), expected)


def test_tiles_of_one_file_per_band(tmp_path: Path) -> None:
    """As Sentinel-2 comes: one of the bands has pixels of twice the size."""
    fine = noise(1, 256, 256, np.uint16)
    coarse = noise(1, 128, 128, np.uint16, seed=1)
    files = {
        "B02": scene_file(tmp_path / "x_B02.jp2", fine),
        "B03": scene_file(tmp_path / "x_B03.jp2", fine // 2),
        "B04": scene_file(tmp_path / "x_B04.jp2", coarse),
    }
    look = Look(limits=((0.0, 4000.0),))
    with opened(BandFiles("x", tuple(files.items()))) as datasets:
        assert scene.side(datasets) == (256, 256)
        tile = scene.cut(datasets, (64, 128, 64, 64), look)
    assert tile is not None
    seen = decode(tile[0], 64, tile[1])
    red = coarse[0, 64:96, 32:64].repeat(2, 0).repeat(2, 1)
    for at, band in enumerate((red, fine[0, 128:192, 64:128] // 2, fine[0, 128:192, 64:128])):
        assert np.abs(seen[..., at] - band / 4000 * 255).max() < 0.51


def test_which_images_are_scenes(tmp_path: Path) -> None:
    """TIFF and JPEG 2000 of 2,048 pixels or more; with --tile those that are larger than a tile."""
    large = noise(1, 20, 2048)
    for name, values in (("large.tif", large), ("small.tif", large[:, :, :2047]), ("large.jp2", large)):
        scene_file(tmp_path / name, values)
    scene_file(tmp_path / "x.tif", noise(1, 20, 20)).at.rename(tmp_path / "tiny.tif")

    def cut(tile: int | None, stride: int | None = None) -> dict[str, int]:
        counts = {}
        for item in Catalogue([str(tmp_path)]):
            with opened(item.image) as datasets:
                counts[Path(item.source).name] = len(scene.tiles(datasets, tile, stride))
        return counts

    assert cut(None) == {"large.jp2": 8, "large.tif": 8, "small.tif": 0, "tiny.tif": 0}
    assert cut(0) == {"large.jp2": 0, "large.tif": 0, "small.tif": 0, "tiny.tif": 0}
    assert cut(1024) == {"large.jp2": 2, "large.tif": 2, "small.tif": 2, "tiny.tif": 0}
    assert cut(1024, 512) == {"large.jp2": 3, "large.tif": 3, "small.tif": 3, "tiny.tif": 0}
