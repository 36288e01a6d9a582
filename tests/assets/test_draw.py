"""The drawing of the demo set: the same for everyone, labelled by what is seen, with a long tail.

And what is kept of it, in assets/demo, is what the program draws.
"""

import csv
import hashlib
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assets.demo import draw as demo
from assets.demo.draw import __main__ as kept
from assets.demo.draw import light, parallel
from core.files import PROJECT

SIZE = 48
HOME = PROJECT / "assets" / "demo"


@pytest.fixture(scope="module")
def many() -> tuple[np.ndarray, np.ndarray]:
    return demo.render(450, seed=0, size=SIZE)


def test_an_image_is_a_function_of_seed_and_index() -> None:
    order = [11, 0, 7, 3, 7]
    one = {i: demo.draw(i, seed=5, size=SIZE) for i in order}
    images, labels = demo.render(12, seed=5, size=SIZE, workers=3)  # drawn in three other processes
    for i in order:
        np.testing.assert_array_equal(images[i], one[i][0])
        np.testing.assert_array_equal(labels[i], one[i][1])
    assert not np.array_equal(demo.draw(0, seed=6, size=SIZE)[0], one[0][0])


def test_render_works_from_a_main_module_that_cannot_be_imported() -> None:
    program = (
        "import hashlib, sys\n"
        "from assets.demo.draw import render\n"
        f"images, labels = render(4, seed=2, size={SIZE}, workers=2)\n"
        "assert 'torch' not in sys.modules\n"
        "print(hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest())\n"
    )
    said = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True, check=True)
    here = [demo.draw(i, seed=2, size=SIZE) for i in range(4)]
    data = b"".join(image.tobytes() for image, _ in here) + b"".join(y.tobytes() for _, y in here)
    assert said.stdout.strip() == hashlib.sha256(data).hexdigest()


def test_render_reports_progress() -> None:
    seen: list[tuple[int, int]] = []
    demo.render(6, size=SIZE, workers=2, progress=lambda done, total, _what: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (6, 6)


def test_labels_are_what_the_mask_shows() -> None:
    for index in range(40):
        image, labels, mask = demo.paint(index, size=SIZE)
        assert image.shape == (SIZE, SIZE, 3)
        assert image.dtype == np.uint8
        assert mask.shape == (2 * SIZE, 2 * SIZE)
        expected = [
            100 * np.count_nonzero(mask == 1 + k) / mask.size >= demo.THRESHOLDS[name]
            for k, name in enumerate(demo.CLASSES)
        ]
        assert any(expected)
        np.testing.assert_array_equal(labels, expected)


def test_without_a_clear_label_the_largest_class_is_given() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[0, :20] = 1 + demo.CLASSES.index("court")
    mask[1, :19] = 1 + demo.CLASSES.index("sand")
    labels = demo.labels_of(mask)
    assert [demo.CLASSES[k] for k in np.flatnonzero(labels)] == ["court"]


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("apron", "airplane"),
        ("bare", "bare soil"),
        ("dense_homes", "buildings"),
        ("parking", "cars"),
        ("chaparral", "chaparral"),
        ("courts", "court"),
        ("harbour", "dock"),
        ("farmland", "field"),
        ("golf", "grass"),
        ("trailers", "mobile home"),
        ("freeway", "pavement"),
        ("beach", "sand"),
        ("sea", "sea"),
        ("harbour", "ship"),
        ("tanks", "tanks"),
        ("forest", "trees"),
        ("river", "water"),
    ],
)
def test_a_template_shows_its_subject(template: str, name: str) -> None:
    scene = [i for i in range(900) if demo.template(i, seed=1) == template][:10]
    assert len(scene) >= 5
    shown = [demo.draw(i, seed=1, size=SIZE)[1][demo.CLASSES.index(name)] for i in scene]
    assert np.mean(shown) >= 0.7, f"{name} in {np.mean(shown):.0%} of {template}"


def test_labels_have_a_long_tail_and_occur_together(many: tuple[np.ndarray, np.ndarray]) -> None:
    _, y = many
    share = dict(zip(demo.CLASSES, y.mean(0), strict=True))
    assert min(share.values()) >= 0.02
    assert share["pavement"] > 0.5
    assert all(share[name] > 0.3 for name in ("bare soil", "buildings", "cars", "grass", "trees"))
    rare = ("airplane", "chaparral", "court", "dock", "field", "mobile home", "sea", "ship", "tanks")
    assert all(share[name] < 0.09 for name in rare)
    assert 2.5 <= y.sum(1).mean() <= 4
    assert y.sum(1).min() >= 1
    assert len(np.unique(y, axis=0)) >= 60


