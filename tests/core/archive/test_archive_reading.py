"""What is done beside the network: each file is read once, all its bands are seen, memory stays small."""

import json
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from core import archive, runs
from core.archive import ingest, reading, store
from core.background import cache
from core.data.decode import decode, quiet_decoding
from core.data.look import Look
from core.data.prepared import prepared_size
from core.data.source import File
from core.encoder import trained
from core.errors import MaclError
from core.files import PROJECT
from core.runs import Run
from core.runs.origin import look_of
from core.training import loop
from tests.core.archive.test_archive_scene import noise, origin, scene_file
from tests.core.training.test_all_bands import NAMES, folder


@pytest.fixture(scope="module")
def run(trained_runs: Path) -> Run:
    return runs.list_runs(trained_runs)[0]


def test_decoding_and_commits_go_on_while_the_network_computes(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network waits for the next images, a commit for the next batch: in turn both would wait forever."""
    changed, counts = threading.Condition(), {"decoded": 0, "embedded": 0, "committed": 0}

    def count(what: str) -> None:
        with changed:
            counts[what] += 1
            changed.notify_all()

    def until(what: str, number: int) -> None:
        with changed:
            assert changed.wait_for(lambda: counts[what] >= number, timeout=60), f"{what}: {counts}"

    real_decode, real_embed, real_add = reading.decode, trained.Trained.embed, store.Archive.add

    def decoding(*given: object) -> np.ndarray:
        pixels: np.ndarray = real_decode(*given)  # type: ignore[arg-type]
        count("decoded")
        return pixels

    def embedding(self: trained.Trained, images: np.ndarray) -> np.ndarray:
        until("decoded", min(159, 8 * (counts["embedded"] + 2)))  # those of the batch after this one, too
        count("embedded")
        return real_embed(self, images)

    def adding(self: store.Archive, *given: object) -> int:
        count("committed")
        until("embedded", min(20, 2 * counts["committed"] + 1))  # of 20 batches, two in a commit
        return real_add(self, *given)  # type: ignore[arg-type]

    ingest.add(tmp_path / "archive", [run], [str(tiny / "scene000.png")])  # the training images are embedded
    monkeypatch.setattr(reading, "CHUNK", 8)
    monkeypatch.setattr(ingest, "COMMIT_ROWS", 16)
    monkeypatch.setattr(ingest, "COMMIT_SECONDS", 1000)
    monkeypatch.setattr(reading, "decode", decoding)
    monkeypatch.setattr(trained.Trained, "embed", embedding)
    monkeypatch.setattr(store.Archive, "add", adding)
    done = ingest.add(tmp_path / "archive", [run], [str(tiny)])
    assert list(done.added.values()) == [159]


@pytest.mark.parametrize("held", ["in memory", "on disk"])
def test_a_file_in_a_zip_is_read_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    """Scenes of many rows, and whole images: found, known by content, cut and decoded from one reading."""
    scene = scene_file(tmp_path / "scene.tif", noise(3, 500, 300))
    small = scene_file(tmp_path / "small.tif", noise(3, 60, 60))
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for file in (scene, small):
            packed.write(file.at, f"in/{file.path}")
    count: dict[str, int] = {}

    def counted(name: str) -> None:
        real = getattr(File, name)

        def reads(self: File) -> object:
            if self.member is not None:
                count[self.path] = count.get(self.path, 0) + 1
            return real(self)

        monkeypatch.setattr(File, name, reads)

    counted("read")
    counted("open")
    if held == "on disk":
        monkeypatch.setattr(reading, "HELD", 1000)
    done = ingest.add(tmp_path / "zipped", [run], [str(tmp_path / "all.zip")], tile=100)
    assert count == {"in/scene.tif": 1, "in/small.tif": 1}
    assert (done.scenes, done.broken, list(done.added.values())) == (1, [], [16])
    assert not [*(cache.cache_root() / "unpacked").glob(".*scene*")]
    plain = ingest.add(tmp_path / "zipped", [run], [str(scene.at), str(small.at)], tile=100)
    assert (list(plain.added.values()), plain.there) == ([0], 16)  # the same content


def test_a_scene_that_does_not_fit_on_the_disk_is_said(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scene_file(tmp_path / "scene.tif", noise(3, 300, 300))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        packed.write(scene.at, "scene.tif")
    monkeypatch.setattr(reading, "HELD", 1000)
    monkeypatch.setattr(reading.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(MaclError, match=r"has room for 0 MB, need 100 MB to unpack scene\.tif: make room"):
        ingest.add(tmp_path / "archive", [run], [str(tmp_path / "all.zip")], tile=100)
    assert not [*(cache.cache_root() / "unpacked").glob(".*scene*")]


@pytest.mark.parametrize("kind", ["four", "files"])
def test_an_encoder_of_all_bands_sees_all_of_them(tmp_path: Path, kind: str) -> None:
    """Tiles of a scene, in one file and in one file per band: as if they were files; and whole images."""
    config = runs.RunConfig.build(
        "instant", dataset="folder", data_root=str(folder(tmp_path / "data", kind)), bands="all", loss="macl",
        image_size=32, batch_size=8, epochs=1,
    )  # fmt: skip
    run = runs.create(config, tmp_path / "runs")
    assert loop.run(run.path) == "finished"
    look, network, names = look_of(run), trained.read(run), NAMES[kind]
    assert look.channels == len(names)
    values = noise(len(names), 64, 128, np.uint16)
    (tmp_path / "new" / "s").mkdir(parents=True)
    if kind == "four":
        file = scene_file(tmp_path / "new" / "s.tif", values)
        with quiet_decoding(), rasterio.open(file.at, "r+") as written:
            written.descriptions = names
    else:
        for name, band in zip(names, values, strict=True):
            scene_file(tmp_path / "new" / "s" / f"s_{name}.tif", band[None])
    done = ingest.add(tmp_path / "archive", [run], [str(tmp_path / "new")], tile=64)
    assert (done.broken, done.scenes, list(done.added.values())) == ([], 1, [2])
    whole = ingest.add(tmp_path / "archive", [run], [str(tmp_path / "data")])
    assert (whole.broken, list(whole.added.values())) == ([], [40])
    part = archive.open(tmp_path / "archive")
    rows = dict(zip(part.values("window"), part.vectors(part.ids()), strict=True))
    side = prepared_size(32)
    for left in (0, 64):
        alone = scene_file(tmp_path / f"{left}.tif", values[:, :, left : left + 64]).read()
        with quiet_decoding():
            pixels = decode(alone, side, Look(look.cut().bands, look.limits, whole=True))
        assert pixels.shape == (side, side, len(names))
        z = network.embed(pixels[None])[0]
        assert rows[f"{left} 0 64 64"] @ z > 0.9999
        pixels[..., -1] = 255 - pixels[..., -1]
        assert network.embed(pixels[None])[0] @ z < 0.9999  # the last band counts


def test_known_numbers_are_found_whatever_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MERGED", 3)
    known = reading.Known([5, 2**62, 1, 5])
    for number in (7, 3, 9, 11, 2):
        assert number not in known
        known.add(number)
        assert number in known
    assert [number for number in range(13) if number in known] == [1, 2, 3, 5, 7, 9, 11]
    assert 2**62 in known
    assert len(known) == 8
    assert 1 not in reading.Known([])


PEAK = """
import json, sys
from pathlib import Path
from core.archive import ingest
from core.runs import Run
place, run, *sources = sys.argv[1:]
peaks = []
for source in sources:
    done = ingest.add(place, [Run(Path(run))], [source], tile=512)
    assert not done.broken and sum(done.added.values()), done
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    peaks.append(int(line.split()[1]))
print(json.dumps(peaks))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the most memory of a process is read from /proc")
def test_memory_does_not_grow_with_a_scene(run: Run, tmp_path: Path) -> None:
    """A row of tiles, then twelve rows: 113 MB as pixels; as a file, and in a zip."""
    band = np.random.default_rng(0).integers(1, 256, (3, 512, 6000), np.uint8)
    for name, rows in (("row", 1), ("scene", 12)):
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", width=6000, height=512 * rows, count=3,
            dtype="uint8", tiled=True, crs="EPSG:32632", transform=origin(500_000, 5_300_000, 10),
        ) as file:  # fmt: skip
            for row in range(rows):
                window = rasterio.windows.Window(0, 512 * row, 6000, 512)
                file.write((band + row).astype(np.uint8), window=window)
    with zipfile.ZipFile(tmp_path / "scene.zip", "w") as packed:
        packed.write(tmp_path / "scene.tif", "other.tif")
        with packed.open("scene.tif", "w") as member:  # other content, so that it is embedded, too
            member.write((tmp_path / "scene.tif").read_bytes() + b"\0")
    names = [str(tmp_path / name) for name in ("row.tif", "scene.tif", "scene.zip")]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "archive"), str(run.path), *names],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    row, scene, packed_scene = json.loads(done.stdout.splitlines()[-1])
    assert scene - row < 90_000  # kB
    assert packed_scene - row < 90_000
