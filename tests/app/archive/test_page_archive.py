"""The archive page on a real small archive of two runs: queries, filters, examples, marks, permalink."""

import csv
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.archive import marking, rows, state
from core import archive
from core.archive import job, marks, store, table
from core.retrieval import ask
from core.runs import Run
from tests.app.archive.conftest import answer_all, press, said, shown, tiles
from tests.components import charts, open_page
from tests.core.archive import made


def brute(part: archive.Archive, z: np.ndarray, k: int, without: set[int]) -> list[str]:
    """By a stable sort of float64 cosines."""
    ids = part.ids()
    cosines = part.vectors(ids).astype(np.float64) @ z.astype(np.float64)
    order = [int(ids[i]) for i in np.argsort(-cosines, kind="stable")]
    return [f"like:{one}" for one in order if one not in without][:k]


def test_without_the_package_one_sentence_says_how_to_install_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "is_missing", lambda: True)
    page = open_page("archive")
    assert len(page.info) == 1
    assert "needs the package lancedb" in page.info[0].value
    assert table.INSTALL in page.info[0].value


def test_with_nothing_the_page_leads_to_training(root: Path) -> None:
    page = open_page("archive")
    assert "No finished run with its weights yet" in page.info[0].value
    assert "No archive yet" in page.info[1].value
    assert page.get("page_link")


def test_what_is_no_archive_is_said(root: Path, tmp_path: Path) -> None:
    (tmp_path / "a_b*c").mkdir()
    page = open_page("archive", archive=str(tmp_path / "a_b*c"))
    assert "is no archive" in page.error[0].value
    assert r"a\_b\*c" in page.error[0].value
    assert "is no archive" in open_page("archive", archive=str(tmp_path / "gone")).error[0].value
    assert open_page("archive", archive="/a\0b").error


def test_every_image_finds_what_brute_force_finds(two: list[Run], own: str) -> None:
    page, parts = open_page("archive", archive=own), archive.parts(own)
    assert [row["title"] for row in shown(page)["rows"]] == ["MulSupCon", "MACL"]
    first = int(parts[0].ids()[0])
    for number in [first, *parts[0].ids()[[3, 11, 29]].tolist()]:
        page.query_params["query"] = f"like:{number}"
        page.run()
        z = [part.vectors([number])[0] for part in parts]
        assert tiles(page) == [
            brute(part, one, state.TOP, {number}) for part, one in zip(parts, z, strict=True)
        ]
    data = shown(page)
    assert data["query"]["name"] == "tile 29.png"
    assert data["images"][data["query"]["image"]].startswith("data:image/jpeg;base64,")
    tile = data["rows"][0]["tiles"][0]
    record = parts[0].records([int(tile["name"].removeprefix("like:"))])
    (record_of,) = record.values()
    asked = parts[0].records([number])[number].labels
    union = {*asked, *record_of.labels}
    assert tile["jaccard"] == f"{len(set(asked) & set(record_of.labels)) / len(union):.2f}"
    assert set(tile["shared"]) == set(asked) & set(record_of.labels)
    assert record_of.source.rpartition("/")[2] in tile["alt"]
    assert [row["facts"][0] for row in data["rows"]] == ["exact", "exact"]
    assert data["query"]["earlier"] == [f"like:{parts[0].ids()[i]}" for i in (11, 3, 0)]
    assert data["titles"][f"like:{first}"] == "tile 00.png"
    page = press(page, "Back")
    assert shown(page)["query"]["name"] == "tile 11.png"


def test_one_run_may_be_chosen_and_is_in_the_link(two: list[Run], own: str) -> None:
    encoder = archive.parts(own)[1].encoder.id
    page = open_page("archive", archive=own, runs=encoder, k="5", exact="1")
    assert [len(row) for row in tiles(page)] == [5]
    assert said(page, "runs") == [encoder]
    assert said(page, "exact") == ["1"]
    assert said(page, "query")[0].startswith("like:")
    again = open_page("archive", **dict(page.query_params))
    assert shown(again) == shown(page)


