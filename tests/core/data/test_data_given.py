"""The split that a data set gives is the one that counts: by a column, by its tables, by its folders."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import data
from core.data import ImageSet, Reading, splits
from core.data.parts import part_of
from core.errors import MaclError
from tests import data_fakes as fakes

STEMS = [f"im{i:02d}" for i in range(20)]
PART = {stem: "train" if i < 12 else "val" if i < 15 else "test" for i, stem in enumerate(STEMS)}
RANDOM = Reading(split="random")


def flags(stem: str) -> list[int]:
    i = int(stem[2:]) % 7 + 1
    return [i & 1, i >> 1 & 1, i >> 2 & 1]


def write(path: Path, header: Iterable[object], rows: Iterable[Iterable[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, stem in enumerate(STEMS):
        fakes.picture(tmp_path / f"{stem}.png", seed)
    return tmp_path


def parts(root: Path, reading: Reading = data.READ, seed: int = 0) -> dict[str, set[str]]:
    loaded = data.load("folder", root, 8, seed, reading=reading)
    for row, name in enumerate(loaded.names):  # whatever the split, the labels are those of the image
        assert loaded.labels[row].tolist() == flags(Path(name).stem)
    assert loaded.classes == ("a", "b", "c")
    return {part: {Path(loaded.names[i]).stem for i in rows} for part, rows in loaded.splits.items()}


OFFICIAL = {part: {stem for stem in STEMS if PART[stem] == part} for part in ("train", "val", "test")}
WORDS = {"train": "TRAIN", "val": "Validation", "test": "test"}


@pytest.mark.parametrize("title", ["split", "Subset", "set", "partition"])
def test_a_column_of_words(root: Path, title: str) -> None:
    rows = [[f"{stem}.png", WORDS[PART[stem]], *flags(stem)] for stem in STEMS]
    write(root / "labels.csv", ["image", title, "a", "b", "c"], rows)
    assert parts(root) == parts(root, seed=5) == OFFICIAL
    report = data.check("folder", root)
    assert report.given_by == "a column of labels.csv"
    assert "splits       train 12, val 3, test 5 (given by a column of labels.csv)" in str(report)


def test_columns_of_flags_are_no_labels(root: Path) -> None:
    names = ("is_train", "is_valid", "is_test")
    rows = [[stem, *flags(stem), *(int(PART[stem] == n) for n in ("train", "val", "test"))] for stem in STEMS]
    write(root / "labels.csv", ["image", "a", "b", "c", *names], rows)
    assert parts(root) == OFFICIAL


def test_a_split_beside_chosen_labels_counts_and_one_that_is_ignored_does_not(root: Path) -> None:
    rows = [[k, f"{stem}.png", PART[stem], 50.5, *flags(stem)] for k, stem in enumerate(STEMS)]
    write(root / "labels.csv", ["", "image", "split", "lat", "a", "b", "c"], rows)
    chosen = Reading(label_columns="a, b, c")
    assert parts(root, chosen) == OFFICIAL
    assert ("split", "the split: no label") in data.find("folder", root, reading=chosen).columns
    for one in (Reading(ignore_columns="Split"), Reading(ignore_columns="split", label_columns="a, b, c")):
        assert parts(root, one) == parts(root, RANDOM) != OFFICIAL
        assert ("split", "left out, as you say") in data.find("folder", root, reading=one).columns


def test_one_flag_says_two_parts_and_the_third_is_drawn_and_said(root: Path) -> None:
    rows = [[stem, *flags(stem), int(PART[stem] == "test")] for stem in STEMS]
    write(root / "labels.csv", ["image", "a", "b", "c", "is_test"], rows)
    one, other = parts(root), parts(root, seed=1)
    assert one["test"] == other["test"] == OFFICIAL["test"]
    assert [len(one[part]) for part in ("train", "val", "test")] == [14, 1, 5]  # 15 as 7 to 1
    assert one["val"] != other["val"]
    assert parts(root) == one
    note = "the split given by a column of labels.csv has no validation images: the seed draws 1 from its"
    assert note in str(data.check("folder", root))
    assert note in "; ".join(data.load("folder", root, 8).notes)


def test_a_missing_test_part_is_drawn_and_said(root: Path) -> None:
    rows = [[stem, *flags(stem), int(PART[stem] == "val")] for stem in STEMS]
    write(root / "labels.csv", ["image", "a", "b", "c", "is_valid"], rows)
    one = parts(root)
    assert one["val"] == OFFICIAL["val"]
    assert [len(one[part]) for part in ("train", "val", "test")] == [14, 3, 3]  # 17 as 7 to 2
    assert "has no test images: the seed draws 3 from its training images" in str(data.check("folder", root))


def test_the_number_of_a_fold_is_neither_label_nor_part(root: Path) -> None:
    rows = [[stem, *flags(stem), i % 2] for i, stem in enumerate(STEMS)]
    write(root / "labels.csv", ["image", "a", "b", "c", "fold"], rows)
    assert [len(rows) for rows in parts(root).values()] == [14, 2, 4]
    assert "(random, here of seed 0)" in str(data.check("folder", root))


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("Train", "valid", "TEST"),
        ("mine/training", "mine/validation", "mine/testing"),
        ("test/mine/train/images", "test/mine/val/images", "test/mine/test/images"),  # below a folder "test"
        ("images/train/airport", "images/val/airport", "images/test/beach"),
        ("train2017", "val2017", "test2017"),
        ("images_tr", "images_val", "images_test"),
    ],
)
def test_folders(root: Path, names: tuple[str, str, str]) -> None:
    write(root / "labels.csv", ["image", "a", "b", "c"], [[stem, *flags(stem)] for stem in STEMS])
    for stem, part in PART.items():
        place = root / names[("train", "val", "test").index(part)]
        place.mkdir(parents=True, exist_ok=True)
        (root / f"{stem}.png").rename(place / f"{stem}.png")
    assert parts(root) == OFFICIAL
    assert "given by folders" in str(data.check("folder", root))


@pytest.mark.parametrize("names", [("train station", "test track"), ("train", "beach"), ("test", "port")])
def test_folders_that_are_no_split(root: Path, names: tuple[str, str]) -> None:
    write(root / "labels.csv", ["image", "a", "b", "c"], [[stem, *flags(stem)] for stem in STEMS])
    for i, stem in enumerate(STEMS):
        (root / names[i % 2]).mkdir(exist_ok=True)
        (root / f"{stem}.png").rename(root / names[i % 2] / f"{stem}.png")
    assert data.find("folder", root).given == ()
    assert data.load("folder", root, 8).given_by == ""


@pytest.mark.parametrize(
    "names",
    [
        ("train.csv", "val.csv", "test.csv"),
        ("labels_train.csv", "labels_valid.csv", "labels_test.csv"),
        ("train/labels.csv", "val/labels.csv", "test/labels.csv"),
    ],
)
def test_tables_that_together_are_one(root: Path, names: tuple[str, ...]) -> None:
    for part, name in zip(OFFICIAL, names, strict=True):
        rows = [[stem, *flags(stem)] for stem in sorted(OFFICIAL[part])]
        if part == "val":  # its columns in another order
            write(root / name, ["image", "c", "a", "b"], [[s, c, a, b] for s, a, b, c in rows])
        else:
            write(root / name, ["image", "a", "b", "c"], rows)
    assert parts(root) == OFFICIAL
    assert f"given by the tables {names[2]}, {names[0]}" in str(data.check("folder", root))


def test_tables_of_a_split_of_any_kind(root: Path) -> None:
    for part, ending in (("train", "tsv"), ("val", "json"), ("test", "parquet")):
        table = pd.DataFrame([[f"{stem}.png", *flags(stem)] for stem in OFFICIAL[part]],
                             columns=["image", "a", "b", "c"])  # fmt: skip
        if ending == "tsv":
            table.to_csv(root / "train.tsv", sep="\t")  # pandas puts its index first
        elif ending == "json":
            table.to_json(root / "val.json", orient="records")
        else:
            table.to_parquet(root / "test.parquet")
    with pytest.raises(MaclError, match="have other columns"):
        parts(root)
    table = pd.read_csv(root / "train.tsv", sep="\t", index_col=0)
    table.to_csv(root / "train.tsv", sep="\t", index=False)
    assert parts(root) == OFFICIAL


def test_one_folder_for_each_label_in_the_folders_of_a_split(root: Path) -> None:
    for stem, part in PART.items():
        place = root / part / ("sea" if flags(stem)[0] else "moor")
        place.mkdir(parents=True, exist_ok=True)
        (root / f"{stem}.png").rename(place / f"{stem}.png")
    loaded = data.load("folder", root, 8)
    assert loaded.classes == ("moor", "sea")
    assert {p: {Path(loaded.names[i]).stem for i in rows} for p, rows in loaded.splits.items()} == OFFICIAL


def test_tables_without_a_header(root: Path) -> None:
    for part, stems in OFFICIAL.items():
        words = [";".join(w for w, f in zip("abc", flags(stem), strict=True) if f) for stem in sorted(stems)]
        lines = [f"{stem}.png,{word}" for stem, word in zip(sorted(stems), words, strict=True)]
        (root / f"{part}.csv").write_text("\n".join(lines))
    assert parts(root) == OFFICIAL


def test_labels_are_read_alike_in_all_tables(root: Path) -> None:
    """What separates the labels is seen in one of the tables only."""
    (root / "train.csv").write_text(
        "image,labels\n" + "".join(f"im{i:02d},bare soil;sea\n" for i in range(12))
    )
    (root / "test.csv").write_text("image,labels\n" + "".join(f"im{i},bare soil\n" for i in range(12, 20)))
    assert data.find("folder", root).classes == ("bare soil", "sea")


def test_tables_that_are_no_split_are_not_joined(root: Path) -> None:
    for names in (("train.csv", "more.csv"), ("train_a.csv", "test_b.csv"), ("a.csv", "b.csv")):
        for name in names:
            write(root / name, ["image", "a"], [["im00", 1]])
        with pytest.raises(MaclError, match="keep one"):
            data.find("folder", root)
        for name in names:
            (root / name).unlink()
    write(root / "train.csv", ["image", "a"], [["im00", 1]])
    write(root / "test.csv", ["image", "b"], [["im01", 1]])
    with pytest.raises(
        MaclError, match=r"test\.csv and train\.csv have other columns, image, b and image, a"
    ):
        data.find("folder", root)


@pytest.mark.parametrize("how", ["tables", "column"])
def test_images_of_one_name_in_the_folders_of_two_parts(tmp_path: Path, how: str) -> None:
    """As detection tools export: train/1.png and test/1.png, each with a table beside it."""
    kinds = {"train": 8, "valid": 2, "test": 3}
    rows = []
    for k, (part, count) in enumerate(kinds.items()):
        own = [[f"{i}.png", int(k == 0), int(k == 1), int(k == 2)] for i in range(count)]
        for i in range(count):
            fakes.picture(tmp_path / part / f"{i}.png", 10 * k + i)
        if how == "tables":
            write(tmp_path / part / "_classes.csv", ["filename", "a", "b", "c"], own)
        rows += [[*row, part] for row in own]
    if how == "column":
        write(tmp_path / "labels.csv", ["filename", "a", "b", "c", "split"], rows)
    loaded = data.load("folder", tmp_path, 8)
    assert {part: len(rows) for part, rows in loaded.splits.items()} == {"train": 8, "val": 2, "test": 3}
    for part, label in (("train", 0), ("val", 1), ("test", 2)):
        assert (loaded.labels[loaded.splits[part]] == np.eye(3, dtype=int)[label]).all()


def test_images_that_the_split_does_not_name_are_left_out_and_said(root: Path) -> None:
    words = {**PART, "im03": "", "im17": "holdout"}
    rows = [[stem, *flags(stem), words[stem]] for stem in STEMS]
    write(root / "labels.csv", ["image", "a", "b", "c", "split"], rows)
    left = {"im03", "im17"}
    assert parts(root) == {part: stems - left for part, stems in OFFICIAL.items()}
    report = data.check("folder", root)
    assert report.unnamed == ("im03.png", "im17.png")
    assert (report.usable, report.unlabelled) == (18, 0)
    assert "images in no part of the split: 2 (im03.png, im17.png)" in str(report)
    assert data.load("folder", root, 8).unnamed == 2
    assert sum(len(rows) for rows in parts(root, RANDOM).values()) == 20


def test_random_mixes_anew_and_says_so(root: Path) -> None:
    rows = [[f"{stem}.png", PART[stem], *flags(stem)] for stem in STEMS]
    write(root / "labels.csv", ["image", "split", "a", "b", "c"], rows)
    mixed = parts(root, RANDOM)
    assert [len(rows) for rows in mixed.values()] == [14, 2, 4]
    assert mixed != parts(root, RANDOM, seed=1)
    report = data.check("folder", root, reading=RANDOM)
    assert report.given_by == ""
    assert "the split given by a column of labels.csv does not count: mixed anew, as you say" in str(report)
    kept = ImageSet.from_json(ImageSet("folder", str(root), 8, reading=RANDOM).to_json())
    assert kept.load().given_by == ""
    assert ImageSet("folder", str(root), 8).load().given_by == "a column of labels.csv"


def test_an_image_in_two_parts_is_a_problem_with_a_way_out(root: Path) -> None:
    rows = [[stem, *flags(stem), PART[stem]] for stem in STEMS]
    write(root / "labels.csv", ["image", "a", "b", "c", "split"], [*rows, ["im19", *flags("im19"), "train"]])
    with pytest.raises(MaclError, match=r"into two parts: im19\.png \(test and train\): .*--split random"):
        data.load("folder", root, 8)
    assert sum(len(rows) for rows in parts(root, RANDOM).values()) == 20


def test_a_split_without_training_images_is_refused_with_a_way_out(root: Path) -> None:
    rows = [[stem, *flags(stem), "val" if i < 9 else "test"] for i, stem in enumerate(STEMS)]
    write(root / "labels.csv", ["image", "a", "b", "c", "split"], rows)
    with pytest.raises(MaclError, match=r"too few usable images for train .*val 9, test 11.*--split random"):
        data.load("folder", root, 8)
    assert "--split random" in data.check("folder", root).problems[0]


def test_where_column_and_folders_differ_the_column_counts(root: Path) -> None:
    rows = [[stem, *flags(stem), PART[stem]] for stem in STEMS]
    write(root / "labels.csv", ["image", "a", "b", "c", "split"], rows)
    for stem in STEMS:
        place = root / ("train" if PART[stem] != "test" else "test")
        place.mkdir(exist_ok=True)
        (root / f"{stem}.png").rename(place / f"{stem}.png")
    assert parts(root) == OFFICIAL
    assert "3 images lie in the folder of another part" in str(data.check("folder", root))


def test_papers_sets_keep_the_papers_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ML-AID lies in two folders, of which the paper knows nothing."""
    from dataclasses import replace

    known = replace(data.DATASETS["ml_aid"], train=6, val=2, images=12)
    monkeypatch.setitem(data.DATASETS, "ml_aid", known)
    names = [f"airport_{i}" for i in range(12)]
    for i, name in enumerate(names):
        fakes.picture(tmp_path / ("images_tr" if i < 9 else "images_test") / f"{name}.jpg", i)
    fakes.table(tmp_path / "multilabel.csv", ["image", *fakes.LABELS_17], names, fakes.labels(12, 17))
    loaded = data.load("ml_aid", tmp_path, 8, seed=3)
    expected = splits.split(loaded.labels, loaded.names, known, 3)
    assert all((loaded.splits[part] == rows).all() for part, rows in expected.items())
    assert loaded.given_by == ""


@pytest.mark.parametrize(
    ("name", "part", "rest"),
    [
        ("train", "train", ""),
        ("Validation", "val", ""),
        ("labels-DEV", "val", "labels"),
        ("test_2017", "test", "2017"),
        ("pretrain", "", ""),
        ("train_test", "", ""),
        ("contest", "", ""),
    ],
)
def test_names_that_say_a_part(name: str, part: str, rest: str) -> None:
    assert part_of(name) == (part, rest)


def test_what_a_given_split_lacks_is_drawn_the_same_for_ever() -> None:
    """Written down once: another platform or NumPy must draw the same."""
    known, labels, names = data.DATASETS["folder"], np.ones((20, 2)), [str(i) for i in range(20)]
    said = ["train"] * 16 + ["test"] * 4
    drawn = splits.split(labels, names, known, 7, said)
    assert drawn["val"].tolist() == [3, 4]
    assert drawn["test"].tolist() == [16, 17, 18, 19]
    assert sorted(np.concatenate(list(drawn.values())).tolist()) == list(range(20))
    assert all(rows.dtype == np.int64 for rows in drawn.values())
