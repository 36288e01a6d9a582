"""What the retrieval page computes: which queries are found, the picture, the table, the figure."""

import csv
import io
import math
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFont

from app.figures.retrieval import ByRank, by_rank
from app.kit import gallery, query, retrieved
from app.kit.palette import jaccard_color
from app.kit.retrieved import Row
from app.retrieval import sheet, table
from app.retrieval.find import matching
from app.retrieval.rows import Outcome, Query, Searched
from app.retrieval.view import images_searched
from app.retrieval.why import spoken
from core.metrics import METRICS, per_query
from core.retrieval.search import RARITIES, Gallery, metrics_of, rare, search, search_for, worst_first
from core.runs import Run

CLASSES = ["cars", "=SUM(1)", "sand", "trees"]


def world(seed: int = 0, size: int = 30) -> Gallery:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((size, 8))
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
    y = (rng.random((size, 4)) < 0.4).astype(np.uint8)
    y[y.sum(1) == 0, 0] = 1
    names = tuple(f"image{i:02d}" for i in range(size))
    splits = tuple("train" if i % 3 == 0 else "test" for i in range(size))
    return Gallery(z, y, names, splits, {name: i for i, name in enumerate(names)})


def outcome_of(images: Gallery, own: int, k: int = 4, title: str = "MACL (α=2)") -> Outcome:
    searched = Searched(images.z[own], images.y[own], images, own)
    row = retrieved.row(title, "#d1453b", searched.nearest(k), images, CLASSES)
    row = replace(row, query=images.names[own])
    return Outcome(Run(Path("made-up")), row, searched)


def row_of(images: Gallery, own: int, k: int = 4, title: str = "MACL (α=2)") -> Row:
    return outcome_of(images, own, k, title).row


def without(title: str = "x", note: str = "no weights") -> Outcome:
    return Outcome(Run(Path("none")), Row(title, "#123456", note=note))


def test_a_row_is_facts_alone_and_cannot_be_changed() -> None:
    images = world()
    row = row_of(images, 2, k=29)
    best = search(images.z, images.y, 2, 29)
    held = [{CLASSES[i] for i in np.flatnonzero(labels)} for labels in images.y]
    assert [image.name for image in row.images] == [images.names[one.row] for one in best.neighbours]
    for image, one in zip(row.images, best.neighbours, strict=True):
        assert (image.cosine, image.jaccard) == (one.cosine, one.jaccard)
        assert set(image.labels) == held[one.row]
        assert set(image.shared) == held[2] & held[one.row]
        assert set(image.missing) == held[2] - held[one.row]
        assert set(image.extra) == held[one.row] - held[2]
        assert image.split == images.splits[one.row]
    assert row.answer == best
    with pytest.raises(FrozenInstanceError):
        row.note = "another"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        row.images[0].rank = 2  # type: ignore[misc]


