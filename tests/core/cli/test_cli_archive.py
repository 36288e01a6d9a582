"""`macl archive` as a person uses it, and what it says."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core import cli, runs
from core.cli import archive as command
from core.errors import MaclError
from core.files import PROJECT
from tests.core.archive import made
from tests.core.archive.test_archive_scene import noise, origin, scene_file


@pytest.fixture(scope="module")
def root(trained_runs: Path) -> Path:
    return trained_runs


@pytest.fixture(scope="module")
def names(root: Path) -> dict[str, str]:
    """Name of the run of each loss."""
    return {run.config.loss: run.id for run in runs.list_runs(root)}


@pytest.fixture(scope="module")
def filled(tiny: Path, root: Path, names: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of both runs, thirty drawn scenes and a cut one, as the command made it."""
    folder = tmp_path_factory.mktemp("cli-archive")
    (folder / "images").mkdir()
    for i in range(30):
        shutil.copy(tiny / f"scene{i:03d}.png", folder / "images")
    (folder / "images" / "broken.png").write_bytes(b"no")
    scene_file(
        folder / "images" / "scene.tif", noise(3, 2100, 2048) // 8,
        crs="EPSG:32632", transform=origin(500_000, 5_300_000, 10), nodata=255,
    )  # fmt: skip
    done = subprocess.run(
        [
            sys.executable, "-c", "from core.cli import main; main()",
            "archive", "add", "archive", "images", "--run", names["macl"], "--run", names["mulsupcon"],
            "--tile", "1024", "--run-root", str(root),
        ],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder / "out.txt").write_text(done.stdout)
    (folder / "err.txt").write_text(done.stderr)
    return folder / "archive"


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    cli.app(["archive", *map(str, words)], standalone_mode=False)
    return capsys.readouterr().out


def test_add_says_what_came_of_it(filled: Path, names: dict[str, str]) -> None:
    assert (filled.parent / "out.txt").read_text().splitlines() == [
        f"{names['macl']}: 36 images added",
        f"{names['mulsupcon']}: 36 images added",
        "0 there already, 1 cannot be read",
    ]
    told = (filled.parent / "err.txt").read_text()
    assert f"cannot be read: {filled.parent}/images/broken.png: not an image" in told
    assert "1 scene cut into tiles of 1024 pixels (choose with --tile), 0 of them without data" in told


