"""What the system refuses, and what is larger than anybody means: one sentence and the way out each."""

import errno
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from core import runs
from core.cli import run as commands
from core.cli.main import main
from core.data import source
from core.encoder import export
from core.errors import MaclError, words
from core.experiments.axes import parse_axis, parse_seeds
from core.report import scoring
from core.runs import Run


@pytest.fixture
def run(tmp_path: Path, finished_runs: Path) -> Run:
    source_run = runs.list_runs(finished_runs)[0]
    return Run(Path(shutil.copytree(source_run.path, tmp_path / "runs" / source_run.id)))


@pytest.mark.parametrize("seeds", ["0-9999999999", "0-" + "9" * 30, "9" * 5000, "0-" + "9" * 5000])
def test_seeds_are_counted_before_they_are_built(seeds: str) -> None:
    with pytest.raises(MaclError, match="seeds: need") as error:
        parse_seeds(seeds)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("text", ["seed=0-9999999999", "seed=" + "9" * 5000, "alpha=0:1:" + "9" * 5000])
def test_an_axis_of_too_many_digits_is_a_sentence(text: str) -> None:
    with pytest.raises(MaclError, match=r"need|number") as error:
        parse_axis(text, "macl")
    assert len(str(error.value)) < 400


def test_the_root_of_the_machine_is_refused_without_walking(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("walked")

    (tmp_path / "link").symlink_to("/")
    monkeypatch.setattr("os.scandir", never)
    for root in (Path("/"), tmp_path / "link", Path("//"), Path("/tmp/..")):
        with pytest.raises(MaclError, match="is the whole machine: give the folder of the data set itself"):
            source.scan(root)
        assert source.mark(root) == ""


def _zip(path: Path) -> tuple[bytearray, int]:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.png", "b.png"):
            archive.writestr(name, b"x" * 40)
    data = bytearray(path.read_bytes())
    return data, data.index(b"PK\x01\x02")


@pytest.mark.parametrize("at", range(4, 46))
def test_a_zip_with_a_damaged_directory_is_a_sentence(at: int, tmp_path: Path) -> None:
    data, start = _zip(tmp_path / "a.zip")
    data[start + at] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)
    said = ""
    try:
        source.scan(tmp_path / "a.zip")
    except MaclError as error:
        said = str(error)
    assert not said or "a.zip" in said


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("command", ["pause", "unpause", "export"])
def test_a_disk_that_refuses_is_a_sentence(
    command: str, number: int, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, "the system's words", str(path))

    (run.path.parent / ".paused").touch()
    monkeypatch.setattr(
        Path, "mkdir" if command == "export" else "touch" if command == "pause" else "unlink", refuse
    )
    monkeypatch.setattr(
        "sys.argv",
        ["macl", command, *([run.id] if command == "export" else []), "--run-root", str(run.path.parent)],
    )
    with pytest.raises(SystemExit, match="1"):
        main()
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("error: ")
    assert "; " in said, "with a way out"
    assert "Errno" not in said


def test_what_belongs_to_another_is_not_called_damaged(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, whom no permission stops: the system's answer is put in its place."""
    usual = Path.open

    def refused(path: Path, *given: object, **more: object) -> object:
        if path.name in ("scores.json", "config.json"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return usual(path, *given, **more)  # type: ignore[call-overload]

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setattr("core.runs.contents.safe_open", closed)
    for read in (run.scores, run.embeddings, lambda: run.config):
        with pytest.raises(MaclError, match=r"cannot be read \(.*belongs to somebody else") as error:
            read()
        assert "damaged" not in str(error.value)


def test_a_folder_that_cannot_be_looked_into_is_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = os.stat

    def refused(path: object, *given: object, **more: object) -> os.stat_result:
        if str(path).startswith(str(run.path)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return usual(path, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("os.stat", refused)
    assert [one.id for one in runs.list_runs(run.path.parent)] == [run.id]


def test_a_cut_file_of_weights_is_a_sentence(run: Run, tmp_path: Path) -> None:
    weights = run.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(MaclError, match=r"model\.safetensors is damaged .*: copy it again, or train"):
        export.write(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_to_a_file_is_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(MaclError, match="out is a file: choose a folder with --to"):
        commands.export(run.id, tmp_path / "out", run_root=run.path.parent)


@pytest.mark.parametrize("content", ['{"metrics": {', "[]", '{"metrics": {}}', "[" * 5000])
def test_damaged_scores_are_written_anew_from_sound_embeddings(content: str, run: Run) -> None:
    before = run.scores()
    run.mark("scores.json", content)
    commands.evaluate(run.id, write=True, run_root=run.path.parent)
    after = run.scores()
    assert {part: after[part] for part in ("metrics", "chance", "oracle")} == {
        part: pytest.approx(before[part]) for part in ("metrics", "chance", "oracle")
    }
    assert after["images"] == before["images"]


def test_scores_of_a_newer_version_are_never_written_over(run: Run) -> None:
    text = json.dumps({"schema": 99, "metrics": {}})
    run.mark("scores.json", text)
    with pytest.raises(MaclError, match="newer version"):
        scoring.complete(run)
    assert (run.path / "scores.json").read_text() == text


def test_the_words_of_the_system_name_the_way_out() -> None:
    assert words(OSError(errno.ENOSPC, "No space left on device", "/x")) == (
        "/x: No space left on device; the disk is full: make room there, or choose another folder"
    )
    assert words(OSError("odd")) == "odd"
