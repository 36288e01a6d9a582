"""Images as people have them: which bands are seen is said, and nothing else is printed."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import data
from core.data import Reading, raster
from core.data.look import Look
from core.files import PROJECT
from tests import data_fakes as fakes

N = 12
SAID = "images of more than 8 bits"


def deep(i: int, shape: tuple[int, ...], kind: str = "uint16") -> np.ndarray:
    """Values that become brighter from image to image."""
    return (np.random.default_rng(i).integers(0, 400, shape) + 300 * i).astype(kind)


def tiff(path: Path, bands: np.ndarray, **profile: object) -> None:
    """Bands (C, H, W) as a TIFF of one page."""
    import rasterio

    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=bands.dtype, **profile
    ) as file:
        file.write(bands)


def folder(root: Path, make) -> Path:
    """A folder of N images with a table."""
    root.mkdir(parents=True)
    for i in range(N):
        make(root, i)
    rows = "".join(f"im{i:02d},{i % 2},{1 - i % 2}\n" for i in range(N))
    (root / "labels.csv").write_text(f"image,a,b\n{rows}")
    return root


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("count", "kind", "said"),
    [
        (13, "uint16", "of 13 bands 1, 2, 3 are shown as red, green and blue: choose others with --bands"),
        (5, "float32", "of 5 bands 1, 2, 3 are shown as red, green and blue: choose others with --bands"),
        (4, "uint16", "of 4 bands 1, 2, 3 are shown as red, green and blue: choose others with --bands"),
        (2, "int16", "of 2 bands 1 is shown, as grey: choose others with --bands"),
        (3, "uint16", ""),
        (1, "uint16", ""),
    ],
)
def test_the_bands_that_are_seen_are_said(tmp_path: Path, count: int, kind: str, said: str) -> None:
    root = folder(tmp_path / "set", lambda at, i: tiff(at / f"im{i:02d}.tif", deep(i, (count, 32, 32), kind)))
    notes = data.check("folder", root, decode=True).notes
    assert [note for note in notes if "--bands" in note] == ([said] if said else [])
    chosen = data.load("folder", root, 32, reading=Reading(bands=str(count), stretch="0:4000"))
    assert not any("--bands" in note for note in chosen.notes)
    for i in range(N):
        right = deep(i, (count, 32, 32), kind)[-1].mean() / 4000 * 255
        assert abs(float(chosen.images[i].mean()) - right) <= 1


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_bands_of_a_file_each_are_said_where_their_names_do_not_tell(tmp_path: Path) -> None:
    def make(at: Path, i: int) -> None:
        for k, band in enumerate(("B1", "B2", "B3", "B4")):
            tiff(at / f"im{i:02d}_{band}.TIF", deep(i + k, (1, 32, 32)))

    said = data.check("folder", folder(tmp_path / "landsat", make), decode=True).notes
    assert "of 4 bands B1, B2, B3 are shown as red, green and blue: choose others with --bands" in said

    def radar(at: Path, i: int) -> None:
        for band in ("VV", "VH"):
            tiff(at / f"im{i:02d}" / f"{band}.tif", deep(i, (1, 32, 32)))

    said = data.check("folder", folder(tmp_path / "radar", radar), decode=True).notes
    assert "of 2 bands vh is shown, as grey: choose others with --bands" in said


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_two_depths_in_one_folder_are_said(tmp_path: Path) -> None:
    def make(at: Path, i: int) -> None:
        bands = deep(i, (3, 32, 32)) if i % 3 else (deep(i, (3, 32, 32)) % 256).astype(np.uint8)
        tiff(at / f"im{i:02d}.tif", bands, photometric="RGB")

    notes = data.check("folder", folder(tmp_path / "set", make), decode=True).notes
    assert "8 of 12 images have more than 8 bits; the others are left as they are" in notes


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_sixteen_bits_with_white_as_zero_keep_their_depth(tmp_path: Path) -> None:
    values = deep(3, (1, 32, 32))
    tiff(tmp_path / "im.tif", values, photometric="MINISWHITE")
    read = raster.read((tmp_path / "im.tif").read_bytes(), Look())
    assert read.values.dtype == np.uint16
    assert (read.values == 65535 - values).all()


CHECK = """
import sys, warnings
warnings.simplefilter("always")
from core import data
data.check("folder", sys.argv[1], decode=True)
data.sides("folder", sys.argv[1])
data.load("folder", sys.argv[1], 32)
"""


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_nothing_is_printed_of_one_file_per_band(tmp_path: Path) -> None:
    def make(at: Path, i: int) -> None:
        for band in ("B02", "B03", "B04"):
            tiff(at / f"im{i:02d}" / f"{band}.tif", deep(i, (1, 32, 32)))

    root = folder(tmp_path / "set", make)
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(root)], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("side", [12_000])
def test_a_small_file_that_decodes_to_much_is_said_to_be_too_large(tmp_path: Path, side: int) -> None:
    """A deep PNG of 200 kB with 144 million pixels."""
    root = folder(tmp_path / "set", lambda at, i: fakes.picture(at / f"im{i:02d}.png", i))
    stream = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint16)).save(stream, "PNG", compress_level=9)
    assert len(stream.getvalue()) < 500_000
    (root / "im03.png").write_bytes(stream.getvalue())
    report = data.check("folder", root, decode=True)
    ((name, why),) = report.broken
    assert name == "im03.png"
    assert why.startswith("too large")
