"""Uploads: what is taken, what is refused with which words, and that a hostile file costs little."""

import contextlib
import io
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.decode import decode
from core.data.look import Look
from core.errors import MaclError
from core.files import PROJECT
from core.retrieval import ask, upload
from tests.core.data.test_data_raster import written

ROOT = PROJECT


def scene(width: int = 60, height: int = 40) -> Image.Image:
    """Red at the top left, blue to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    pixels = np.stack([255 - (x + y) / 2, y, x], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """A valid PNG of so many white pixels in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, rows = zlib.compressobj(9), []
    for _ in range(height):
        rows.append(packer.compress(b"\x00" + b"\xff" * ((width + 7) // 8)))
    rows.append(packer.flush())
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"".join(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "MPO"])
def test_an_upload_is_prepared_as_the_images_of_a_data_set(kind: str) -> None:
    data = encoded(scene(), kind)
    small, large = upload.pixels(data, [16, 40])
    np.testing.assert_array_equal(small, decode(data, 16))
    np.testing.assert_array_equal(large, decode(data, 40))


def test_an_upload_is_seen_as_the_images_of_a_run() -> None:
    """With its bands and its stretch; also of a layout that Pillow does not know."""
    values = np.random.default_rng(0).integers(0, 3000, (13, 40, 40)).astype(np.uint16)
    look = Look(("4", "3", "2"), ((0.0, 3000.0),))
    (found,) = upload.pixels(written(values), [40], None, look)
    assert np.abs(found - values[[3, 2, 1]].transpose(1, 2, 0) / 3000 * 255).max() < 0.51
    with pytest.raises(MaclError, match="no band 14: it has 1 to 13"):
        upload.pixels(written(values), [40], None, Look(("14",)))


def test_a_picture_has_a_key_for_each_way_to_see_it() -> None:
    assert ask.seen("a", Look()) == "a"
    assert len({ask.seen("a", Look()), ask.seen("a", Look(("3",))), ask.seen("b", Look(("3",)))}) == 3


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_exif_orientation_is_honoured(turn: int) -> None:
    upright = scene(64, 64)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[turn]) if turn in undo else upright
    exif = Image.Exif()
    exif[0x0112] = turn
    (found,) = upload.read(encoded(stored, "PNG", exif=exif), [64])
    np.testing.assert_array_equal(found, np.asarray(upright))


def test_only_pixels_come_back() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    plain, told = encoded(scene(), "PNG"), encoded(scene(), "PNG", exif=exif)
    assert b"taken at home" in told
    np.testing.assert_array_equal(upload.read(plain, [32])[0], upload.read(told, [32])[0])


def test_what_stands_behind_the_image_is_left_alone() -> None:
    """A polyglot: an image to Pillow, an archive or a page to somebody else; only its pixels are taken."""
    for tail in (b"PK\x03\x04" + b"x" * 100, b"<script>alert(1)</script>", b"\0" * 5000):
        for kind in ("PNG", "JPEG"):
            data = encoded(scene(), kind)
            np.testing.assert_array_equal(upload.read(data + tail, [32])[0], upload.read(data, [32])[0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty: need a JPEG, PNG or TIFF"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>', "this is an SVG drawing"),
        (b"\xef\xbb\xbf  <SVG onload='alert(1)'/>", "this is an SVG drawing"),
        (encoded(scene(), "GIF"), "this is a GIF: need a JPEG, PNG or TIFF"),
        (encoded(scene(), "BMP"), "this is a BMP"),
        (encoded(scene(), "WEBP"), "this is a WebP"),
        (b"%PDF-1.7 " + encoded(scene(), "JPEG"), "this is a PDF"),
        (b"PK\x03\x04" + encoded(scene(), "PNG"), "this is a ZIP archive"),
        (b"hello" * 100, "this is no image"),
        (encoded(scene(), "PNG")[:200], "truncated or damaged: save the image anew"),
        (encoded(scene(), "JPEG")[:-40], "truncated or damaged: save the image anew"),
        (encoded(scene(), "TIFF")[:3000], "save the image anew"),
        (encoded(scene(4, 100), "PNG"), "4 × 100 pixels are too few: need at least 8"),
        (png_bomb(30_000, 30_000), "30,000 × 30,000 pixels are too many: need at most 25 million"),
        (png_bomb(25_000_001, 1), "25,000,001 × 1 pixels are too many"),
        (b"x" * (upload.MAX_BYTES + 1), "20.0 MB are too much: need at most 20 MB"),
    ],
)
def test_what_is_refused_is_refused_in_words(data: bytes, message: str) -> None:
    with pytest.raises(MaclError) as caught:
        upload.pixels(data, [32])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_cut_and_many_flipped_bytes_end_in_an_image_or_a_message() -> None:
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "TIFF"):
        data = encoded(scene(24, 24), kind)
        broken = [data[:end] for end in range(1, len(data), 37)]
        for _ in range(40):
            changed = bytearray(data)
            for place in rng.integers(len(data), size=4):
                changed[place] = rng.integers(256)
            broken.append(bytes(changed))
        for one in broken:
            with contextlib.suppress(MaclError):  # and nothing else
                assert upload.read(one, [16])[0].shape == (16, 16, 3)


