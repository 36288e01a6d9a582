"""Files beside the images as people have them: JSON of many shapes, workbooks, titles, lists of names."""

import datetime
import json
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest
from pyarrow import parquet

from core import data
from core.errors import MaclError
from tests import data_fakes as fakes
from tests.own_tables import RIGHT, STEMS, flags, images, labels, lines, read

FLAGS = lines("image,a,b,c", "{s}.png,{f}")
LISTS = {f"{stem}.png": sorted(RIGHT[stem]) for stem in STEMS}
RECORDS = [{"image": image, "labels": names} for image, names in LISTS.items()]
PART = {s: "train" if i < 10 else "val" if i < 13 else "test" for i, s in enumerate(STEMS)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return images(tmp_path)


def coco() -> dict[str, list[dict[str, object]]]:
    number = {name: k for k, name in enumerate("abc", start=5)}
    pairs = [(image, name) for image, names in LISTS.items() for name in names * 2]
    return {
        "images": [{"id": image.upper(), "file_name": f"far/{image}"} for image in LISTS],
        "annotations": [
            {"id": k, "image_id": image.upper(), "category_id": number[name]}
            for k, (image, name) in enumerate(pairs)
        ],
        "categories": [{"id": k, "name": name} for name, k in number.items()],
    }


@pytest.mark.parametrize(
    "content",
    [
        {"data": RECORDS},
        {"info": {"version": 1}, "licenses": [], "annotations": RECORDS},
        {name: [image for image, names in LISTS.items() if name in names] for name in "abc"},
        {"image": dict(enumerate(LISTS)), "labels": dict(enumerate(LISTS.values()))},
        {"columns": ["image", "labels"], "index": list(range(16)), "data": [*map(list, LISTS.items())]},
        [*map(list, LISTS.items())],
        [{"image": image, **{name: name in names for name in "abc"}} for image, names in LISTS.items()],
        {image: {name: int(name in names) for name in "abc"} for image, names in LISTS.items()},
        [{"image": image, "labels": [{"name": name} for name in names]} for image, names in LISTS.items()],
        coco(),
    ],
    ids=[
        "wrapped", "wrapped beside others", "by class", "pandas", "pandas split", "pairs", "flags",
        "mapping of flags", "objects", "coco",
    ],
)  # fmt: skip
def test_json_of_many_shapes(root: Path, content: object) -> None:
    assert labels(read(root, json.dumps(content), "labels.json")) == RIGHT


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".ndjson"])
def test_json_lines(root: Path, suffix: str) -> None:
    text = "\n".join(map(json.dumps, RECORDS)) + "\n\n"
    assert labels(read(root, text, f"labels{suffix}")) == RIGHT


def test_what_coco_lacks_is_named(root: Path) -> None:
    content = coco()
    content["annotations"][0]["category_id"] = 99
    with pytest.raises(MaclError, match="an annotation of category 99, which is not among its categories"):
        read(root, json.dumps(content), "labels.json")
    del content["images"][3]["file_name"]
    with pytest.raises(MaclError, match="looks like COCO, but 'file_name' is missing in an entry"):
        read(root, json.dumps(content), "labels.json")


def workbook(path: Path, **sheets: list[list[object]]) -> None:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)


ROWS = [["image", "day", "a", "b", "c"]] + [
    [f"{s}.png", datetime.datetime(2020, 1, i + 1), *map(int, flags(s))] for i, s in enumerate(STEMS)
]


def test_a_sheet_with_a_title_behind_another_sheet(root: Path) -> None:
    workbook(
        root / "labels.xlsx", about=[["made", "by hand"]], empty=[], labels=[["Labels of 2021"], [], *ROWS]
    )
    found = read(root)
    assert labels(found) == RIGHT
    assert "the sheet labels of labels.xlsx is read" in found.notes
    assert "1 rows above the columns of labels.xlsx are left out" in found.notes
    assert labels(read(root)) == RIGHT  # from the cache


def test_two_sheets_with_labels_are_asked_about(root: Path) -> None:
    workbook(root / "labels.xlsx", train=ROWS[:11], test=[ROWS[0], *ROWS[11:]])
    with pytest.raises(MaclError, match=r"names images in 2 sheets, train, test: keep one, or save each"):
        read(root)


