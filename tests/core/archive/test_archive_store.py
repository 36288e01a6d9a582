"""Archives: exact answers are those of a loop, nothing is found that was removed, and they outlive a kill."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core import archive
from core.archive import Encoder, columns, store
from core.archive.store import EXACT
from core.archive.table import vectors_of
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


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[archive.Archive, np.ndarray]:
    """3,000 rows; not to be changed."""
    return filled(tmp_path_factory.mktemp("large") / "archive")


def test_a_thousand_exact_answers_are_those_of_a_loop(large: tuple[archive.Archive, np.ndarray]) -> None:
    one, z = large
    for query in np.concatenate([z[:500], vectors(500, seed=9)]):
        answer = one.search(query, 10)
        assert found(answer) == brute(z, query, 10)
        assert answer.how == "exact"


def test_cosines_and_what_is_kept_come_with_the_answer(large: tuple[archive.Archive, np.ndarray]) -> None:
    one, z = large
    (first, second) = one.search(z[12], 2).hits
    assert first.record == records(12, 1)[0]
    assert first.cosine == pytest.approx(1, abs=1e-6)
    assert second.cosine == pytest.approx(float(z[second.record.id] @ z[12]), abs=1e-6)


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ("label = 'beach'", lambda i: i % 3 == 1),
        ("label = 'beach' AND lat > 10", lambda i: i % 3 == 1 and i % 2 == 0 and i / 100 % 80 > 10),
        ("lat IS NULL OR lon < 5", lambda i: i % 2 == 1 or i / 100 % 180 < 5),
        ("array_has(labels, 'cars')", lambda i: i % 3 == 2),
        ("source LIKE '/images/3/%'", lambda i: i % 7 == 3),
        ("share >= 0.5", lambda i: True),
        ("share > 0.5", lambda i: False),
    ],
)
def test_answers_under_a_filter_are_exact(
    large: tuple[archive.Archive, np.ndarray], where: str, fits: object
) -> None:
    one, z = large
    allowed = np.array([fits(i) for i in range(len(z))])  # type: ignore[operator]
    assert one.ids(where).tolist() == np.flatnonzero(allowed).tolist()
    for query in vectors(20, seed=3):
        assert found(one.search(query, 15, where)) == brute(z, query, 15, allowed)


def test_embeddings_by_id(tmp_path: Path) -> None:
    """What a search by a result of another search begins with."""
    one, z = filled(tmp_path, 60)
    np.testing.assert_array_equal(one.vectors([7, 3, 7]), z[[7, 3, 7]])
    assert one.vectors([]).shape == (0, DIM)
    one.remove([3])
    with pytest.raises(MaclError, match="1 images are not in the archive"):
        one.vectors([7, 3])


def test_equal_images_come_in_the_order_in_which_they_were_added(tmp_path: Path) -> None:
    one = empty(tmp_path)
    z = np.repeat(vectors(3), 5, axis=0)
    one.add(records(0, 15), z)
    assert found(one.search(z[5], 5)) == [5, 6, 7, 8, 9]


def test_fewer_images_than_asked_for_and_none(tmp_path: Path) -> None:
    one = empty(tmp_path)
    assert one.search(vectors(1)[0], 5).hits == ()
    z = vectors(3)
    one.add(records(0, 3), z)
    assert len(one.search(z[0], 5).hits) == 3
    assert one.search(z[0], 5, "label = 'nothing'").hits == ()
    one.remove([0, 1, 2])
    assert one.search(z[0], 5).hits == ()
    one.compact()
    assert one.search(z[0], 5).hits == ()
    assert one.add(records(0, 3), z) == 3


def test_what_is_removed_is_not_found_and_can_be_added_again(tmp_path: Path) -> None:
    one, z = filled(tmp_path, 200)
    assert one.remove([3, 4, 4, 999]) == 2
    assert one.remove([3]) == 0
    assert (len(one), one.removed) == (198, 2)
    assert set(one.ids().tolist()) == set(range(200)) - {3, 4}
    assert found(one.search(z[3], 5)) == brute(z, z[3], 5, ~np.isin(np.arange(200), [3, 4]))
    assert one.add(records(0, 200), z) == 2
    assert found(one.search(z[3], 1)) == [3]
    assert len(one) == 200


def test_nothing_is_added_twice(tmp_path: Path) -> None:
    one, z = filled(tmp_path, 50)
    twice = [*records(40, 20), *records(55, 1)]
    assert one.add(twice, vectors(21, seed=4)) == 10
    assert one.ids().tolist() == list(range(60))
    assert found(one.search(z[45], 1)) == [45]


def test_compaction_drops_what_is_removed_and_changes_no_answer(tmp_path: Path) -> None:
    one, z = filled(tmp_path, 1000)
    other = archive.open(tmp_path)  # as a second process has it
    assert found(other.search(z[0], 1)) == [0]
    gone = np.arange(1000) % 4 == 1
    one.remove(np.flatnonzero(gone))
    queries = vectors(30, seed=5)
    before = [one.search(query, 10, "lat > 2") for query in queries]
    size = one.size
    one.compact()
    assert (len(one), one.removed) == (750, 0)
    assert one.size < size
    assert [one.search(query, 10, "lat > 2") for query in queries] == before
    assert [found(other.search(query, 10)) for query in queries] == [
        brute(z, query, 10, ~gone) for query in queries
    ]
    assert one.search(z[0], 1).hits[0].record == records(0, 1)[0]
    assert one.add(records(1, 1), z[1:2]) == 1
    assert found(other.search(z[1], 1)) == [1]


def test_another_process_sees_an_addition_and_a_removal(tmp_path: Path) -> None:
    one, _ = filled(tmp_path, 20)
    other = archive.open(tmp_path)
    more = vectors(5, seed=8)
    one.add(records(20, 5), more)
    assert found(other.search(more[2], 1)) == [22]
    one.remove([22])
    assert found(other.search(more[2], 1)) != [22]
    assert len(other) == 24


def test_the_index_is_measured_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, z = filled(tmp_path)
    index = one.build_index()
    assert index.rows == 3000
    assert index.recall >= 0.95
    assert index.worst <= index.recall <= 1
    assert one.index == index == archive.open(tmp_path).index
    answer = one.search(z[5], 20)
    assert answer.how == f"approximate, recall@20 {np.floor(index.recall * 1000) / 1000:.3f}"
    assert one.search(z[5], 20, exact=True).how == "exact"
    assert one.search(z[5], 20, "label = 'beach'").how == "exact"  # a filter leaves few enough
    assert one.search(z[5], 20, "share < 2").index == index  # and one that removes nothing is dropped
    right = sum(len(set(found(one.search(q, 20))) & set(brute(z, q, 20))) for q in z[::100]) / (30 * 20)
    assert right == pytest.approx(index.recall, abs=0.05)
    # a filter that leaves more than can be searched exactly is applied to what the index finds
    monkeypatch.setattr(store, "EXACT", 100)
    allowed = np.arange(3000) % 3 == 1
    hits = 0
    for query in z[::100]:
        near = one.search(query, 20, "label = 'beach'")
        assert near.index == index
        assert set(found(near)) <= set(np.flatnonzero(allowed).tolist())
        hits += len(set(found(near)) & set(brute(z, query, 20, allowed)))
    assert hits / (30 * 20) >= 0.9


def test_the_index_finds_what_came_after_it_and_not_what_was_removed(tmp_path: Path) -> None:
    one, z = filled(tmp_path)
    one.build_index()
    more = vectors(200, seed=6)
    one.add(records(3000, 200), more)
    one.remove([7, 3003])
    assert [found(one.search(q, 1)) for q in more[:3]] == [[3000], [3001], [3002]]
    assert one.search(more[0], 1).index is not None
    assert 7 not in found(one.search(z[7], 20))
    assert 3003 not in found(one.search(more[3], 20))
    one.compact()  # builds it again
    assert one.index is not None
    assert one.index.rows == 3198
    assert found(one.search(more[1], 1)) == [3001]


def test_an_index_is_wanted_beyond_a_bound_and_again_when_a_tenth_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.INDEXED == 100_000
    assert EXACT == 200_000
    monkeypatch.setattr(store, "INDEXED", 2000)
    one = empty(tmp_path)
    z = vectors(2600)
    one.add(records(0, 2000), z[:2000])
    one.tidy()
    assert one.index is None
    one.add(records(2000, 100), z[2000:2100])
    one.tidy()
    assert one.index is not None
    assert one.index.rows == 2100
    one.add(records(2100, 200), z[2100:2300])
    assert not one.wants_index
    one.add(records(2300, 300), z[2300:])
    one.tidy()
    assert one.index.rows == 2600


def test_a_dimension_that_cannot_be_split_is_indexed_too(tmp_path: Path) -> None:
    one, z = filled(tmp_path, 1200, dim=13)
    assert one.build_index().recall >= 0.95
    assert found(one.search(z[3], 1)) == [3]


def test_so_many_partitions_are_looked_at_as_a_hundred_answers_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recall@20 is reached by far fewer."""
    monkeypatch.setattr(store, "PER_PARTITION", 60)
    monkeypatch.setattr(store, "PROBES", (1, 2, 4, 8, 16, 32, 64))
    one, z = filled(tmp_path)
    index = one.build_index()
    assert index.k == 20
    hits = [len(set(found(one.search(query, 100))) & set(brute(z, query, 100))) / 100 for query in z[::60]]
    assert np.mean(hits) >= 0.98


