"""A part of a data set for a first look: a number of images or a share, the same for every seed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from core import data
from core.data import DATASETS, checksums, limit
from core.data.info import Found
from core.data.reading import Reading
from core.errors import MaclError
from core.runs import RunConfig
from tests import data_fakes as fakes

COUNT = 100


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hundred images with a split of 50, 30 and 20."""
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    parts = ["train"] * 5 + ["val"] * 3 + ["test"] * 2
    lines = ["image,a,b,split"]
    for i in range(COUNT):
        fakes.picture(tmp_path / "set" / f"{i:03d}.png", i)
        lines.append(f"{i:03d}.png,{i % 2},1,{parts[i % 10]}")
    (tmp_path / "set" / "labels.csv").write_text("\n".join(lines))
    return tmp_path / "set"


def sizes(d: data.Dataset) -> tuple[int, ...]:
    return tuple(len(d.splits[part]) for part in ("train", "val", "test"))


@pytest.mark.parametrize(
    ("said", "given", "mixed"),
    [
        ("20", (10, 6, 4), (14, 2, 4)),
        ("10%", (5, 3, 2), (7, 1, 2)),
        ("12.5 %", (6, 4, 2), (8, 1, 3)),
        ("1,000", (50, 30, 20), (70, 10, 20)),
        ("", (50, 30, 20), (70, 10, 20)),
    ],
)
def test_in_proportion(
    root: Path, said: str, given: tuple[int, int, int], mixed: tuple[int, int, int]
) -> None:
    d = data.load("folder", root, 8, reading=Reading(limit=said))
    assert sizes(d) == given
    parts = {f"{i:03d}.png": (["train"] * 5 + ["val"] * 3 + ["test"] * 2)[i % 10] for i in range(COUNT)}
    assert all({parts[d.names[row]] for row in rows} == {part} for part, rows in d.splits.items())
    assert sizes(data.load("folder", root, 8, reading=Reading(limit=said, split="random"))) == mixed
    assert len(d.images) == sum(given), "no other image is prepared"
    noted = [note for note in d.notes if "(--limit)" in note]
    assert noted == (
        [f"{sum(given)} of 100 usable images are drawn, within each part of the split (--limit)"]
        if sum(given) < COUNT
        else []
    )


def test_the_same_images_for_every_seed_and_in_every_larger_part(root: Path) -> None:
    few, again, more = (
        data.load("folder", root, 8, seed, reading=Reading(limit=said, split="random"))
        for said, seed in (("20", 0), ("20", 1), ("40", 0))
    )
    assert few.names == again.names
    assert few.key == again.key
    assert not np.array_equal(few.splits["train"], again.splits["train"])
    assert set(few.names) < set(more.names)
    assert few.key != more.key


def test_what_is_prepared_and_checked_is_the_part(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = checksums.time.time_ns() + 10**10
    monkeypatch.setattr(checksums.time, "time_ns", lambda: now)  # the files are old
    few = Reading(limit="20")
    data.load("folder", root, 8, reading=few)
    assert data.is_prepared("folder", root, 8, few)
    assert not data.is_prepared("folder", root, 8)
    report = data.check("folder", root, decode=True, reading=few)
    assert (report.ok, report.images, dict(report.splits)) == (True, 20, {"train": 10, "val": 6, "test": 4})


def test_images_without_a_label_are_not_drawn(root: Path) -> None:
    rows = (root / "labels.csv").read_text().splitlines()
    rows[1:51] = [row.replace(",1,1,", ",0,0,").replace(",0,1,", ",0,0,") for row in rows[1:51]]
    (root / "labels.csv").write_text("\n".join(rows))
    d = data.load("folder", root, 8, reading=Reading(limit="20"))
    assert (len(d), sizes(d), d.unlabelled) == (20, (10, 6, 4), 0)
    assert int(d.names[0][:3]) >= 50


def test_fixed_sizes_shrink_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    y = fakes.labels(2100, 17)
    found = Found(
        DATASETS["dlrsd"].classes,
        tuple(f"{i:04d}" for i in range(2100)),
        ("",) * 2100,
        y,
        "",  # type: ignore[arg-type]
    )
    some = limit.limited(found, DATASETS["dlrsd"], 210)
    rows = data.split(some.labels, some.names, DATASETS["dlrsd"], 0, (), some.whole)
    assert [len(rows[part]) for part in ("train", "val", "test")] == [147, 21, 42]
    with pytest.raises(MaclError, match=r"3 of 2,100 images are too few for a split: draw more with --limit"):
        data.split(y[:3], ["a", "b", "c"], DATASETS["dlrsd"], 0, (), 2100)


@pytest.mark.parametrize(
    ("sizes", "count", "few"),
    [
        ({"train": 237_871, "val": 122_342, "test": 119_825}, 20_000, (9911, 5097, 4992)),
        ({"train": 1000, "val": 3, "test": 3}, 20, (17, 1, 2)),
        ({"train": 1000, "test": 10}, 20, (18, 0, 2)),
        ({"train": 5, "val": 5, "test": 5}, 4, (1, 1, 2)),
        ({"train": 5, "val": 5, "test": 5}, 2, None),
        ({"train": 9, "val": 1, "test": 1}, 6, (4, 1, 1)),
    ],
)
def test_each_part_has_what_it_needs(
    sizes: dict[str, int], count: int, few: tuple[int, int, int] | None
) -> None:
    drawn = limit._in_proportion(Counter(sizes), count)
    assert sum(drawn.values()) == count
    assert all(0 <= drawn[part] <= sizes[part] for part in sizes)
    if few is not None:
        assert tuple(drawn.get(part, 0) for part in ("train", "val", "test")) == few


def test_a_damaged_mask_is_still_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    fakes.dlrsd(tmp_path / "set", 30, with_masks=True, with_table=False)
    broken = next((tmp_path / "set").rglob("Labels/beach/*.png"))
    broken.write_bytes(b"nothing")
    with pytest.raises(MaclError, match=f"{broken.stem}: mask .* not an image"):
        data.load("dlrsd", tmp_path / "set", 8, reading=Reading(limit="50%"))
    assert not data.check("dlrsd", tmp_path / "set", reading=Reading(limit="50%")).ok


@pytest.mark.parametrize("said", ["0", "00", 0, "", " "])
def test_no_limit_is_left_out_of_the_run(said: object) -> None:
    assert Reading(limit=said).limit == ""  # type: ignore[arg-type]
    assert "reading" not in RunConfig.build("instant", limit=said).model_dump(mode="json")


@pytest.mark.parametrize("said", ["-1", "0%", "101%", "a tenth", "1.5", "%", "10%%", "1/0%"])
def test_other_limits_are_refused(said: str) -> None:
    with pytest.raises(ValidationError, match="need a number of images such as 20000, or a share"):
        Reading(limit=said)


def test_a_number_is_kept_in_the_run() -> None:
    config = RunConfig.build("instant", dataset="folder", limit=20000, country="Austria")
    assert config.reading == Reading(limit="20000", country="Austria")
    assert RunConfig.model_validate(config.model_dump(mode="json")).reading == config.reading
