"""What goes wrong on the way into an archive: kills, full disks, places that may not be written."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from core import archive, runs
from core.archive import columns, folder, ingest, table
from core.errors import MaclError
from core.files import PROJECT
from core.runs import Run
from tests.core.archive.test_archive_scene import noise, scene_file


@pytest.fixture(scope="module")
def run(trained_runs: Path) -> Run:
    return runs.list_runs(trained_runs)[0]


# Each child is killed at its spot, as `kill -9` does it; torch is loaded once, before the children are made.
KILLED = """
import os, signal, sys
from pathlib import Path
import rasterio, timm  # seconds, which the children do not take again
from core.archive import ingest, labels, reading, table
from core.encoder import trained
from core.runs import Run
ingest.COMMIT_ROWS, reading.CHUNK = 8, 4
place, run, *sources = sys.argv[1:]

def killed_at(owner, name, count, before):
    real, left = getattr(owner, name), [count]
    def work(*given, **named):
        left[0] -= 1
        if before and left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*given, **named)
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, work)

SPOTS = [
    (labels, "training_images", 1, False),   # the archive is made, and empty
    (reading, "decode", 10, False),          # while images are read
    (table.Table, "add", 2, True),           # vectors are written, their rows are not
    (table.Table, "add", 2, False),          # committed, and nobody knows
    (trained.Trained, "embed", 4, True),    # embedded, and not committed
    None,
]
for spot in SPOTS:
    pid = os.fork()
    if not pid:
        if spot:
            killed_at(*spot)
        ingest.add(place, [Run(Path(run))], sources, tile=50)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def test_killed_five_times_the_archive_is_that_of_one_without_kills(
    run: Run, tiny: Path, tmp_path: Path
) -> None:
    scene = scene_file(tmp_path / "scene.tif", noise(3, 200, 200))
    (tmp_path / "in").mkdir()
    for i in range(44):
        shutil.copy(tiny / f"scene{i:03d}.png", tmp_path / "in")
    sources = [str(tmp_path / "in"), str(scene.at)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(run.path), *sources],
        cwd=PROJECT, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.stdout.split() == [str(-signal.SIGKILL)] * 5 + ["0"], done.stderr
    whole = ingest.add(tmp_path / "whole", [run], sources, tile=50)
    assert list(whole.added.values()) == [60]
    contents = []
    for name in ("killed", "whole"):
        part = archive.open(tmp_path / name)
        ids = part.ids()
        assert len({*ids.tolist()}) == len(ids) == len(part) == 60
        order = np.argsort(ids)
        kept = part.records(ids)
        contents.append((part.vectors(ids[order]), [kept[number] for number in ids[order].tolist()]))
    np.testing.assert_allclose(contents[0][0], contents[1][0], atol=1e-3)  # of other batches
    for one, other in zip(contents[0][1], contents[1][1], strict=True):
        assert (one.id, one.stamp, one.source, one.window) == (
            other.id,
            other.stamp,
            other.source,
            other.window,
        )
        assert (one.thumbnail, one.date) == (other.thumbnail, other.date)


FULL = OSError(errno.ENOSPC, "No space left on device")
# as LanceDB says it
ROWS_FULL = RuntimeError(
    "lance error: LanceError(IO): No space left on device (os error 28), writer.rs:258:9"
)


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [(columns.Columns, "append", FULL), (table.Table, "add", ROWS_FULL), (columns.Columns, "mark", FULL)],
)
def test_a_full_disk_is_one_sentence_and_nothing_is_half_written(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    owner: type, name: str, error: Exception,
) -> None:  # fmt: skip
    """In the second commit; what the first has written stays, and the same call goes on from there."""
    place, source = tmp_path / "archive", tmp_path / "in"
    source.mkdir()
    for i in range(40):
        shutil.copy(tiny / f"scene{i:03d}.png", source)
    ingest.add(place, [run], [str(source)])
    before = set(archive.open(place).ids().tolist())
    for i in range(40, 80):
        shutil.copy(tiny / f"scene{i:03d}.png", source)
    shutil.copy(tiny / "scene099.png", source / "scene000.png")  # replaces what was there
    os.utime(source / "scene000.png", (1, 1))
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise error

        patch.setattr(owner, name, full)
        with pytest.raises(
            MaclError, match=r"cannot be written \(No space left on device\): mend that"
        ) as said:
            ingest.add(place, [run], [str(source)])
    assert "\n" not in str(said.value)
    part = archive.open(place)
    assert set(part.ids().tolist()) <= before
    assert part.vectors(part.ids()).shape == (len(part), 128)
    assert sum(ingest.add(place, [run], [str(source)]).added.values()) == 41
    assert sorted(part.values("source")) == sorted(map(str, source.iterdir()))


def test_another_fault_of_the_table_is_not_called_a_full_disk(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("lance error: something else")

    monkeypatch.setattr(table.Table, "add", broken)
    with pytest.raises(RuntimeError, match="something else"):
        ingest.add(tmp_path / "archive", [run], [str(tiny / "scene000.png")])


def test_an_archive_that_may_not_be_written_is_said(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = str(tiny / "scene000.png")
    ingest.add(tmp_path / "archive", [run], [image])

    def read_only(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_atomic", read_only)
        with pytest.raises(MaclError, match=r"cannot be written \(Read-only file system\): choose another"):
            ingest.add(tmp_path / "archive", [run], [image])
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(
        MaclError, match=r"file/archive cannot be written \(Not a directory\): choose another"
    ):
        ingest.add(tmp_path / "file" / "archive", [run], [image])


def test_a_disk_that_cannot_lock_is_said(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "lockf", no_locks)
        with pytest.raises(MaclError, match=r"cannot lock files \(No locks available\): choose a folder on"):
            ingest.add(tmp_path / "archive", [run], [str(tiny / "scene000.png")])
    done = ingest.add(tmp_path / "archive", [run], [str(tiny / "scene000.png")])  # nothing is in the way
    assert list(done.added.values()) == [1]


def test_what_cannot_be_read_is_counted_once_and_the_rest_is_added(
    run: Run, tiny: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for i in range(5):
        shutil.copy(tiny / f"scene{i:03d}.png", source)
    whole = (source / "scene000.png").read_bytes()
    (source / "cut.png").write_bytes(whole[: len(whole) // 2])
    (source / "cut.zip").write_bytes(b"PK\3\4 and no more")
    with zipfile.ZipFile(source / "odd.zip", "w") as packed:
        packed.writestr("damaged.png", whole)
        packed.writestr("good.png", (tiny / "scene005.png").read_bytes())
    data = bytearray((source / "odd.zip").read_bytes())
    data[200] ^= 255
    (source / "odd.zip").write_bytes(data)
    done = ingest.add(tmp_path / "archive", [run], [str(source)])
    assert [Path(name).name for name, _ in done.broken] == ["cut.zip", "cut.png", "damaged.png"]
    assert (list(done.added.values()), done.there) == ([6], 0)
    again = ingest.add(tmp_path / "archive", [run], [str(source)])
    assert (again.broken, list(again.added.values()), again.there) == (done.broken, [0], 6)