def test_what_a_link_has_wrong_is_said(two: list[Run], own: str) -> None:
    page = open_page("archive", archive=own, query="like:_5", k="900", runs="*x*", plus="abc", box="1,2")
    text = " ".join(one.value for one in page.warning)
    for part in (
        r"like\:\_5",
        "k = 900",
        r"\*x\*",
        "plus = abc",
        "need four numbers",
    ):
        assert part in text
    assert len(tiles(page)[0]) == state.TOP
    # what is wrong with the place stands below the row of buttons, not within it
    (row,) = [block for block in page.get("flex_container") if any(b.label == "Random" for b in block.button)]
    assert not row.warning


def test_filters(two: list[Run], own: str) -> None:
    parts = archive.parts(own)
    label = next(one.labels[0] for one in parts[0].records(parts[0].ids()).values() if one.labels)
    page = open_page("archive", archive=own, labels=label, source="tile 1", k="40")
    for part, row in zip(parts, tiles(page), strict=True):
        found = part.records([int(name.removeprefix("like:")) for name in row])
        assert all(label in one.labels and "/tile 1" in one.source for one in found.values())
    everywhere = {int(one) for one in parts[0].ids("starts_with(label, '')")}
    kept = {n for n, one in parts[0].records(sorted(everywhere)).items() if label in one.labels}
    kept = {n for n in kept if "/tile 1" in parts[0].records([n])[n].source}
    own_number = int(said(page, "query")[0].removeprefix("like:"))
    assert {int(name.removeprefix("like:")) for name in tiles(page)[0]} == kept - {own_number}
    page.text_input(state.BOX).set_value("0 0 1 1").run()
    assert "widen it" in shown(page)["rows"][0]["note"]
    assert said(page, "box") == ["0 0 1 1"]


def test_several_examples_ask_as_one(two: list[Run], own: str) -> None:
    parts = archive.parts(own)
    a, b, c, d = parts[0].ids()[[0, 5, 9, 20]].tolist()
    page = open_page("archive", archive=own, query=f"like:{a}", plus=[str(b), str(c)], minus=str(d))
    for part, row in zip(parts, tiles(page), strict=True):
        z = part.vectors([a, b, c]).astype(np.float64).mean(axis=0) - part.vectors([d])[0]
        assert row == brute(part, z / np.linalg.norm(z), state.TOP, {a, b, c, d})
    assert [one.label for one in page.multiselect if one.value in ([b, c], [d])] == [
        "Also wanted",
        "Unwanted",
    ]
    page.multiselect(state.PLUS).set_value([c]).run()
    assert said(page, "plus") == [str(c)]
    page = press(page, "Back")
    assert "plus" not in page.query_params
    assert tiles(page)[0] == brute(parts[0], parts[0].vectors([a])[0], state.TOP, {a})


def test_an_image_of_the_data_set_asks_by_the_same_encoder(two: list[Run], own: str, still: None) -> None:
    names = two[0].splits()["test"]
    page = open_page("archive", archive=own, query=f"image:{names[3]}")
    assert [row["note"] for row in shown(page)["rows"]] == ["Computing …"] * 2
    answer_all(page)
    for part, row in zip(archive.parts(own), tiles(page), strict=True):
        run = next(run for run in two if run.id == part.encoder.run)
        z = run.embeddings()[0][run.splits()["test"].index(names[3])]
        assert row == brute(part, z, state.TOP, set())
    assert shown(page)["query"]["name"] == names[3]