def test_too_few_for_an_index(tmp_path: Path) -> None:
    with pytest.raises(MaclError, match="20 images are too few for an index"):
        filled(tmp_path, 20)[0].build_index()


def test_many_small_additions_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PIECES", 5)
    one, z = empty(tmp_path), vectors(90)
    for i in range(9):
        one.add(records(10 * i, 10), z[10 * i : 10 * i + 10])
    one.tidy()
    assert one._table.pieces <= 5
    assert one.ids().tolist() == list(range(90))
    assert [found(one.search(q, 4)) for q in z] == [brute(z, q, 4) for q in z]


def test_rows_are_read_by_their_number_wherever_they_lie(tmp_path: Path) -> None:
    one, z = filled(tmp_path / "archive", 300)
    rows = [250, 7, 7, 131]
    assert one._table.records(rows) == {row: records(row, 1)[0] for row in rows}
    one._table._lance.delete("row = 3")  # nothing in the product does that: positions are no numbers any more
    assert one._table.records(rows) == {row: records(row, 1)[0] for row in rows}
    assert one._table.span(["id"], 100, 110)["id"].to_pylist() == list(range(100, 110))
    assert found(one.search(z[131], 5)) == brute(z, z[131], 5)
    assert one._table.records([]) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": np.zeros((2, DIM))}, "need unit rows"),
        ({"z": np.full((2, DIM), np.nan)}, "need unit rows"),
        ({"z": unit(np.ones((2, DIM + 1)))}, r"need z \(2, 16\), got \(2, 17\)"),
        ({"z": unit(np.ones((3, DIM)))}, r"need z \(2, 16\), got \(3, 16\)"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, np.ndarray], message: str
) -> None:
    one = empty(tmp_path)
    with pytest.raises(ValueError, match=message):
        one.add(records(0, 2), **change)
    assert len(one) == 0


