"""LMsc: label-wise contrast with images and prototypes, evened out between frequent and rare labels.

References:
    Audibert, Gauffre and Amini, Exploring contrastive learning for long-tailed multi-label text
    classification, ECML PKDD 2024. Its text has a memory queue, its code has none: none here.
"""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from core.losses.batch import evaluate
from core.losses.pairs import contrast
from core.losses.parameters import Tau
from core.losses.prototypes import new_prototypes, unit_rows

_EPS = 1e-8  # the published code's guard of N


class LMsc(nn.Module):
    """mean_i (1/|y_i|) Σ_j w_ij (−log p_ij), references j = the batch without i, then the L prototypes.

    a_ij = α/|y_i ∪ y_j|, N_il = 1 + Σ_{j≠i} a_ij y_jl. Weight of image j: Σ_l y_il y_jl a_ij/N_il; of
    prototype l: y_il/N_il. Denominator of p: β Σ_{j≠i} e^{s_ij/τ} + Σ_l e^{z_i·c_l/τ}; the numerator has no
    β. An image without labels adds 0 and is still counted.

    Args:
        classes: Number of labels L.
        dim: Embedding size D.
        tau: Softmax temperature: a smaller one sharpens the contrast between near and far images.
        alpha: Weight of the images of the batch beside a prototype's weight of 1.
        beta: Share of the batch in the softmax's denominator; the prototypes have 1.
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        tau: Tau = 0.3,
        alpha: Annotated[float, Field(ge=0, le=10, title="α")] = 1.0,
        beta: Annotated[float, Field(ge=0, le=10, title="β")] = 0.1,
    ) -> None:
        super().__init__()
        self.classes, self.tau, self.alpha, self.beta = classes, tau, alpha, beta
        self.prototypes = new_prototypes(classes, dim)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Loss in nats; z (B, D) unit rows, y (B, L) in {0, 1}. Raises as `core.losses.batch.evaluate`."""
        return evaluate(self, z, y)

    def similarities(self, z: Tensor) -> Tensor:
        """Images against images, then prototypes, (B, D) -> (B, B+L)."""
        return z @ torch.cat([z, unit_rows(self.prototypes, z)]).T

    def weights(self, y: Tensor) -> Tensor:
        """Factor of −log p_ij in the loss, (B, L) -> (B, B+L)."""
        size = y.sum(1)  # (B,)
        union = (size[:, None] + size).sub_(y @ y.T)  # (B, B)
        a = union.clamp_(min=1).reciprocal_().mul_(self.alpha).fill_diagonal_(0)  # (B, B)
        prototype = y / (1 + a @ y).add_(_EPS)  # (B, L), y_il / N_il
        image = a.mul_(prototype @ y.T)  # (B, B)
        return torch.cat([image, prototype], dim=1).div_(size.clamp(min=1)[:, None] * len(y))  # (B, B+L)

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss of similarities (B, B+L)."""
        log_share = s.new_zeros(s.shape[1])  # (B+L,)
        log_share[: len(y)] = math.log(self.beta) if self.beta > 0 else -torch.inf
        return contrast(s / self.tau, self.weights(y), offset=log_share)
