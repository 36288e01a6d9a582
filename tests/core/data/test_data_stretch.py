"""How the images of a whole data set are seen: one stretch for all, the bands of choice, and the key."""

import csv
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from core import data
from core.data import Reading, prepared
from core.data.checksums import checksums
from core.data.look import LOOK, STRETCH, Look
from core.errors import MaclError
from tests import data_fakes as fakes
from tests.core.data.test_data_raster import pages, written

N = 16


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path_factory.mktemp("cache")))


def folder(root: Path, image: Callable[[int], bytes], count: int = N) -> Path:
    """A person's images with a table of two labels."""
    root.mkdir(parents=True)
    with (root / "labels.csv").open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["image", "a", "b"])
        for i in range(count):
            (root / f"im{i:04d}.tif").write_bytes(image(i))
            rows.writerow([f"im{i:04d}.tif", 1, i % 2])
    return root


def brighter(i: int) -> np.ndarray:
    """(4, 80, 80) uint16: as large as they are prepared at 64, so that no pixel is mixed with another."""
    rng = np.random.default_rng(i)
    return (rng.integers(0, 400, (4, 80, 80)) + 300 * i + np.array([0, 50, 900, 7])[:, None, None]).astype(
        "uint16"
    )


def loaded(root: Path, **reading: str) -> data.Dataset:
    return data.load("folder", root, 64, reading=Reading(**reading))


def expected(bands: list[int], low: float, high: float) -> np.ndarray:
    values = np.stack([brighter(i)[bands] for i in range(N)]).transpose(0, 2, 3, 1).astype(float)
    return np.rint((values.clip(low, high) - low) / (high - low) * 255)


