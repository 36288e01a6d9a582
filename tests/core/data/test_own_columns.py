"""Columns as people have them: what is a label or the split, and what only looks so."""

from collections import defaultdict
from pathlib import Path

import pytest

from core import data
from core.data import Reading
from core.errors import MaclError
from tests.own_tables import RIGHT, STEMS, flags, images, labels, lines, read

PART = {s: "train" if i < 10 else "val" if i < 13 else "test" for i, s in enumerate(STEMS)}
OFFICIAL = {part: {s for s in STEMS if PART[s] == part} for part in ("train", "val", "test")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return images(tmp_path)


def table(header: str, row) -> str:
    """A table whose rows are made of the number of an image and its stem."""
    return "\n".join([header, *(row(i, s) for i, s in enumerate(STEMS))]) + "\n"


def given(found) -> dict[str, set[str]]:
    """The images of each part as the data say it."""
    parts = defaultdict(set)
    for name, part in zip(found.names, found.given, strict=bool(found.given)):
        parts[part].add(Path(name).stem)
    return dict(parts)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Unnamed: 0,image,a,b,c", lambda i, s: f"{i % 2},{s}.png"),  # frames that were joined
        (",image,a,b,c", lambda i, s: f"{i * 7 % 16},{s}.png"),
        ("image,lat,lon,a,b,c", lambda i, s: f"{s}.png,{i % 2},1"),
        ("image,month,a,b,c", lambda i, s: f"{s}.png,{i % 3}"),
        ("image,confidence,a,b,c", lambda i, s: f"{s}.png,1.0"),
        ("image,num_labels,a,b,c", lambda i, s: f"{s}.png,{len(RIGHT[s])}"),
        ("image,rooms,a,b,c", lambda i, s: f"{s}.png,{i % 4}"),
        ("image,fold_0,fold_1,a,b,c", lambda i, s: f"{s}.png,{i % 2},{i % 3 // 2}"),
        ("image,a,b,c", lambda i, s: f"{i + 1},{s}.png"),  # as R writes it
    ],
)
def test_numbers_beside_flags_are_no_labels(root: Path, header: str, row) -> None:
    found = read(root, table(header, lambda i, s: f"{row(i, s)},{','.join(flags(s))}"))
    assert labels(found) == RIGHT
    assert found.problems == ()


@pytest.mark.parametrize(
    ("yes", "no"), [("yes", "no"), ("Yes", "No"), ("Y", "N"), ("t", "f"), ("TRUE", "FALSE"), ("1.0", "0.0")]
)
def test_flags_in_words(root: Path, yes: str, no: str) -> None:
    words = {"1": yes, "0": no}
    text = table("image,a,b,c", lambda i, s: ",".join([s, *(words[flag] for flag in flags(s))]))
    assert labels(read(root, text)) == RIGHT
    assert labels(read(root, text, label_columns="a,b,c")) == RIGHT


def test_a_cross_is_yes_and_nothing_is_asked(root: Path) -> None:
    words = {"1": "x", "0": ""}
    text = table("image,a,b,c", lambda i, s: ",".join([s, *(words[flag] for flag in flags(s))]))
    assert "--unknown no" in read(root, text).problems[0]
    assert labels(read(root, text, unknown="no")) == RIGHT


def test_a_label_may_be_called_x(root: Path) -> None:
    assert read(root, table("image,labels", lambda i, s: f"{s},{'x' if i % 2 else 'y'}")).classes == (
        "x",
        "y",
    )


@pytest.mark.parametrize("cell", ["0.7", "3", "55"])
def test_amounts_are_never_the_names_of_labels(root: Path, cell: str) -> None:
    text = table("image,a,b,c", lambda i, s: ",".join([s, *(cell if f == "1" else "0" for f in flags(s))]))
    with pytest.raises(MaclError, match=r"amounts|no column that can be labels"):
        read(root, text)
    with pytest.raises(MaclError, match=f"{cell!r} in a: need 0 and 1, or names of labels"):
        read(root, text, label_columns="a,b,c")


