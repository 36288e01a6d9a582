"""Images of the field: any number of bands, any depth, any layout; with the pixel values they must have."""

import io
import os
import struct
import subprocess
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from PIL import Image, ImageOps, TiffImagePlugin
from rasterio.enums import ColorInterp

from core.data import raster
from core.data.decode import decode, quiet_decoding, reason
from core.data.look import LOOK, Look
from core.files import PROJECT

RAMP = np.arange(16 * 16).reshape(16, 16)
NONE = Look(limits=((0, 255),))  # a value is its grey level


def written(values: np.ndarray, names: Sequence[str] = (), driver: str = "GTiff", **options: object) -> bytes:
    """(C, H, W) as a file."""
    count, height, width = values.shape
    size = {"height": height, "width": width, "count": count, "dtype": values.dtype}
    alpha = options.pop("alpha", None)
    mask = options.pop("mask", None)
    with (
        warnings.catch_warnings(),
        rasterio.MemoryFile(ext=".jp2" if driver.startswith("JP2") else ".tif") as file,
    ):
        warnings.simplefilter("ignore")
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), file.open(driver=driver, **size, **options) as out:
            if alpha:
                out.colorinterp = [
                    ColorInterp.gray,
                    *[ColorInterp.undefined] * (count - 2),
                    ColorInterp.alpha,
                ]
            out.write(values)
            if names:
                out.descriptions = names
            if mask is not None:
                out.write_mask(mask)
        return bytes(file.getbuffer())


def pages(values: np.ndarray, *others: Image.Image) -> bytes:
    """(C, H, W) as pages of a TIFF, and others after them."""
    stream = io.BytesIO()
    first, *rest = [*map(Image.fromarray, values), *others]
    first.save(stream, "TIFF", save_all=True, append_images=rest)
    return stream.getvalue()


def seen(data: bytes, look: Look = LOOK, size: int = 16) -> np.ndarray:
    with quiet_decoding():
        return decode(data, size, look).astype(int)


def stack(count: int, kind: str = "uint16") -> np.ndarray:
    """Band k (from 1) holds 10 k + 0 … 1."""
    return np.stack([10 * k + (RAMP > 127) for k in range(1, count + 1)]).astype(kind)