def test_queries_that_do_not_fit_are_refused(large: tuple[archive.Archive, np.ndarray]) -> None:
    one, z = large
    refuses_what_does_not_fit(one, z[0])


def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    with pytest.raises(MaclError, match=r"is no archive: make one with `macl archive add"):
        archive.open(tmp_path)
    with pytest.raises(MaclError, match="is an address: need a folder"):
        archive.open("s3://bucket/archive")
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(MaclError, match="is not empty and no archive"):
        archive.create(tmp_path, Encoder("a" * 16, DIM))
    filled(tmp_path / "new", 5)
    (tmp_path / "new" / ("a" * 16) / "encoder.json").write_text("{")
    with pytest.raises(MaclError, match=r"encoder\.json cannot be read"):
        archive.open(tmp_path / "new")


def test_vectors_that_a_crash_has_cut_are_taken_from_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, z = filled(tmp_path, 500)
    monkeypatch.setattr(columns, "BLOCK", 64)
    path = one.folder / "1" / "vectors.f32"
    whole = path.read_bytes()
    for damage in (lambda: path.write_bytes(whole[:1000]), path.unlink):
        damage()
        again = archive.open(tmp_path)
        assert found(again.search(z[400], 1)) == [400]
        assert path.read_bytes() == whole
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_vectors_without_rows_are_written_over(tmp_path: Path) -> None:
    """What a process leaves that is killed between the file and the table."""
    one, z = filled(tmp_path, 30)
    one._columns.append(30, vectors(17, seed=2))
    assert len(archive.open(tmp_path)) == 30
    more = vectors(5, seed=3)
    one.add(records(30, 5), more)
    assert found(archive.open(tmp_path).search(more[4], 1)) == [34]
    assert [found(one.search(q, 3)) for q in z] == [brute(np.concatenate([z, more]), q, 3) for q in z]


