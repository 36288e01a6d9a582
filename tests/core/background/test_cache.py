"""The cache: every folder has a bound, what is in use stays, what killed processes left half written goes."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from core import runs
from core.background import cache
from core.cli.main import app
from core.errors import MaclError
from core.files import PROJECT, clear_scratch, lock, scratch, unlock
from core.queue import launch
from tests.small_runs import config, wait

USE = """
import sys, time
from pathlib import Path
from core.background import cache
for path in sys.argv[1:]:
    cache.use(Path(path))
print("used", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def other() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def used_by(other: list[subprocess.Popen[str]], *paths: Path) -> int:
    """Another process uses these."""
    command = [sys.executable, "-c", USE, *map(str, paths)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    other.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "used\n"
    return process.pid


def dead() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def make(folder: Path, name: str, age: float, size: int = 100) -> Path:
    """An entry that was used so many seconds ago; of `prepared` a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    then = time.time() - age
    if folder.name == "prepared":
        path.mkdir()
        (path / "images.npy").write_bytes(bytes(size))
        os.utime(path / "images.npy", (then, then))
    else:
        path.write_bytes(bytes(size))
    os.utime(path, (then, then))
    return path


def test_every_folder_that_anything_writes_has_a_bound() -> None:
    folders = set()
    for path in (PROJECT / "core").rglob("*.py"):
        folders |= set(re.findall(r'cache_root\(\) / "(\w+)"', path.read_text()))
    assert folders == {name.partition("/")[0] for name in cache.BOUNDS}
    assert {"features", "previews", "masks", "sheets"} <= folders


@pytest.mark.parametrize("name", cache.BOUNDS)
def test_the_least_recently_used_goes_first_and_never_what_is_in_use(
    name: str, own: Path, other: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cache.BOUNDS, name, 450)
    folder = own / name
    for position, entry in enumerate(("oldest", "older", "middle", "newer", "newest")):
        make(folder, entry, 1000 - 100 * position)
    assert used_by(other, folder / "oldest")
    os.utime(folder / "oldest", (1, 1))
    if name == "prepared":
        os.utime(folder / "oldest" / "images.npy", (1, 1))
    cache.used(folder / "older")
    with cache.writing(folder / "new") as partial:
        if name == "prepared":
            partial.mkdir()
            (partial / "images.npy").write_bytes(bytes(100))
        else:
            partial.write_bytes(bytes(100))
    assert {path.name for path in folder.iterdir()} == {"oldest", "older", "newest", "new"}
    make(folder, "much", 5000, 1000)
    cache.tidy()  # what every process does when it starts
    assert {path.name for path in folder.iterdir()} == {"oldest", "older", "newest", "new"}


def test_what_this_process_uses_stays_and_goes_when_it_has_ended(
    own: Path, other: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = make(own / "features", "mine.npy", 50), make(own / "features", "theirs.npy", 60)
    cache.use(mine)
    pid = used_by(other, theirs)
    freed, stay = cache.empty("features")
    assert freed == 0
    assert stay == [
        f"features/{name} is in use by process {process}"
        for name, process in sorted({"mine": os.getpid(), "theirs": pid}.items())
    ] or sorted(stay) == sorted(
        [f"features/mine is in use by process {os.getpid()}", f"features/theirs is in use by process {pid}"]
    )
    other[0].kill()
    other[0].wait()
    assert cache.empty("features")[0] == 100
    assert [path.name for path in (own / "features").iterdir()] == ["mine.npy"]


def test_the_files_of_a_living_process_stay(own: Path) -> None:
    folder = own / "jobs"
    folder.mkdir(parents=True)
    for name in ("demo-1.json", "demo-1.log", "demo-2.json"):
        (folder / name).write_text("{}")
    assert lock(folder / "demo-1.lock")
    try:
        cache.empty("jobs")
        assert {path.name for path in folder.iterdir()} == {"demo-1.json", "demo-1.log", "demo-1.lock"}
    finally:
        unlock(folder / "demo-1.lock")
    home = own / "embedder"
    question = make(home / "questions", "0-key.json", 5)
    assert lock(home / "embedder.lock")
    try:
        assert cache.empty("embedder/questions") == (
            0,
            [f"embedder/questions/0-key is in use by process {os.getpid()}"],
        )
    finally:
        unlock(home / "embedder.lock")
    assert cache.empty("embedder/questions") == (100, [])
    assert not question.exists()


def test_images_and_features_in_use_are_known_to_be(
    tiny: Path, own: Path, other: list[subprocess.Popen[str]]
) -> None:
    """By whoever has opened them: here this process, as a page or a training does."""
    from core.data import load
    from core.training.features import features

    data = load("folder", str(tiny), image_size=32)
    table = features(data, "tf_efficientnet_lite0", "imagenet", 32, "cpu")
    assert [entry.name for entry in cache.entries(own / "prepared")] == [data.key]
    for name in ("prepared", "features"):
        (entry,) = cache.entries(own / name)
        assert cache.user(own / name, entry) == os.getpid()
        assert cache.empty(name)[0] == 0
    assert np.isfinite(table).all()


def test_what_killed_processes_have_left_goes_at_the_next_start(tiny: Path, root: Path, own: Path) -> None:
    gone, run = dead(), runs.create(config(tiny), root)
    left = []
    for folder in (run.path, root, own / "jobs", own / "prepared", own / "embedder" / "questions"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (f".config.json.{gone}-0123abcd.part", ".splits.json.0123abcd", ".x.json.0123abcd"):
            (folder / name).touch()
            os.utime(folder / name, (1, 1))
            left.append(folder / name)
        (folder / f".folder.{gone}-0123abcd.part").mkdir()
        left.append(folder / f".folder.{gone}-0123abcd.part")
    empty = root / "20250102-101112.131-demo-macl-s0-ab12"  # of an earlier version
    empty.mkdir()
    os.utime(empty, (1, 1))
    stay = [scratch(run.path / "config.json"), root / ".x.json.fedc0123", root / "my own", run.path]
    for path in stay[:2]:
        path.touch()  # this process writes the one, another one may be writing the other
    stay[2].mkdir()
    os.utime(stay[2], (1, 1))
    launch.ensure_worker("cpu", root)
    wait(lambda: not any(path.exists() for path in [*left, empty]), 60)
    assert all(path.exists() for path in stay)
    clear_scratch(root / "there is none")


@pytest.mark.skipif(not Path("/proc").exists(), reason="only Linux tells")
def test_a_killed_process_that_nobody_has_reaped_writes_no_more(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        path = tmp_path / f".x.json.{process.pid}-0123abcd.part"
        path.touch()
        clear_scratch(tmp_path)
        wait(lambda: Path(f"/proc/{process.pid}/stat").read_text().split(") ")[1].startswith("Z"), 30)
        clear_scratch(tmp_path)
        assert not path.exists()


def test_a_run_that_is_being_created_is_never_half_there(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("core.runs.folder.write_atomic", killed)
    with pytest.raises(KeyboardInterrupt):
        runs.create(config(tiny), tmp_path)
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())
    assert runs.list_runs(tmp_path) == []


def test_a_lock_file_may_be_taken_away_by_who_holds_it(tmp_path: Path) -> None:
    """Who opened it before finds out that it has locked nothing that others see, and locks the next one."""
    path = tmp_path / "lock"
    assert lock(path)
    path.unlink()
    unlock(path)
    assert lock(path)
    assert path.exists()
    unlock(path)


def test_the_command_line_shows_and_empties_it(own: Path, other: list[subprocess.Popen[str]]) -> None:
    make(own / "features", "one.npy", 5, 2_000_000)
    kept = make(own / "projections" / "layouts", "two.npy", 5, 3_000_000)
    shown = CliRunner().invoke(app, ["cache"])
    assert shown.exit_code == 0
    for name, most in cache.BOUNDS.items():
        assert re.search(rf"{name} .* {most / cache.MB:,.0f} ", shown.output), shown.output
    assert re.search(r"features +1 +2\.0", shown.output)
    assert re.search(r"together +5\.0", shown.output)
    used_by(other, kept)
    emptied = CliRunner().invoke(app, ["cache", "--empty", "all"])
    assert "2.0 MB freed" in emptied.output
    assert isinstance(emptied.exception, MaclError)
    assert "in use" in str(emptied.exception)
    assert kept.exists()
    other[0].kill()
    other[0].wait()
    assert CliRunner().invoke(app, ["cache", "--empty", "projections"]).exit_code == 0
    assert not kept.exists()
    wrong = CliRunner().invoke(app, ["cache", "--empty", "runs"])
    assert "need all or one of prepared, features" in str(wrong.exception)
