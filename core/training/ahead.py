"""The slowest parts of a first quick start, computed while the worker is idle and the person still reads."""

from collections.abc import Callable
from contextlib import suppress

import torch

from core import device as devices
from core.runs import RunConfig
from core.training import recent
from core.training.features import features


class Wanted(Exception):
    """Somebody is waiting for the worker."""


def ahead(wanted: Callable[[], bool]) -> None:
    """Prepare the demo set and its features for the preset `instant`, unless they exist already.

    On a CPU only, and never on its last core, so that the page keeps answering. (A lower priority would not
    do: a process that has lowered its priority cannot raise it again for the run.)

    Args:
        wanted: Called after each batch: whether to stop. The waiting run goes on from what is computed.
    """
    config = RunConfig.build("instant", dataset="demo")
    threads = torch.get_num_threads()

    def step(done: int, total: int, what: str) -> None:
        if wanted():
            raise Wanted

    with suppress(Exception):  # no room, no weights, Wanted: the run itself will say what is wrong
        if devices.resolve().type == "cpu":
            torch.set_num_threads(max(1, threads - 1))
            data = recent.dataset(config)
            features(data, config.backbone, config.weights, config.image_size, progress=step)
    torch.set_num_threads(threads)