def whole(folder: Path, z: np.ndarray) -> archive.Archive:
    """The archive, after it has been looked at: table, vectors and marks agree."""
    one = archive.open(folder)
    ids = one.ids()
    assert len(set(ids.tolist())) == len(ids) == len(one)
    count = one._count()
    rows = one._table.read(["id", "vector"])
    assert rows["row"].to_pylist() == list(range(count))
    numbers = rows["id"].to_numpy()
    np.testing.assert_array_equal(one._columns.vectors(count), z[numbers])
    np.testing.assert_array_equal(vectors_of(rows, DIM), z[numbers])
    for number in ids[:: max(1, len(ids) // 20)].tolist():
        assert one.search(z[number], 1, exact=True).hits[0].cosine == pytest.approx(1, abs=1e-6)
    return one


ADD = """
one, z = made.empty(sys.argv[1]), made.vectors(4000)
print("begun", flush=True)
for i in range(0, 4000, 100):
    one.add(made.records(i, 100), z[i : i + 100])
print("done", flush=True)
"""
COMPACT = """
one = archive.open(sys.argv[1])
print("begun", flush=True)
while True:
    one.compact()
    ids = one.ids()
    one.remove(ids[:40])
    one.add(made.records(5000 + int(ids[-1]) % 900, 30), made.vectors(6000)[5000 + int(ids[-1]) % 900 :][:30])
"""
INDEX = """
one = archive.open(sys.argv[1])
print("begun", flush=True)
while True:
    one.build_index()
"""


def test_killed_while_adding(tmp_path: Path) -> None:
    z = vectors(4000)
    held = 0
    for number in range(5):
        made.killed(made.start(ADD, tmp_path), 0.02 + 0.11 * number)
        one = whole(tmp_path, z)
        assert len(one) % 100 == 0  # an addition is there or not
        assert len(one) >= held
        held = len(one)
    process = made.start(ADD, tmp_path)
    assert process.communicate()[0].split() == ["begun", "done"]
    assert whole(tmp_path, z).ids().tolist() == list(range(4000))


def test_killed_while_compacting(tmp_path: Path) -> None:
    z = vectors(6000)
    made.empty(tmp_path).add(records(0, 4000), z[:4000])
    archive.open(tmp_path).remove(range(100))
    for number in range(4):
        made.killed(made.start(COMPACT, tmp_path), 0.03 + 0.17 * number)
        one = whole(tmp_path, z)
    one.compact()
    assert one.removed == 0
    assert len([path for path in one.folder.iterdir() if path.is_dir()]) == 1
    whole(tmp_path, z)


def test_a_compaction_that_ends_before_its_last_step_has_changed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, z = filled(tmp_path, 100)
    one.remove([5])

    def full(path: Path, text: str) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_atomic", full)
        with pytest.raises(OSError, match="no room"):
            one.compact()
    assert (one.folder / "2").is_dir()
    assert (len(one), one.removed) == (99, 1)
    assert found(one.search(z[8], 1)) == [8]
    one.remove([6])  # whoever writes next clears up
    assert [path.name for path in one.folder.iterdir() if path.is_dir()] == ["1"]
    one.compact()
    assert whole(tmp_path, z).ids().tolist() == [i for i in range(100) if i not in (5, 6)]


def test_killed_while_indexing(tmp_path: Path) -> None:
    one, z = filled(tmp_path, 2000)
    for number in range(4):
        made.killed(made.start(INDEX, tmp_path), 0.05 + 0.4 * number)
        one = whole(tmp_path, z)
        assert len(one) == 2000
        if one.index is not None:  # measured to its end
            assert one.index.recall >= 0.95
        assert found(one.search(z[11], 1)) == [11]
    assert one.build_index().rows == 2000


def test_two_processes_add_at_once(tmp_path: Path) -> None:
    """The same images from both: each is there once."""
    empty(tmp_path)
    both = [made.start(ADD, tmp_path) for _ in range(2)]
    assert [process.communicate()[0].split()[-1] for process in both] == ["done", "done"]
    one = whole(tmp_path, vectors(4000))
    assert sorted(one.ids().tolist()) == list(range(4000))


def test_a_filter_is_forgotten_when_a_row_is_added(tmp_path: Path) -> None:
    one, z = filled(tmp_path, 30)
    assert 33 not in found(one.search(z[0], 40, "label = 'airport'"))
    one.add([replace(records(33, 1)[0], label="airport")], vectors(1, seed=5))
    assert 33 in found(one.search(z[0], 40, "label = 'airport'"))


def test_the_marks_of_an_index_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    one, z = filled(tmp_path, 1000)
    one.build_index()
    path = one.folder / "1" / "index.json"
    for text in ("{", json.dumps({"rows": 3}), ""):
        path.write_text(text)
        assert one.index is None
        assert one.search(z[0], 3).how == "exact"
