"""Which column of a person's own table is what; what cannot be told is asked."""

from pathlib import Path

import pytest

from core import data
from core.data import Reading
from core.data.parts import split_column
from core.errors import MaclError
from tests.own_tables import RIGHT, STEMS, images, labels, lines, read


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return images(tmp_path)


@pytest.mark.parametrize(
    ("header", "row", "name", "what"),
    [
        (",image,a,b,c", "{i},{s}.png,{f}", "column 1", "numbers the rows: no label"),
        ("Unnamed: 0,image,a,b,c", "{i},{s}.png,{f}", "Unnamed: 0", "numbers the rows: no label"),
        ("id,image,a,b,c", "{i},{s},{f}", "id", "numbers the rows: no label"),
        ("a,b,c,image", "{f},{s}.png", "image", "names the images"),
        ("a,b,c,whatever", "{f},far/away/{s}.png", "whatever", "names the images"),
        ("image,lat,a,b,c", "{s}.png,41.{i},{f}", "lat", "numbers: no label"),
        ("image,lat,lon,a,b,c", "{s}.png,41,29.{i},{f}", "lat", "numbers: no label"),
        ("image,date,a,b,c", "{s}.png,2021-03-{i:0>2},{f}", "date", "dates: no label"),
        ("image,when,a,b,c", "{s}.png,20210301T10{i:0>2}00,{f}", "when", "dates: no label"),
        ("image,people,a,b,c", "{s}.png,1{i},{f}", "people", "numbers: no label"),
        ("image,scene,a,b,c", "{s}.png,harbour {i},{f}", "scene", "text: no label"),
        ("image,city,a,b,c", "{s}.png,Wuhan,{f}", "city", "no label, by its name"),
        ("image,notes,a,b,c", "{s}.png,,{f}", "notes", "empty: left out"),
        ("image,a,b,c,is_train", "{s}.png,{f},1", "is_train", "the split: no label"),
        ("image,a,b,c,is_valid", "{s}.png,{f},0", "is_valid", "the split: no label"),
        ("image,a,b,c,isTest", "{s}.png,{f},0", "isTest", "the split: no label"),
        ("image,a,b,c,fold", "{s}.png,{f},1", "fold", "the split: no label"),
        ("image,split,a,b,c", "{s}.png,train,{f}", "split", "the split: no label"),
        ("image,subset,a,b,c", "{s}.png,0,{f}", "subset", "the split: no label"),
        ("image,set,a,b,c", "{s}.png,test,{f}", "set", "the split: no label"),
        ("image,partition,a,b,c", "{s}.png,valid,{f}", "partition", "the split: no label"),
    ],
)
def test_what_is_no_label_is_left_out_and_said(
    root: Path, header: str, row: str, name: str, what: str
) -> None:
    found = read(root, lines(header, row))
    assert found.classes == ("a", "b", "c")
    assert labels(found) == RIGHT
    said = dict(found.columns)
    assert said[name] == what
    assert len(said) == len(header.split(","))
    assert [said[name] for name in "abc"] == ["a label, 0 or 1"] * 3
    assert found.problems == ()


def test_the_report_says_each_column(root: Path) -> None:
    read(root, lines(",image,fold,a,b,c", "{i},{s}.png,1,{f}"))
    said = str(data.check("folder", root))
    for line in (
        "column 1: numbers the rows",
        "image: names the images",
        "fold: the split",
        "a, b, c: a label",
    ):
        assert f"\n  {line}" in said


def test_a_label_may_be_called_as_other_columns_are(root: Path) -> None:
    """Flags are labels, whatever they are called, but for those that say the split."""
    found = read(root, lines("image,city,year,id", "{s}.png,{f}"))
    assert found.classes == ("city", "year", "id")


def test_images_called_by_numbers_are_not_taken_from_an_index(tmp_path: Path) -> None:
    images(tmp_path, [str(number) for number in range(16)])
    rows = "".join(f"{15 - i},{i}.png,{i % 2},{1 - i % 2}\n" for i in range(16))
    found = read(tmp_path, "n,file,a,b\n" + rows)
    assert labels(found) == {str(i): {"ba"[i % 2]} for i in range(16)}
    assert dict(found.columns)["n"] == "numbers: no label"


