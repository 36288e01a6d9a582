"""Gradients of a batch that is embedded in parts, by one device or several, with the loss of the whole batch.

With several parts on one device they are embedded twice: first without a graph, then, when the gradient of
the loss with respect to each embedding is known, again with the graph of one part at a time. Memory grows
with the part then, and hardly with the batch.

References:
    Gao, Zhang, Han and Callan, Scaling deep contrastive learning batch size under memory limited setup,
    RepL4NLP 2021 (GradCache).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from core.runs import RunConfig
from core.training.batches import in_parts, mixed
from core.training.group import Group


class Learns(Protocol):
    """What is needed of `core.training.learner.Learner`."""

    config: RunConfig
    device: torch.device
    group: Group
    encoder: nn.Module
    loss: nn.Module

    def embedded(self, rows: np.ndarray, number: int, part: slice) -> Tensor:
        """Embeddings of a part of a batch, with their graph unless gradients are off."""
        ...

    def backward(self, z: Tensor, y: Tensor, number: int) -> Tensor:
        """The loss of a batch, with its gradients."""
        ...


def backward(learner: Learns, rows: np.ndarray, y: Tensor, number: int) -> Tensor:
    """The loss of the whole batch, with the gradients of the whole batch in encoder and loss.

    Args:
        learner: Encoder, loss, and the group of processes; gradients are empty.
        rows: (B,) the images of the batch, the same in every process.
        y: (B, L) their labels.
        number: Number of the step, from 1.
    """
    group, micro = learner.group, learner.config.micro_batch
    own, longest = group.part(len(rows)), -(-len(rows) // group.size)
    # as many parts in every process, because batch norm on CUDA is synchronised part by part
    parts = in_parts(own, -(-longest // micro) if micro else 1)
    once = len(parts) == 1
    drafts = []
    for part in parts:
        with torch.set_grad_enabled(once), _drawing(learner, number, part):
            drafts.append(learner.embedded(rows, number, part))
    z = group.gather(torch.cat(drafts).detach(), len(rows)).requires_grad_()  # (B, D)
    loss = learner.backward(z, y, number)
    gradient = torch.zeros_like(z) if z.grad is None else z.grad
    if once:
        drafts[0].backward(gradient[own])  # type: ignore[no-untyped-call]
    else:
        for part in parts:
            with _drawing(learner, number, part), _statistics_kept(learner.encoder):
                learner.embedded(rows, number, part).backward(gradient[part])  # type: ignore[no-untyped-call]
    group.add([p.grad for p in learner.encoder.parameters() if p.grad is not None])
    of_loss = {str(n): p.grad for n, p in enumerate(learner.loss.parameters()) if p.grad is not None}
    for name, gradient in group.shared(of_loss).items():  # equal already, but for what a device may round
        of_loss[name].copy_(gradient)
    return loss


def synchronised(encoder: nn.Module, device: torch.device, group: Group) -> nn.Module:
    """The encoder, with batch norm over the parts of all processes where torch can: on CUDA."""
    if not group.joined or device.type != "cuda" or not _normalises(encoder):
        return encoder
    from timm import layers  # torch's own conversion would drop the activations in timm's batch norm

    converted: nn.Module = layers.convert_sync_batchnorm(encoder)  # type: ignore
    return converted


def inexact(encoder: nn.Module, config: RunConfig, device: torch.device, group: Group) -> str:
    """Why the gradient is not that of the batch embedded at once; empty if it is."""
    if not _normalises(encoder):
        return ""
    joined = group.size if device.type == "cuda" else 1
    most = min(config.micro_batch or config.batch_size, -(-config.batch_size // group.size)) * joined
    if most < config.batch_size:
        return f"batch norm takes mean and variance over {most} images at most, not over the batch"
    return ""


def _normalises(encoder: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules())


@contextmanager
def _drawing(learner: Learns, number: int, part: slice) -> Iterator[None]:
    """Random numbers for one part, the same in both passes; those of the loss stay the same in every process.

    What an encoder draws (dropout) depends on seed, step and place of the part, so that two devices draw what
    two parts on one device draw.
    """
    drawn_from = _generators(learner.device)
    before = [generator.get_state() for generator in drawn_from]
    for generator in drawn_from:
        generator.manual_seed(mixed(learner.config.seed, 3, number, part.start))
    try:
        yield
    finally:
        for generator, state in zip(drawn_from, before, strict=True):
            generator.set_state(state)


def _generators(device: torch.device) -> list[torch.Generator]:
    """What modules on this device draw from; `torch.manual_seed` would take a millisecond for all devices."""
    if device.type == "mps":
        return [torch.default_generator, torch.mps._get_default_mps_generator()]
    if device.type == "cuda" and torch.cuda.is_available():
        index = torch.cuda.current_device() if device.index is None else device.index
        return [torch.default_generator, torch.cuda.default_generators[index]]
    return [torch.default_generator]


@contextmanager
def _statistics_kept(encoder: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch norm alone: the first pass has counted these images."""
    tracking: list[Any] = [
        module for module in encoder.modules() if getattr(module, "track_running_stats", False)
    ]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