def test_a_mark_that_every_row_has_is_said(root: Path) -> None:
    found = read(root, lines("image,a,b,c,verified", "{s},{f},1"))
    assert "every row has verified: leave out what is no label with --ignore-columns" in found.notes


@pytest.mark.parametrize("title", ["mode", "part", "stage", "tvt", "train/val/test", "split_name", "fold"])
def test_words_of_a_split_under_any_name(root: Path, title: str) -> None:
    found = read(root, table(f"image,{title},a,b,c", lambda i, s: f"{s},{PART[s]},{','.join(flags(s))}"))
    assert labels(found) == RIGHT
    assert given(found) == OFFICIAL


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("training set", "validation set", "test set"), ("train1", "val1", "test1"), ("TRAIN", "Dev", "Testing"),
     ("训练集", "验证集", "测试集"), ("0", "1", "2"), ("0.0", "1.0", "2.0"), ("trainval", "val", "query")],
)  # fmt: skip
def test_words_for_the_parts(root: Path, train: str, val: str, test: str) -> None:
    words = {"train": train, "val": val, "test": test}
    text = table("image,partition,a,b,c", lambda i, s: f"{s},{words[PART[s]]},{','.join(flags(s))}")
    assert given(read(root, text)) == OFFICIAL


@pytest.mark.parametrize("values", [("0", "1"), ("1", "2"), ("summer", "winter")])
def test_a_split_that_says_no_part_is_asked_for(root: Path, values: tuple[str, str]) -> None:
    text = table("image,split,a,b,c", lambda i, s: f"{s},{values[i % 2]},{','.join(flags(s))}")
    found = read(root, text)
    assert labels(found) == RIGHT
    (problem,) = found.problems
    assert f"{values[0]!r}, {values[1]!r} in the column split" in problem
    assert "--split random" in problem
    assert data.check("folder", root, reading=Reading(split="random")).ok
    assert data.check("folder", root, reading=Reading(ignore_columns="split")).ok


def test_numbers_of_folds_are_said(root: Path) -> None:
    found = read(root, table("image,fold,a,b,c", lambda i, s: f"{s},{i % 5},{','.join(flags(s))}"))
    assert given(found) == {}
    assert (
        "fold has '0', '1', '2', which say no part of the split: no image is kept apart by it" in found.notes
    )


@pytest.mark.parametrize("titles", ["train,val,test", "training,valid,testing", "in_train,in_val,in_test"])
@pytest.mark.parametrize("words", [("1", "0"), ("yes", "no"), ("True", "False")])
def test_a_flag_for_each_part(root: Path, titles: str, words: tuple[str, str]) -> None:
    def row(i: int, s: str) -> str:
        return ",".join([s, *flags(s), *(words[PART[s] != part] for part in ("train", "val", "test"))])

    found = read(root, table(f"image,a,b,c,{titles}", row))
    assert labels(found) == RIGHT
    assert given(found) == OFFICIAL


@pytest.mark.parametrize("title", ["test", "is_test", "is_holdout", "in_test"])
def test_one_flag_of_the_test_images(root: Path, title: str) -> None:
    found = read(
        root,
        table(f"image,a,b,c,{title}", lambda i, s: ",".join([s, *flags(s), str(int(PART[s] == "test"))])),
    )
    assert labels(found) == RIGHT
    assert given(found)["test"] == OFFICIAL["test"]


def test_an_empty_flag_of_a_part_is_in_no_part(root: Path) -> None:
    text = table(
        "image,a,b,c,is_train", lambda i, s: ",".join([s, *flags(s), "" if i == 3 else str(int(i < 10))])
    )
    found = read(root, text)
    assert given(found)[""] == {"im3"}
    assert "1 images are in no part of the split" in str(data.check("folder", root))


def test_a_label_may_be_called_train(root: Path) -> None:
    found = read(root, lines("image,train,boat,plane", "{s},{f}"))
    assert found.classes == ("train", "boat", "plane")
    assert found.given == ()
