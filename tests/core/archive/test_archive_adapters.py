"""A folder and Milvus mean the same by the same calls; Milvus is Milvus Lite here, a file."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import archive
from core.archive import Archive, Encoder, Record
from core.errors import MaclError
from tests.core.archive import made
from tests.core.archive.made import (
    DIM,
    brute,
    empty,
    filled,
    found,
    records,
    refuses_what_does_not_fit,
    unit,
    vectors,
)

LACKING = "needs the package milvus-lite, which `make install` brings"


def closed(place: str) -> None:
    """Let other processes in: Milvus Lite keeps its file open until the process ends."""
    if place.startswith("milvus:"):
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_server(place.removeprefix("milvus:").rpartition("/")[0])


@pytest.fixture(params=["folder", "milvus"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "archive")
        return
    pytest.importorskip("milvus_lite", reason=LACKING)
    place = f"milvus:{tmp_path / 'lite.db'}/archive"
    yield place
    closed(place)


def test_answers_are_those_of_a_loop(place: str) -> None:
    one, z = filled(place, 300)
    for query in np.concatenate([z[:6], vectors(6, seed=9)]):
        answer = one.search(query, 10)
        assert found(answer) == brute(z, query, 10)
        assert [hit.cosine for hit in answer.hits] == pytest.approx(
            [float(z[i].astype(np.float64) @ query) for i in found(answer)], abs=1e-6
        )
        assert answer.how == "exact"
    assert one.search(z[12], 1, exact=True).hits[0].record == records(12, 1)[0]
    assert found(one.search(z[0], 400)) == brute(z, z[0], 300)


def test_answers_under_a_condition(place: str) -> None:
    one, z = filled(place, 200)
    fits = np.array([i % 3 == 1 and i % 2 == 0 and i / 100 % 80 > 1 for i in range(200)])
    where = "label = 'beach' AND lat > 1"
    assert one.ids(where).tolist() == np.flatnonzero(fits).tolist()
    for query in vectors(4, seed=3):
        assert found(one.search(query, 7, where)) == brute(z, query, 7, fits)
    assert one.search(z[0], 5, "label = 'nothing'").hits == ()
    assert found(one.search(z[0], 5, " ")) == brute(z, z[0], 5)


def test_nothing_is_added_twice(place: str) -> None:
    one, z = filled(place, 50)
    assert one.add(records(0, 50), z) == 0
    assert one.add([*records(40, 20), *records(55, 1)], vectors(21, seed=4)) == 10
    assert one.add([], np.zeros((0, DIM))) == 0
    assert len(one) == 60
    assert one.ids().tolist() == list(range(60))
    assert found(one.search(z[45], 1)) == [45]


def test_ids_and_fields_come_in_the_order_of_their_addition(place: str) -> None:
    one, z = empty(place), vectors(30)
    for i in (20, 0, 10):
        one.add(records(i, 10), z[i : i + 10])
    order = [*range(20, 30), *range(10), *range(10, 20)]
    assert one.ids().tolist() == order
    assert np.asarray(one.values("stamp")).tolist() == [10**9 + i for i in order]
    assert list(one.values("source")) == [records(i, 1)[0].source for i in order]
    assert one.records([3, 77, 20]) == {i: records(i, 1)[0] for i in (3, 20)}
    np.testing.assert_array_equal(one.vectors([7, 3, 7]), z[[7, 3, 7]])
    assert one.vectors([]).shape == (0, DIM)
    with pytest.raises(MaclError, match="1 images are not in the archive"):
        one.vectors([7, 77])


def test_equal_images_come_in_the_order_in_which_they_were_added(place: str) -> None:
    one = empty(place)
    z = np.repeat(vectors(3), 5, axis=0)
    for i in (9, 8, 7, 6, 5, *range(5), *range(10, 15)):
        one.add(records(i, 1), z[i : i + 1])
    assert found(one.search(z[5], 5)) == [9, 8, 7, 6, 5]


def test_what_is_removed_is_not_found_and_can_be_added_again(place: str) -> None:
    one, z = filled(place, 120)
    assert one.remove([3, 4, 4, 999]) == 2
    assert one.remove([3]) == 0
    assert one.remove([]) == 0
    assert len(one) == 118
    left = ~np.isin(np.arange(120), [3, 4])
    assert one.ids().tolist() == np.flatnonzero(left).tolist()
    assert found(one.search(z[3], 5)) == brute(z, z[3], 5, left)
    one.compact()
    assert (len(one), one.removed) == (118, 0)
    assert found(one.search(z[3], 5)) == brute(z, z[3], 5, left)
    assert one.add(records(0, 120), z) == 2
    assert found(one.search(z[3], 1)) == [3]
    one.remove(one.ids())
    assert one.search(z[0], 5).hits == ()
    assert len(one) == 0


OTHER = """
one = archive.open(sys.argv[1])
print(len(one), one.ids()[-2:].tolist(), made.found(one.search(made.vectors(40)[7], 3)), one.search(made.vectors(40)[7], 3).how)
print(one.add(made.records(30, 12), made.vectors(42)[30:]), one.remove([5]))
"""  # noqa: E501


def test_another_process_opens_it_and_adds(place: str) -> None:
    _, z = filled(place, 40)
    closed(place)
    process = made.start(OTHER, place)
    said = process.communicate()[0].splitlines()
    assert said == [f"40 [38, 39] {brute(z, z[7], 3)} exact", "2 1"]
    again = archive.open(place)
    assert again.ids().tolist() == [i for i in range(42) if i != 5]
    assert again.encoder == Encoder("a" * 16, DIM, run="run-aa")


def test_encoders_are_kept_apart(place: str) -> None:
    first, second = empty(place, "a" * 16), empty(place, "b" * 16, dim=8)
    first.add(records(0, 5), vectors(5))
    second.add(records(0, 3), vectors(3, dim=8))
    assert len(empty(place, "a" * 16)) == 5  # as it was
    assert [e.id for e in archive.encoders(place)] == ["a" * 16, "b" * 16]
    assert [len(part) for part in archive.parts(place)] == [5, 3]
    assert len(archive.open(place, "b")) == 3
    with pytest.raises(MaclError, match="several encoders: choose among aaaa"):
        archive.open(place)
    with pytest.raises(MaclError, match="holds no encoder c"):
        archive.open(place, "c")
    with pytest.raises(ValueError, match="need z"):
        archive.open(place, "b").search(vectors(1)[0], 1)


def test_what_does_not_fit_is_refused(place: str) -> None:
    with pytest.raises(MaclError, match=r"is no archive: make one with `macl archive add"):
        archive.open(place)
    one, z = filled(place, 4)
    for wrong, message in (
        (np.zeros((2, DIM)), "need unit rows"),
        (np.full((2, DIM), np.nan), "need unit rows"),
        (unit(np.ones((2, DIM + 1))), r"need z \(2, 16\), got \(2, 17\)"),
        (unit(np.ones((3, DIM))), r"need z \(2, 16\), got \(3, 16\)"),
    ):
        with pytest.raises(ValueError, match=message):
            one.add(records(10, 2), wrong)
    refuses_what_does_not_fit(one, z[0])
    assert len(one) == 4


SOURCES = ("/a_b/x.png", "/aXb/x.png", "/a_b/50%.png", "/a_c/it's.png", "/é/日本.tif", '/q"q\\n.png', "")
DATES = ("", "2016-12-31", "2017-06-13", "2020-01-01")


def odd(number: int) -> list[Record]:
    """Names with what conditions and patterns treat in their own way, and fields that are empty."""
    return [
        replace(
            records(i, 1)[0], source=SOURCES[i % 7], window="0 0 8 8" if i % 5 else "",
            crs="EPSG:32632" if i % 4 else "", date=DATES[i % 4], share=i % 11 / 10,
            labels=("it's", "sea")[: i % 3], lat=None if i % 3 else i / 2 - 9.5,
        )
        for i in range(number)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Archive]]:
    pytest.importorskip("milvus_lite", reason=LACKING)
    place = tmp_path_factory.mktemp("both")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MACL_CACHE", str(place / "cache"))
        made_of = [empty(str(place / "folder")), empty(f"milvus:{place / 'lite.db'}/archive")]
    for one in made_of:
        one.add(odd(80), vectors(80))
    yield made_of
    closed(f"milvus:{place / 'lite.db'}/archive")


@pytest.mark.parametrize(
    "where",
    [
        "label = 'beach'",
        "label <> 'beach' and LAT >= 3.5",
        "lat IS NULL OR lon < 0.2",
        "NOT lat > 3",
        "NOT (lat > 3 OR label = 'cars')",
        "NOT (lat BETWEEN 0 AND 5) AND lon IS NOT NULL",
        "lat NOT BETWEEN -4 AND 5e0",
        "lat NOT IN (0.5, 2)",
        "label IN ('beach', 'cars')",
        "3 < lat",
        "array_has(labels, 'it''s')",
        "NOT array_has(labels, 'sea')",
        "source LIKE '/a_b/%'",
        r"source LIKE '/a\_b/%'",
        "source NOT LIKE '%.png'",
        "starts_with(source, '/a_b/')",
        "NOT starts_with(source, '/a_')",
        "starts_with(source, '/é')",
        "starts_with(source, '')",
        "source = '/a_c/it''s.png'",
        "source = '/q\"q\\n.png'",
        "source = ''",
        "window <> '' AND date < '2017'",
        "date >= '2017' AND date < '2018' AND crs = 'EPSG:32632'",
        "label IS NULL",
        "label IS NOT NULL AND share > 0.25",
        "share = 1",
        "label = 'cars' OR label = 'beach' AND lat > 0",
        "(source = '/a_b' OR starts_with(source, '/a_b/')) AND (date < '2017')",
    ],
)
def test_a_condition_means_the_same(both: list[Archive], where: str) -> None:
    folder, milvus = (one.ids(where).tolist() for one in both)
    assert milvus == folder
    z = vectors(1, seed=8)[0]
    assert found(both[1].search(z, 9, where)) == found(both[0].search(z, 9, where))


PLACES = st.sampled_from(["lat", "lon", "share"])
NAMES = st.sampled_from(["source", "label", "date", "crs", "window"])
NUMBERS = st.sampled_from(["-3", "0.5", "1", "2e1", ".3"])
WORDS = st.sampled_from([*SOURCES, *DATES, *made.LABELS, "/a_", "%_"]).map(
    lambda text: "'" + text.replace("'", "''") + "'"
)
OPS = st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="])
TESTS = st.one_of(
    st.builds("{} {} {}".format, PLACES, OPS, NUMBERS),
    st.builds("{} {} {}".format, NAMES, OPS, WORDS),
    st.builds("{} IS {}NULL".format, st.one_of(PLACES, NAMES), st.sampled_from(["", "NOT "])),
    st.builds("{} {}IN ({}, {})".format, PLACES, st.sampled_from(["", "NOT "]), NUMBERS, NUMBERS),
    st.builds("{} {}IN ({}, {})".format, NAMES, st.sampled_from(["", "not "]), WORDS, WORDS),
    st.builds("{} {}BETWEEN {} AND {}".format, PLACES, st.sampled_from(["", "NOT "]), NUMBERS, NUMBERS),
    st.builds("array_has(labels, {})".format, st.sampled_from(["'sea'", "'it''s'", "''"])),
    st.builds("starts_with({}, {})".format, NAMES, WORDS),
)
CONDITIONS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        st.builds("NOT ({})".format, inner),
        st.builds("NOT {}".format, TESTS),
        st.builds("({}) AND {}".format, inner, inner),
        st.builds("{} OR {}".format, inner, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=CONDITIONS)
def test_made_conditions_mean_the_same(both: list[Archive], where: str) -> None:
    assert both[1].ids(where).tolist() == both[0].ids(where).tolist()
