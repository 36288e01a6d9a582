"""kill -9 of the worker at random moments: no run is lost, and none comes out different."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from core import runs
from core.queue import launch
from core.runs import Run, RunConfig
from core.training import loop
from tests.small_runs import wait

KILLS = int(os.environ.get("MACL_TEST_KILLS", "3"))
READ_SECONDS = 5.0  # until the states must be right
AT_REST = {"queued", "interrupted", "finished"}


def configs(tiny: Path) -> list[RunConfig]:
    """All of a ResNet-18 with augmentation; a head with trained prototypes; the best epoch of a head."""
    small = {"dataset": "folder", "data_root": str(tiny), "image_size": 32, "batch_size": 16, "device": "cpu"}
    return [
        RunConfig.build("quick", **small, loss="macl", epochs=1 + KILLS),
        RunConfig.build("instant", **small, loss="lproto", epochs=12 * KILLS),
        RunConfig.build("instant", **small, loss="mulsupcon", epochs=12 * KILLS, keep="best"),
    ]


def outcome(run: Run) -> tuple[list[tuple[float, ...]], dict[str, np.ndarray], dict[str, float]]:
    """Curve without the columns of the clock, weights and test embeddings, scores."""
    clock = ("images_per_s", "seconds")
    curve = [tuple(value for key, value in row.items() if key not in clock) for row in run.history()]
    arrays = load_file(run.path / "model.safetensors") | dict(zip("zy", run.embeddings(), strict=True))
    return curve, arrays, run.scores()["metrics"]


def kill_worker(root: Path) -> None:
    for about in launch.workers(root).values():
        os.kill(int(str(about["pid"])), signal.SIGKILL)


def states(made: list[Run]) -> set[str]:
    return {run.state for run in made}


@pytest.mark.timeout(240 + 30 * KILLS)
def test_a_worker_killed_at_random_moments_loses_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [runs.create(config, tmp_path / "whole") for config in configs(tiny)]
    for run in whole:
        assert loop.run(run.path) == "finished", run.error

    monkeypatch.setenv("MACL_CHECKPOINT_SECONDS", "0.2")
    dice, root = random.Random(KILLS), tmp_path / "killed"
    killed = [launch.submit(config, root) for config in configs(tiny)]
    interrupted = 0
    try:
        for turn in range(KILLS):
            wait(lambda: bool(launch.workers(root)))
            if turn % 3:  # one in three dies while it starts, the others in their work
                wait(lambda: states(killed) == {"finished"} or any(run.state == "running" for run in killed))
            time.sleep(dice.uniform(0, 1))
            kill_worker(root)
            wait(lambda: not launch.workers(root) and states(killed) <= AT_REST, READ_SECONDS)
            halfway = [run for run in killed if run.state == "interrupted"]
            assert len(halfway) <= 1  # a worker has one run in its hands
            assert set(launch.queue(root)) == {run for run in killed if run.state == "queued"}
            interrupted += len(halfway)
            for run in halfway:
                assert launch.resume(run).state in ("queued", "running")
            launch.ensure_worker("cpu", root)
        wait(lambda: states(killed) == {"finished"})
    finally:
        kill_worker(root)
    assert interrupted or KILLS < 2, "every kill missed the runs: the test has shown nothing"

    for before, after in zip(whole, killed, strict=True):
        (curve, arrays, scores), (curve_after, arrays_after, scores_after) = outcome(before), outcome(after)
        assert curve == curve_after
        assert arrays.keys() == arrays_after.keys()
        for key in arrays:
            np.testing.assert_array_equal(arrays[key], arrays_after[key], err_msg=key)
        assert scores == scores_after
