"""Learned prototypes, one per label."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


def new_prototypes(classes: int, dim: int) -> nn.Parameter:
    """(L, D), Xavier-uniform from torch's default generator: seed it to repeat a run."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, dim)))


def unit_rows(prototypes: Tensor, z: Tensor) -> Tensor:
    """Prototypes on the unit sphere in the type of z; (L, D)."""
    return normalize(prototypes.to(z.dtype), dim=1)
