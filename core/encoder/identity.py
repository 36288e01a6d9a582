"""Which encoder a run has: two with the same answer embed an image alike, others are never compared."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from core.runs import Run
from core.runs.origin import look_of

if TYPE_CHECKING:
    import torch

    from core.encoder.trained import Trained


def identity(run: Run, network: Trained) -> str:
    """Digest of the weights, of the size of the images and of how they are seen; of 16 hex digits."""
    digest = sha256(f"{network.config.image_size} {look_of(run).text}".encode())
    for module in (network.backbone, network.head):
        tensors: dict[str, torch.Tensor] = module.state_dict()
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{name} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
