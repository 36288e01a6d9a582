"""Cells of labels as people write them: no mark, list or number may become a class of its own unseen."""

import json
from pathlib import Path

import pytest

from core.errors import MaclError
from tests.own_tables import STEMS, images, labels, read

COMBINATIONS = (["bare_soil"], ["bare_soil", "mobile_home"], ["water", "mobile_home"], ["water"])
RIGHT = {stem: COMBINATIONS[i % 4] for i, stem in enumerate(STEMS)}
SETS = {stem: set(names) for stem, names in RIGHT.items()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return images(tmp_path)


def table(cell, header: str = "image\tlabels") -> str:
    """A table whose cells of labels are made of the number of an image and its labels."""
    rows = (f"{stem}\t{cell(i, names)}" for i, (stem, names) in enumerate(RIGHT.items()))
    return "\n".join([header, *rows]) + "\n"


@pytest.mark.parametrize("joint", ["&", " & ", "；", "、", "，", "//", " __ ", ";;"])  # noqa: RUF001
def test_more_marks_that_join(root: Path, joint: str) -> None:
    assert labels(read(root, table(lambda i, names: joint.join(names)))) == SETS


@pytest.mark.parametrize(
    ("joint", "blank"),
    [(joint, blank) for joint in ("-", " - ", ":", ".", "~", "#", " and ", "\\") for blank in "_ "]
    + [("_", " ")],
)
def test_marks_that_belong_to_names_are_asked_for(root: Path, joint: str, blank: str) -> None:
    named = {s: [name.replace("_", blank) for name in names] for s, names in RIGHT.items()}
    text = table(lambda i, names: joint.join(name.replace("_", blank) for name in names))
    with pytest.raises(MaclError, match=r"may be one or several: say so with --separator") as error:
        read(root, text)
    said = str(error.value).partition('--separator "')[2].partition('"')[0]
    assert said.strip() == joint.strip()
    assert labels(read(root, text, separator=said)) == {s: set(names) for s, names in named.items()}


@pytest.mark.parametrize(
    "names",
    [("non-forest", "sea", "semi-arid"), ("annual_crop", "sea_lake", "river"), ("St. John", "x", "y")],
)
def test_a_mark_within_names_alone_is_not_asked_for(root: Path, names: tuple[str, ...]) -> None:
    found = read(root, table(lambda i, _: names[i % 3]), separator="none" if " " in names[0] else "")
    assert set(found.classes) == set(names)


@pytest.mark.parametrize(
    ("word", "mark"), [("comma", ", "), ("Semicolon", ";"), ("slash", "/"), ("pipe", "|"), ("tab", "\t")]
)
def test_a_separator_may_be_called_by_name(root: Path, word: str, mark: str) -> None:
    text = "image;labels\n" + "".join(f'{s};"{mark.join(names)}"\n' for s, names in RIGHT.items())
    assert labels(read(root, text, separator=word)) == SETS


def test_a_word_between_labels_is_a_word_of_its_own(root: Path) -> None:
    cells = ("sand", "sand and land", "land")
    found = read(root, table(lambda i, _: cells[i % 3]), separator="and")
    assert found.classes == ("land", "sand")


def test_a_separator_that_no_cell_has_is_said(root: Path) -> None:
    found = read(root, table(lambda i, names: "+".join(names)), separator=";")
    assert "no cell of labels has the separator ';'" in found.notes


@pytest.mark.parametrize("marks", [";,", ";/", "|+", ",;"])
def test_two_marks_in_one_column_are_refused(root: Path, marks: str) -> None:
    text = table(lambda i, names: marks[i // 4 % 2].join(names))
    with pytest.raises(MaclError, match=r"use one mark in all cells, or say --separator"):
        read(root, text)


def test_flags_in_quotes_are_no_class(root: Path) -> None:
    for quote in "'\"":
        with pytest.raises(MaclError, match="3 flags in one cell"):
            read(root, table(lambda i, _, quote=quote: f"{quote}{i % 8:03b}{quote}", "image\tkind"))


def test_numbers_of_classes_that_look_like_flags(root: Path) -> None:
    text = table(lambda i, _: str((10, 11)[i % 2]))
    with pytest.raises(MaclError, match="--separator none where it is the number of a class"):
        read(root, text)
    assert read(root, text, separator="none").classes == ("10", "11")


def test_objects_in_a_list_give_their_names(root: Path) -> None:
    found = read(root, table(lambda i, names: json.dumps([{"name": name, "at": i} for name in names])))
    assert labels(found) == SETS
    with pytest.raises(MaclError, match=r"in a list of labels: need names, or objects with one of name"):
        read(root, table(lambda i, names: json.dumps([{"id": i} for _ in names])))


def test_lists_are_called_lists(root: Path) -> None:
    assert "one column of labels, in lists" in read(root, table(lambda i, names: str(names))).notes[0]
