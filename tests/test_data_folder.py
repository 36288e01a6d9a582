"""The person's own folder: every way of writing the table that we say we read."""

from pathlib import Path

import numpy as np
import pytest

from core import data
from core.data import source
from core.errors import MaclError
from tests import data_fakes as fakes

FILES = ("a.png", "b.JPG", "sub/c.tif", "sub/d.v2.png")
FLAGS = "image,field,trees\n{0},1,0\n{1},0,1\n{2},1,1\n{3},0,0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(FILES):
        fakes.picture(tmp_path / name, seed)
    return tmp_path


def found(root: Path, text: str | bytes):
    (root / "labels.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    result = data.find("folder", root)
    return {name: row for name, row in zip(result.names, result.labels.tolist(), strict=True)}, result


def test_columns_of_flags(root: Path) -> None:
    rows, result = found(root, FLAGS.format(*FILES))
    assert result.classes == ("field", "trees")
    assert rows == {"a.png": [1, 0], "b.JPG": [0, 1], "sub/c.tif": [1, 1], "sub/d.v2.png": [0, 0]}
    assert result.notes == ("columns separated by commas, 2 columns of 0 and 1",)


@pytest.mark.parametrize(
    "names",
    [
        ("a", "b", "c", "d.v2"),  # no extension
        ("a.png", "b.jpg", "c.tif", "d.v2.png"),  # no sub-folder
        ("A.PNG", "B", "SUB/C", "sub/D.V2"),  # any case
        ("./a.png", "data/b.jpg", "data\\sub\\c.tif", "/elsewhere/data/sub/d.v2.png"),  # from elsewhere
    ],
)
def test_names_as_people_write_them(root: Path, names: tuple[str, ...]) -> None:
    rows, result = found(root, FLAGS.format(*names))
    assert list(rows.values()) == [[1, 0], [0, 1], [1, 1], [0, 0]]
    assert (result.without_image, result.without_row) == ((), ())


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("image,labels\na,field\nb,trees\nc,field;trees\nd.v2,\n", "labels separated by semicolons"),
        ("image,labels\na,field\nb,trees\nc,field | trees\nd.v2,\n", "labels separated by bars"),
        ('image,labels\na,field\nb,trees\nc,"field, trees"\nd.v2,""\n', "labels separated by commas"),
        ("image,labels\na,field\nb,trees\nc,field,trees\nd.v2\n", "labels separated by commas"),
        ("image,labels\na,field\nb,trees\nc,field trees\nd.v2,\n", "labels separated by spaces"),
        ("image;labels\na;field\nb;trees\nc;field,trees\nd.v2;\n", "labels separated by commas"),
        ("image;labels\na;field\nb;trees\nc;field;trees\nd.v2;\n", "labels separated by semicolons"),
        ("image\tlabels\na\tfield\nb\ttrees\nc\tfield|trees\nd.v2\t\n", "columns separated by tabs"),
        ("image,labels\na,field\nb,trees\nc,field\nc,trees\n", "1 images have several rows"),
        ("a.png,field\nb.JPG,trees\nsub/c.tif,field;trees\n", "labels separated by semicolons"),  # no header
        ("\ufeffimage,labels\r\na,field\r\nb,trees\r\nc,field;trees\r\n", "labels separated by semicolons"),
    ],
)
def test_one_column_of_labels(root: Path, text: str, note: str) -> None:
    rows, result = found(root, text)
    assert result.classes == ("field", "trees")
    assert list(rows.values()) == [[1, 0], [0, 1], [1, 1], [0, 0]]
    assert note in "; ".join(result.notes)


def test_labels_of_two_words_stay_whole(root: Path) -> None:
    _, result = found(root, "image,labels\na,bare soil\nb,mobile home\nc,field\n")
    assert result.classes == ("bare soil", "field", "mobile home")
    assert "one label per row" in result.notes[0]
    _, result = found(root, "image,labels\na,bare soil;field\nb,mobile home\n")
    assert result.classes == ("bare soil", "field", "mobile home")


def test_other_encodings(root: Path) -> None:
    for encoding in ("utf-8", "utf-16", "cp1252"):
        _, result = found(root, "image,forêt,sol\na,1,0\nb,0,1\n".encode(encoding))
        assert result.classes == ("forêt", "sol")


def test_rows_and_images_without_partner(root: Path) -> None:
    _, result = found(root, "image,field,trees\na,1,0\nb,0,1\nnowhere.png,1,1\n")
    assert result.without_image == ("nowhere.png",)
    assert result.without_row == ("sub/c.tif", "sub/d.v2.png")
    report = data.check("folder", root)
    assert (report.images, report.usable, report.unlabelled) == (4, 2, 2)
    assert "2 columns of 0 and 1" in str(report)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,field,trees\na,1,0\nb,maybe,1\n", "'maybe' in row 3: need 0 or 1"),
        ("a.png,1,0\nb.JPG,0,1\n", "needs a first row that names each of its 2 label columns"),
        ("image,field,field\na,1,0\n", "names each of its 2 label columns once"),
        ("image,labels,source\na,field,me\nb,trees,you\n", "2 columns after the image, with 'field'"),
        ("image\na\n", "has one column only"),
        ("", "is empty"),
        ("image,field\nx,1\ny,0\n", r"no row of labels.csv fits an image.*'x'.*'a.png'"),
    ],
)
def test_faulty_tables_are_explained(root: Path, text: str, message: str) -> None:
    with pytest.raises(MaclError, match=message):
        found(root, text)


def test_a_name_that_fits_two_images_is_not_guessed(root: Path) -> None:
    fakes.picture(root / "other" / "c.tif", 9)
    with pytest.raises(MaclError, match=r"c fits other/c\.tif and sub/c\.tif: give the sub-folder"):
        found(root, FLAGS.format("a", "b", "c", "d.v2"))
    rows, _ = found(root, FLAGS.format("a", "b", "sub/c", "d.v2"))
    assert rows["sub/c.tif"] == [1, 1]
    assert rows["other/c.tif"] == [0, 0]


def test_one_table_is_needed(root: Path) -> None:
    with pytest.raises(MaclError, match=r"need exactly one \.csv .*found none"):
        data.find("folder", root)
    (root / "x.csv").write_text("")
    (root / "sub" / "y.csv").write_text("")
    with pytest.raises(MaclError, match=r"found sub/y\.csv, x\.csv: keep one"):
        data.find("folder", root)
    (root / "empty").mkdir()
    with pytest.raises(MaclError, match="no image found"):
        data.find("folder", root / "empty")


def test_zip_of_a_folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    for i in range(12):
        fakes.picture(root / "more" / f"{i}.png", i)
    y = fakes.labels(12, 3)
    fakes.table(root / "labels.csv", ["image", "x", "y", "z"], [f"{i}" for i in range(12)], y)
    plain = data.load("folder", root, 8)
    packed = data.load("folder", fakes.pack(root, tmp_path_factory.mktemp("zip") / "mine.zip"), 8)
    assert plain.names == packed.names
    assert plain.key == packed.key
    assert plain.unlabelled == 4
    order = [int(Path(name).stem) for name in plain.names]
    assert (plain.labels == y[order]).all()
    assert plain.splits.keys() == {"train", "val", "test"}
    assert np.unique(np.concatenate(list(plain.splits.values()))).size == 12


def test_a_folder_with_far_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MOST_FILES", 10)
    for index in range(11):
        (tmp_path / f"{index}.txt").touch()
    with pytest.raises(MaclError, match="more than 10 files"):
        source.scan(tmp_path)
