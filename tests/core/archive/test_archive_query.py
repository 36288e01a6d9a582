"""Several examples as one query, conditions as a page says them, and records by their ids."""

from pathlib import Path

import numpy as np
import pytest

from core.archive import Record
from core.archive.query import Filter, combined
from core.errors import MaclError
from tests.core.archive import made


def test_the_query_of_examples_is_the_mean_of_the_wanted_less_the_unwanted() -> None:
    wanted, unwanted = np.array([[1.0, 0, 0], [0, 1, 0]]), np.array([[0, 0, 1.0]])
    assert combined(wanted, unwanted) == pytest.approx(np.array([0.5, 0.5, -1]) / np.sqrt(1.5))
    z = made.vectors(5)
    one = combined(z[:1], z[:0])
    assert one.dtype == np.float32
    assert one == pytest.approx(z[0], abs=1e-6)
    with pytest.raises(MaclError, match="cancel"):
        combined(z[:2], z[[1, 0]])


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("filtered") / "a"
    made.filled(place, 3000)
    odd = Record(
        10**6, 1, "/it's 100%_Odd/Ä.png", lon=179.5, lat=-10.0, label="it's", labels=("it's", "beach")
    )
    made.empty(place).add([odd], made.vectors(1, seed=9))
    return place


@pytest.mark.parametrize(
    "asked",
    [
        Filter(),
        Filter(labels=("airport",)),
        Filter(labels=("airport", "cars")),
        Filter(labels=("it's",)),
        Filter(source="/3/"),
        Filter(source="100%_odd/ä"),
        Filter(source="it's"),
        Filter(source="_"),
        Filter(box=(5.0, 2.0, 12.5, 9.0)),
        Filter(box=(170.0, -20.0, 3.0, 40.0)),
        Filter(labels=("beach",), source="/3/", box=(-180.0, -90.0, 180.0, 90.0)),
    ],
)
def test_filters_let_through_what_a_loop_does(filled: Path, asked: Filter) -> None:
    def fits(record: Record) -> bool:
        if asked.labels and not set(asked.labels) & set(record.labels):
            return False
        if asked.source.lower() not in record.source.lower():
            return False
        if asked.box is None:
            return True
        if record.lon is None or record.lat is None:
            return False
        west, south, east, north = asked.box
        inside = west <= record.lon <= east if west <= east else record.lon >= west or record.lon <= east
        return inside and south <= record.lat <= north

    part = made.empty(filled)
    everything = part.records(part.ids())
    assert len(everything) == 3001
    expected = [number for number, record in everything.items() if fits(record)]
    assert sorted(part.ids(asked.where).tolist()) == sorted(expected)
    assert expected
    assert len(expected) < 3001 or asked == Filter()


def test_records_by_id_leave_out_what_is_gone(tmp_path: Path) -> None:
    part, _ = made.filled(tmp_path / "a", 50)
    part.remove([7])
    found = part.records([3, 7, 12345, 9])
    assert sorted(found) == [3, 9]
    assert found[9] == made.records(9, 1)[0]
    assert part.records([]) == {}
