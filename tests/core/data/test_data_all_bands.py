"""All bands of an image, or any number of them: what is prepared, stretched, shown and refused."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import data
from core.background.cache import cache_root
from core.data import Reading, preview, twins
from core.data.look import STRETCH, Look
from core.errors import MaclError
from tests import data_fakes as fakes
from tests.core.data.test_data_band_files import BANDS, pixels
from tests.core.data.test_data_band_files import N as PATCHES
from tests.core.data.test_data_band_files import folder as patches
from tests.core.data.test_data_raster import pages, seen, written
from tests.core.data.test_data_stretch import N, brighter, folder, loaded


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path_factory.mktemp("cache")))


def many(i: int, count: int = 13) -> np.ndarray:
    """(C, 80, 80) uint16, each band in a range of its own."""
    rng = np.random.default_rng(i)
    return (rng.integers(0, 900, (count, 80, 80)) + 100 * np.arange(count)[:, None, None]).astype(np.uint16)


def grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(C, H, W) as grey levels (H, W, C)."""
    return np.rint((values.transpose(1, 2, 0).astype(float).clip(low, high) - low) / (high - low) * 255)


def encoded(values: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("write", [written, pages], ids=["bands", "pages"])
def test_all_bands_are_prepared_each_with_a_stretch_of_its_own(
    tmp_path: Path, write: Callable[[np.ndarray], bytes]
) -> None:
    root = folder(tmp_path / "set", lambda i: write(many(i)))
    d = loaded(root, bands="all")
    assert d.images.shape == (N, 80, 80, 13)
    assert (d.images.dtype, d.look.channels, len(d.look.limits)) == (np.uint8, 13, 13)
    for band in (0, 5, 12):
        low, high = np.percentile([many(i)[band] for i in range(N)], (2, 98))
        assert d.look.limits[band] == pytest.approx((low, high))
        for i in (0, 9):
            right = grey(many(i)[[band]], low, high)[..., 0]
            assert np.abs(d.images[i, ..., band] - right).max() <= 1
    assert (d.picture(3) == d.images[3][..., :3]).all(), "without names the first three are shown"


def test_what_is_shown_is_said_and_can_be_chosen(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", lambda i: written(brighter(i)))
    d = loaded(root, bands="all", stretch="0:6000")
    for i in (0, 9):
        assert np.abs(d.images[i] - grey(brighter(i), 0, 6000)).max() <= 1
    assert (
        "the network sees 4 bands; 1, 2, 3 are shown as red, green and blue: choose others with "
        "--bands all:1,2,3" in d.notes
    )
    for text, shown in (("all:4,3,2", [3, 2, 1]), ("ALL: 2", [1, 1, 1])):
        other = loaded(root, bands=text, stretch="0:6000")
        assert (other.picture(5) == d.images[5][..., shown]).all()
        assert other.key == d.key, "the pixels that are trained on are the same"
        assert other.picture_key != d.picture_key
    assert len(list((cache_root() / "prepared").iterdir())) == 1
    with pytest.raises(MaclError, match=r"^im0000.tif has no band 5: it has 1 to 4; choose with --bands$"):
        loaded(root, bands="all:5,1,1")


@pytest.mark.parametrize(
    ("names", "bands", "shown"),
    [
        (("B02", "B03", "B04", "B08"), "all", [2, 1, 0]),
        (("B02", "B03", "B04", "B08"), "all:B8,b04,B03", [3, 2, 1]),
        (("B02", "B03", "B04", "B08"), "all:1", [0, 0, 0]),
        (("blue", "green", "red", "nir"), "all", [2, 1, 0]),
        (
            ("B2, central wavelength 490 nm", "B3, 560 nm", "B4, 665 nm", "B8, 842 nm"),
            "all:B04,B3,B2",
            [2, 1, 0],
        ),
        (("490", "560", "665", "842"), "all:3,2,1", [2, 1, 0]),
        (("grey", "grey", "grey", "a;b\n"), "all:4", [3, 3, 3]),
    ],
)
def test_names_of_bands(tmp_path: Path, names: tuple[str, ...], bands: str, shown: list[int]) -> None:
    root = folder(tmp_path / "set", lambda i: written(brighter(i), names))
    d = loaded(root, bands=bands, stretch="0:6000")
    for i in (0, 9):
        assert np.abs(d.images[i] - grey(brighter(i), 0, 6000)).max() <= 1, "in the order of the file"
        assert (d.picture(i) == d.images[i][..., shown]).all()
    assert Look.of(d.look.text).chosen(names) == [0, 1, 2, 3]
    assert loaded(root, bands=bands, stretch="0:6000").look == d.look, "the same when it is remembered"


@pytest.mark.parametrize("without", [0, 8])
def test_bands_with_names_are_found_by_name_in_every_image(tmp_path: Path, without: int) -> None:
    """Those of the first images have none, and are in the order of the others."""
    names = ("B02", "B03", "B04", "B08")

    def image(i: int) -> bytes:
        order = [3, 0, 2, 1] if i == 9 else [0, 1, 2, 3]
        return written(brighter(i)[order], [names[k] for k in order] if i >= without else ())

    d = loaded(folder(tmp_path / "set", image), bands="all", stretch="0:6000")
    for i in (5, 9):
        assert np.abs(d.images[i] - grey(brighter(i), 0, 6000)).max() <= 1
    assert d.look.bands == names


@pytest.mark.parametrize("wrong", [1, 3, 5])
def test_an_image_with_another_number_of_bands_is_broken(tmp_path: Path, wrong: int) -> None:
    root = folder(tmp_path / "set", lambda i: written(many(i, wrong if i == 7 else 4)))
    text = f"{f'{wrong} bands' if wrong > 1 else 'one band'} where the data set has 4"
    with pytest.raises(MaclError, match=f"^1 of {N} images cannot be used: im0007.tif: {text}; choose with"):
        loaded(root, bands="all")
    d = data.load("folder", root, 64, skip_broken=True, reading=Reading(bands="all"))
    assert d.images.shape == (N - 1, 80, 80, 4)
    assert d.skipped == (("im0007.tif", f"{text}; choose with --bands"),)
    report = data.check("folder", root, decode=True, reading=Reading(bands="all"))
    assert report.broken == d.skipped


def test_images_of_which_none_can_be_read_are_one_sentence(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", lambda i: b"II*\0 and no more")
    with pytest.raises(MaclError, match=r"^neither im0000\.tif nor another image of a sample can be read"):
        loaded(root, bands="all")


def test_transparency_is_no_band_but_near_infrared_tagged_so_is(tmp_path: Path) -> None:
    def image(i: int, last: np.ndarray) -> bytes:
        return written(np.concatenate([brighter(i)[:3], last[None].astype(np.uint16)]), alpha=True)

    opaque = np.full((80, 80), 65535)
    opaque[:8] = 0
    edge = loaded(folder(tmp_path / "edge", lambda i: image(i, opaque)), bands="all", stretch="0:6000")
    assert edge.images.shape == (N, 80, 80, 3)
    assert (edge.images[:, :8] == 0).all()
    assert np.abs(edge.images[4, 8:] - grey(brighter(4)[:3], 0, 6000)[8:]).max() <= 1
    infrared = folder(tmp_path / "nir", lambda i: image(i, brighter(i)[3]))
    d = loaded(infrared, bands="all", stretch="0:6000")
    assert np.abs(d.images[4] - grey(brighter(4), 0, 6000)).max() <= 1


def test_a_single_band_is_a_single_channel(tmp_path: Path) -> None:
    d = loaded(folder(tmp_path / "set", lambda i: written(brighter(i)[:1])), bands="all")
    assert d.images.shape == (N, 80, 80, 1)
    assert (d.picture(2) == d.images[2]).all()
    assert d.picture(2).shape == (80, 80, 3)


def test_all_bands_of_plain_images(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (N, 80, 80, 3)).astype(np.uint8)
    d = loaded(folder(tmp_path / "rgb", lambda i: encoded(colours[i])), bands="all")
    assert (d.images == colours).all()
    grey_ones = folder(tmp_path / "grey", lambda i: encoded(colours[i, ..., 0]))
    assert (loaded(grey_ones, bands="all").images == colours[..., :1]).all()
    four = folder(tmp_path / "four", lambda i: written(np.concatenate([colours[i].T, colours[i].T[:1]])))
    assert (loaded(four, bands="all").images == colours.transpose(0, 2, 1, 3)[..., [0, 1, 2, 0]]).all()


def test_one_file_per_band(tmp_path: Path) -> None:
    root = patches(tmp_path / "set", "p{i:02d}/p{i:02d}_{band}.tif", "p{i:02d}")
    reading = Reading(bands="all", stretch="0:3000")
    d = data.load("folder", root, 64, reading=reading)
    assert d.look.bands == BANDS
    assert d.images.shape == (PATCHES, 80, 80, len(BANDS))
    for k, band in enumerate(BANDS):
        values = pixels(2, band)[0]
        large = values.repeat(80 // len(values), 0).repeat(80 // len(values), 1)
        assert np.abs(d.images[2, ..., k] - np.rint(large / 3000 * 255)).max() <= 1
    assert (d.picture(2) == d.images[2][..., [2, 1, 0]]).all(), "B04, B03, B02"
    (root / "p03" / "p03_B8A.tif").unlink()
    d = data.load("folder", root, 64, skip_broken=True, reading=reading)
    assert d.skipped == (("p03", "4 bands where the data set has 5; choose with --bands"),)
    (root / "p03" / "p03_B8A.tif").touch()
    (root / "p03" / "p03_B8A.tif").rename(root / "p03" / "p03_B09.tif")
    d = data.load("folder", root, 64, skip_broken=True, reading=reading)
    assert d.skipped[0][1] == "no band B8A: it has B02, B03, B04, B09, B11; choose with --bands"


@pytest.mark.parametrize(
    ("bands", "rows", "shown"),
    [
        ("4,1,2,3", [3, 0, 1, 2], [3, 0, 1]),
        ("B08,B04,B03,B02", [3, 2, 1, 0], [3, 2, 1]),
        ("4,1,2,3:3,2,1", [3, 0, 1, 2], [2, 1, 0]),
        ("2,4", [1, 3], [1, 1, 1]),
        ("4,3,2:2", [3, 2, 1], [1, 1, 1]),
    ],
)
def test_any_number_of_bands(tmp_path: Path, bands: str, rows: list[int], shown: list[int]) -> None:
    names = ("B02", "B03", "B04", "B08")
    d = loaded(folder(tmp_path / "set", lambda i: written(brighter(i), names)), bands=bands, stretch="0:6000")
    assert d.look.channels == len(rows)
    for i in (0, 9):
        assert np.abs(d.images[i] - grey(brighter(i)[rows], 0, 6000)).max() <= 1
        assert np.abs(d.picture(i) - grey(brighter(i)[shown], 0, 6000)).max() <= 1


def test_many_bands_have_a_table_of_grey_levels_each() -> None:
    look = Look(tuple(map(str, range(1, 31))), tuple((float(k), 900.0 + k) for k in range(30)), whole=True)
    values = many(0, 30)
    right = [grey(values[[k]], k, 900 + k)[..., 0] for k in range(30)]
    assert np.abs(look.levels(values) - np.stack(right, axis=-1)).max() <= 1


@pytest.mark.parametrize(
    "look",
    [
        Look((), ((0.0, 3000.0),)),
        Look(("3",), ((0.0, 3000.0),)),
        Look(("4", "3", "2"), ((0.0, 3000.0), (0.0, 2000.0), (0.0, 1000.0)), shown=(2,)),
        Look(("B08", "B02"), ((0.0, 3000.0), (0.0, 2000.0))),
        Look(("B02", "B03", "B04", "B08"), ((0.0, 3000.0),), whole=True, shown=(2, 1, 0)),
        Look(("B02",), ((0.0, 3000.0),), whole=True),
    ],
)
def test_a_part_that_holds_the_chosen_bands_only_is_seen_alike(look: Look) -> None:
    names = ("B02", "B03", "B04", "B08")[: len(look.bands) if look.whole else 4]
    values = many(0, 4)[: len(names)]
    part = written(values[look.chosen(names)])
    found = seen(part, look.cut(), 80)
    assert (found == seen(written(values, names), look, 80)).all()
    assert (look.cut().rgb(found) == look.rgb(found)).all()


def test_runs_and_arrays_of_before_keep_their_key() -> None:
    assert Look(("4", "3", "2"), ((0.0, 3000.0),)).key == "bands 4,3,2; 0.0:3000.0"
    assert Look.of("bands 4,3,2; 0.0:3000.0") == Look(("4", "3", "2"), ((0.0, 3000.0),))
    assert Look.of(STRETCH) == Look()
    assert (Look().channels, Look(("3",)).channels, Look(("3", "2", "1")).channels) == (3, 3, 3)


@pytest.mark.parametrize("count", [1, 2, 4, 13])
def test_near_duplicates_of_any_number_of_bands(count: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 40, count)).astype(np.uint8)
    images[3] = images[1]
    assert [(pair.a, pair.b) for pair in twins.find(images)] == [(1, 3)]


def test_a_preview_shows_the_colours_of_choice(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", lambda i: written(brighter(i)))
    left = {}
    for bands in ("all", "all:4,3,2"):
        images = data.ImageSet("folder", str(root), 64, reading=Reading(bands=bands, stretch="0:6000"))
        d = images.load()
        preview.main(None, images.to_json(), d.picture_key, "0", "5")
        with Image.open(preview.path(d.picture_key, 64, 0, 5)) as strip:
            left[bands] = np.asarray(strip)[:, :64, :3]
        versions = preview.draw(d.images[5], 64, 0)
        assert versions.shape == (1 + preview.VERSIONS, 64, 64, 4)
        assert (left[bands] == d.look.rgb(versions[0])).all()
    assert (left["all"][..., [2, 1]] == left["all:4,3,2"][..., [1, 2]]).all()
    assert (left["all"][..., 0] != left["all:4,3,2"][..., 0]).any()


def test_a_zip_of_patches_in_one_file_per_band(tmp_path: Path) -> None:
    root = patches(tmp_path / "set", "p{i:02d}/{band}.tif", "p{i:02d}")
    zipped = fakes.pack(root, tmp_path / "set.zip")
    reading = Reading(bands="all")
    assert not data.is_prepared("folder", zipped, 64, reading)
    assert data.load("folder", zipped, 64, reading=reading).images.shape[3] == len(BANDS)
    assert data.is_prepared("folder", zipped, 64, reading)
    assert not data.is_prepared("folder", zipped, 64)