def test_grid_and_picture_say_the_same_of_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are made from its facts, neither from the other."""
    row = replace(row_of(world(), 5), by="map_easy", value=0.5)
    drawn, written, fitting = gallery.drawn(row), [], sheet.fitting
    assert drawn["facts"][0] == f"{METRICS['map_easy']} 50.0 %"
    monkeypatch.setattr(sheet, "fitting", lambda words, *rest: written.append(words) or fitting(words, *rest))
    monkeypatch.delattr(gallery, "drawn")
    monkeypatch.delattr(gallery, "tile")
    sheet.draw([row], Query("image05", None), [], lambda _: None, "")
    assert " · ".join(drawn["facts"]) in written
    for tile in drawn["tiles"]:
        assert f"{tile['rank']}   J {tile['jaccard']}   {tile['split']}" in written


def test_matching_needs_all_labels_and_if_exact_no_others() -> None:
    y = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]])
    assert matching(y, []) == [0, 1, 2, 3]
    assert matching(y, [0]) == [0, 1, 3]
    assert matching(y, [0, 2]) == [1, 3]
    assert matching(y, [0, 2], exact=True) == [1]
    assert matching(y, [], exact=True) == [0, 1, 2, 3]
    assert matching(y, [1], rarity="single") == [0, 2, 3]


@pytest.mark.parametrize("seed", range(3))
def test_rarity_is_what_counting_says(seed: int) -> None:
    y = (np.random.default_rng(seed).random((80, 5)) < [0.9, 0.5, 0.4, 0.2, 0.1]).astype(np.uint8)
    sets = [tuple(row) for row in y.tolist()]
    for i, held in enumerate(sets):
        assert rare(y, "single")[i] == (sets.count(held) == 1)
        assert rare(y, "few")[i] == (sets.count(held) <= 3)
        assert rare(y, "label")[i] == bool(held[int(y.sum(0).argmin())])
    with pytest.raises(ValueError, match="need a rarity of label, few, single"):
        rare(y, "odd")
    assert all(not rare(np.zeros((3, 2)), kind).any() for kind in ("label", "single"))
    assert set(RARITIES) == {"label", "few", "single"}


def test_worst_and_lead_come_first_and_nan_last() -> None:
    a, b = np.array([0.5, np.nan, 0.1, 0.9]), np.array([0.6, 0.2, 0.0, 0.1])
    assert worst_first(a).tolist() == [2, 0, 3, 1]
    assert worst_first(a, b).tolist() == [3, 2, 0, 1]


@pytest.mark.parametrize("own", [0, 7, 29])
def test_the_metrics_of_one_query_are_those_of_all(own: int) -> None:
    place = world()
    everyone = per_query(place.z, place.y)
    found = metrics_of(place.z[own], place.y[own], place.z, place.y, own)
    assert found == pytest.approx({key: values[own] for key, values in everyone.items()}, nan_ok=True)
    rest = np.delete(np.arange(30), own)  # a stranger with the same embedding and labels
    stranger = metrics_of(place.z[own], place.y[own], place.z[rest], place.y[rest])
    assert stranger == pytest.approx(found, nan_ok=True)


def test_a_stranger_without_labels_gets_neighbours_and_no_scores() -> None:
    place = world()
    known = search(place.z, place.y, 3, 5)
    rest = np.delete(np.arange(30), 3)
    unknown = search_for(place.z[3], None, place.z[rest], place.y[rest], 5)
    assert [rest[found.row] for found in unknown.neighbours] == [found.row for found in known.neighbours]
    assert [found.cosine for found in unknown.neighbours] == [found.cosine for found in known.neighbours]
    assert all(math.isnan(value) for value in (unknown.ap, unknown.precision, unknown.jaccard))
    assert unknown.precisions == unknown.jaccards == ()
    for found in unknown.neighbours:
        assert found.extra == tuple(np.flatnonzero(place.y[rest[found.row]]))
    names = tuple(np.array(place.names)[rest].tolist())
    others = Gallery(place.z[rest], place.y[rest], names, ("test",) * 29, {})
    drawn = gallery.drawn(retrieved.row("x", "#000000", unknown, others, CLASSES))
    assert drawn["facts"][0].startswith("cosine ")
    assert {tile["color"] for tile in drawn["tiles"]} == {gallery.UNKNOWN}
    assert all(
        tile["shared"] and not tile["extra"] and "Jaccard" not in tile["alt"] for tile in drawn["tiles"]
    )


def test_by_rank_is_what_loops_say() -> None:
    place = world(1, 70)
    answer = search(place.z, place.y, 4, 6)
    held = place.y[4].astype(bool)
    order = sorted(
        (i for i in range(70) if i != 4),
        key=lambda i: -float(place.z[i].astype(float) @ place.z[4].astype(float)),
    )
    assert len(answer.precisions) == len(answer.jaccards) == 50
    for n in (1, 2, 9, 50):
        similar = [
            (held & place.y[i].astype(bool)).sum() / (held | place.y[i].astype(bool)).sum() for i in order[:n]
        ]
        assert answer.jaccards[n - 1] == pytest.approx(np.mean(similar))
        assert answer.precisions[n - 1] == pytest.approx(np.mean([value > 0 for value in similar]))
    assert answer.precision == answer.precisions[5]


def test_training_images_are_marked() -> None:
    place = world()
    drawn = gallery.drawn(row_of(place, 1))
    for tile in drawn["tiles"]:
        train = place.splits[place.rows[tile["name"]]] == "train"
        assert tile["split"] == ("training" if train else "")
        assert ("(training image)" in tile["alt"]) == train


def test_the_table_is_the_whole_ranking_and_no_formula() -> None:
    place = world()
    outcomes = [outcome_of(place, 2), outcome_of(place, 2, title="=1+1"), without()]
    text = table.to_csv(outcomes, CLASSES)
    found = pd.read_csv(io.StringIO(text))
    assert list(found.columns) == list(table.COLUMNS)
    assert len(found) == 2 * 29
    assert set(found["query"]) == {"image02"}
    first = found[found.title == "MACL (α=2)"]
    best = search(place.z, place.y, 2, 29).neighbours
    assert first["image"].tolist() == [place.names[one.row] for one in best]
    np.testing.assert_allclose(first.cosine, [one.cosine for one in best], atol=1e-6)
    np.testing.assert_allclose(first.jaccard, [one.jaccard for one in best], atol=1e-6)
    assert first["rank"].tolist() == list(range(1, 30))
    assert first["split"].tolist() == [place.splits[one.row] for one in best]
    assert not any(
        cell[:1] in "=+-@"
        for line in csv.reader(io.StringIO(text))
        for cell in line
        if cell and not cell.lstrip("-").replace(".", "").isdigit()
    )
    assert set(found.title) == {"MACL (α=2)", "'=1+1"}
    upload = Outcome(Run(Path("r")), Row("r", "#123456", query="own.png"), Searched(place.z[2], None, place))
    unknown = pd.read_csv(io.StringIO(table.to_csv([upload], CLASSES)))
    assert set(unknown["query"]) == {"own.png"}
    assert len(unknown) == 30
    assert unknown.jaccard.isna().all()
    assert unknown["image"][0] == "image02"


def test_the_picture_shows_the_grid_with_its_borders() -> None:
    place = world()
    rows = [row_of(place, 5, k=3), row_of(place, 5, k=3, title="second")]
    colour = {name: np.full((20, 20, 3), 10 + 7 * i, np.uint8) for i, name in enumerate(place.names)}
    data = sheet.png(rows, Query("image05", None), ["cars"], colour.get, "test split")
    picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert picture[0, 0].tolist() == [255, 255, 255]
    seen = {tuple(pixel) for pixel in picture.reshape(-1, 3)}
    for image in rows[0].images:
        border = jaccard_color(image.jaccard)
        assert tuple(int(border[i : i + 2], 16) for i in (1, 3, 5)) in seen
        assert tuple(colour[image.name][0, 0].tolist()) in seen
    assert jaccard_color(0.0) != jaccard_color(1.0)
    nothing = sheet.png(
        [without().row],
        Query("q", None),
        [],
        lambda _: None,
        "",
    )
    assert Image.open(io.BytesIO(nothing)).size[0] > 100


def test_many_images_make_a_picture_of_bounded_size() -> None:
    place = world(2, 120)
    rows = [row_of(place, 0, k=50)] * 13
    picture = sheet.draw(rows, Query("image00", None), [], lambda _: None, "")
    assert picture.width <= sheet.WIDEST
    assert picture.width * picture.height < 60e6


@pytest.mark.parametrize("k", [1, 6])
def test_the_picture_is_as_wide_as_its_longest_heading(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    place = world()
    reason = "image05 is not in the test split of this run (seed 1): it was one of its training images. "
    missing = without("MulSupCon · seed 1", reason * 3).row
    rows = [row_of(place, 5, k, title="MACL (denominator=own) " * 3), missing]
    written, fitting = [], sheet.fitting

    def noted(words: str, font: ImageFont.FreeTypeFont, room: float) -> str:
        written.append((words, fitting(words, font, room)))
        return written[-1][1]

    monkeypatch.setattr(sheet, "fitting", noted)
    picture = sheet.draw(rows, Query("image05", None), [], lambda _: None, "test split, 29 images searched")
    assert all(done == sheet.plainly(words) for words, done in written)
    pixels = np.asarray(picture.convert("L"))
    assert (pixels[:, -sheet.PAD :] == 255).all()  # nothing runs into the margin
    rows[1] = replace(missing, note=reason * 30)
    picture = sheet.draw(rows, Query("image05", None), [], lambda _: None, "")
    assert picture.width == sheet.WIDEST
    assert written[-1][1]
    assert (np.asarray(picture.convert("L"))[:, -sheet.PAD :] == 255).all()


def test_the_query_is_not_among_the_images_searched() -> None:
    place = world()
    of_test_image = outcome_of(place, 5)
    of_upload = replace(without(), searched=Searched(place.z[2], None, place))
    assert images_searched([of_test_image, without()]) == 29
    assert images_searched([of_upload]) == 30
    assert images_searched([]) == 0


def test_words_fit_and_keep_to_the_letters_of_the_font() -> None:
    font = ImageFont.load_default(14)
    assert sheet.plainly("MACL (α=2, τ=0.1) −×…") == "MACL (alpha=2, tau=0.1) -x..."
    assert sheet.plainly("中") == "?"
    assert font.getlength(sheet.fitting("word " * 50, font, 100)) <= 100
    lines = sheet.wrapped(", ".join(CLASSES * 9), font, 90, 3)
    assert len(lines) == 3
    assert lines[-1].endswith("...")


def test_the_figure_has_both_lines_of_every_run() -> None:
    runs = [ByRank("a", "#111111", [1.0, 0.5], [0.3, 0.2]), ByRank("b", "#111111", [0.0, 0.5], [0.1, 0.1])]
    figure = by_rank(runs)
    assert [list(trace.y) for trace in figure.data] == [[1, 0.5], [0.3, 0.2], [0, 0.5], [0.1, 0.1]]
    assert list(figure.data[0].x) == [1, 2]
    assert figure.data[0].line.dash != figure.data[2].line.dash  # one colour: two dashes
    (name,) = {trace.name for trace in by_rank([ByRank("<b>&a", "#111111", [1.0], [0.3])]).data}
    assert name == "&lt;b&gt;&amp;a"


def test_the_strongest_regions_are_said_in_words() -> None:
    values = np.array([[0.1, 0.4], [0.2, 0.1]])
    assert spoken("a", values, 0.8) == (
        "a: of 2 rows and 2 columns of regions, most comes from row 1 column 2 with 50 %; "
        "row 2 column 1 with 25 %; row 1 column 1 with 12 %"
    )


def test_a_link_holds_what_is_not_the_default() -> None:
    assert query.link(["a"]) == {"runs": ["a"]}
    link = query.link(["a", "b"], "q", 9, gallery="all", by="", labels=["x"], order="lead", of="a", over="b")
    assert link == {
        "runs": ["a", "b"], "query": "q", "k": "9", "gallery": "all", "labels": ["x"],
        "order": "lead", "of": "a", "over": "b",
    }  # fmt: skip


def test_the_component_brings_everything_along() -> None:
    folder = Path(sheet.__file__).parent
    for name in ("why.js", "why.css"):
        text = (folder / name).read_text()
        assert "http" not in text
        assert "url(" not in text
        assert "innerHTML" not in text