def test_add_again_adds_nothing(
    filled: Path, root: Path, names: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    images = filled.parent / "images"
    out = said(capsys, "add", filled, images, "--run", names["macl"], "--tile", 1024, "--run-root", root)
    assert out.splitlines() == [f"{names['macl']}: 0 images added", "36 there already, 1 cannot be read"]


def test_search_as_table_csv_and_geojson(
    filled: Path, root: Path, names: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    image = filled.parent / "images" / "scene007.png"
    words = ("search", filled, "--image", image, "--run", names["macl"], "--run-root", root)
    out = said(capsys, *words, "-k", 36, "--csv", tmp_path / "r.csv", "--geojson", tmp_path / "r.json")
    lines = out.splitlines()
    assert lines[0].split() == list(command.COLUMNS)
    assert lines[1].split()[:3] == ["1", str(image), "1.0000"]
    assert lines[-1] == "exact"
    with (tmp_path / "r.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == [str(i) for i in range(1, 37)]
    cosines = [float(row["cosine"]) for row in rows]
    assert cosines == sorted(cosines, reverse=True)
    placed = [row for row in rows if row["lat"]]
    assert sorted(row["window"] for row in placed) == sorted(
        f"{x} {y} 1024 1024" for y in (0, 1024, 1076) for x in (0, 1024)
    )
    collection = json.loads((tmp_path / "r.json").read_text())
    assert collection["type"] == "FeatureCollection"
    assert len(collection["features"]) == 6
    for feature, row in zip(collection["features"], placed, strict=True):
        assert feature["geometry"]["type"] == "Point"
        assert feature["geometry"]["coordinates"] == pytest.approx([float(row["lon"]), float(row["lat"])])
        assert feature["properties"]["rank"] == int(row["rank"])
        assert feature["properties"]["source"].endswith("scene.tif")


def test_search_with_a_condition(
    filled: Path, root: Path, names: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    image = filled.parent / "images" / "scene007.png"
    words = ("search", filled, "--image", image, "--run", names["macl"], "--run-root", root)
    lines = said(capsys, *words, "--where", "lat > 40 AND window LIKE '0 %'").splitlines()
    assert len(lines) == 1 + 3 + 1
    assert all("scene.tif" in line for line in lines[1:-1])
    with pytest.raises(MaclError, match="the condition 'colour = 3' is not understood"):
        said(capsys, *words, "--where", "colour = 3")


def test_mistakes_are_one_line(
    filled: Path,
    root: Path,
    names: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = filled.parent / "images" / "scene007.png"
    broken = filled.parent / "images" / "broken.png"
    monkeypatch.setenv("MACL_RUN_ROOT", str(root))
    for words, message in (
        (("search", filled, "--image", image, "--run-root", root), "has several encoders: choose one of"),
        (("search", tmp_path, "--image", image, "--run-root", root), "is no archive: make one with"),
        (
            ("search", filled, "--image", tmp_path / "no.png", "--run", names["macl"], "--run-root", root),
            "cannot be read .No such file",
        ),
        (("add", tmp_path / "a", image, "--run", names["macl"], "--shard", "3/2"), "--shard: need"),
        (("add", tmp_path / "a", image, "--run", "nobody", "--run-root", root), "no run named 'nobody'"),
        (("add", "s3://mine/a", image, "--run", names["macl"]), "^s3://mine/a is an address: need a folder"),
        (("add", tmp_path / "a", "gs://mine/a", "--run", names["macl"]), "^gs://mine/a is an address: need"),
        (("add", tmp_path / "a", broken, "--run", names["macl"]), "none of the images can be read"),
        (("remove", filled), "nothing to remove"),
        (("index", filled, "--run", names["macl"]), "36 images are too few for an index"),
    ):  # fmt: skip
        with pytest.raises(MaclError, match=message):
            said(capsys, *words)


def test_info_remove_and_compact(
    filled: Path, names: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = tmp_path / "archive"
    shutil.copytree(filled, place)
    blocks = [
        dict(line.split("  ", 1) for line in block.splitlines())
        for block in said(capsys, "info", place).split("\n\n")
    ]
    assert sorted(block["run"].strip() for block in blocks) == sorted(names.values())
    for block in blocks:
        values = {name: value.strip() for name, value in block.items()}
        assert (values["rows"], values["removed"], values["image size"]) == ("36", "0", "32")
        assert values["index"] == "none: answers are exact"
    images = filled.parent / "images"
    out = said(capsys, "remove", place, images / "scene001.png", images / "scene.tif", "--run", names["macl"])
    assert out == f"{names['macl']}: 7 images removed\n"
    out = said(capsys, "remove", place, images, "--where", "window <> ''")
    assert sorted(out.splitlines()) == sorted(
        [f"{names['macl']}: 0 images removed", f"{names['mulsupcon']}: 6 images removed"]
    )
    said(capsys, "compact", place)
    again = said(capsys, "info", place)
    assert "rows        29" in again
    assert "rows        30" in again
    assert again.count("removed     0") == 2


def test_an_approximate_answer_is_said_with_its_recall(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.filled(tmp_path, 1500)
    out = said(capsys, "index", tmp_path)
    assert out.startswith("run-aa: IVF_PQ 2 × 4, recall@20 ")
    assert "1,500 rows, recall@20 " in said(capsys, "info", tmp_path)


def test_the_command_line_starts_without_lancedb() -> None:
    code = "import sys\nfrom core.cli import main\nprint({'lancedb', 'torch'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert done.stdout == "set()\n"
