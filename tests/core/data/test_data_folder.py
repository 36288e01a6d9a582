"""The person's own folder: every way of writing the table that we say we read."""

import os
import sys
import unicodedata
import zipfile
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


@pytest.mark.parametrize(
    "text",
    [
        """image,labels\na,['field']\nb,['trees']\nc,"['field', 'trees']"\nd.v2,[]\n""",  # pandas
        """image;labels\na;["field"]\nb;["trees"]\nc;["field", "trees"]\nd.v2;[]\n""",  # JSON
        "image,labels\na,['field']\nb,['trees']\nc,['field' 'trees']\nd.v2,[]\n",  # numpy
        """image,labels\na,"('field',)"\nb,trees\nc,"{'trees', 'field'}"\nd.v2,()\n""",
        'image,labels\na,field\nb,trees\nc,"field\ntrees"\nd.v2,\n',  # a line break within the cell
        'image,labels\r\na,field\r\nb,trees\r\nc,"field;\r\ntrees"\r\nd.v2,\r\n',
    ],
)
def test_printed_lists_and_line_breaks(root: Path, text: str) -> None:
    rows, result = found(root, text)
    assert result.classes == ("field", "trees")
    assert list(rows.values()) == [[1, 0], [0, 1], [1, 1], [0, 0]]


def test_brackets_within_a_label_stay(root: Path) -> None:
    _, result = found(root, "image,labels\na,trees (dense)\nb,(old) field (dry)\nc,farmer's\n")
    assert result.classes == ("(old) field (dry)", "farmer's", "trees (dense)")


@pytest.mark.parametrize(
    "text",
    [
        "image,field,trees\na.png,1,0\nb.JPG,1,1\n",
        "image,labels\na.png,field\nb.JPG,field;trees\n",
        "image,labels\na,field\nb,field;trees\n",
    ],
)
def test_a_header_is_none_the_less_one_for_an_image_called_so(root: Path, text: str) -> None:
    fakes.picture(root / "image.png", 9)
    rows, result = found(root, text)
    assert result.classes == ("field", "trees")
    assert (rows["a.png"], rows["b.JPG"], rows["image.png"]) == ([1, 0], [1, 1], [0, 0])


def test_a_table_of_stems_without_header(root: Path) -> None:
    rows, _ = found(root, "a,field\nb,trees\nc,field;trees\nd.v2,trees\n")
    assert list(rows.values()) == [[1, 0], [0, 1], [1, 1], [0, 1]]


@pytest.mark.parametrize("ids", ["0 1 2 0", "0.0 1.0 2.0 0.0"])
def test_class_numbers_in_one_column_are_labels(root: Path, ids: str) -> None:
    numbers = ids.split()
    rows, result = found(root, "image,label\na,{}\nb,{}\nc,{}\nd.v2,{}\n".format(*numbers))
    assert result.classes == tuple(numbers[:3])
    assert list(rows.values()) == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    with pytest.raises(MaclError, match="'2' in row 3, column trees: need 0 or 1"):
        found(root, "image,field,trees\na,0,1\nb,1,2\nc,1,1\n")


def test_accents_are_the_same_in_one_character_or_two(tmp_path: Path) -> None:
    for seed, form in enumerate(("NFC", "NFD")):
        fakes.picture(tmp_path / unicodedata.normalize(form, f"Wälder/forêt{seed}.png"), seed)
    for form in ("NFC", "NFD"):
        text = "image,x,y\nWälder/forêt0.png,1,0\n/far/Wälder/forêt1.png,0,1\n"
        rows, result = found(tmp_path, unicodedata.normalize(form, text))
        assert sorted(rows.values()) == [[0, 1], [1, 0]]
        assert result.without_image == ()


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes("image,a\n0,1\n".encode("utf-16")[:-1]), lambda path: cut(path)]
)
def test_a_table_that_cannot_be_read_is_a_problem_of_one_line(root: Path, damage) -> None:
    (root / "labels.csv").write_text("image,field,trees\na,1,0\n" * 99)
    damage(root / "labels.csv")
    where = root if (root / "labels.csv").exists() else root / "mine.zip"
    (problem,) = data.check("folder", where).problems
    assert "the label table labels.csv cannot be read" in problem
    assert not data.is_prepared("folder", where)