def test_columns_by_name(root: Path) -> None:
    table = lines("image,other,a,b,c,verified", "{s}.png,{s}.png,{f},1")
    assert read(root, table, ignore_columns="verified").classes == ("a", "b", "c")
    assert read(root, table, label_columns="a, c").classes == ("a", "c")
    assert labels(read(root, table, label_columns="a,c")) == {s: RIGHT[s] - {"b"} for s in STEMS}
    assert read(root, table, ignore_columns="Verified,b").classes == ("a", "c")
    assert (
        dict(read(root, table, image_column="other", ignore_columns="verified").columns)["other"]
        == "names the images"
    )
    for said in ({"image_column": "x"}, {"label_columns": "a,x"}, {"ignore_columns": "x"}):
        with pytest.raises(
            MaclError, match="has no column 'x': its first row has image, other, a, b, c, verified"
        ):
            read(root, table, **said)


def test_a_name_with_a_comma_stands_in_quotes(root: Path) -> None:
    found = read(root, lines('image,"a, old",b,c', "{s}.png,{f}"), label_columns='"a, old",c')
    assert found.classes == ("a, old", "c")


def test_the_column_of_images_may_be_said_though_another_names_more(root: Path) -> None:
    table = "before,after,a\nim0,im1.png,1\nim2,im1.png,0\nim3,im4.png,1\n"
    assert {s for s, names in labels(read(root, table)).items() if names} == {"im0", "im3"}
    found = read(root, table, image_column="after", label_columns="a")
    assert {s for s, names in labels(found).items() if names} == {"im1", "im4"}
    with pytest.raises(
        MaclError, match=r"no row .* fits an image: .* has '1', the images are called like 'im0"
    ):
        read(root, table, image_column="a", label_columns="before")


@pytest.mark.parametrize(
    ("header", "row", "option"),
    [
        ("image,labels,season", "{s}.png,field;tree,dry", '--label-columns "labels"'),
        ("image,landuse,landcover", "{s}.png,field,tree", "--label-columns"),
        ("image,labels,checked", "{s}.png,field;tree,1", '--label-columns "labels"'),
        ("image,landuse,checked", "{s}.png,field,1", "--label-columns"),
        ("image,lat,lon", "{s}.png,1.{i},2.{i}", "--label-columns"),
    ],
)
def test_what_is_not_clear_is_asked(root: Path, header: str, row: str, option: str) -> None:
    with pytest.raises(MaclError, match=option):
        read(root, lines(header, row))


def test_the_answer_is_taken(root: Path) -> None:
    found = read(root, lines("image,labels,checked", "{s}.png,field;tree,1"), label_columns="labels")
    assert found.classes == ("field", "tree")
    found = read(root, lines("image,labels,checked", "{s}.png,field;tree,1"), ignore_columns="checked")
    assert found.classes == ("field", "tree")
    found = read(root, lines("image,one,other", "{s}.png,field,tree"), label_columns="one,other")
    assert found.classes == ("field", "tree")
    with pytest.raises(MaclError, match="0 and 1 in checked, names in labels"):
        read(root, lines("image,labels,checked", "{s}.png,field,1"), label_columns="labels,checked")


def test_one_column_of_labels_beside_others(root: Path) -> None:
    found = read(root, lines(",image,labels,date,lat,url", "{i},{s}.png,field;tree,2020-01-01,1.5,x.org/{i}"))
    assert found.classes == ("field", "tree")
    found = read(root, lines("image,label1,label2", "{s}.png,field,tree"))
    assert found.classes == ("field", "tree")
    found = read(root, lines("image,kind,caption_of_it", "{s}.png,field,the number {i}"))
    assert found.classes == ("field",)