LAYOUTS = {
    "chunky": {"interleave": "pixel"},
    "planar": {"interleave": "band"},
    "tiled": {"tiled": True, "blockxsize": 16, "blockysize": 16},
    "deflated with a predictor": {"compress": "deflate", "predictor": 2},
    "BigTIFF, big end first": {"BIGTIFF": "YES", "ENDIANNESS": "BIG"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("count", [2, 3, 4, 5, 13])
def test_any_layout_and_number_of_bands(layout: str, count: int) -> None:
    out = seen(written(stack(count), **LAYOUTS[layout]), NONE)
    expected = stack(3) if count > 2 else stack(1)[[0, 0, 0]]
    assert (out == expected.transpose(1, 2, 0)).all()


@pytest.mark.parametrize(
    "kind", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
)
def test_any_depth(kind: str) -> None:
    values = (stack(5, kind) / 2).astype(kind)
    out = seen(written(values), NONE)
    assert (out == np.rint(values[:3]).transpose(1, 2, 0)).all()


def test_values_below_zero_and_between_the_limits() -> None:
    values = np.stack([np.linspace(-300, 700, 256).reshape(16, 16)] * 5)
    for kind in ("int16", "int32", "float32"):
        out = seen(written(values.astype(kind)), Look(limits=((-100, 500),)))
        expected = np.rint((values.astype(kind).clip(-100, 500) + 100) / 600 * 255)
        assert np.abs(out - expected[:3].transpose(1, 2, 0)).max() <= 1


def test_each_band_has_its_own_limits() -> None:
    out = seen(written(stack(4)), Look(("4", "1", "2"), ((40, 41), (0, 20), (0, 255))))
    assert out[0, 0].tolist() == [0, 128, 20]
    assert out[15, 15].tolist() == [255, 140, 21]


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_pages_of_equal_size_are_bands(kind: str) -> None:
    """Not the first of them, three times."""
    values = stack(13, "float32" if kind == "float32" else kind)
    assert (seen(pages(values), NONE) == values[:3].transpose(1, 2, 0)).all()
    assert (
        seen(pages(values), Look(("4", "3", "2"), NONE.limits)) == values[[3, 2, 1]].transpose(1, 2, 0)
    ).all()


def test_pages_of_another_size_are_no_bands() -> None:
    """Such as a thumbnail or an overview."""
    small = Image.new("L", (8, 8), 99)
    assert (seen(pages(stack(1, "uint8"), small)) == stack(1, "uint8")[0][..., None]).all()
    assert (seen(pages(stack(3, "uint16"), small), NONE) == stack(3).transpose(1, 2, 0)).all()


def test_pages_of_colours() -> None:
    palette = Image.fromarray(np.zeros((16, 16), np.uint8), "P")
    palette.putpalette([9, 8, 7])
    data = pages(np.zeros((0, 16, 16), np.uint8), palette, palette)
    assert (seen(data, Look(("1", "5", "6"))) == [9, 8, 7]).all()
    red, lime = (Image.new("RGB", (16, 16), colour) for colour in ("red", "lime"))
    assert (
        seen(pages(np.zeros((0, 16, 16), np.uint8), red, lime), Look(("5", "6", "1"))) == [255, 0, 255]
    ).all()


def test_bands_by_number_and_by_name() -> None:
    names = ("B02", "B03", "B04", "B8A, narrow near infrared")
    data = written(stack(4), names)
    for bands in (("4", "3", "2"), ("B8A", "B04", "B03"), ("b8a", "b4", "Band 3")):
        assert (seen(data, Look(bands, NONE.limits)) == stack(4)[[3, 2, 1]].transpose(1, 2, 0)).all()
    assert (seen(data, Look(("B04",), NONE.limits)) == stack(4)[[2, 2, 2]].transpose(1, 2, 0)).all()
    for band, has in (("B05", "B02, B03, B04, B8A, narrow near infrared"), ("5", "1 to 4"), ("0", "1 to 4")):
        with pytest.raises(ValueError, match=f"no band {band}: it has {has}; choose with --bands"):
            seen(data, Look((band,)))


def test_names_that_say_so_are_red_green_and_blue() -> None:
    data = written(stack(4), ("B02", "B03", "B04", "B08"))
    assert (seen(data, NONE) == stack(4)[[2, 1, 0]].transpose(1, 2, 0)).all()


def test_bands_of_plain_images() -> None:
    colours = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    stream = io.BytesIO()
    Image.fromarray(colours).save(stream, "PNG")
    assert (seen(stream.getvalue(), Look(("3", "1", "1"))) == colours[..., [2, 0, 0]]).all()
    with pytest.raises(ValueError, match="no band 4: it has 1 to 3"):
        seen(stream.getvalue(), Look(("4", "3", "2")))
    four = stack(4, "uint8")
    assert (
        seen(written(four, photometric="RGB"), Look(("4", "3", "2"))) == four[[3, 2, 1]].transpose(1, 2, 0)
    ).all()


@pytest.mark.parametrize("no_data", [0, 65535])
def test_no_data_is_black_and_left_out(no_data: int) -> None:
    values = np.stack([np.linspace(1000, 2000, 256).reshape(16, 16)] * 4).astype(np.uint16)
    values[:, :5] = no_data
    out = seen(written(values, nodata=no_data))
    assert (out[:5] == 0).all()
    assert (out[5].min(), out[15, 15].max()) == (0, 255)
    assert len(np.unique(out[5:])) > 150


def test_a_mask_and_an_alpha_band_are_black_and_left_out() -> None:
    values = np.stack([np.linspace(1000, 2000, 256).reshape(16, 16)] * 4).astype(np.uint16)
    values[:, :5] = 60000
    part = np.repeat([0] * 5 + [255] * 11, 16).reshape(16, 16).astype(np.uint8)
    for data in (
        written(values, mask=part),
        written(np.concatenate([values, part[None] * np.uint16(257)]), alpha=True),
    ):
        out = seen(data)
        assert (out[:5] == 0).all()
        assert (out[15, 15] == 255).all()
        assert len(np.unique(out[5:])) > 150


def test_near_infrared_tagged_as_alpha_is_no_mask() -> None:
    values = np.stack([np.linspace(1000, 2000, 256).reshape(16, 16)] * 5).astype(np.uint16)
    values[4, :5] = 0
    out = seen(written(values, alpha=True), Look(limits=((0, 2000),)))
    assert out.min() > 120
    assert (seen(written(values, alpha=True), Look(("5",), ((0, 2000),)))[:5] == 0).all()


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_2000(bits: int) -> None:
    values = stack(4) << 4 if bits > 8 else stack(4, "uint8")
    data = written(values, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE=True, NBITS=bits)
    look = Look(("4", "3", "2"), ((0, 255 << 4),))
    assert (seen(data, look) == stack(4)[[3, 2, 1]].transpose(1, 2, 0)).all()


def test_a_deep_png_keeps_its_lower_bits() -> None:
    data = written(stack(3), driver="PNG")
    assert (seen(data, NONE) == stack(3).transpose(1, 2, 0)).all()


@pytest.mark.parametrize("turn", range(1, 9))
def test_deep_images_are_turned_upright(turn: int) -> None:
    values = (RAMP * 250).astype(np.uint16)[:10]
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274] = turn
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF", tiffinfo=tags)
    plain = Image.fromarray((values >> 8).astype(np.uint8))
    with quiet_decoding():
        turned = raster.read(stream.getvalue(), LOOK).values[0]
    exif = Image.Exif()
    exif[274] = turn
    other = io.BytesIO()
    plain.save(other, "TIFF", tiffinfo=tags)
    expected = ImageOps.exif_transpose(Image.open(other))
    assert ((turned >> 8) == np.asarray(expected)).all()


def test_one_file_per_band_has_the_size_of_the_largest() -> None:
    class File:
        def __init__(self, data: bytes) -> None:
            self.read = lambda: data

    large = stack(3)
    small = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)
    files = {f"B0{i + 2}": File(written(large[i : i + 1])) for i in range(3)} | {"B11": File(written(small))}
    with quiet_decoding():
        assert (decode(files, 16, NONE) == large[[2, 1, 0]].transpose(1, 2, 0)).all()
        out = decode(files, 16, Look(("B11", "4", "1"), NONE.limits))
    assert (out[..., 0] == small[0].repeat(2, 0).repeat(2, 1)).all()
    assert (out[..., 2] == large[0]).all()


