"""OML: a smooth average precision per label.

References:
    Imbriaco, Sebastian, Bondarev and de With, Toward multilabel image retrieval for remote sensing, IEEE TGRS
    2022. Brown et al., Smooth-AP: smoothing the path towards large-scale image retrieval, ECCV 2020.
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from core.losses.batch import add_rows, evaluate, is_fake

_BLOCK = 1 << 18  # (image, image, image) triples at a time: they stay in the processor's cache


class OML(nn.Module):
    """Mean over labels with |S_l| ≥ 2 of 1 − AP_l, S_l = images with label l; 0 when there is no such label.

    R(i,p) = 1 + Σ_{j≠p} σ((s_ij − s_ip)/temperature), R⁺ the same over j∈S_l, AP_l = Σ_{i,p∈S_l} (R⁺/R) /
    (|S_l|·B). p = i is included. The argument of σ is clamped to ±50. Time grows with B³, memory with B².

    Args:
        classes: Number of labels L.
        temperature: Width of the sigmoid that softens ranks: smaller is nearer to true ranks, with sparser
            gradients.
        denominator: Divide a label's precision by |S|·B, as the authors' code (official), or by |S|²
            (smoothap).
    """

    def __init__(
        self,
        classes: int,
        temperature: Annotated[float, Field(ge=0.0001, le=100, title="τ")] = 0.01,
        denominator: Literal["official", "smoothap"] = "official",
    ) -> None:
        super().__init__()
        self.classes, self.temperature, self.denominator = classes, temperature, denominator

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Loss, 1 − AP; z (B, D) unit rows, y (B, L) in {0, 1}. Raises as `core.losses.batch.evaluate`."""
        return evaluate(self, z, y)

    def similarities(self, z: Tensor) -> Tensor:
        """Similarities z·z, (B, D) -> (B, B)."""
        return z @ z.T

    def weights(self, y: Tensor) -> Tensor:
        """Factor of the precision at p in the ranking of i, summed over shared labels, (B, L) -> (B, B)."""
        return (y * self._label_weights(y)) @ y.T

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss of similarities (B, B)."""
        weights = self._label_weights(y)  # (L,)
        labels = (weights > 0).any().to(s.dtype)  # 1, or 0 when there is no label to rank
        ap: Tensor = _SmoothPrecision.apply(s, y, weights, self.temperature)
        return labels - ap

    def _label_weights(self, y: Tensor) -> Tensor:
        """Factor of R⁺/R of a pair with label l in the mean of AP_l; (L,)."""
        size = y.sum(0)  # (L,)
        counted = size >= 2
        pairs = size * (len(y) if self.denominator == "official" else size)
        return counted / (pairs.clamp(min=1) * counted.sum().clamp(min=1))


class _SmoothPrecision(torch.autograd.Function):
    """Σ_ip Σ_l c_l y_il y_pl R⁺_l(i,p) / R(i,p).

    With M_ipj = Σ_l c_l y_il y_pl y_jl the numerator is M_ipp + Σ_{j≠p} σ_ipj M_ipj: one product for value
    and gradient. The gradient is formed along with the value, in blocks of pairs (i, p); there is no second
    derivative.
    """

    @staticmethod
    def forward(ctx: Any, s: Tensor, y: Tensor, c: Tensor, temperature: float) -> Tensor:
        value = s.new_zeros(())
        grad = torch.zeros_like(s) if ctx.needs_input_grad[0] else None
        weighted = y * c  # (B, L)
        together = weighted @ y.T  # (B, B), M_ipp
        anchors, positives = _pairs(together)  # (G,)
        rows = max(1, _BLOCK // len(s))
        for start in range(0, len(anchors), rows):
            i, p = anchors[start : start + rows], positives[start : start + rows]  # (G',)
            own = p[:, None]
            m = (weighted[i] * y[p]) @ y.T  # (G', B)
            sigma = s[i].sub_(s[i, p][:, None]).div_(temperature).clamp_(-50, 50).sigmoid_()  # (G', B)
            sigma.scatter_(1, own, 0)
            rank = 1 + sigma.sum(1)  # (G',)
            precision = (together[i, p] + torch.linalg.vecdot(sigma, m)) / rank  # (G',)
            value = value + precision.sum()
            if grad is not None:
                # σ' = σ − σ²; the clamp needs no mask, σ' is 0 there
                g = m.sub_(precision[:, None]).mul_(sigma - sigma * sigma)  # (G', B)
                g.div_((rank * temperature)[:, None])
                g.scatter_(1, own, -g.sum(1, keepdim=True))  # s_ip moves against all the others
                add_rows(grad, i, g)
        ctx.save_for_backward(grad)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = ctx.saved_tensors
        return upstream * grad, None, None, None


def _pairs(together: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs with a common label, in order of the anchor; two of (G,). All pairs for fake tensors."""
    if is_fake(together):
        index = torch.arange(together.numel(), device=together.device)
        return index // len(together), index % len(together)
    i, p = together.nonzero(as_tuple=True)
    return i, p
