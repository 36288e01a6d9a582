"""MACL: MulSupCon with a weight for rare shared labels and a temperature for every pair.

References:
    Amir and Aptoula, MACL: Multi-Label Adaptive Contrastive Learning loss for remote sensing image retrieval,
    eqs. 1-10.
"""

from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from core.labels import distinct
from core.losses.batch import evaluate, is_fake
from core.losses.grouped import own_contrast
from core.losses.mulsupcon import mulsupcon_weights
from core.losses.pairs import contrast, label_mean, label_pull
from core.losses.parameters import Tau
from core.losses.rarity import anchor_counts, pair_counts, split_counts


class PairTerms(NamedTuple):
    """The terms of eqs. 1 and 2 for a batch.

    Attributes:
        f: (B, B) how often the shared labels occur, in images or as a share; 0 where no label is shared.
        h: (B,) how often the anchor's labels occur, likewise.
        J: (B, B) overlap of the label sets.
        w: (B, B) weight of a positive pair; 0 where no label is shared.
        T: (B, B) temperature of row i's comparison with column a.
    """

    f: Tensor
    h: Tensor
    J: Tensor
    w: Tensor
    T: Tensor


class MACL(nn.Module):
    """Mean over (i, l∈y_i) of −(1/|P_l|) Σ_{p∈P_l} w_ip log(e^{s_ip/T_ip} / Σ_{a≠i} e^{s_ia/T_ia}) (eq. 4).

    Where the paper is silent: f and h are counts over the training split `labels`, at least one image; a
    negative has J = 0 and with it T = 1 + β/log(1+h); the anchor itself is in neither P_l nor A; an empty P_l
    adds 0 and is still counted; the mean is MulSupCon's (for `weighted` Wg-MulSupCon's). Without w and T the
    loss is MulSupCon.

    f and h are counted once for the distinct label sets of the training split and looked up by batch; a batch
    with a set that the split never saw is counted on demand.

    Args:
        labels: (N, L) training labels in {0, 1}.
        weighted: Give every image the same total weight, however many labels it has (Wg-MACL, inferred).
        alpha: How much the overlap J of two label sets lowers their temperature: T falls with exp(−αJ).
        beta: How much rare labels of the anchor raise its temperatures: T grows by β/log(1+h).
        eps: Added to log(1+f) in the weight w = 1/(log(1+f)+ε).
        use_w: Weigh a pair by the rarity of its shared labels; off: w = 1.
        use_T: One temperature per pair; off: τ for all of them.
        tau: The constant temperature when T is off; without effect otherwise.
        tau_scale: Factor on every T, in place of the global τ that eq. 4 does not have; 1 as printed.
        denominator: In a positive's softmax every image has its own T as in eq. 4 (paper), or the
            positive's T (own).
        frequency: f and h as numbers of training images (count) or as shares of the training split (share).
        cooccurrence: f of a pair: images with all shared labels (support), the shared labels' counts (mean,
            min, sum), or the mean co-occurrence of their labels (matrix).
        rarity: h of an anchor: mean, min or sum of its labels' counts, or images with all its labels
            (support).
        normalize_w: Divide w by its mean over the batch's positive pairs, so that it does not shrink the
            loss.
        overlap_weight: Multiply w by the overlap J of the two label sets (not in the paper).
    """

    _key: Tensor
    _codes: Tensor
    _sets: Tensor
    _shared: Tensor
    _anchor: Tensor

    def __init__(
        self,
        labels: NDArray[np.uint8],
        weighted: bool = False,
        alpha: Annotated[float, Field(ge=0, le=10, title="α")] = 1.5,
        beta: Annotated[float, Field(ge=0, le=10, title="β")] = 0.1,
        eps: Annotated[float, Field(ge=0, le=1, title="ε")] = 1e-8,
        use_w: Annotated[bool, Field(title="w")] = True,
        use_T: Annotated[bool, Field(title="T")] = True,
        tau: Tau = 0.3,
        tau_scale: Annotated[float, Field(ge=0.001, le=1000)] = 1.0,
        denominator: Literal["paper", "own"] = "paper",
        frequency: Literal["count", "share"] = "count",
        cooccurrence: Annotated[
            Literal["support", "mean", "min", "sum", "matrix"], Field(title="f")
        ] = "support",
        rarity: Annotated[Literal["mean", "min", "sum", "support"], Field(title="h")] = "mean",
        normalize_w: bool = False,
        overlap_weight: bool = False,
    ) -> None:
        super().__init__()
        self.classes, self.weighted = labels.shape[1], weighted
        self.alpha, self.beta, self.eps = alpha, beta, eps
        self.use_w, self.use_T, self.tau, self.tau_scale = use_w, use_T, tau, tau_scale
        self.denominator, self.frequency = denominator, frequency
        self.cooccurrence, self.rarity = cooccurrence, rarity
        self.normalize_w, self.overlap_weight = normalize_w, overlap_weight
        self._labels = labels
        table = split_counts(labels, cooccurrence, rarity)
        # one random number per label, their sum for a set: equal sets agree, and a look-up is verified
        key = np.asarray(np.random.default_rng(0).integers(2**62, size=self.classes))
        code: NDArray[np.int64] = table.sets.astype(np.int64) @ key  # (S,)
        order = np.argsort(code)
        whole = np.int32 if table.shared.max() < 2**31 else np.int64
        # whole numbers, because a device may lack float64; not saved with the prototypes: `labels` gives them
        for name, values in (
            ("_key", key),
            ("_codes", code[order]),
            ("_sets", table.sets[order]),
            ("_shared", table.shared[np.ix_(order, order)].astype(whole)),
            ("_anchor", table.anchor[order]),
        ):
            self.register_buffer(name, torch.tensor(values), persistent=False)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Loss in nats; z (B, D) unit rows, y (B, L) in {0, 1}. Raises as `core.losses.batch.evaluate`."""
        return evaluate(self, z, y)

    def similarities(self, z: Tensor) -> Tensor:
        """Similarities z·z, (B, D) -> (B, B)."""
        return z @ z.T

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss of similarities (B, B)."""
        weights, temperature = self._weights(y)
        if self.denominator == "own":
            return own_contrast(s, temperature, weights)
        return contrast(s / temperature, weights)  # eq. 4

    def weights(self, y: Tensor) -> Tensor:
        """Factor of −log p_ia in the loss, (B, L) -> (B, B)."""
        return self._weights(y)[0]

    def pair_terms(self, y: Tensor) -> PairTerms:
        """f, h, J, w and T of a batch (B, L) in floating point; w and T as the options leave them."""
        shared, size = y @ y.T, y.sum(1)  # (B, B), (B,)
        positive = shared > 0
        f, h = self._frequencies(y, shared, size)
        w = f.log1p().add_(self.eps).reciprocal_() if self.use_w else torch.ones_like(f)  # eq. 1
        J = (size[:, None] + size).sub_(shared).clamp_(min=1)  # (B, B), |y_i ∪ y_a|
        torch.div(shared, J, out=J)
        w.mul_(positive)
        if self.overlap_weight:
            w.mul_(J)
        if self.normalize_w:
            pairs = positive.sum() - positive.diagonal().sum()
            mean = (w.sum() - w.diagonal().sum()) / pairs.clamp(min=1)
            w.div_(torch.where(mean > 0, mean, 1))
        if self.use_T:
            rare = self.beta / h.log1p()  # (B,)
            T = J.mul(-self.alpha).exp_().add_(rare[:, None]).mul_(self.tau_scale)  # eq. 2
        else:
            T = torch.full_like(J, self.tau)
        return PairTerms(f.mul_(positive), h, J, w, T)

    def eq7(self, s: Tensor, y: Tensor, *, printed: bool = False) -> Tensor:
        """Coefficients of z_a in the gradient of eq. 5 with respect to z_i, not averaged; (B, B).

        One anchor, the comparison embeddings held fixed. The paper prints the repulsion with the factor
        |y_i|; the gradient of eq. 5 has Σ_l (1/|P_l|) Σ_p w_ip in its place.

        Args:
            s: (B, B) similarities.
            y: (B, L) labels.
            printed: The coefficients as the paper prints them.

        Raises:
            ValueError: If the denominator is "own", which has another gradient.
        """
        if self.denominator != "paper":
            raise ValueError(f"eq. 7: need denominator 'paper', got {self.denominator!r}")
        terms = self.pair_terms(y)
        pull = label_pull(y) * terms.w  # (B, B)
        p = (s / terms.T).fill_diagonal_(-torch.inf).softmax(1)  # (B, B)
        push = y.sum(1) if printed else pull.sum(1)  # (B,)
        return (push[:, None] * p - pull) / terms.T

    def _weights(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Factor of −log p_ia in the loss, and T; the other terms are let go."""
        _, _, _, w, T = self.pair_terms(y)
        if not (
            self.use_w or self.use_T
        ):  # MulSupCon to the last bit, with the roundings of its published code
            return w.mul_(mulsupcon_weights(y, self.weighted)), T
        return w.mul_(label_pull(y)).mul_(label_mean(y, self.weighted)), T

    def _frequencies(self, y: Tensor, shared: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Both frequencies, f (B, B) and h (B,), at least one image."""
        f, h = self._counts(y)
        if self.cooccurrence == "mean":
            f = f / shared.clamp(min=1)
        elif self.cooccurrence == "matrix":
            f = f / (size[:, None] * size).clamp_(min=1)
        if self.rarity == "mean":
            h = h / size.clamp(min=1)
        unit = len(self._labels) if self.frequency == "share" else 1
        return f.clamp_(min=1).div_(unit), h.clamp_(min=1).div_(unit)

    def _counts(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Whole counts (B, B) and (B,) in the type of y: from the table, or on demand."""
        code = (y.long() * self._key).sum(1)  # (B,)
        row = torch.searchsorted(self._codes, code).clamp_(max=len(self._codes) - 1)  # (B,)
        if is_fake(y) or (self._sets[row] == y).all():
            return self._shared[row][:, row].to(y.dtype), self._anchor[row].to(y.dtype)
        sets, image = distinct(y.cpu().numpy())  # (S', L), (B,)
        pair = pair_counts(self._labels, sets, self.cooccurrence)[np.ix_(image, image)]
        anchor = anchor_counts(self._labels, sets, self.rarity)[image]
        return torch.tensor(pair).to(y), torch.tensor(anchor).to(y)
