"""Images into an archive: each once, with the run's own eyes, also after a kill and from two processes."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import archive, runs
from core.archive import images, ingest, labels, query
from core.data.decode import decode
from core.data.look import Look
from core.data.prepared import prepared_size
from core.encoder import trained
from core.errors import MaclError
from core.files import PROJECT
from core.runs import Run
from tests.core.archive.made import unit
from tests.core.archive.test_archive_scene import noise, origin, scene_file


@pytest.fixture(scope="module")
def both(trained_runs: Path) -> list[Run]:
    return sorted(runs.list_runs(trained_runs), key=lambda run: run.config.loss, reverse=True)


@pytest.fixture(scope="module")
def tiles(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty drawn scenes in two folders, without a table."""
    folder = tmp_path_factory.mktemp("tiles")
    for i in range(20):
        place = folder / ("north" if i < 12 else "south") / f"tile-20240{1 + i % 9}15-{i:03d}.png"
        place.parent.mkdir(exist_ok=True)
        shutil.copy(tiny / f"scene{i:03d}.png", place)
    return folder


@pytest.fixture(scope="module")
def filled(both: list[Run], tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of both runs; not to be changed."""
    place = tmp_path_factory.mktemp("filled") / "archive"
    report = ingest.add(place, both, [str(tiles)])
    assert list(report.added.values()) == [20, 20]
    assert (report.there, report.broken, report.notes) == (0, [], [])
    return place


def names(part: archive.Archive) -> list[str]:
    return [Path(str(source)).name for source in part.values("source")]


def test_embeddings_are_those_of_the_run(filled: Path, both: list[Run], tiles: Path) -> None:
    files = sorted(tiles.rglob("*.png"))
    for part, run in zip(archive.parts(filled), both, strict=True):
        assert part.encoder.run == run.id
        pixels = np.stack([decode(path.read_bytes(), prepared_size(32)) for path in files])
        expected = trained.read(run).embed(pixels)
        assert part.values("source") == [str(path) for path in files]
        np.testing.assert_allclose(part.vectors(part.ids()), expected, atol=1e-6)


def test_what_is_kept_of_an_image(filled: Path, tiles: Path) -> None:
    part = archive.parts(filled)[0]
    at = names(part).index("tile-20240415-003.png")
    record = part.search(part.vectors(part.ids())[at], 1).hits[0].record
    assert record.source == str(tiles / "north" / "tile-20240415-003.png")
    assert (record.window, record.crs, record.lon, record.lat) == ("", "", None, None)
    assert record.date == "2024-04-15"
    assert 0 < len(record.thumbnail) <= 4096
    with Image.open(io.BytesIO(record.thumbnail)) as small, Image.open(record.source) as whole:
        assert small.format == "JPEG"
        wanted = np.asarray(whole.resize(small.size), np.float64)
        assert np.abs(np.asarray(small, np.float64) - wanted).mean() < 25


def test_the_labels_are_those_of_the_nearest_training_images(filled: Path, both: list[Run]) -> None:
    part, run = archive.parts(filled)[0], both[0]
    data, splits = run.config.images.load(), run.splits()
    rows = [data.names.index(name) for name in splits["train"]]
    z, y = trained.read(run).embed(data.images[rows]), data.labels[rows]
    for row, query_z in enumerate(part.vectors(part.ids())):
        nearest = np.argsort(-(z @ query_z), kind="stable")[: labels.NEAREST]
        shares = y[nearest].mean(axis=0)
        kept = part._table.records([row])[row]
        assert kept.share == pytest.approx(shares.max())
        assert shares[data.classes.index(kept.label)] == pytest.approx(shares.max())
        assert set(kept.labels) == {c for c, share in zip(data.classes, shares, strict=True) if share >= 0.5}


def test_predicted_labels_on_paper() -> None:
    towards = unit(np.array([[1.0, 0], [1, 0.1], [0, 1]]))
    y = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]])
    z = unit(np.array([[1.0, 0]]))
    assert labels.predict(z, (towards, y), ["a", "b", "c"]) == [labels.Predicted("a", 2 / 3, ("a", "b", "c"))]
    assert labels.predict(z, None, ["a", "b", "c"]) == [labels.Predicted()]


def test_nothing_is_embedded_twice(
    both: list[Run], tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at a second call, not a copy, not a file with another time; with another run it is."""
    place, source = tmp_path / "archive", tmp_path / "tiles"
    shutil.copytree(tiles, source)
    ingest.add(place, both[:1], [str(source)])
    shutil.copy(source / "north" / "tile-20240115-000.png", source / "copy.png")
    os.utime(source / "north" / "tile-20240215-001.png", (1, 1))
    with monkeypatch.context() as patch:

        def never(*_: object) -> None:
            raise AssertionError("embedded again")

        patch.setattr(trained.Trained, "embed", never)
        again = ingest.add(place, both[:1], [str(source), str(source / "south")])
    assert list(again.added.values()) == [0]
    assert again.there == 21
    assert len(archive.open(place)) == 20
    second = ingest.add(place, both, [str(source)])
    assert list(second.added.values()) == [0, 20]
    assert [len(part) for part in archive.parts(place)] == [20, 20]


def test_a_file_with_another_content_replaces_what_was_there(
    both: list[Run], tiles: Path, tiny: Path, tmp_path: Path
) -> None:
    place, source = tmp_path / "archive", tmp_path / "tiles"
    shutil.copytree(tiles / "south", source)
    ingest.add(place, both, [str(source)])
    name = sorted(source.iterdir())[2]
    shutil.copy(tiny / "scene150.png", name)
    os.utime(name, (1, 1))
    report = ingest.add(place, both, [str(source)])
    assert list(report.added.values()) == [1, 1]
    for part, run in zip(archive.parts(place), both, strict=True):
        assert len(part) == 8
        assert names(part).count(name.name) == 1
        z = trained.read(run).embed(decode(name.read_bytes(), prepared_size(32))[None])[0]
        (best,) = part.search(z, 1).hits
        assert (best.record.source, round(best.cosine, 5)) == (str(name), 1)


def test_broken_files_are_listed_and_the_others_are_added(
    both: list[Run], tiles: Path, tmp_path: Path
) -> None:
    source = tmp_path / "tiles"
    shutil.copytree(tiles / "south", source)
    (source / "a.png").write_bytes(b"")
    (source / "b.jpg").write_bytes(b"hello")
    whole = (source / "tile-20240415-012.png").read_bytes()
    (source / "c.png").write_bytes(whole[: len(whole) // 2])
    (source / "d.tif").write_bytes(b"II*\0 and nothing else, which is damaged")
    (source / "notes.txt").write_text("no image")
    report = ingest.add(tmp_path / "archive", both[:1], [str(source)])
    assert [Path(name).name for name, _ in report.broken] == ["a.png", "b.jpg", "c.png", "d.tif"]
    assert [why for _, why in report.broken[:3]] == ["empty file", "not an image", "truncated or damaged"]
    assert list(report.added.values()) == [8]


def test_what_is_whole_of_a_damaged_scene_is_added(both: list[Run], tmp_path: Path) -> None:
    file = scene_file(tmp_path / "scene.tif", noise(3, 400, 400), blockysize=1)
    data = file.read()
    file.at.write_bytes(data[: len(data) // 2])
    report = ingest.add(tmp_path / "archive", both[:1], [str(file.at)], tile=100)
    ((name, reason),) = report.broken
    assert (name, reason) == (str(file.at), "truncated or damaged")
    windows = archive.open(tmp_path / "archive").values("window")
    assert windows == [f"{x} 0 100 100" for x in (0, 100, 200, 300)]


def test_zips_and_tars(both: list[Run], tiles: Path, tmp_path: Path) -> None:
    files = sorted(tiles.rglob("*.png"))
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as packed:
        for path in files[:6]:
            packed.write(path, path.relative_to(tiles))
    with tarfile.open(tmp_path / "two.tar", "w") as packed_too:
        for path in files[4:10]:
            packed_too.add(path, path.relative_to(tiles))
    with tarfile.open(tmp_path / "three.tar.gz", "w:gz") as small:
        for path in files[10:12]:
            small.add(path, path.name)
    sources = [str(tmp_path / name) for name in ("one.zip", "two.tar", "three.tar.gz")]
    place = tmp_path / "archive"
    report = ingest.add(place, both[:1], sources)
    assert list(report.added.values()) == [12]
    assert report.there == 2  # in both
    part = archive.open(place)
    assert str(part.values("source")[0]) == f"{tmp_path}/one.zip/north/tile-20240115-000.png"
    assert ingest.add(place, both[:1], sources[:1]).added == {both[0].id: 0}
    assert len(part.ids(query.below([str(tmp_path / "one.zip")], None))) == 6


def test_images_of_a_published_archive(both: list[Run], archives: Path, tmp_path: Path) -> None:
    """Real photographs: each finds itself first."""
    with zipfile.ZipFile(archives / "DLRSD.zip") as packed:
        members = [n for n in packed.namelist() if n.lower().endswith((".jpg", ".tif"))][::90]
        for name in members:
            (tmp_path / "real").mkdir(exist_ok=True)
            (tmp_path / "real" / Path(name).name).write_bytes(packed.read(name))
    assert len(members) > 10
    report = ingest.add(tmp_path / "archive", both[:1], [str(tmp_path / "real")])
    assert (list(report.added.values()), report.broken) == ([len(members)], [])
    asked = query.asked(tmp_path / "archive", "", tmp_path)
    for path in sorted((tmp_path / "real").iterdir())[:5]:
        (first,) = asked.archive.search(asked.embed(path), 1).hits
        assert first.record.source == str(path)
        assert first.cosine > 0.999


def test_a_scene_becomes_tiles_with_coordinates(both: list[Run], tmp_path: Path) -> None:
    values = noise(3, 300, 400)
    values[:, 200:, :] = 0
    path = tmp_path / "S2A_20170613T101031.tif"
    scene_file(path, values, crs="EPSG:32632", transform=origin(500_000, 5_300_000, 10), nodata=0)
    place = tmp_path / "archive"
    report = ingest.add(place, both, [str(path)], tile=100)
    assert (report.scenes, report.gaps, list(report.added.values())) == (1, 4, [8, 8])
    part = archive.open(place, archive.encoders(place)[0].id)
    assert part.values("window") == [f"{x} {y} 100 100" for y in (0, 100) for x in (0, 100, 200, 300)]
    assert set(part.values("date")) == {"2017-06-13"}
    assert set(part.values("crs")) == {"EPSG:32632"}
    lons = [float(str(lon)) for lon in part.values("lon")]
    assert lons == sorted(lons[:4]) * 2 or np.allclose(lons[:4], lons[4:], atol=1e-3)
    assert lons[0] == pytest.approx(9 + 500 / 111_320 / np.cos(np.radians(47.85)), abs=1e-4)
    again = ingest.add(place, both, [str(path)], tile=100)
    assert list(again.added.values()) == [0, 0]
    assert again.there == 8
    other = ingest.add(place, both[:1], [str(path)], tile=200)  # tiles of another size come beside them
    assert list(other.added.values()) == [4]  # half of the lower two is a gap
    assert other.outdated == 0


def test_a_scene_is_seen_as_the_run_sees_its_images(both: list[Run], tmp_path: Path) -> None:
    """With the bands and the stretch that the run recorded, whole images and tiles alike."""
    run = Run(tmp_path / both[0].id)
    shutil.copytree(both[0].path, run.path)
    look = Look(("4", "3", "2"), ((0.0, 3000.0),))
    stored = json.loads((run.path / "data.json").read_text())
    (run.path / "data.json").write_text(json.dumps(stored | {"stretch": look.text}))
    values = noise(5, 64, 128, np.uint16)
    scene_file(tmp_path / "scene.tif", values)
    scene_file(tmp_path / "alone.tif", values[:, :, 64:])
    place = tmp_path / "archive"
    ingest.add(place, [run], [str(tmp_path / "scene.tif"), str(tmp_path / "alone.tif")], tile=64)
    part = archive.open(place)
    assert part.encoder.look == look.text
    rows = dict(
        zip(zip(names(part), part.values("window"), strict=True), part.vectors(part.ids()), strict=True)
    )
    z = rows["alone.tif", ""]
    np.testing.assert_allclose(rows["scene.tif", "64 0 64 64"], z, atol=1e-6)
    pixels = look.levels(values[[3, 2, 1], :, 64:])
    alone = Image.fromarray(pixels).resize((prepared_size(32),) * 2, 3, reducing_gap=3.0)
    assert z @ trained.read(run).embed(np.asarray(alone)[None])[0] > 0.9999  # bf16: not bit for bit


def test_coordinates_of_whole_images(both: list[Run], tmp_path: Path) -> None:
    scene_file(tmp_path / "geo.tif", noise(3, 40, 40), crs="EPSG:4326", transform=origin(11, 48, 0.01))
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "S", 2: (33.0, 30.0, 0.0), 3: "W", 4: (70.0, 15.0, 36.0)})
    exif.get_ifd(0x8769).update({0x9003: "2021:05:17 10:00:00"})
    Image.fromarray(noise(3, 40, 40).transpose(1, 2, 0)).save(tmp_path / "photo.jpg", exif=exif)
    ingest.add(tmp_path / "archive", both[:1], [str(tmp_path / "geo.tif"), str(tmp_path / "photo.jpg")])
    part = archive.open(tmp_path / "archive")
    assert part.values("lon") == pytest.approx([11.2, -70.26])
    assert part.values("lat") == pytest.approx([47.8, -33.5])
    assert part.values("date") == ["", "2021-05-17"]


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("S2A_MSIL1C_20170613T101031_N0205.tif", "2017-06-13"),
        ("scene-2021-07-04.png", "2021-07-04"),
        ("2019_12_31.png", "2019-12-31"),
        ("IMG20200102030405.jpg", "2020-01-02"),
        ("LC08_L1TP_044034_20140318_01_T1_B4.TIF", "2014-03-18"),
        ("2018-05-06/tile_3.png", "2018-05-06"),
        ("agricultural00.tif", ""),
        ("20201332.png", ""),
        ("120170613.png", ""),
        ("2017-0613.png", ""),
    ],
)
def test_dates_in_names(name: str, date: str) -> None:
    assert images.date_in(name) == date


def test_thumbnails_are_small_whatever_is_in_them() -> None:
    for side in (40, 160, 1280):
        pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
        assert len(images.thumbnail(pixels)) <= 4096


def test_a_source_that_is_not_there_or_empty(both: list[Run], tmp_path: Path) -> None:
    with pytest.raises(MaclError, match="does not exist"):
        ingest.add(tmp_path / "archive", both[:1], [str(tmp_path / "nowhere")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(MaclError, match=r"no image in .*empty: need files that end in \.bmp"):
        ingest.add(tmp_path / "archive", both[:1], [str(tmp_path / "empty")])
    assert not (tmp_path / "archive").exists()


def test_labels_are_left_out_where_the_training_images_are_gone(
    both: list[Run], tiles: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path / both[0].id)
    shutil.copytree(both[0].path, run.path)
    fields = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps(fields | {"data_root": str(tmp_path / "gone")}))
    report = ingest.add(tmp_path / "archive", [run], [str(tiles)])
    assert list(report.added.values()) == [20]
    (note,) = report.notes
    assert note.startswith(f"no labels are predicted by {run.id}: ")
    assert "does not exist" in note
    assert set(archive.open(tmp_path / "archive").values("label")) == {""}


def test_two_parts_of_a_cluster_make_one_whole(both: list[Run], tiles: Path, tmp_path: Path) -> None:
    for shard in ((1, 3), (2, 3), (3, 3)):
        report = ingest.add(tmp_path, both[:1], [str(tiles)], shard=shard)
        assert sum(report.added.values()) in (6, 7)
    assert sorted(names(archive.open(tmp_path))) == sorted(path.name for path in tiles.rglob("*.png"))


ADD = """
import sys
from pathlib import Path
from core.archive import ingest
from core.runs import Run
ingest.COMMIT_ROWS, ingest.reading.CHUNK = 8, 4
place, run, source, shard = sys.argv[1:]
ingest.add(place, [Run(Path(run))], [source], shard=tuple(map(int, shard.split("/"))))
"""


def adding(place: Path, run: Run, source: Path, shard: str = "1/1") -> subprocess.Popen[bytes]:
    """A process that adds eight images at a time."""
    arguments = (place, run.path, source, shard)
    return subprocess.Popen([sys.executable, "-c", ADD, *map(str, arguments)], cwd=PROJECT)


def test_two_processes_at_once(both: list[Run], tiny: Path, tmp_path: Path) -> None:
    """Shards of one folder, and once more the whole: nothing is missing, nothing twice."""
    place = tmp_path / "archive"
    processes = [adding(place, both[0], tiny, shard) for shard in ("1/2", "2/2")]
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    assert sorted(names(archive.open(place))) == [f"scene{i:03d}.png" for i in range(160)]


def test_an_archive_is_searched_with_its_own_encoder_only(
    both: list[Run], filled: Path, tiles: Path, tmp_path: Path
) -> None:
    root = both[0].path.parent
    image = tiles / "north" / "tile-20240115-000.png"
    for run in both:
        asked = query.asked(filled, run.id, root)
        assert asked.archive.encoder.run == run.id
        (first,) = asked.archive.search(asked.embed(image), 1).hits
        assert (first.record.source, round(first.cosine, 5)) == (str(image), 1)
    with pytest.raises(MaclError, match="has several encoders: choose one of"):
        query.asked(filled, "", root)

    changed = Run(tmp_path / both[0].id)  # the same name, trained to other weights
    shutil.copytree(both[0].path, changed.path)
    shutil.copy(both[1].path / trained.WEIGHTS, changed.path / trained.WEIGHTS)
    third = tmp_path / "archive"
    ingest.add(third, both[:1], [str(tiles)])
    with pytest.raises(MaclError, match=r"is another encoder now than in .* \(its weights have changed\)"):
        query.asked(third, changed.id, tmp_path)
    smaller = json.loads((both[0].path / "config.json").read_text()) | {"image_size": 64}
    shutil.copy(both[0].path / trained.WEIGHTS, changed.path / trained.WEIGHTS)
    (changed.path / "config.json").write_text(json.dumps(smaller))
    with pytest.raises(MaclError, match=r"another encoder now .* \(images of 64 pixels, not 32\)"):
        query.asked(third, changed.id, tmp_path)
    with pytest.raises(MaclError, match=r"has no embeddings of .* \(it has those of .*\): add them with"):
        query.asked(third, both[1].id, root)
    (changed.path / trained.WEIGHTS).unlink()
    with pytest.raises(MaclError, match="has no weights"):
        query.asked(third, changed.id, tmp_path)
    with pytest.raises(MaclError, match="no run named 'nobody'"):
        query.asked(third, "nobody", tmp_path)


def test_a_copied_run_is_the_same_encoder(both: list[Run], filled: Path, tmp_path: Path) -> None:
    copy = tmp_path / "another-name"
    shutil.copytree(both[1].path, copy)
    asked = query.asked(filled, str(copy), tmp_path)
    assert asked.archive.encoder.run == both[1].id
