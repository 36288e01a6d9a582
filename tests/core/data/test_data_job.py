"""Preparing in a detached process, what a page learns of it, and the strip of augmented images."""

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import data
from core.background.process import Process, Running
from core.data import ImageSet, examination, job, preview
from core.errors import MaclError

SIZE = 40  # training size in pixels, used by no other test


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def wait(root: str, size: int = SIZE) -> job.Preparation:
    deadline = time.monotonic() + 120
    while (about := job.status(ImageSet("folder", root, size))).state == "running":
        assert time.monotonic() < deadline, about
        time.sleep(0.05)
    return about


@pytest.mark.usefixtures("own_cache")
@pytest.mark.timed
def test_a_data_set_is_prepared_without_the_caller(tiny: Path) -> None:
    root = str(tiny)
    time.sleep(2.1)  # checksums of files as young as this fixture's are not remembered
    assert job.status(ImageSet("folder", root, SIZE)).state == "none"
    assert not data.is_prepared("folder", root, SIZE)
    begun = time.monotonic()
    job.start(ImageSet("folder", root, SIZE))
    assert time.monotonic() - begun < 1.0
    assert job.status(ImageSet("folder", root, SIZE)).state == "running"
    assert wait(root) == job.Preparation("done")
    assert data.is_prepared("folder", root, SIZE)
    assert not data.is_prepared("folder", root, 2 * SIZE)
    assert len(data.load("folder", root, image_size=SIZE)) == 160