def test_one_stretch_for_the_data_set_keeps_dark_images_dark(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", lambda i: written(brighter(i)))
    d = loaded(root)
    means = d.images.mean(axis=(1, 2, 3))
    assert (np.diff(means) > 5).all(), "each with a stretch of its own has a mean of 127"
    for band in range(3):
        low, high = np.percentile([brighter(i)[band] for i in range(N)], (2, 98))
        assert d.look.limits[band] == pytest.approx((low, high))
        assert np.abs(d.images[..., band] - expected([band], low, high)[..., 0]).max() <= 1
    (note,) = [note for note in d.notes if "stretch" in note]
    shown = ", ".join(f"{low:.6g} to {high:.6g}" for low, high in d.look.limits)
    assert note == (
        f"images of more than 8 bits: one stretch for all, {shown} become black to white (2 to 98 % of "
        "16 images), or another with --stretch"
    )
    report = data.check("folder", root)
    assert note in report.notes
    assert loaded(root).look == d.look, "the same when it is remembered"


def test_other_stretches_by_choice(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", lambda i: written(brighter(i)))
    assert np.abs(loaded(root, stretch="0:3000").images - expected([0, 1, 2], 0, 3000)).max() <= 1
    assert np.abs(loaded(root, stretch="none").images - expected([0, 1, 2], 0, 255)).max() <= 1
    own = loaded(root, stretch="image").images
    assert np.ptp(own.mean(axis=(1, 2, 3))) < 10
    for i in (0, 9):
        first = brighter(i)[:3]
        low, high = (np.percentile(first, q, method=m) for q, m in ((0.5, "lower"), (99.5, "higher")))
        right = np.rint((first.astype(float).clip(low, high) - low) / (high - low) * 255)
        assert np.abs(own[i] - right.transpose(1, 2, 0)).max() <= 1


def test_the_bands_of_choice(tmp_path: Path) -> None:
    names = ("B02", "B03", "B04", "B08")
    root = folder(tmp_path / "set", lambda i: written(brighter(i), names))
    by_number = loaded(root, bands="4,1,2", stretch="0:6000")
    assert np.abs(by_number.images - expected([3, 0, 1], 0, 6000)).max() <= 1
    by_name = loaded(root, bands="B08,B02,B03", stretch="0:6000")
    assert (by_name.images == by_number.images).all()
    natural = loaded(root, stretch="0:6000")
    assert np.abs(natural.images - expected([2, 1, 0], 0, 6000)).max() <= 1
    assert "bands B04, B03, B02 are shown as red, green and blue: choose others with --bands" in natural.notes
    low, high = np.percentile([brighter(i)[2] for i in range(N)], (2, 98))
    assert loaded(root).look.limits[0] == pytest.approx((low, high)), "the limits are those of the bands seen"


def test_a_band_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", lambda i: written(brighter(i)))
    text = "im0000.tif has no band 9: it has 1 to 4; choose with --bands"
    with pytest.raises(MaclError) as caught:
        loaded(root, bands="9,3,2")
    assert str(caught.value) == text
    assert data.check("folder", root, reading=Reading(bands="9,3,2")).problems == (text,)
    assert not data.is_prepared("folder", root, 64, Reading(bands="9,3,2"))


def test_thirteen_pages_are_thirteen_bands(tmp_path: Path) -> None:
    def image(i: int) -> np.ndarray:
        return np.random.default_rng(i).integers(0, 3000, (13, 80, 80)).astype(np.uint16)

    root = folder(tmp_path / "set", lambda i: pages(image(i)))
    for bands, rows in (("", [0, 1, 2]), ("4,3,2", [3, 2, 1])):
        images = loaded(root, bands=bands, stretch="0:3000").images
        right = np.rint(image(5)[rows].transpose(1, 2, 0) / 3000 * 255)
        assert np.abs(images[5] - right).max() <= 1


def test_what_has_no_data_does_not_count(tmp_path: Path) -> None:
    def image(i: int) -> bytes:
        values = brighter(i)
        values[:, :30] = 65535
        return written(values, nodata=65535)

    d = loaded(folder(tmp_path / "set", image))
    low, high = np.percentile([brighter(i)[0, 30:] for i in range(N)], (2, 98))
    assert d.look.limits[0] == pytest.approx((low, high))
    assert (d.images[:, :30] == 0).all()


def test_plain_images_are_left_alone_and_keep_their_key(tmp_path: Path) -> None:
    """What an earlier version prepared is still there."""
    values = np.random.default_rng(0).integers(0, 256, (N, 3, 80, 80)).astype(np.uint8)
    root = folder(tmp_path / "set", lambda i: written(values[i], photometric="RGB"))
    d = loaded(root)
    assert (d.images == values.transpose(0, 2, 3, 1)).all()
    files = data.find("folder", root).files
    before = sha256("\n".join(["3 80", *checksums(files)]).encode()).hexdigest()[:32]
    assert d.key == before
    assert (d.look, d.look.text, d.notes) == (LOOK, STRETCH, data.find("folder", root).notes)
    assert prepared.key_of(checksums(files), 80) == before


def test_prepared_by_an_earlier_version_is_prepared(tmp_path: Path) -> None:
    """Without what this version remembers of the look."""
    root = folder(tmp_path / "set", lambda i: written(brighter(i)[:3].astype(np.uint8), photometric="RGB"))
    zipped = fakes.pack(root, tmp_path / "set.zip")
    data.load("folder", zipped, 64)
    for file in (prepared.cache_root() / "looks").iterdir():
        file.unlink()
    assert data.is_prepared("folder", zipped, 64)


def test_every_choice_has_an_array_of_its_own(tmp_path: Path) -> None:
    zipped = fakes.pack(folder(tmp_path / "set", lambda i: written(brighter(i))), tmp_path / "set.zip")
    keys = set()
    for reading in (
        Reading(),
        Reading(bands="3,2,1"),
        Reading(stretch="image"),
        Reading(stretch="none"),
        Reading(stretch="0:3000"),
    ):
        assert not data.is_prepared("folder", zipped, 64, reading)
        d = data.load("folder", zipped, 64, reading=reading)
        assert data.is_prepared("folder", zipped, 64, reading)
        keys.add(d.key)
    assert len(keys) == 5
    assert len(list((prepared.cache_root() / "prepared").iterdir())) == 5


def test_the_sample_is_spread_over_the_whole_set(tmp_path: Path) -> None:
    """The first images are dark: of them alone all others would be white."""
    count = 450
    root = folder(tmp_path / "set", lambda i: written(np.full((1, 4, 4), i * 10, np.uint16)), count)
    ((low, high),) = data.load("folder", root, 64).look.limits
    assert (low, high) == pytest.approx((0.02 * 4490, 0.98 * 4490), abs=30)


def test_eight_bits_among_deep_ones_are_left_alone(tmp_path: Path) -> None:
    small = np.arange(80 * 80 * 3).reshape(3, 80, 80).astype(np.uint8)
    d = loaded(folder(tmp_path / "set", lambda i: written(small if i == 4 else brighter(i)[:3])))
    assert (d.images[4] == small.transpose(1, 2, 0)).all()
    low, high = np.percentile([brighter(i)[0] for i in range(N) if i != 4], (2, 98))
    assert d.look.limits[0] == pytest.approx((low, high))


def test_one_deep_band_becomes_grey(tmp_path: Path) -> None:
    d = loaded(folder(tmp_path / "set", lambda i: written(brighter(i)[:1])))
    assert (d.images == d.images[..., :1]).all()
    assert len(d.look.limits) == 1


@pytest.mark.parametrize(
    "look",
    [
        Look(),
        Look(limits=((1.5, 3.25e-7 + 2),)),
        Look(("4", "3", "2"), ((0.1, 1 / 3 + 1), (-5.0, 2.0), (0.0, 3000.0))),
        Look(("B8A",)),
        Look(("8", "4", "3", "2"), ((0.0, 3000.0),)),
        Look(("B02", "band 3", "B8A"), whole=True, shown=(2, 1, 0)),
        Look(("1",), ((0.0, 1.0),), whole=True),
    ],
)
def test_a_look_is_read_from_its_text(look: Look) -> None:
    assert Look.of(look.text) == look


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"bands": "4,,2"},
            "need bands with commas between such as 4,3,2 or B04,B03,B02, or all, and perhaps what is shown "
            "of them as in all:4,3,2, got '4,,2'",
        ),
        ({"bands": "all:"}, "got 'all:'"),
        ({"bands": ":4,3,2"}, "got ':4,3,2'"),
        ({"bands": "8,4,3,2:8,4,1"}, "got '8,4,3,2:8,4,1'"),
        (
            {"bands": "all:4,3"},
            "need one band to be shown, or red, green and blue such as all:4,3,2, got 'all:4,3'",
        ),
        ({"stretch": "auto"}, "need dataset, image, none, or LOW:HIGH such as 0:3000, got 'auto'"),
        ({"stretch": "5:5"}, "got '5:5'"),
        ({"stretch": "0:inf"}, "got '0:inf'"),
    ],
)
def test_what_is_unclear_is_asked_for(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Reading(**fields)
    assert message in str(caught.value)