# -- what a file may do harm with ---------------------------------------------------------------------------


def test_threads_read_the_same() -> None:
    files = [written(stack(5) + np.uint16(i)) for i in range(60)]
    with quiet_decoding(), ThreadPoolExecutor(8) as pool:
        out = list(pool.map(lambda data: decode(data, 16, NONE), files))
    for i, image in enumerate(out):
        assert (image == (stack(3) + i).transpose(1, 2, 0)).all()


def test_only_the_driver_of_its_first_bytes_opens_a_file() -> None:
    """A virtual data set may name any file or address; it is no image here, whatever it is called."""
    vrt = (
        b'<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
    )
    vrt += b"<SourceFilename>/etc/hostname</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    for head in (b"", *raster.DRIVERS):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
            seen(head + vrt)
        assert reason(caught.value)
    with pytest.raises(raster.CannotOpen):
        raster.read(vrt, LOOK)


def test_a_cut_file_is_called_so() -> None:
    data = written(
        np.random.default_rng(0).integers(0, 3000, (5, 64, 64)).astype(np.uint16), compress="deflate"
    )
    for end in (len(data) // 2, len(data) - 50):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
            seen(data[:end])
        assert reason(caught.value) == "truncated or damaged"


def test_flipped_bytes_end_in_an_image_or_a_reason() -> None:
    rng = np.random.default_rng(0)
    for good in (
        written(stack(5), interleave="pixel", compress="deflate"),
        written(stack(4, "float32"), tiled=True, blockxsize=16, blockysize=16),
        pages(stack(4, "uint16")),
        written(stack(3), driver="JP2OpenJPEG"),
    ):
        for _ in range(100):
            data = bytearray(good)
            for at in rng.integers(0, len(data), 3):
                data[at] = rng.integers(256)
            try:
                outcome: object = seen(bytes(data)).shape
            except Exception as error:
                outcome = reason(error)
            assert outcome == (16, 16, 3) or isinstance(outcome, str)


def declared(data: bytes, tag: int, value: int) -> bytes:
    """A classic TIFF whose first page says another value."""
    changed = bytearray(data)
    start = struct.unpack_from("<I", data, 4)[0]
    for i in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * i
        if struct.unpack_from("<H", data, at)[0] == tag:
            struct.pack_into(
                "<HIHH" if struct.unpack_from("<H", data, at + 2)[0] == 3 else "<HII",
                changed,
                at + 2,
                *((3, 1, value, 0) if struct.unpack_from("<H", data, at + 2)[0] == 3 else (4, 1, value)),
            )
    return bytes(changed)


def test_a_small_file_with_a_large_head_is_refused_before_it_is_decoded() -> None:
    data = written(stack(5, "float32"), interleave="pixel", compress="deflate")
    for tags in ({256: 60_000, 257: 60_000}, {256: 9_400, 257: 9_400, 278: 9_400}):
        bomb = data
        for tag, value in tags.items():
            bomb = declared(bomb, tag, value)
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
            seen(bomb)
        assert "too large" in reason(caught.value)


def test_nothing_is_printed() -> None:
    """GDAL and Pillow log what they think of a file; of 5,000 files that would be 5,000 lines."""
    code = (
        "import sys; from core.data.decode import decode, quiet_decoding\n"
        "with quiet_decoding(): decode(sys.stdin.buffer.read(), 8)"
    )
    from tests.core.data.test_data_prepared import deep_tiff

    data = deep_tiff((np.arange(8 * 8 * 13).reshape(8, 8, 13) * 70).astype(np.uint16))
    done = subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, cwd=PROJECT, env=os.environ, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")


def test_plain_images_do_not_load_gdal() -> None:
    code = "import sys, core.data, core.data.decode; print('rasterio' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=PROJECT, text=True, check=True
    )
    assert done.stdout == "False\n"
