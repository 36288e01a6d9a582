"""What the idle worker computes ahead is what a quick start would compute, and stands in nobody's way."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from core import runs
from core.data import Dataset, load
from core.queue import worker
from core.runs import Run, RunConfig
from core.training import ahead as module
from core.training import features, recent
from core.training.ahead import ahead


@pytest.fixture
def small(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """In place of the demo set, another of few pictures."""
    monkeypatch.setenv("MACL_CACHE", str(tmp_path / "cache"))
    data = load("folder", tiny, 32)
    monkeypatch.setattr(recent, "dataset", lambda config: data)
    return data


def test_the_features_are_there_before_the_run_asks(small: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead(lambda: False)
    config = RunConfig.build("instant", dataset="demo")
    monkeypatch.setattr(features, "build_backbone", lambda *_: pytest.fail("computed again"))
    table = features.features(small, config.backbone, config.weights, config.image_size)
    assert len(table) == len(small)


def test_it_stops_when_somebody_waits_and_nothing_is_lost(
    small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([False, True])
    ahead(lambda: next(looks))
    config = RunConfig.build("instant", dataset="demo")
    steps: list[int] = []
    features.features(
        small, config.backbone, config.weights, config.image_size, progress=lambda n, *_: steps.append(n)
    )
    assert steps == [160]  # 64 and 128 were done


def test_a_core_is_left_to_the_page_and_the_run_has_all(
    small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def compute(*_: object, **__: object) -> None:
        seen.append(torch.get_num_threads())
        raise OSError("no room")  # the run says so

    monkeypatch.setattr(module, "features", compute)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            ahead(lambda: False)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2]


def test_an_idle_worker_computes_ahead_once_until_a_run_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def until_wanted(wanted: Callable[[], bool]) -> None:
        seen.append(wanted())
        runs.create(RunConfig.build("instant", device="cpu"), tmp_path).mark("submitted")
        seen.append(wanted())

    trained = []

    def train(folder: Path) -> None:
        trained.append(folder)
        Run(folder).unmark("submitted")

    monkeypatch.setattr(module, "ahead", until_wanted)
    monkeypatch.setattr(worker, "AHEAD_SECONDS", 0.05)
    worker.Worker(tmp_path, "cpu", 1)._drain(train)
    assert seen == [False, True]
    assert len(trained) == 1