def test_class_numbers_behind_an_index(root: Path) -> None:
    rows = "".join(f"{i},{s}.png,{i % 3}\n" for i, s in enumerate(STEMS))
    for name in ("label", "kind"):
        found = read(root, f",image,{name}\n" + rows)
        assert labels(found) == {s: {str(i % 3)} for i, s in enumerate(STEMS)}


@pytest.mark.parametrize("cell", ["-1", "", "nan", "NaN", "NA"])
def test_an_unknown_flag_is_refused_or_no(root: Path, cell: str) -> None:
    table = f"image,a,b\nim0.png,1,0\nim1.png,{cell},1\nim2.png,1,1\nim3.png,0,1\n"
    (problem,) = read(root, table).problems
    assert f"{cell.lower() or 'nothing'} in row 3, column a" in problem
    assert "--unknown no" in problem
    found = read(root, table, unknown="no")
    assert found.problems == ()
    assert {s: names for s, names in labels(found).items() if names} == {
        "im0": {"a"}, "im1": {"b"}, "im2": {"a", "b"}, "im3": {"b"},
    }  # fmt: skip
    assert "1 flags are -1 or empty: taken as no" in found.notes
    (root / "labels.csv").write_text("image,a,b\nim0,1\nim1,1,1\nim2,0,1\n")
    assert "nothing in row 2, column b" in data.check("folder", root).problems[0]
    assert data.check("folder", root, reading=Reading(unknown="no")).counts == (("a", 2), ("b", 2))


def test_nearly_equal_labels_are_named_and_joined_by_choice(root: Path) -> None:
    table = "image,labels\nim0,Tree;bare soil\nim1,tree;bare-soil\nim2,tree;Bare_Soil\nim3,sea;bare soil\n"
    found = read(root, table)
    assert found.classes == ("Bare_Soil", "Tree", "bare soil", "bare-soil", "sea", "tree")
    (said,) = (note for note in found.notes if "nearly equal" in note)
    assert "Bare_Soil and bare soil and bare-soil; Tree and tree" in said
    assert "--near-equal join" in said
    joined = read(root, table, near_equal="join")
    assert joined.classes == ("bare soil", "sea", "tree")
    assert {s: names for s, names in labels(joined).items() if names} == {
        "im0": {"tree", "bare soil"}, "im1": {"tree", "bare soil"},
        "im2": {"tree", "bare soil"}, "im3": {"sea", "bare soil"},
    }  # fmt: skip


def test_nearly_equal_columns_are_joined_too(root: Path) -> None:
    table = "image,Sea,sea,水,土\nim0,1,0,1,0\nim1,0,1,0,1\nim2,0,1,0,0\n"
    found = read(root, table, near_equal="join")
    assert found.classes == ("sea", "水", "土")
    assert found.labels[:3].tolist() == [[1, 1, 0], [1, 0, 1], [0, 0, 0]]  # im0, im1, im10


def rows_of(*rows: str) -> list[tuple[int, list[str]]]:
    return [(number, row.split(",")) for number, row in enumerate(rows, start=2)]


def test_the_part_that_a_row_says() -> None:
    words = rows_of("x,train", "x,Validation", "x,TEST", "x,unlabeled", "x")
    for title in ("split", "subset", "Set", "partition"):
        assert split_column(["image", title], words) == ["train", "val", "test", "", ""]
    assert split_column(["image", "is_train"], rows_of("x,1", "x,0")) == ["train", "test"]
    assert split_column(["image", "is_valid"], rows_of("x,True", "x,False")) == ["val", "train"]
    assert split_column(["image", "is_test"], rows_of("x,1", "x,0")) == ["test", "train"]
    both = rows_of("x,1,0", "x,0,1", "x,0,0")
    assert split_column(["image", "is_valid", "is_test"], both) == ["val", "test", "train"]
    assert split_column(["image", "is_train", "is_test"], both) == ["train", "test", "val"]
    assert split_column(["image", "fold"], rows_of("x,0", "x,1")) is None
    assert split_column(["image", "split"], rows_of("x,0", "x,1")) is None
    assert split_column(["image", "train"], rows_of("x,0", "x,1")) is None
