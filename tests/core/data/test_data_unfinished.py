"""A preparation that was ended goes on where it was, and the array is that of one go."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core import data
from core.data import prepared, unfinished
from core.data.reading import Reading
from core.errors import MaclError
from tests import data_fakes as fakes

COUNT = 160
# ends itself, without a chance to clean up, once it has shown so many new images; and counts what it decodes
LOADER = """
import os, signal, sys
from core import data
from core.data import prepared, unfinished
unfinished.SECONDS = 0
real, asked, began = prepared.decode, [], []
def decode(*given):
    asked.append(1)
    return real(*given)
prepared.decode = decode
def progress(done, total, what):
    if what == "Preparing images":
        began.append(done)
        if done - began[0] >= int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
d = data.load("folder", sys.argv[1], 8, progress=progress)
print(began[0] if began else -1, len(asked), d.key)
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    names = [f"{i:03d}.png" for i in range(COUNT)]
    for i, name in enumerate(names):
        fakes.picture(tmp_path / "set" / name, i)
    fakes.table(tmp_path / "set" / "labels.csv", ["image", "a", "b"], names, fakes.labels(COUNT, 2))
    return tmp_path / "set"


def loaded(root: Path, die_after: int = 10**6) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LOADER, str(root), str(die_after)], capture_output=True, text=True
    )


def in_one_go(root: Path, monkeypatch: pytest.MonkeyPatch, **said: str) -> np.ndarray:
    with monkeypatch.context() as other:
        other.setenv("MACL_CACHE", str(root.parent / "other cache"))
        return np.array(data.load("folder", root, 8, reading=Reading(**said)).images)


def begun() -> Path:
    (partial,) = (prepared.cache_root() / "prepared").glob("*.part")
    return partial


def test_one_that_was_killed_three_times_makes_what_one_go_makes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    had = 0
    for _ in range(3):
        assert loaded(root, 32).returncode == -signal.SIGKILL
        done = int(np.count_nonzero(np.fromfile(begun() / "rows", np.uint8)))
        assert done >= had + 32, "what was written stays"
        had = done
    last = loaded(root)
    began, decoded, key = last.stdout.split()
    assert (int(began), int(decoded)) == (had, COUNT - had), "nothing is made twice, and the progress says so"
    once = in_one_go(root, monkeypatch)
    assert (data.load("folder", root, 8).images == once).all()
    assert [path.name for path in (prepared.cache_root() / "prepared").iterdir()] == [key]
    assert sorted(path.name for path in (prepared.cache_root() / "prepared" / key).iterdir()) == [
        "images.npy",
        "kept.json",
    ]


def test_a_row_that_was_half_written_is_written_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(root, 32).returncode == -signal.SIGKILL
    rows = np.fromfile(begun() / "rows", np.uint8)
    rows = np.pad(rows, (0, COUNT - len(rows)))
    with (begun() / "images.npy").open("r+b") as stream:
        np.lib.format.read_magic(stream)
        np.lib.format.read_array_header_1_0(stream)
        start = stream.tell()
        for row in np.flatnonzero(rows == 0):
            os.pwrite(stream.fileno(), b"\xaa" * 100, start + int(row) * 16 * 16 * 3)
    assert (data.load("folder", root, 8).images == in_one_go(root, monkeypatch)).all()


def test_what_the_array_has_lost_is_written_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(root, 64).returncode == -signal.SIGKILL
    os.truncate(begun() / "images.npy", 10_000)
    assert (data.load("folder", root, 8).images == in_one_go(root, monkeypatch)).all()


@pytest.mark.parametrize("change", ["an image", "its look", "fewer of them"])
def test_images_of_another_preparation_never_mix(
    root: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    assert loaded(root, 64).returncode == -signal.SIGKILL
    said = {}
    if change == "an image":
        fakes.picture(root / "000.png", 999)
    elif change == "its look":
        said = {"bands": "3,2,1"}
    else:
        (root / "000.png").unlink()
    asked = []
    real = prepared.decode
    monkeypatch.setattr(prepared, "decode", lambda *given: asked.append(1) or real(*given))
    images = data.load("folder", root, 8, reading=Reading(**said)).images
    assert len(asked) == len(images)
    assert (images == in_one_go(root, monkeypatch, **said)).all()


def test_broken_images_do_not_cost_the_others(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "007.png").write_bytes(b"nothing")
    with pytest.raises(MaclError, match=r"007\.png: not an image"):
        data.load("folder", root, 8)
    asked = []
    real = prepared.decode
    monkeypatch.setattr(prepared, "decode", lambda *given: asked.append(1) or real(*given))
    images = data.load("folder", root, 8, skip_broken=True).images
    assert len(asked) == 1
    monkeypatch.setattr(prepared, "decode", real)
    (root / "007.png").unlink()
    assert (images == in_one_go(root, monkeypatch)).all()


def test_rows_count_only_once_their_pixels_are_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "SECONDS", 3600)
    order = []
    monkeypatch.setattr(unfinished.os, "fsync", lambda handle: order.append("pixels"))
    with (tmp_path / "array").open("w+b") as array:
        with unfinished.Rows(tmp_path / "rows", 5, array.fileno()) as rows:
            rows.add(3)
            assert not (tmp_path / "rows").read_bytes()
            rows.save()
            assert order == ["pixels"]
        with unfinished.Rows(tmp_path / "rows", 5, array.fileno()) as rows:
            assert rows.done.tolist() == [False, False, False, True, False]


def test_what_nobody_goes_on_with_makes_room(root: Path) -> None:
    assert loaded(root, 32).returncode == -signal.SIGKILL
    left = begun()
    fakes.picture(root / "000.png", 999)  # other images from now on
    data.load("folder", root, 8)
    assert left.exists(), "they may be put back"
    os.utime(left / "begun.json", (1, 1))
    data.load("folder", root, 16)
    assert not left.exists()


def test_work_is_handed_out_a_few_batches_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """To wait for the first of all batches of a large data set takes longer than the work."""
    waited: list[int] = []
    real = prepared.wait
    monkeypatch.setattr(
        prepared, "wait", lambda pending, **how: waited.append(len(pending)) or real(pending, **how)
    )
    count = 400 * prepared.BATCH + 3
    assert prepared.in_parallel(lambda item: item + 1, range(count), None, "") == list(range(1, count + 1))
    assert max(waited) <= 4 * prepared.cores()