def test_a_table_that_is_called_as_it_is_not(root: Path) -> None:
    workbook(root / "labels.csv", labels=ROWS)
    with pytest.raises(MaclError, match=r"labels.csv is a \.xlsx file by its content: call it so"):
        read(root)
    (root / "labels.csv").unlink()
    with pytest.raises(MaclError, match=r"labels.xlsx is no workbook by its content"):
        read(root, FLAGS, "labels.xlsx")
    with pytest.raises(MaclError, match="is an old or locked workbook"):
        read(root, b"\xd0\xcf\x11\xe0" + bytes(600), "labels.xlsx")
    (root / "labels.xlsx").rename(root / "labels.xls")
    with pytest.raises(MaclError, match=r"found labels.xls \(of a kind that is not read: save it as .csv\)"):
        read(root)


def test_pictures_in_a_parquet_are_no_labels(root: Path) -> None:
    columns = {"image": list(LISTS), "labels": list(LISTS.values()), "thumb": [b"\0\1"] * 16}
    parquet.write_table(pa.table(columns), root / "labels.parquet")
    found = read(root)
    assert labels(found) == RIGHT
    assert dict(found.columns)["thumb"] == "empty: left out"


@pytest.mark.parametrize(
    ("above", "count"),
    [("Labels of 2021\n", 1), ("# made by hand, v1\n# by me\n\n", 3), ("\n\n", 0), ("Title\n\n", 2)],
)
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_lines_above_the_columns_are_left_out_and_said(root: Path, above: str, count: int, mark: str) -> None:
    found = read(root, above + FLAGS.replace(",", mark))
    assert labels(found) == RIGHT
    said = f"{count} lines above the columns of labels.csv are left out"
    assert (said in found.notes) == (count > 0)


def test_an_image_without_labels_in_the_first_row_is_no_title(root: Path) -> None:
    text = "im0.png\n" + "".join(f"{s}.png,{','.join(sorted(RIGHT[s]))}\n" for s in STEMS[1:])
    assert labels(read(root, text)) == {**RIGHT, "im0": set()}


def test_a_quote_that_does_not_end_is_named(root: Path) -> None:
    """Else all rows behind it would be one cell, and their images without a label."""
    with pytest.raises(MaclError, match=r"labels.csv has a quote in row 5 that does not end"):
        read(root, FLAGS.replace("im3.png", '"im3.png'))


@pytest.mark.parametrize("name", ["{}.txt", "splits/{}.txt", "{}.csv", "{}_images.txt"])
def test_lists_of_names_give_the_split(root: Path, name: str) -> None:
    (root / "splits").mkdir()
    for part in ("train", "val", "test"):
        head = "image\n" if name.endswith(".csv") else ""
        stems = [f"{s}.png\n" if "splits" not in name else f"{s}\n" for s in STEMS if PART[s] == part]
        (root / name.format(part)).write_text(head + "".join(stems))
    found = read(root, FLAGS)
    assert labels(found) == RIGHT
    assert {Path(n).stem: part for n, part in zip(found.names, found.given, strict=True)} == PART
    report = data.check("folder", root)
    assert report.given_by.startswith("the names in ")
    assert dict(report.splits) == {"train": 10, "val": 3, "test": 3}


def test_lists_beside_a_column_do_not_count_and_that_is_said(root: Path) -> None:
    for part in ("train", "test"):
        (root / f"{part}.txt").write_text("".join(f"{s}.png\n" for s in STEMS[:8]))
    found = read(root, "image,split,a\n" + "".join(f"{s},{PART[s]},1\n" for s in STEMS))
    assert {Path(n).stem: part for n, part in zip(found.names, found.given, strict=True)} == PART
    assert any("test.txt, train.txt do not count" in note for note in found.notes)


def test_lists_beside_folders_of_labels(tmp_path: Path) -> None:
    for k, stem in enumerate(STEMS):
        fakes.picture(tmp_path / ("sea", "wood")[k % 2] / f"{stem}.png", k)
    for part in ("train", "val", "test"):
        (tmp_path / f"{part}.txt").write_text("".join(f"{s}.png\n" for s in STEMS if PART[s] == part))
    found = read(tmp_path)
    assert found.classes == ("sea", "wood")
    assert {Path(n).stem: part for n, part in zip(found.names, found.given, strict=True)} == PART


def test_a_table_that_is_passed_over_is_said(root: Path) -> None:
    (root / "classes.csv").write_text("number,name\n0,a\n1,b\n")
    found = read(root, FLAGS)
    assert labels(found) == RIGHT
    assert any(note.startswith("classes.csv is left out: no row of") for note in found.notes)


def test_nearly_equal_folders(tmp_path: Path) -> None:
    for k, folder in enumerate(("bare soil", "bare_soil", "Sea")):
        for j in range(2):
            fakes.picture(tmp_path / folder / f"{k}{j}.png", k)
    assert any("bare soil and bare_soil" in note for note in read(tmp_path).notes)
    assert read(tmp_path, near_equal="join").classes == ("Sea", "bare soil")
