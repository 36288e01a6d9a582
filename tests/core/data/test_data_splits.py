"""Splits: the paper's sizes, random by seed, the same on every machine."""

from dataclasses import replace

import numpy as np
import pytest

from core.data import DATASETS, split
from core.errors import MaclError


def deal(name: str, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    return split(np.ones((count, 2), np.uint8), [f"{i}" for i in range(count)], DATASETS[name], seed)


@pytest.mark.parametrize(
    ("name", "count", "sizes"),
    [
        ("dlrsd", 2100, (1475, 214, 411)),
        ("ucm", 2100, (1475, 214, 411)),
        ("ml_aid", 3000, (2100, 300, 600)),
        ("whdld", 4940, (3444, 518, 978)),
        ("dlrsd", 2090, (1475, 214, 401)),  # fewer usable images: the test split shrinks
        ("dlrsd", 1691, (1475, 214, 2)),
        ("demo", 2100, (1470, 210, 420)),
        ("folder", 10, (7, 1, 2)),
        ("folder", 19, (13, 1, 5)),
    ],
)
def test_sizes(name: str, count: int, sizes: tuple[int, int, int]) -> None:
    parts = deal(name, count)
    assert tuple(len(parts[part]) for part in ("train", "val", "test")) == sizes
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(count))
    for rows in parts.values():
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize(("name", "count", "least"), [("dlrsd", 1690, "1691"), ("folder", 9, "10")])
def test_too_few(name: str, count: int, least: str) -> None:
    with pytest.raises(MaclError, match=f"{count} usable images are too few, need at least {least}"):
        deal(name, count)


def test_the_same_for_ever() -> None:
    """Written down once: another platform or NumPy must deal the same."""
    parts = deal("folder", 20, seed=7)
    assert parts["val"].tolist() == [5, 9]
    assert parts["test"].tolist() == [0, 1, 10, 17]


def test_seed_and_name_both_matter() -> None:
    one = deal("dlrsd", 2100)["test"]
    assert (deal("dlrsd", 2100)["test"] == one).all()
    others = [deal("dlrsd", 2100, seed=1)["test"], deal("ucm", 2100)["test"]]
    for other in others:
        # two independent draws of 411 in 2,100 share 80 rows on average, standard deviation 7
        assert 40 < len(np.intersect1d(one, other)) < 120


def test_every_image_is_equally_often_in_the_test_split() -> None:
    info = replace(DATASETS["folder"], name="any")
    counts = np.zeros(50)
    for seed in range(600):
        counts[split(np.ones((50, 1)), [str(i) for i in range(50)], info, seed)["test"]] += 1
    # 10 of 50 per draw: binomial(600, 0.2), mean 120, standard deviation 9.8
    assert np.abs(counts - 120).max() < 45


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="one row of labels per name"):
        split(np.ones((3, 2)), ["a"], DATASETS["folder"], 0)
    with pytest.raises(ValueError, match="need a seed of 0 or more, got -1"):
        deal("folder", 20, seed=-1)
