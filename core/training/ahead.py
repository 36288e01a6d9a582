"""What a first quick start waits for longest, computed while the worker is idle and a person still reads."""

from collections.abc import Callable
from contextlib import suppress

import torch

from core import device as devices
from core.runs import RunConfig
from core.training import recent
from core.training.features import features


class Wanted(Exception):
    """Somebody waits for the worker."""


def ahead(wanted: Callable[[], bool]) -> None:
    """Prepare the demo set, and its features as the preset `instant` takes them, unless they are there.

    On a CPU only, and never on its last core: the page is to answer meanwhile. (A lower priority would be no
    help: what a process gives up of it, it cannot take again for the run.)

    Args:
        wanted: Looked at after each batch: whether to stop. The run that waits goes on with what is computed.
    """
    config = RunConfig.build("instant", dataset="demo")
    threads = torch.get_num_threads()

    def step(done: int, total: int, what: str) -> None:
        if wanted():
            raise Wanted

    with suppress(Exception):  # no room, no weights, Wanted: the run says what is wrong
        if devices.resolve().type == "cpu":
            torch.set_num_threads(max(1, threads - 1))
            data = recent.dataset(config)
            features(data, config.backbone, config.weights, config.image_size, progress=step)
    torch.set_num_threads(threads)
