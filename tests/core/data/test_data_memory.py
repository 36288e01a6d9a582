"""Too little memory ends the work with a sentence; it makes no image a broken one."""

import errno
import io
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import data
from core.data import decode, memory, prepared
from core.data.look import Look
from core.errors import MaclError
from tests import data_fakes as fakes

SHORT = [
    MemoryError(),
    np._core._exceptions._ArrayMemoryError((9,), np.dtype(np.uint8)),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    OSError("out of memory error when reading image file"),
    RuntimeError("can't start new thread"),
]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    images = tmp_path / "images"
    lines = ["image,a,b"]
    for i in range(20):
        fakes.picture(images / f"im{i}.png", i)
        lines.append(f"im{i}.png,{i % 2},1")
    (images / "labels.csv").write_text("\n".join(lines))
    return images


@pytest.mark.parametrize("error", SHORT, ids=lambda error: f"{type(error).__name__} {error}")
@pytest.mark.parametrize("skip", [False, True])
def test_no_image_is_broken_for_want_of_memory(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, skip: bool
) -> None:
    (root / "im3.png").write_bytes(b"")  # this one is
    real = decode.decode

    def short(content: bytes, size: int, look: Look) -> np.ndarray:
        if content == (root / "im7.png").read_bytes():
            raise error
        return real(content, size, look)

    monkeypatch.setattr(prepared, "decode", short)
    with pytest.raises(MaclError, match=r"out of memory at im7\.png \(preparing images\).*free memory"):
        data.load("folder", root, 8, skip_broken=skip)
    assert not data.is_prepared("folder", root, 8)
    with pytest.raises(MaclError, match=r"out of memory at im7\.png \(decoding images\)"):
        data.check("folder", root, decode=True)


def test_memory_that_is_short_of_a_wrapped_error() -> None:
    error = SystemError("a decoder returned a result with an exception set")
    error.__cause__ = MemoryError()
    assert memory.is_short(error)
    assert not memory.is_short(OSError("broken data stream when reading image file"))


def test_what_a_decoder_leaves_open_is_tried_again_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progressive JPEG, JPEG 2000 and WebP say of too little memory what they say of damaged data."""
    real, failed = decode.decode, set()

    def busy(content: bytes, size: int, look: Look) -> np.ndarray:
        if content not in failed:
            failed.add(content)
            raise OSError("broken data stream when reading image file")
        return real(content, size, look)

    monkeypatch.setattr(prepared, "decode", busy)
    one = data.load("folder", root, 8, skip_broken=True)
    assert (len(one), one.skipped, len(failed)) == (20, (), 20)
    assert (one.images.reshape(20, -1).max(axis=1) > 0).all()

    def always(content: bytes, size: int, look: Look) -> np.ndarray:
        raise OSError("broken data stream when reading image file")

    monkeypatch.setattr(prepared, "decode", always)
    assert len(data.check("folder", root, decode=True).broken) == 20
    monkeypatch.setattr(memory, "_PER_PIXEL", 1 << 50)
    with pytest.raises(MaclError, match="out of memory at im0"):
        data.check("folder", root, decode=True)


def test_a_thread_that_cannot_start_is_a_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(MaclError, match=r"out of memory \(counting\)"):
        prepared.in_parallel(str, range(9), None, "Counting")


@pytest.mark.parametrize("kind", ["deep.png", "progressive.jpg", "plain.jp2"])
@pytest.mark.parametrize("spare", [10, 40, 90])
def test_a_process_under_a_limit_lists_nothing_as_broken(tmp_path: Path, kind: str, spare: int) -> None:
    rng = np.random.default_rng(0)
    if kind.startswith("deep"):
        image = Image.fromarray(rng.integers(0, 65535, (2000, 2000)).astype(np.uint16))
    else:
        image = Image.fromarray(rng.integers(0, 255, (2000, 2000, 3), dtype=np.uint8))
    stream = io.BytesIO()
    options = {"progressive": True} if kind.startswith("progressive") else {}
    image.save(stream, {"png": "PNG", "jpg": "JPEG", "jp2": "JPEG2000"}[kind.rpartition(".")[2]], **options)
    lines = ["image,a,b"]
    for i in range(8):
        (tmp_path / f"{i}-{kind}").write_bytes(stream.getvalue())
        lines.append(f"{i}-{kind},1,{i % 2}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    code = f"""
import io, resource, sys
from PIL import Image
from core import data
from core.data import decode
from core.errors import MaclError
for kind in ("PNG", "JPEG", "JPEG2000"):
    stream = io.BytesIO(); Image.new("RGB", (8, 8)).save(stream, kind); decode.decode(stream.getvalue(), 8)
stream = io.BytesIO(); Image.new("I;16", (8, 8)).save(stream, "PNG"); decode.decode(stream.getvalue(), 8)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {spare} * 2**20,) * 2)
try:
    print("broken", len(data.check("folder", sys.argv[1], decode=True).broken))
except MaclError as error:
    print(error)
"""
    if resource.getrlimit(resource.RLIMIT_AS)[0] == 0 or sys.platform == "darwin":
        pytest.skip("needs limits on the address space")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.startswith(("broken 0\n", "out of memory")), done.stdout + done.stderr


def test_masks_and_tables_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    from core.data import table
    from core.data.source import File

    fakes.dlrsd(tmp_path / "d", with_masks=True, with_table=False)

    def short(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(table, "_mask_labels", short)
    with pytest.raises(MaclError, match=r"out of memory at .*Labels.*\(reading masks\)"):
        data.find("dlrsd", tmp_path / "d")
    monkeypatch.setattr(File, "read", short)
    with pytest.raises(MaclError, match=r"out of memory at labels\.csv \(reading the label table\)"):
        data.find("folder", root)


def test_what_is_set_already_is_not_offered(root: Path) -> None:
    for path in root.glob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(MaclError, match=r"Mend or remove them, or use --skip-broken$"):
        data.load("folder", root, 8)
    with pytest.raises(MaclError, match=r"Mend or remove them$"):
        data.load("folder", root, 8, skip_broken=True)


def test_check_does_not_point_to_itself(root: Path) -> None:
    for i in range(5, 20):
        (root / f"im{i}.png").unlink()
    with pytest.raises(MaclError, match=r"5 usable .*: see what is missing with `macl data check folder`$"):
        data.load("folder", root, 8)
    (problem,) = data.check("folder", root).problems
    assert "5 usable images are too few, need at least 10" in problem
    assert "macl data check" not in problem
