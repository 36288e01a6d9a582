"""`macl archive` with an archive in Milvus, on real images; Milvus is Milvus Lite here, a file."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import archive, cli, runs
from core.errors import MaclError
from tests.core.archive.test_archive_adapters import LACKING, closed


@pytest.fixture
def place(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("milvus_lite", reason=LACKING)
    place = f"milvus:{tmp_path / 'lite.db'}/europe"
    yield place
    closed(place)


def test_from_the_first_image_to_the_last(
    place: str, tiny: Path, trained_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(command: str, *words: object) -> str:
        cli.app(["archive", command, place, *map(str, words)], standalone_mode=False)
        return capsys.readouterr().out

    name = {run.config.loss: run.id for run in runs.list_runs(trained_runs)}
    images = tmp_path / "images"
    images.mkdir()
    for i in range(24):
        shutil.copy(tiny / f"scene{i:03d}.png", images)
    root = ("--run-root", trained_runs)
    both = ("--run", name["macl"], "--run", name["mulsupcon"], *root)
    added = "".join(f"{name[loss]}: {{0}} images added\n" for loss in ("macl", "mulsupcon"))
    assert said("add", images, *both) == added.format(24) + "0 there already, 0 cannot be read\n"
    assert said("add", images, *both) == added.format(0) + "24 there already, 0 cannot be read\n"

    # the same as in a folder, to the last digit that is shown
    folder = tmp_path / "folder"
    cli.app(["archive", "add", str(folder), str(images), *map(str, both)], standalone_mode=False)
    capsys.readouterr()
    for part, twin in zip(archive.parts(place), archive.parts(folder), strict=True):
        assert part.encoder == twin.encoder
        assert part.records(part.ids()) == twin.records(twin.ids())
    asked = ("--image", images / "scene007.png", "--run", name["macl"], *root, "-k", 9)
    out = said("search", *asked)
    cli.app(["archive", "search", str(folder), *map(str, asked)], standalone_mode=False)
    assert out == capsys.readouterr().out
    assert out.splitlines()[1].split()[:3] == ["1", str(images / "scene007.png"), "1.0000"]
    assert out.splitlines()[-1] == "exact"
    out = said("search", *asked, "--exact", "--where", "source LIKE '%scene00_.png' AND lat IS NULL")
    assert len(out.splitlines()) == 1 + 9 + 1
    with pytest.raises(MaclError, match="the condition 'colour = 3' is not understood"):
        said("search", *asked, "--where", "colour = 3")

    first, _ = said("info").split("\n\n")
    about = dict(line.split("  ", 1) for line in first.splitlines())
    values = {key: value.strip() for key, value in about.items()}
    assert (values["rows"], values["removed"], values["size"]) == ("24", "0", "known to Milvus")
    assert values["index"] == "none: answers are exact"
    with pytest.raises(MaclError, match="an archive in Milvus is searched exactly"):
        said("index")
    out = said("remove", images / "scene003.png", images / "scene004.png", "--run", name["macl"])
    assert out == f"{name['macl']}: 2 images removed\n"
    assert said("compact").count("Milvus has been asked to compact") == 2
    assert said("add", images, *both).splitlines()[0] == f"{name['macl']}: 2 images added"
    assert said("remove", images).count("24 images removed") == 2
