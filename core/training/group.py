"""Processes that train one run together, each on a device of its own, by plain torch.distributed.

All of them hold the same weights and draw the same batches. Each embeds its part of a batch, the embeddings
are gathered, and each computes the loss of the whole batch with a gradient to its own rows; the gradients of
the encoder are then summed. What a loss learns (its prototypes) has its whole gradient in every process
already, and is taken once: a wrapper that averages gradients would change the one or the other.

Labels need no gathering: every process has those of all images.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d

from core.errors import MaclError

TIMEOUT = timedelta(
    days=2
)  # for the others, while one of them prepares images; whoever dies is noticed at once
NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Lost(MaclError):
    """Another process of the group has ended, or cannot be reached."""


@dataclass(frozen=True)
class Group:
    """The processes of one run, seen from one of them; without arguments a process that trains alone.

    Attributes:
        rank: Number of this process, from 0; rank 0 writes all files.
        size: Number of processes.
        local: Number of this process among those of its machine: that of its device.
        joined: Whether they are connected; a process that trains alone is not.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    joined: bool = False

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def part(self, count: int, rank: int | None = None) -> slice:
        """The places of `count` images that fall to a rank, by default this one.

        Parts differ by one image at most.
        """
        rank = self.rank if rank is None else rank
        return slice(rank * count // self.size, (rank + 1) * count // self.size)

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """The rows of all parts in order, (part, D) -> (count, D), without a graph.

        Parts of unequal size are padded, gathered and cut: gloo aborts on tensors of different sizes.
        """
        if not self.joined:
            return rows
        most = -(-count // self.size)
        padded = rows.new_zeros((most, *rows.shape[1:]))
        padded[: len(rows)] = rows.detach()
        shares = [torch.empty_like(padded) for _ in range(self.size)]
        with _connected():
            dist.all_gather(shares, padded)
        parts = [self.part(count, rank) for rank in range(self.size)]
        return torch.cat([share[: part.stop - part.start] for share, part in zip(shares, parts, strict=True)])

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes; all of one type, sent in one piece."""
        if self.joined and tensors:
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            with _connected():
                dist.all_reduce(flat)
            start = 0
            for tensor in tensors:
                tensor.copy_(flat[start : start + tensor.numel()].view(tensor.shape))
                start += tensor.numel()

    def shared(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that rank 0 has under these names."""
        if not self.joined:
            return dict(tensors)
        found = {
            name: tensor.detach().clone(memory_format=torch.contiguous_format)
            for name, tensor in tensors.items()
        }
        with _connected():
            for tensor in found.values():
                dist.broadcast(tensor, 0)
        return found

    def told(self, *numbers: float) -> list[float]:
        """The numbers that rank 0 has, in main memory: asking for them waits for no GPU."""
        if not self.joined:
            return list(numbers)
        sent = torch.tensor(numbers, dtype=torch.float64)
        with _connected():
            dist.broadcast(sent, 0)
        return [float(number) for number in sent]

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let the first process of each machine do something before the others find it done.

        Images are prepared and features computed once, and what is wrong with them is said once.
        """
        if self.joined and self.local:
            self._wait()
        yield
        if self.joined and not self.local:
            self._wait()

    def device(self, found: torch.device) -> torch.device:
        """The device of this process, of the kind of `found`.

        Raises:
            MaclError: If this machine has too few of them.
        """
        if not self.joined or found.type == "cpu":
            return found
        if found.type != "cuda":
            raise MaclError(
                f"one run cannot be trained by several processes on {found.type}: choose one device"
            )
        there = torch.cuda.device_count()
        index = 0 if there == 1 else self.local  # a cluster may show each process only its own
        if index >= there:
            raise MaclError(
                f"need a CUDA device for each process of a machine, found {there} for process {self.local} "
                "(counted from 0): start fewer"
            )
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)  # NCCL sends from there
        return device

    def missing(self, seconds: float) -> list[int]:
        """For rank 0 the ranks that do not answer within so many seconds; the others only answer.

        Every process that has noticed a loss calls it before it ends.
        """
        store, away = distributed_c10d._get_default_store(), []
        with suppress(RuntimeError):  # the store is gone, with the process that kept it
            store.set(f"alive {self.rank}", "")
            until = time.monotonic() + seconds
            for rank in range(1, self.size if self.first else 1):
                try:
                    store.wait([f"alive {rank}"], timedelta(seconds=max(until - time.monotonic(), 0.1)))
                except RuntimeError:
                    away.append(rank)
        return away

    def leave(self) -> None:
        """Close the connections."""
        if self.joined and dist.is_initialized():
            dist.destroy_process_group()

    def _wait(self) -> None:
        with _connected():
            # in main memory: NCCL would choose a device before there is one
            dist.all_reduce(torch.zeros(1))


ALONE = Group()


def join(rank: int, size: int, local: int, store: distributed_c10d.Store | None = None) -> Group:
    """Connect with the others; returns when all are there.

    Args:
        rank: Number of this process.
        size: Number of processes.
        local: Number of this process on its machine.
        store: Where they find each other; by default MASTER_ADDR and MASTER_PORT of the environment say it.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    with _connected():
        dist.init_process_group(backend, rank=rank, world_size=size, store=store, timeout=TIMEOUT)
    return Group(rank, size, local, joined=True)


def of_environment() -> Group:
    """The group that torchrun, or the script of a cluster, names by its usual variables; else `ALONE`.

    Raises:
        MaclError: If some of the variables are missing or no numbers.
    """
    if "RANK" not in os.environ and "WORLD_SIZE" not in os.environ:
        return ALONE
    if missing := [name for name in NAMES if name not in os.environ]:
        given = ", ".join(name for name in NAMES if name in os.environ)
        raise MaclError(
            f"{given} is set but not {', '.join(missing)}: set all of them, as torchrun does, or none"
        )
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local = int(os.environ.get("LOCAL_RANK", rank))
    except ValueError:
        raise MaclError(
            "RANK, WORLD_SIZE and LOCAL_RANK: need whole numbers, as torchrun sets them"
        ) from None
    if not 0 <= rank < size:
        raise MaclError(f"RANK: need 0 to {size - 1}, as WORLD_SIZE is {size}, got {rank}")
    return join(rank, size, local)


@contextmanager
def _connected() -> Iterator[None]:
    """Say in one sentence that another process is gone."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        why = str(error).splitlines()[0]
        raise Lost(f"the processes that train this run have lost each other ({why})") from error
