"""One cell of labels: what separates them, what is missing, what is a list."""

import json
from pathlib import Path

import pytest

from core.data.cells import near_equal
from core.errors import MaclError
from tests.own_tables import STEMS, images, labels, read

COMBINATIONS = (["bare soil"], ["bare soil", "mobile home"], ["water", "mobile home"], ["water"])
RIGHT = {stem: COMBINATIONS[i % 4] for i, stem in enumerate(STEMS)}
SETS = {stem: set(names) for stem, names in RIGHT.items()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return images(tmp_path)


def table(cells: dict[str, str], delimiter: str = "\t") -> str:
    return "".join(
        f"{stem}.png{delimiter}{cell}\n" for stem, cell in {"image": "labels", **cells}.items()
    ).replace("image.png", "image")


@pytest.mark.parametrize(
    ("joint", "note"),
    [
        ("/", "slashes"), (" / ", "slashes"), (" + ", "plus signs"), ("+", "plus signs"),
        ("__", "double underscores"), (", ", "commas"), (",", "commas"), (";", "semicolons"),
        ("; ", "semicolons"), ("|", "bars"), (" | ", "bars"),
    ],
)  # fmt: skip
def test_labels_joined_by_any_mark(root: Path, joint: str, note: str) -> None:
    found = read(root, table({stem: joint.join(names) for stem, names in RIGHT.items()}))
    assert found.classes == ("bare soil", "mobile home", "water")
    assert labels(found) == SETS
    assert f"labels separated by {note}" in found.notes[0]


def test_words_joined_by_spaces(root: Path) -> None:
    right = {stem: [name.replace(" ", "_") for name in names] for stem, names in RIGHT.items()}
    found = read(root, table({stem: " ".join(names) for stem, names in right.items()}))
    assert labels(found) == {stem: set(names) for stem, names in right.items()}


@pytest.mark.parametrize(
    ("cells", "several", "one"),
    [
        (("clear primary", "haze water"), {"clear", "primary", "haze", "water"}, None),
        (("home/water", "soil"), {"home", "water", "soil"}, None),
        (("field + tree", "sea + sand"), {"field", "tree", "sea", "sand"}, None),
        (("Moors, heathland", "Sea"), {"Moors", "heathland", "Sea"}, None),
        (("dense_home__x", "sea"), {"dense_home", "x", "sea"}, None),
        (("dense residential", "sparse residential", "residential", "sea"),
         {"dense", "sparse", "residential", "sea"}, None),
        (("annual crop", "permanent crop", "sea"), {"annual", "permanent", "crop", "sea"}, None),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_asked(root: Path, cells: tuple[str, ...], several: set[str], one: None) -> None:
    text = table({stem: cells[i % len(cells)] for i, stem in enumerate(STEMS)})
    with pytest.raises(
        MaclError, match=r"may be one or several: say so with --separator (\S+) .*none"
    ) as error:
        read(root, text)
    mark = str(error.value).partition("--separator ")[2].split()[0].strip('"')
    assert set(read(root, text, separator=mark).classes) == several
    assert set(read(root, text, separator="none").classes) == set(cells)


def test_a_separator_of_ones_own(root: Path) -> None:
    right = {stem: " and ".join(names) for stem, names in RIGHT.items()}
    assert labels(read(root, table(right), separator=" and ")) == SETS
    assert 'labels separated by " and "' in read(root, separator=" and ").notes[0]
    right = {stem: "\t".join(names) for stem, names in RIGHT.items()}
    assert labels(read(root, table(right, ","), separator="tab")) == SETS


def test_names_of_several_words_stay_whole(root: Path) -> None:
    cells = ("bare soil", "mobile home", "field")
    found = read(root, table({stem: cells[i % 3] for i, stem in enumerate(STEMS)}))
    assert found.classes == ("bare soil", "field", "mobile home")
    assert "one label per row" in found.notes[0]


@pytest.mark.parametrize(
    "written",
    [str, json.dumps, lambda names: "{" + ", ".join(map(repr, names)) + "}",
     lambda names: f"({str(names)[1:-1]},)", lambda names: "[" + " ".join(map(repr, names)) + "]"],
    ids=["python", "json", "set", "tuple", "numpy"],
)  # fmt: skip
def test_a_comma_within_quotes_is_a_part_of_the_name(root: Path, written) -> None:
    names = (["Moors, heathland", "Sea"], ["Sea"], ["farmer's; own", 'the "old" field'], [])
    right = {stem: names[i % 4] for i, stem in enumerate(STEMS)}
    found = read(root, "image,labels\n" + "".join(
        '{}.png,"{}"\n'.format(stem, written(cell).replace('"', '""')) for stem, cell in right.items()
    ))  # fmt: skip
    assert found.classes == ("Moors, heathland", "Sea", "farmer's; own", 'the "old" field')
    assert labels(found) == {stem: set(cell) for stem, cell in right.items()}


def test_a_list_of_nested_brackets_is_text_and_ends(root: Path) -> None:
    found = read(root, table({"im0": "[" * 50_000, "im1": "field"}))
    assert labels(found)["im1"] == {"field"}


@pytest.mark.parametrize(
    "cell", ["nan", "NaN", "None", "null", "NULL", "NA", "N/A", "<NA>", "-", "", "[nan]", "['None']"]
)
def test_a_missing_value_is_no_class(root: Path, cell: str) -> None:
    cells = {stem: (cell, "field;tree", f"field;{cell}")[i % 3] for i, stem in enumerate(STEMS)}
    found = read(root, table({s: c for s, c in cells.items() if not c.startswith("field;[")}))
    assert found.classes == ("field", "tree")
    assert labels(found)["im0"] == set()
    assert labels(found)["im1"] == {"field", "tree"}


@pytest.mark.parametrize(
    "written",
    ["{}{}{}", "[{}, {}, {}]", "{};{};{}", "[{} {} {}]"],
)
def test_flags_in_one_cell_are_no_class(root: Path, written: str) -> None:
    cells = {
        stem: written.format(*(int(c == "1") for c in f"{i % 7 + 1:03b}")) for i, stem in enumerate(STEMS)
    }
    with pytest.raises(MaclError, match=r"3 flags in one cell.*need one column for each label"):
        read(root, table(cells))


def test_names_that_are_nearly_equal() -> None:
    assert near_equal(["Tree", "tree", "bare soil", "bare-soil", "sea", "Moor_land", "moorland"]) == [
        ["Tree", "tree"], ["bare soil", "bare-soil"], ["Moor_land", "moorland"],
    ]  # fmt: skip
    assert near_equal(["水", "树", "+", "-", "trees", "tree"]) == []
