"""Which point is which image, and what its colour says, however runs and filters change."""

import csv
import io

import numpy as np
import pytest

from app.embeddings import colors, points, selection
from core.retrieval.search import Gallery


def gallery(names: list[str], y: np.ndarray) -> Gallery:
    z = np.eye(len(names), dtype=np.float32)
    rows = {name: row for row, name in enumerate(names)}
    return Gallery(z, y.astype(np.uint8), tuple(names), ("test",) * len(names), rows)


A = gallery(["a", "b", "c", "d"], np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 1]]))
B = gallery(["d", "e", "b"], np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0]]))


def test_points_are_numbered_once_over_all_runs() -> None:
    found = points.number([A, B])
    assert found.names == ("a", "b", "c", "d", "e")
    assert [rows.tolist() for rows in found.rows] == [[0, 1, 2, 3], [3, 4, 1]]
    for one, own, rows in zip((A, B), found.own, found.rows, strict=True):
        assert [one.names[row] for row in own] == [found.names[point] for point in rows]
        np.testing.assert_array_equal(one.y[own], found.y[rows])


def test_a_filter_renumbers_and_every_dot_still_knows_its_image() -> None:
    found = points.number([A, B], [1])
    assert found.names == ("b", "c", "e")
    assert [own.tolist() for own in found.own] == [[1, 2], [1, 2]]
    assert [rows.tolist() for rows in found.rows] == [[0, 1], [2, 0]]
    assert found.version != points.number([A, B]).version
    assert found.version == points.number([A, B], [1]).version
    assert points.number([A], [1, 2]).names == ()


@pytest.mark.parametrize("n", [1, 8, 9, 64, 1001])
def test_bits_there_and_back(n: int) -> None:
    chosen = np.random.default_rng(n).random(n) < 0.3
    np.testing.assert_array_equal(points.from_bits(points.to_bits(chosen), n), chosen)
    with pytest.raises(ValueError, match="need bits"):
        points.from_bits(points.to_bits(chosen), n + 8)


def test_origin_finds_the_images_of_another_run() -> None:
    assert points.origin(B, A).tolist() == [3, -1, 1]


def test_the_rarest_label_colours_an_image() -> None:
    found = points.number([A])  # label 0 on three images, label 1 on two, label 2 on one
    coloring = colors.by_label(found, ["common", "some", "rare"])
    assert coloring.shared is not None
    names = [coloring.legend["items"][value][0] for value in coloring.shared]
    assert names == ["common", "some", "some", "rare"]
    assert [item[2] for item in coloring.legend["items"]] == [1, 2, 1]
    assert coloring.color(3) == coloring.legend["items"][2][1]


def test_more_labels_than_hues_leave_the_frequent_ones_grey() -> None:
    count = len(colors.HUES) + 3
    rows = np.concatenate([np.eye(count)[[k]].repeat(k + 1, 0) for k in range(count)])
    found = points.number([gallery([str(i) for i in range(len(rows))], rows)])
    coloring = colors.by_label(found, [f"label {k}" for k in range(count)])
    assert len(coloring.legend["items"]) == len(colors.HUES)
    assert coloring.legend["none"] == "other labels"
    assert coloring.shared is not None
    assert (coloring.shared[-count:] == colors.NONE).all()
    assert coloring.color(len(rows) - 1) == ""


def test_other_colours() -> None:
    found = points.number([A, B])
    one = colors.by_one(found, ["x", "y", "z"], 2)
    assert one.shared is not None
    assert one.shared.tolist() == [255, 255, 255, 0, 0]
    count = colors.by_count(found)
    assert count.shared is not None
    assert [count.legend["items"][value][0] for value in count.shared] == ["1", "2", "1", "2", "2"]
    rarity = colors.by_rarity(found)
    assert rarity.shared is not None
    assert rarity.shared.tolist() == [0, 0, 0, 254, 254]  # the rarest labels are on 3, 3, 3, 2 and 2 images
    assert (rarity.legend["low"], rarity.legend["high"]) == ("3", "2")
    quality = colors.by_quality([np.array([0.0, 1.0, np.nan]), np.array([0.5])], "AP")
    assert [part.tolist() for part in quality.each] == [[0, 254, 255], [127]]
    assert quality.legend["none"]
    split = colors.by_split([["test", "train"], ["val"]])
    assert [part.tolist() for part in split.each] == [[2, 0], [1]]
    assert [item[2] for item in split.legend["items"]] == [1, 0, 1]


def test_mix_hits_the_stops() -> None:
    assert colors.mix([(0.0, "#000000"), (0.5, "#ff0000"), (1.0, "#ffffff")], 0.5) == "#ff0000"
    assert colors.mix([(0.0, "#000000"), (1.0, "#ffffff")], 0.0) == "#000000"


def test_counts_and_csv_of_a_selection() -> None:
    odd = gallery(["=1+1", "b", "c"], np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]]))
    found = points.number([odd])
    chosen = np.array([True, True, False])
    classes = ["common", "some", "none"]
    assert selection.counts(found, chosen, classes) == [("common", 2, 2), ("some", 1, 2)]
    lines = list(csv.reader(io.StringIO(selection.to_csv(found, chosen, classes))))
    assert lines == [["image", "labels"], ["'=1+1", "common"], ["b", "common; some"]]


def test_a_selection_is_ordered_by_colour() -> None:
    found = points.number([A])
    coloring = colors.by_label(found, ["common", "some", "rare"])
    assert selection.ordered(found, np.array([True, True, True, True]), coloring) == [0, 1, 2, 3]
    assert selection.ordered(found, np.array([True, False, False, True]), coloring) == [0, 3]