def test_no_two_images_are_alike(many: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = many
    assert len({image.tobytes() for image in x}) == len(x)
    assert (x.reshape(len(x), -1).std(1) > 4).all()


def test_a_scene_is_the_same_at_another_size() -> None:
    for index in range(6):
        small, large = demo.draw(index, size=64)[0], demo.draw(index, size=128)[0]
        halved = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
        alike = np.corrcoef(small.mean(2).ravel(), halved.mean(2).ravel())[0, 1]
        other = demo.draw(index + 1, size=64)[0]
        apart = np.corrcoef(small.mean(2).ravel(), other.mean(2).ravel())[0, 1]
        assert alike > apart + 0.1
    assert demo.draw(0, size=280)[0].shape == (280, 280, 3)


def test_shadows_fall_away_from_the_sun_to_their_length() -> None:
    height = np.zeros((64, 64), np.int16)
    height[30:34, 30:34] = 40
    dark = light.shadows(height, sun=math.pi, fall=4.0, reach=63)  # the sun stands on the left
    assert dark[31, 34:42].all()  # (40 levels - 6 of tolerance) / 4 levels per pixel = 8.5 pixels
    assert not dark[31, 42:].any()
    assert not dark[:, :34].any()


def test_shadows_agree_with_a_walk_towards_the_sun() -> None:
    rng = np.random.default_rng(0)
    height = (rng.random((40, 40)) ** 8 * 60).astype(np.int16)
    dark = light.shadows(height, sun=0.0, fall=3.0, reach=31)
    for y in range(40):
        for x in range(40):
            steps = range(1, min(64, 40 - x))
            blocked = any(height[y, x + k] - 3 * k > height[y, x] + 6 for k in steps)
            assert dark[y, x] == blocked


@pytest.mark.parametrize("bad", [{"index": -1}, {"index": 0, "size": 16}, {"index": 0, "seed": -1}])
def test_arguments_out_of_range(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="need index >= 0"):
        demo.draw(**bad)


def test_render_checks_its_arguments() -> None:
    with pytest.raises(ValueError, match="need count >= 1"):
        demo.render(0)


def test_a_worker_that_dies_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: int) -> subprocess.Popen[bytes]:
        code = "import sys; sys.exit('no paint left')"
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    monkeypatch.setattr(parallel, "_start", start)
    with pytest.raises(RuntimeError, match="no paint left"):
        demo.render(2, size=SIZE, workers=1)


def test_the_kept_pictures_are_what_the_program_draws() -> None:
    """A sample, within what WebP loses: 3.3 of 255 levels on average, 4.4 in the worst picture."""
    with (HOME / "labels.csv").open(newline="") as table:
        header, *lines = csv.reader(table)
    assert header == ["image", *demo.CLASSES]
    assert [line[0] for line in lines] == [kept.path_of(index) for index in range(demo.COUNT)]
    for index in range(0, demo.COUNT, 35):
        drawn, labels = demo.draw(index, size=kept.SIZE)
        assert lines[index][1:] == list(map(str, labels))
        with Image.open(HOME / lines[index][0]) as picture:
            there = np.asarray(picture.convert("RGB"))
        assert there.shape == drawn.shape
        assert np.abs(there.astype(int) - drawn).mean() < 6, lines[index][0]
        other = demo.draw(index + 1, size=kept.SIZE)[0]
        assert np.abs(there.astype(int) - other).mean() > 12


def test_the_kept_pictures_are_one_for_each_index_and_no_burden() -> None:
    files = sorted(HOME.rglob("*.webp"))
    assert [path.relative_to(HOME).as_posix() for path in files] == sorted(map(kept.path_of, range(2100)))
    assert sum(path.stat().st_size for path in HOME.rglob("*") if path.suffix != ".pyc") <= 18e6


def test_the_same_pictures_are_written_again(tmp_path: Path) -> None:
    (tmp_path / "scenes" / "old").mkdir(parents=True)
    (tmp_path / "scenes" / "old" / "demo0000.webp").touch()
    kept.write(tmp_path, 6)
    paths = [kept.path_of(index) for index in range(6)]
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.webp")) == sorted(paths)
    lines = (HOME / "labels.csv").read_text().splitlines()
    assert (tmp_path / "labels.csv").read_text().splitlines() == lines[:7]
    for path in paths:
        with Image.open(tmp_path / path) as again, Image.open(HOME / path) as there:
            assert np.abs(np.asarray(again).astype(int) - np.asarray(there)).mean() < 1  # another libwebp