def test_a_tile_larger_than_its_image_is_refused() -> None:
    tags = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    tags += [(277, 3, 1, 1), (322, 4, 1, 40_000), (323, 4, 1, 40_000), (324, 4, 1, 200), (325, 4, 1, 10)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 200
    with pytest.raises(MaclError, match="40,000 × 40,000 pixels are too many"):
        upload.read(data, [32])


def test_the_largest_that_is_taken_stays_within_its_memory_and_time() -> None:
    """25 million pixels, white: 4 kB that become 25 MB; the process may take 1 GiB and 10 s."""
    data = png_bomb(5000, 5000)
    started = time.monotonic()
    (found,) = upload.pixels(data, [32])
    assert (found == 255).all()
    assert time.monotonic() - started < 30
    alone = """
import resource
from core.retrieval import upload
from tests.core.retrieval.test_upload import png_bomb
upload.pixels(png_bomb(5000, 5000), [32])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""  # in this process every child so far would count
    done = subprocess.run([sys.executable, "-c", alone], cwd=ROOT, capture_output=True, check=True)
    assert int(done.stdout) < 1 << 20  # kB


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the bound is Linux's")
def test_a_decoder_that_takes_too_much_memory_or_time_is_stopped() -> None:
    greedy = "import core.retrieval.upload as u, numpy as np; u._bound(); np.ones(1 << 28)"
    done = subprocess.run([sys.executable, "-c", greedy], cwd=ROOT, capture_output=True, check=False)
    assert b"MemoryError" in done.stderr
    endless = "import core.retrieval.upload as u; u.MAX_SECONDS = 1; u._bound()\nwhile True: pass"
    done = subprocess.run([sys.executable, "-c", endless], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode < 0


def test_a_decoder_that_dies_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false" if os.path.exists("/bin/false") else "/usr/bin/false")
    with pytest.raises(MaclError, match="decoding it failed"):
        upload.pixels(encoded(scene(), "PNG"), [16])


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("harbour.png", "harbour.png"),
        ("../../etc/passwd", "passwd"),
        (r"C:\Users\me\field.tif", "field.tif"),
        ("/", "image"),
        ("a\x00b\n.png", "ab.png"),
        ("x" * 200 + ".jpg", "x" * 56 + ".jpg"),
    ],
)
def test_a_path_in_the_name_plays_no_part(given: str, shown: str) -> None:
    assert upload.name_of(given) == shown


def test_a_decoder_that_waits_is_used_up_and_a_dead_one_replaced() -> None:
    data = encoded(scene(), "PNG")
    waiting = upload.start()
    time.sleep(0.2)
    assert waiting.poll() is None
    np.testing.assert_array_equal(upload.pixels(data, [16], waiting)[0], decode(data, 16))
    assert waiting.returncode == 0
    np.testing.assert_array_equal(upload.pixels(data, [24], waiting)[0], decode(data, 24))
    with upload.start() as unused:
        assert unused.communicate(b"", timeout=60) == (b"", b"")  # as when its server ends
    assert unused.returncode == 0


def test_equal_files_have_one_key() -> None:
    assert upload.key_of(b"a") == upload.key_of(b"a") != upload.key_of(b"b")
