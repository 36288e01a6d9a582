"""Batches for the tests of the losses."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def random_batch(seed: int = 0, images: int = 14, dim: int = 8, labels: int = 6) -> tuple[Tensor, Tensor]:
    """Unit rows in float64; image 0 has no label, image 1 one that nobody shares, and nobody has the last."""
    generator = torch.Generator().manual_seed(seed)
    z = normalize(torch.randn(images, dim, generator=generator, dtype=torch.float64), dim=1)
    y = (torch.rand(images, labels, generator=generator) < 0.4).long()
    y[:, -2:] = 0
    y[0], y[1] = 0, 0
    y[1, -2] = 1
    return z, y