def test_an_upload_asks_every_run(two: list[Run], own: str, still: None, tiny: Path) -> None:
    page = open_page("archive", archive=own)
    link = dict(page.query_params)
    page.file_uploader[0].upload("a_b.txt", (tiny / "scene004.png").read_bytes(), "image/png").run()
    answer_all(page)
    data = shown(page)
    assert data["query"]["name"] == "a_b.txt"
    assert data["images"][data["query"]["image"]].startswith("data:image/jpeg")
    assert [row["tiles"][0]["cosine"] for row in data["rows"]] == ["1.000", "1.000"]
    assert "tile 04.png" in data["rows"][0]["tiles"][0]["alt"]
    assert dict(page.query_params) == link


def test_another_encoder_is_never_searched_with(two: list[Run], own: str, still: None) -> None:
    """The weights of one run come from the other now; its images in the archive can still ask."""
    part = archive.parts(own)[0]
    mine = next(run for run in two if run.id == part.encoder.run)
    other = next(run for run in two if run is not mine)
    shutil.copy(other.path / ask.WEIGHTS, mine.path / ask.WEIGHTS)
    page = answer_all(open_page("archive", archive=own, query=f"image:{mine.splits()['test'][0]}"))
    assert "another encoder now" in shown(page)["rows"][0]["note"]
    assert tiles(page)[0] == []
    assert len(tiles(page)[1]) == state.TOP
    page = open_page("archive", archive=own)
    assert len(tiles(page)[0]) == state.TOP


def test_without_its_run_an_archive_is_still_searched_by_its_images(root: Path, own: str) -> None:
    page = open_page("archive", archive=own)
    assert [len(row) for row in tiles(page)] == [state.TOP] * 2
    assert not page.file_uploader
    page = open_page("archive", archive=own, query="image:a.png")
    assert "not in this archive" in page.warning[0].value


def test_marks_give_each_run_its_precision(two: list[Run], own: str) -> None:
    page = open_page("archive", archive=own, looking="harbor", k="10")
    both = tiles(page)
    right = [int(name.removeprefix("like:")) for name in both[0][:8]]
    wrong = [int(name.removeprefix("like:")) for name in both[0][8:]]
    for image in right + wrong:
        marks.mark(own, "harbor", image, image in right)
    page.run()
    row = shown(page)["rows"][0]
    assert "precision@10 80 % (95 %: 49 to 94 %; 8 of 10 marked)" in row["facts"]
    assert [tile["marks"] for tile in row["tiles"]] == [["right"]] * 8 + [["wrong"]] * 2
    held = marks.read(own)["harbor"]
    given = [held[number] for name in both[1] if (number := int(name.removeprefix("like:"))) in held]
    told = shown(page)["rows"][1]["facts"][-1]
    assert f"{sum(given)} of {len(given)} marked" in told if given else "precision" not in told
    assert "harbor: 8 right, 2 wrong" in " ".join(one.value for one in page.caption)
    page.text_input(state.LOOKING).set_value("beach").run()
    assert shown(page)["rows"][0]["tiles"][0]["marks"] == []

    lines = list(csv.reader(io.StringIO(marking.table(held_all := marks.read(own), rows.parts_of(own)))))
    assert lines[0] == ["image", "harbor"]
    assert len(lines) == 11
    assert all(Path(line[0]).is_file() for line in lines[1:])
    assert sum(line[1] == "1" for line in lines[1:]) == 8
    assert held_all == {"harbor": held}


