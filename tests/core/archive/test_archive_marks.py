"""Marks of results: kept with the archive, counted with their interval, and taken along as a table."""

import csv
import io
import math
from pathlib import Path

import pytest

from core import archive
from core.archive import marks
from core.data import sets
from core.errors import MaclError
from tests.core.archive import made


def test_marks_are_kept_with_the_archive(tmp_path: Path) -> None:
    part = made.empty(tmp_path / "a")
    assert marks.read(tmp_path / "a") == {}
    marks.mark(tmp_path / "a", "harbor", 3, True)
    marks.mark(tmp_path / "a", "harbor", 2**62 + 1, False)
    assert marks.mark(tmp_path / "a", "beach", 3, False) == {
        "harbor": {3: True, 2**62 + 1: False},
        "beach": {3: False},
    }
    marks.mark(tmp_path / "a", "harbor", 3, False)  # another opinion
    marks.mark(tmp_path / "a", "beach", 3, None)  # taken back
    assert marks.read(tmp_path / "a") == {"harbor": {3: False, 2**62 + 1: False}}
    assert [one.encoder.id for one in archive.parts(tmp_path / "a")] == [part.encoder.id]
    archive.create(tmp_path / "a", part.encoder)  # it is still an archive


def test_damaged_marks_are_said_and_never_written_over(tmp_path: Path) -> None:
    made.empty(tmp_path / "a")
    (tmp_path / "a" / marks.FILE).write_text("{")
    for call in (lambda: marks.read(tmp_path / "a"), lambda: marks.mark(tmp_path / "a", "x", 1, True)):
        with pytest.raises(MaclError, match="cannot be read"):
            call()
    assert (tmp_path / "a" / marks.FILE).read_text() == "{"


@pytest.mark.parametrize(
    ("right", "number", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_the_interval_is_wilsons(right: int, number: int, low: float, high: float) -> None:
    """81 of 263 is Newcombe's example (Statistics in Medicine 1998, table I)."""
    assert marks.wilson(right, number) == pytest.approx((low, high), abs=5e-5)


def test_the_interval_solves_its_equation() -> None:
    """|p - share| = z √(p (1 - p) / n) at both ends."""
    for right, number in [(1, 3), (5, 9), (17, 40)]:
        for p in marks.wilson(right, number):
            assert abs(p - right / number) == pytest.approx(marks.Z95 * math.sqrt(p * (1 - p) / number))
    assert marks.wilson(0, 0) == (0.0, 1.0)


def test_precision_counts_what_is_marked() -> None:
    found = marks.precision([5, 3, 9, 1], {3: True, 9: False, 1: True, 77: True})
    assert (found.k, found.marked, found.right) == (4, 3, 2)
    assert found.share == pytest.approx(2 / 3)
    assert math.isnan(marks.precision([1], {}).share)


def test_the_table_is_that_of_an_own_folder(tmp_path: Path, tiny: Path) -> None:
    given = {"harbor": {1: True, 2: False}, "beach": {2: True, 3: True}}
    sources = {1: f"{tiny}/scene001.png", 2: f"{tiny}/scene002.png"}  # the third is gone
    text = marks.table(given, sources)
    assert list(csv.reader(io.StringIO(text))) == [
        ["image", "harbor", "beach"],
        [f"{tiny}/scene001.png", "1", "-1"],
        [f"{tiny}/scene002.png", "0", "1"],
    ]
    assert marks.table(given, sources, ["beach"]).splitlines()[1:] == [f"{tiny}/scene002.png,1"]

    own = tmp_path / "own"
    own.mkdir()
    for index in (1, 2):
        (own / f"scene00{index}.png").write_bytes((tiny / f"scene00{index}.png").read_bytes())
    complete = {"harbor": {1: True, 2: False}, "beach": {1: False, 2: True}}
    (own / "labels.csv").write_text(marks.table(complete, sources))
    report = sets.check("folder", str(own))
    assert dict(report.counts) == {"harbor": 1, "beach": 1}
    assert (report.images, report.usable) == (2, 2)
