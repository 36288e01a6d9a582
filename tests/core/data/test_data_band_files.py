"""One file per band: what belongs to one image, what a table calls it, and pixels of bands of all sizes."""

from pathlib import Path

import numpy as np
import pytest

from core import data
from core.data import Reading
from core.data.band_files import BandFiles, grouped
from core.data.source import File
from tests import data_fakes as fakes
from tests.core.data.test_data_raster import written

BANDS = ("B02", "B03", "B04", "B8A", "B11")
N = 12


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path_factory.mktemp("cache")))


def pixels(i: int, band: str) -> np.ndarray:
    """(1, P, P) uint16; B11 has half as many."""
    side = 40 if band == "B11" else 80
    return np.random.default_rng([i, BANDS.index(band)]).integers(0, 3000, (1, side, side)).astype(np.uint16)


def folder(root: Path, pattern: str, cell: str) -> Path:
    """Patches as files of a pattern, with a table that calls them as `cell` says."""
    for i in range(N):
        for band in BANDS:
            path = root / pattern.format(i=i, band=band)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(written(pixels(i, band)))
    rows = [cell.format(i=i) for i in range(N)]
    fakes.table(root / "labels.csv", ["image", "a", "b"], rows, fakes.labels(N, 2))
    return root


def grey(i: int, bands: tuple[str, ...]) -> np.ndarray:
    values = [pixels(i, band)[0] for band in bands]
    large = [v.repeat(2, 0).repeat(2, 1) if len(v) == 40 else v for v in values]
    return np.rint(np.stack(large, axis=-1) / 3000 * 255)


@pytest.mark.parametrize(
    ("pattern", "cell"),
    [
        ("p{i:02d}/p{i:02d}_{band}.tif", "p{i:02d}"),
        ("p{i:02d}/{band}.tif", "p{i:02d}"),
        ("p{i:02d}/T32_2017_{band}.tif", "p{i:02d}"),
        ("tiles/one/T{i:02d}_{band}_10m.tif", "T{i:02d}"),
        ("one_folder/p{i:02d}/X{i:02d}_{band}.tif", "X{i:02d}"),
        ("p{i:02d}_{band}.tif", "p{i:02d}"),
        ("p{i:02d}-{band}.TIF", "p{i:02d}"),
    ],
)
def test_one_image_for_each_folder_or_start(tmp_path: Path, pattern: str, cell: str) -> None:
    root = folder(tmp_path / "set", pattern, cell)
    for place in (root, fakes.pack(root, tmp_path / "set.zip")):
        d = data.load("folder", place, 64, reading=Reading(stretch="0:3000"))
        assert len(d) == N
        assert (d.labels == fakes.labels(N, 2)).all()
        for i in range(N):
            assert np.abs(d.images[i] - grey(i, ("B04", "B03", "B02"))).max() <= 1
        assert "one file per band: 12 images with bands B02, B03, B04, B8A, B11" in d.notes
        assert any(
            note.startswith("bands B04, B03, B02 are shown as red, green and blue") for note in d.notes
        )
    assert data.sides("folder", root) == [(80, 80)]


def test_bands_by_name_and_number_have_the_size_of_the_largest(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", "p{i:02d}/p{i:02d}_{band}.tif", "p{i:02d}")
    for bands in ("B11,B8A,B02", "5,4,1"):
        d = data.load("folder", root, 64, reading=Reading(bands=bands, stretch="0:3000"))
        assert np.abs(d.images[3] - grey(3, ("B11", "B8A", "B02"))).max() <= 1


def test_one_stretch_for_all(tmp_path: Path) -> None:
    d = data.load("folder", folder(tmp_path / "set", "p{i:02d}/{band}.tif", "p{i:02d}"), 64)
    expected = np.percentile([pixels(i, "B04") for i in range(N)], (2, 98))
    assert d.look.limits[0] == pytest.approx(tuple(expected))


def test_a_change_of_any_band_is_seen(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", "p{i:02d}/{band}.tif", "p{i:02d}")
    before = data.load("folder", root, 64).key
    (root / "p03" / "B8A.tif").write_bytes(written(pixels(7, "B02")))
    assert data.load("folder", root, 64).key != before


def test_a_band_that_an_image_lacks_is_said_of_it(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", "p{i:02d}/{band}.tif", "p{i:02d}")
    (root / "p03" / "B11.tif").unlink()
    d = data.load("folder", root, 64, skip_broken=True, reading=Reading(bands="B11"))
    assert d.skipped == (("p03", "no band B11: it has B02, B03, B04, B8A; choose with --bands"),)


def test_images_that_are_only_called_so_stay_images(tmp_path: Path) -> None:
    """Colour images of buildings B1 and B2, and files that the table names one by one."""
    for name, count in (("colour", 3), ("grey", 1)):
        root = tmp_path / name
        root.mkdir()
        names = [f"house{i}_B{k}.tif" for i in range(6) for k in (1, 2)]
        for i, file in enumerate(names):
            (root / file).write_bytes(written(np.full((count, 8, 8), i * 20, np.uint8)))
        fakes.table(root / "labels.csv", ["image", "a", "b"], names, fakes.labels(12, 2))
        d = data.load("folder", root, 64)
        assert d.names == tuple(names)
        assert (d.images[:, 0, 0, 0] == np.arange(12) * 20).all()


def paths(*names: str) -> list[File]:
    return [File(name, Path(name), 0) for name in names]


@pytest.mark.parametrize(
    ("names", "images"),
    [
        (("a/x_B02.jp2", "a/x_B03.jp2"), {"a": "B02 B03"}),
        (("a/x_B02_10m.jp2", "a/x_B02_20m.jp2", "a/x_B05_20m.jp2"), {"a": "B02 B05"}),
        (("a/x_B8.tif", "a/x_B8A.tif", "a/x_B09.tif", "a/x_B10.tif"), {"a": "B8 B8A B09 B10"}),
        (("x_band1.tif", "x_band2.tif", "y_band1.tif", "y_band2.tif"), {"x": "B1 B2", "y": "B1 B2"}),
        (("x_VV.tif", "x_VH.tif"), {"x": "vh vv"}),
        (("x_red.tif", "x_green.tif", "x_blue.tif"), {"x": "blue green red"}),
        (("x_red.tif", "x_blue.tif"), {"x_red.tif": "", "x_blue.tif": ""}),
        (("tub2.tif", "tub3.tif"), {"tub2.tif": "", "tub3.tif": ""}),
        (("x_B2.png", "x_B3.png"), {"x_B2.png": "", "x_B3.png": ""}),
        (("x_B2.tif", "y_B2.tif"), {"x_B2.tif": "", "y_B2.tif": ""}),
        (("a/x_B02.tif", "a/x_B03.tif", "a/z.png"), {"a/x": "B02 B03", "a/z.png": ""}),
    ],
)
def test_which_files_are_bands(names: tuple[str, ...], images: dict[str, str]) -> None:
    found, _ = grouped(paths(*names))
    bands = {i.path: " ".join(name for name, _ in i.bands) if isinstance(i, BandFiles) else "" for i in found}
    assert bands == images