def test_a_key_marks_and_takes_back(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page: dict[str, Any] = {state.PLUS: [], state.MINUS: [], state.LOOKING: ""}
    monkeypatch.setattr(marking.st, "session_state", page)
    for action, expected in [("right", True), ("wrong", False), ("wrong", None), ("right", True)]:
        marking.act(own, "harbor", marks.read(own), action, "like:5")
        assert marks.read(own).get("harbor", {}).get(5) is expected
    for action, plus, minus in [
        (state.PLUS, [5], []), (state.MINUS, [], [5]), (state.MINUS, [], []), (state.PLUS, [5], []),
    ]:  # fmt: skip
        marking.act(own, "harbor", {}, action, "like:5")
        assert (page[state.PLUS], page[state.MINUS]) == (plus, minus)
    page[state.LOOKING] = "sea"  # and the grid still shows harbor's marks
    marking.act(own, "harbor", marks.read(own), "right", "like:5")
    assert marks.read(own) == {"harbor": {5: True}, "sea": {5: True}}
    (Path(own) / marks.FILE).write_text("{")
    marking.act(own, "harbor", {}, "right", "like:6")
    assert "cannot be read" in page[marking._FAULT]


def test_results_with_coordinates_are_on_a_map(root: Path, tmp_path: Path) -> None:
    made.filled(tmp_path / "placed", 200)
    page = open_page("archive", archive=str(tmp_path / "placed"), k="20", archive_map="1")
    found = [name for row in tiles(page) for name in row]
    placed = [number for name in found if (number := int(name.removeprefix("like:"))) % 2 == 0]
    assert placed
    from app.archive import view
    from app.figures.archive import Places, places

    part = archive.open(tmp_path / "placed").records(placed)
    points = [(1, view.called(one), one.lon or 0.0, one.lat or 0.0) for one in part.values()]
    figure = places([Places("a<b>", "#123456", points)])
    assert list(figure.data[0].y) == [one.lat for one in part.values()]
    assert figure.data[0].name == "a&lt;b&gt;"
    assert {trace.type for trace in figure.data} == {"scatter"}  # which fetches no map
    assert charts(page) == []  # folded away


def test_an_archive_is_made_from_the_page(two: list[Run], tiny: Path, tmp_path: Path) -> None:
    page = open_page("archive")
    press(page, "Embed the images")
    assert "Give the folder of the archive and the images and a run" in page.error[0].value
    page.text_input("archive_folder").set_value(str(tmp_path / "new"))
    page.text_area("archive_sources").set_value(f"{tiny}\n{tmp_path}/_gone")
    page.multiselect("archive_of").set_value([two[0].id])
    press(page, "Embed the images")
    assert r"\_gone is not there" in page.error[0].value
    page.text_area("archive_sources").set_value(f"\n {tiny} \n")
    started: list[job.Job] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "start", started.append)
        press(page, "Embed the images")
    (one,) = started
    assert (one.uri, one.runs, one.sources) == (str(tmp_path / "new"), (str(two[0].path),), (str(tiny),))
    assert one.tile is None


def test_archives_are_listed_with_size_index_and_recall(root: Path, own: str) -> None:
    job.remember(own)
    page = open_page("archive")
    assert shown(page)["rows"]  # the last one is open
    assert any(one.label == "Archives: 1" for one in page.expander)


def test_an_indexed_archive_says_how_good_its_answers_are(root: Path, tmp_path: Path) -> None:
    """Approximate with its recall, unless a person wants it exact, or a filter leaves few."""
    part, z = made.filled(tmp_path / "large", store.FEWEST + 200)
    index = part.build_index()
    told = f"approximate, recall@20 {index.recall:.3f}"
    page = open_page("archive", archive=str(tmp_path / "large"), query="like:7", k="5")
    assert shown(page)["rows"][0]["facts"][0] == told
    assert shown(page)["rows"][0]["about"] == "labels predicted, 1,200 images"
    page.checkbox(state.EXACT).check().run()
    assert shown(page)["rows"][0]["facts"][0] == "exact"
    assert tiles(page)[0] == brute(part, z[7], 5, {7})
    assert said(page, "exact") == ["1"]
    page.checkbox(state.EXACT).uncheck().run()
    assert shown(page)["rows"][0]["facts"][0] == told
    page.text_input(state.SOURCE).set_value("images/3/").run()
    assert shown(page)["rows"][0]["facts"][0] == "exact"
    page.text_input(state.SOURCE).set_value("").run()
    part.add(made.records(5000, 1), z[7:8])  # found exactly beside the index, and the page sees it
    page.run()
    assert tiles(page)[0][0] == "like:5000"
    assert shown(page)["rows"][0]["facts"][0] == told
