"""Input of the training loop: batches of rows, the images or features of a batch, the learning rate.

Everything here follows from the seed and the number of steps done, so a resumed run sees exactly what an
uninterrupted one would have seen.
"""

import itertools
import math
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from core import device as devices
from core.data import Dataset
from core.data.augment import augment, view
from core.encoder.model import EVALUATED, at_once
from core.runs import RunConfig

ALL = slice(None)


class Images:
    """Batches of augmented images: gathered from the memory-mapped array, computed on the device."""

    def __init__(self, data: Dataset, config: RunConfig, device: torch.device) -> None:
        self.images, self.size, self.device = data.images, config.image_size, device
        self.augmented, self.seed = config.augment, config.seed
        self.precision = config.precision
        self.at_once = max(at_once(config.image_size), min(config.batch_size, EVALUATED))
        self.layout = devices.memory_format(device)
        # a GPU with enough memory keeps all images, which saves a copy per step
        self.resident: Tensor | None = None
        if device.type == "cuda" and data.images.nbytes < torch.cuda.mem_get_info(device)[0] // 3:
            self.resident = torch.from_numpy(np.array(data.images)).to(device)

    def train(self, rows: np.ndarray, step: int, part: slice = ALL) -> Tensor:
        """Training images of a part of the batch `rows`.

        The random numbers depend on seed and step, and on an image's place in the whole batch.
        """
        images = self._gather(rows[part])
        if not self.augmented:
            return self._laid_out(view(images, self.size))
        first = part.indices(len(rows))[0]
        return self._laid_out(
            augment(images, self.size, generator(self.seed, 2, step), first, batch=len(rows))
        )

    def test(self, rows: np.ndarray) -> Tensor:
        """The same images without augmentation."""
        return self._laid_out(view(self._gather(rows), self.size))

    def autocast(self) -> AbstractContextManager[object]:
        """The precision in which the encoder computes."""
        return devices.autocast(self.device, self.precision)

    def _gather(self, rows: np.ndarray) -> Tensor:
        if self.resident is not None:
            return self.resident[devices.send(torch.from_numpy(rows), self.device)]
        return devices.send(torch.from_numpy(self.images[rows]), self.device)  # (B, P, P, C) uint8

    def _laid_out(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=self.layout)


class Frozen:
    """Batches of features that a frozen backbone has computed once; the whole table stays on the device."""

    at_once = EVALUATED

    def __init__(self, table: np.ndarray, device: torch.device) -> None:
        self.table = torch.from_numpy(np.array(table, dtype=np.float32)).to(device)  # (N, F)

    def train(self, rows: np.ndarray, step: int, part: slice = ALL) -> Tensor:
        """Features of a part of the batch `rows`."""
        return self.table[devices.send(torch.from_numpy(rows[part]), self.table.device)]

    def test(self, rows: np.ndarray) -> Tensor:
        """Features of these rows."""
        return self.train(rows, 0)

    def autocast(self) -> AbstractContextManager[object]:
        """The head computes in float32: it gains nothing from bf16."""
        return nullcontext()


def batches(rows: np.ndarray, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch: a permutation that depends on seed and epoch alone, cut into equal parts.

    Images left over after the last full batch are not used in this epoch: a contrastive loss on a handful of
    images is mostly noise. Fewer images than one batch form a single batch.
    """
    order = rows[torch.randperm(len(rows), generator=generator(seed, 1, epoch)).numpy()]
    if len(rows) <= size:
        return [order]
    return [order[start : start + size] for start in range(0, len(rows) - size + 1, size)]


def generator(seed: int, stream: int, index: int) -> torch.Generator:
    """A separate CPU generator for every (seed, stream, index), so that nothing depends on history."""
    return torch.Generator().manual_seed(mixed(seed, stream, index))


def mixed(*numbers: int) -> int:
    """One seed of several numbers; other numbers give an unrelated one."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))


def in_parts(whole: slice, count: int) -> list[slice]:
    """A range of places cut into `count` parts, whose lengths differ by one at most."""
    length = whole.stop - whole.start
    cuts = [whole.start + number * length // count for number in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(cuts)]


def learning_rate(config: RunConfig, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0.

    The paper's "CosineAnnealingLR … 20 % every 15 epochs" describes a step schedule (default); `cosine` falls
    to 0 at the last epoch.
    """
    if config.scheduler == "step":
        return config.lr * config.step_factor ** (epoch // config.step_epochs)
    if config.scheduler == "cosine":
        return config.lr * (1 + math.cos(math.pi * epoch / config.epochs)) / 2
    return config.lr