def cut(table: Path) -> None:
    """The table into a zip of which a byte is wrong."""
    archive = fakes.pack(table.parent, table.parent / "mine.zip")
    member = next(file.member for file in source.scan(archive) if file.name == "labels.csv")
    assert member is not None
    content = bytearray(archive.read_bytes())
    content[member.header_offset + 45] ^= 0xFF
    archive.write_bytes(content)
    table.unlink()


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
        ("image,field,trees\na,1,0\nb,maybe,1\n", "'maybe' in row 3, column field: need 0 or 1"),
        ("a.png,1,0\nb.JPG,0,1\n", "needs a first row that names each of its 2 label columns"),
        ("image,field,field\na,1,0\n", "names each of its 2 label columns once"),
        ("image,labels,source\na,field,me\nb,trees,you\n", "2 columns after the image, with 'field'"),
        ('image,labels\na,"[1, 0, 1]"\nb,"[0, 0, 1]"\n', "0 and 1 of all labels in one column"),
        ("image\na\n", "has one column only"),
        ("", "is empty"),
        ("image,field\nx,1\ny,0\n", r"no row of labels.csv fits an image.*'x'.*'a.png'"),
    ],
)
def test_faulty_tables_are_explained(root: Path, text: str, message: str) -> None:
    with pytest.raises(MaclError, match=message):
        found(root, text)


def test_all_faults_of_a_table_are_named_at_once(root: Path) -> None:
    fakes.picture(root / "other" / "c.tif", 9)
    (root / "labels.csv").write_text(
        "image,field,trees,,\n\na,1,x,,\n , ,,,\nb,2,yes,,\nc,0,1,,\nnowhere,1,1,,\nd.v2,-,?,,\n"
        "gone,!,1\ngone,1,#\naway,0,0\n"
    )
    report = data.check("folder", root)
    cells, unclear = report.problems[:2]
    assert cells == (
        "the label table labels.csv has 'x' in row 3, column trees; '2' in row 5, column field; "
        "'yes' in row 5, column trees; '-' in row 8, column field; '?' in row 8, column trees and 2 more: "
        "need 0 or 1"
    )
    assert "c fits other/c.tif and sub/c.tif" in unclear
    assert report.without_image == ("nowhere", "gone", "gone", "away")
    assert [name for name, _ in report.counts] == ["field", "trees"]
    with pytest.raises(MaclError, match=r"'x' in row 3.*fits other"):
        data.load("folder", root)


def test_images_without_label_and_with_several_rows_are_named(root: Path) -> None:
    (root / "labels.csv").write_text("image,field,trees\na,1,0\na,0,1\nb,0,0\nc,1,0\n")
    report = data.check("folder", root)
    assert report.several_rows == ("a.png",)
    assert report.without_label == ("b.JPG",)
    assert report.without_row == ("sub/d.v2.png",)
    assert "images with several rows: 1 (a.png)" in str(report)
    assert "images without label: 1 (b.JPG)" in str(report)


def test_a_name_that_fits_two_images_is_not_guessed(root: Path) -> None:
    fakes.picture(root / "other" / "c.tif", 9)
    with pytest.raises(MaclError, match=r"c fits other/c\.tif and sub/c\.tif: give the sub-folder"):
        found(root, FLAGS.format("a", "b", "c", "d.v2"))
    rows, _ = found(root, FLAGS.format("a", "b", "sub/c", "d.v2"))
    assert rows["sub/c.tif"] == [1, 1]
    assert rows["other/c.tif"] == [0, 0]


@pytest.mark.parametrize("kind", ["", ".jpg"])
def test_a_row_about_a_missing_image_labels_no_other_one(tmp_path: Path, kind: str) -> None:
    for seed, name in enumerate(("beach/1.jpg", "forest/2.jpg", "3.jpg")):
        fakes.picture(tmp_path / name, seed)
    rows, result = found(
        tmp_path,
        f"image,sea,trees\nbeach/1{kind},1,0\nforest/1{kind},0,1\nforest/2{kind},0,1\nforest/3{kind},1,1\n",
    )
    assert rows == {"3.jpg": [0, 0], "beach/1.jpg": [1, 0], "forest/2.jpg": [0, 1]}
    assert result.without_image == (f"forest/1{kind}", f"forest/3{kind}")
    assert "several rows" not in " ".join(result.notes)


@pytest.mark.parametrize("above", ["mine", "images", "deep/images"])
def test_paths_from_below_a_folder_that_holds_all_images(tmp_path: Path, above: str) -> None:
    for seed, name in enumerate(("a/0.jpg", "b/0.jpg")):
        fakes.picture(tmp_path / above / name, seed)
    for names in (("a/0.jpg", "b/0.jpg"), ("A/0", "b\\0")):
        rows, result = found(tmp_path, "image,x,y\n{},1,0\n{},0,1\n".format(*names))
        assert list(rows.values()) == [[1, 0], [0, 1]]
        assert result.without_image == ()


