"""A loss as a person brings it: nothing of this program is imported."""

import torch
from torch import Tensor, nn


class Margin(nn.Module):
    """Pull pairs that share labels, push the others beyond a margin.

    Args:
        margin: Cosine below which a negative costs nothing, −1 … 1.
        squared: Square the hinge.
    """

    def __init__(self, margin: float = 0.2, squared: bool = True) -> None:
        super().__init__()
        self.margin, self.squared = margin, squared

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """The loss of unit rows z (B, D) with labels y (B, L)."""
        s = z @ z.T
        shared = (y @ y.T > 0).to(s.dtype)
        others = 1 - torch.eye(len(z), dtype=s.dtype, device=s.device)
        hinge = (s - self.margin).clamp(min=0)
        push = (1 - shared) * (hinge**2 if self.squared else hinge)
        return ((shared * (1 - s) + push) * others).sum() / others.sum()