@pytest.mark.usefixtures("own_cache")
def test_a_preparation_holds_as_long_as_its_files(tiny: Path, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    for file in tiny.iterdir():
        (root / file.name).write_bytes(file.read_bytes())
    kept = (root / "scene000.png").rename(tmp_path / "scene000.png")
    job.start(ImageSet("folder", str(root), SIZE))
    assert wait(str(root)).state == "done"
    kept.rename(root / "scene000.png")
    assert job.status(ImageSet("folder", str(root), SIZE)).state == "none"
    with pytest.raises(MaclError, match="is not prepared for 40 pixels, or has changed since"):
        data.load("folder", root, SIZE, only_prepared=True)


@pytest.mark.usefixtures("own_cache")
def test_what_is_wrong_is_said_and_can_be_skipped(tiny: Path, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    for file in tiny.iterdir():
        (root / file.name).write_bytes(file.read_bytes())
    (root / "scene000.png").write_bytes(b"not an image")
    job.start(ImageSet("folder", str(root), SIZE))
    about = wait(str(root))
    assert about.state == "failed"
    assert "scene000" in about.error
    assert "Traceback" not in about.error
    broken = (root / "scene000.png").rename(tmp_path / "scene000.png")
    (root / "scene000.png").write_bytes((tiny / "scene000.png").read_bytes())
    assert job.status(ImageSet("folder", str(root), SIZE)).state == "none", "mended: it may no longer be so"
    broken.rename(root / "scene000.png")
    job.start(ImageSet("folder", str(root), SIZE, skip_broken=True))
    assert wait(str(root)).state == "done"
    assert len(data.load("folder", str(root), image_size=SIZE, skip_broken=True)) == 159


@pytest.mark.usefixtures("own_cache")
def test_a_missing_folder_is_one_sentence(tiny: Path, tmp_path: Path) -> None:
    job.start(ImageSet("folder", str(tmp_path / "nowhere"), SIZE))
    about = wait(str(tmp_path / "nowhere"))
    assert about.state == "failed"
    assert "does not exist" in about.error
    shutil.copytree(tiny, tmp_path / "nowhere")
    assert job.status(ImageSet("folder", str(tmp_path / "nowhere"), SIZE)).state == "none"


@pytest.mark.usefixtures("own_cache")
def test_a_look_that_failed_is_forgotten_when_files_change(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "mine"
    shutil.copytree(tiny, root)
    monkeypatch.setattr(examination, "check", lambda *_, **__: 1 / 0)
    path = examination.process(ImageSet("folder", str(root))).path
    path.parent.mkdir(parents=True)
    running = Running(path, "core.data.examination", [ImageSet("folder", str(root)).to_json()])
    assert running.begin()
    with pytest.raises(ZeroDivisionError):
        running.run(examination.main, None)
    about = examination.status(ImageSet("folder", str(root)))
    assert (about.state, about.error) == ("failed", "ZeroDivisionError: division by zero")
    (root / "scene000.png").unlink()
    assert examination.status(ImageSet("folder", str(root))).state == "none"


@pytest.mark.parametrize("text", ["[1]", "7", "{}", "\0" * 80, '{"state": 5}', '{"state": "none"}'])
def test_a_damaged_note_of_a_job_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(text)
    assert Process(tmp_path / "job").status() == job.Preparation("none")


def test_a_cache_that_cannot_be_written_is_the_persons_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file in place of the folder")
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MaclError, match="point MACL_CACHE to another folder"):
        job.start(ImageSet("demo", None, SIZE))


@pytest.mark.usefixtures("own_cache")
def test_a_full_disk_is_the_persons_matter() -> None:
    """Stood for by a limit on the size of files, which a process hands on to those it starts."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for start in (
        lambda: job.start(ImageSet("demo", None, SIZE)),
        lambda: examination.start(ImageSet("folder", "/nowhere")),
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            with pytest.raises(MaclError, match=r"File too large.*make room or point MACL_CACHE"):
                start()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_page_side_imports_no_torch() -> None:
    code = "import core.data.job, core.data.preview, sys; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_the_strip_is_drawn_by_the_code_that_trains(tiny: Path) -> None:
    import torch

    from core.data.augment import augment, view

    images = data.load("folder", str(tiny), image_size=SIZE).images
    shown = preview.draw(images[5], SIZE, seed=3)
    one = torch.from_numpy(np.array(images[5]))[None]
    batch = one.repeat(preview.VERSIONS, 1, 1, 1)
    expected = augment(batch, SIZE, torch.Generator().manual_seed(3)).permute(0, 2, 3, 1)
    assert shown.shape == (1 + preview.VERSIONS, SIZE, SIZE, 3)
    np.testing.assert_allclose(shown[0], 255 * view(one, SIZE)[0].permute(1, 2, 0), atol=0.51)
    np.testing.assert_allclose(shown[1:], 255 * expected, atol=0.51)
    assert len({version.tobytes() for version in shown}) == 8
    sheet = np.asarray(preview.strip(shown))
    for place in range(8):
        left = place * (SIZE + preview.GAP)
        np.testing.assert_array_equal(sheet[:, left : left + SIZE, :3], shown[place])


def test_another_augmentation_draws_another_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    before = preview.path("key", SIZE, 0, 7)
    monkeypatch.setattr(preview, "VERSION", preview.VERSION + 1)
    assert preview.path("key", SIZE, 0, 7) != before


@pytest.mark.usefixtures("own_cache")
def test_the_strip_comes_from_a_process_of_its_own(tiny: Path) -> None:
    dataset = data.load("folder", str(tiny), image_size=SIZE)
    place = (dataset.key, SIZE, 0, 7)
    assert preview.status(*place).state == "none"
    preview.start(ImageSet("folder", str(tiny), SIZE), dataset.key, 0, 7)
    deadline = time.monotonic() + 120
    while (about := preview.status(*place)).state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert about.state == "done", about
    with Image.open(preview.path(*place)) as image:
        assert image.size == (8 * SIZE + 7 * preview.GAP, SIZE)
    preview.start(ImageSet("folder", str(tiny), SIZE), "another key", 0, 7)
    while (about := preview.status("another key", SIZE, 0, 7)).state == "running":
        time.sleep(0.1)
    assert "changed" in about.error