def test_a_whole_path_comes_before_an_end_and_the_very_case_before_another(tmp_path: Path) -> None:
    for seed, name in enumerate(("1.png", "thumbs/1.png", "A.png", "a.png")):
        fakes.picture(tmp_path / name, seed)
    rows, _ = found(tmp_path, "image,x,y\n1.png,1,0\nA.png,1,1\na,0,1\n")
    assert rows == {"1.png": [1, 0], "A.png": [1, 1], "a.png": [0, 1], "thumbs/1.png": [0, 0]}
    rows, _ = found(tmp_path, "image,x,y\n1,1,0\nthumbs/1,0,1\n")
    assert (rows["1.png"], rows["thumbs/1.png"]) == ([1, 0], [0, 1])
    with pytest.raises(MaclError, match=r"A\.PNG fits A\.png and a\.png: .* the name as it is on the disk"):
        found(tmp_path, "image,x,y\nA.PNG,1,0\n")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_in_a_zip_twice_is_one(tmp_path: Path) -> None:
    fakes.picture(tmp_path / "1.png", 0)
    fakes.picture(tmp_path / "new.png", 1)
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("labels.csv", "image,x,y\n1.png,1,0\n")
        archive.write(tmp_path / "1.png", "1.png")
        archive.write(tmp_path / "new.png", "1.png")
    result = data.find("folder", tmp_path / "mine.zip")
    assert result.names == ("1.png",)
    assert result.files[0].read() == (tmp_path / "new.png").read_bytes()


def test_a_zip_whose_paths_begin_with_a_dot(root: Path) -> None:
    """As bsdtar writes them; what leads out of the archive stays left out."""
    with zipfile.ZipFile(root / "mine.zip", "w") as archive:
        archive.writestr("./labels.csv", "image,x,y\na.png,1,0\nb.JPG,0,1\n")
        archive.writestr("./a.png", (root / "a.png").read_bytes())
        for inside in ("./sub/./b.JPG", "../c.png", "sub/../../c.png", "./.hidden.png"):
            archive.writestr(inside, (root / "b.JPG").read_bytes())
    result = data.find("folder", root / "mine.zip")
    assert result.names == ("a.png", "sub/b.JPG")
    assert result.labels.tolist() == [[1, 0], [0, 1]]
    assert result.files[0].read() == (root / "a.png").read_bytes()


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system knows UTF-8 only")
@pytest.mark.parametrize("table", ["cp1252", "utf-8"])
def test_names_of_old_systems(root: Path, table: str) -> None:
    """Bytes that are no UTF-8 are names in Windows-1252, in what is matched and in what is shown."""
    folder = root / os.fsdecode("Straße".encode("cp1252"))
    for number in range(10):
        fakes.picture(folder / os.fsdecode(f"Bäume{number}.png".encode("cp1252")), number)
    names = [f"Straße/Bäume{number}.png" for number in range(10)]
    text = "image,x,y\n" + "".join(f"{name},1,0\n" for name in names)
    _, result = found(root, text.encode(table))
    assert result.without_image == ()
    assert [name for name in result.names if name.startswith("Str")] == names
    loaded = data.load("folder", root, 8)
    assert loaded.names == tuple(names)
    assert f"folder at {root}/Straße" in str(data.check("folder", folder))


def test_one_table_is_needed(root: Path) -> None:
    with pytest.raises(MaclError, match=r"need exactly one \.csv .*found none"):
        data.find("folder", root)
    (root / "x.csv").write_text("")
    (root / "sub" / "y.csv").write_text("image,x,y\nq,1,0\n")
    with pytest.raises(MaclError, match=r"found sub/y\.csv \(no row .*\); x\.csv \(is empty"):
        data.find("folder", root)
    for name in ("x.csv", "sub/y.csv"):
        (root / name).write_text("image,x,y\na.png,1,0\n")
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


@pytest.mark.timeout(60)
def test_pipes_and_devices_are_no_part_of_a_data_set(root: Path) -> None:
    """Reading one would never end."""
    rows, _ = found(root, FLAGS.format(*FILES))
    for name in ("e.png", "more.csv", "more.zip"):
        os.mkfifo(root / f"pipe-{name}")
        (root / f"zeros-{name}").symlink_to("/dev/zero")
    assert found(root, FLAGS.format(*FILES))[0] == rows
    for place in (root / "pipe-more.zip", root / "zeros-more.zip", Path("/dev/zero")):
        assert data.fingerprint("folder", place) == ""
        assert not data.is_prepared("folder", place, 32)
        with pytest.raises(MaclError, match="neither a folder nor a readable"):
            data.load("folder", place, image_size=32)
