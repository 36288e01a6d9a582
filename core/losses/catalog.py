"""The 13 losses: LOSSES describes them without torch, make_loss builds one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.losses.parameters import LossSpec, Parameter, Value

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor, nn

_TAU = Parameter(
    "tau",
    "float",
    0.3,
    "Softmax temperature: a smaller one sharpens the contrast between near and far images.",
    "τ",
    low=0.001,
    high=10,
)

_LREG_ALPHA = Parameter(
    "alpha",
    "float",
    0.0,
    "Power of the share of a positive's labels that the anchor has too. "
    "0: no matter; below 0: only subsets of the anchor's labels are positives.",
    "α",
)

_LMSC = (
    _TAU,
    Parameter(
        "alpha",
        "float",
        1.0,
        "Weight of the images of the batch beside a prototype's weight of 1.",
        "α",
        low=0,
        high=10,
    ),
    Parameter(
        "beta",
        "float",
        0.1,
        "Share of the batch in the softmax's denominator; the prototypes have 1.",
        "β",
        low=0,
        high=10,
    ),
)

_OML = (
    Parameter(
        "temperature",
        "float",
        0.01,
        "Width of the sigmoid that softens ranks: smaller is nearer to true ranks, with sparser gradients.",
        "τ",
        low=0.0001,
        high=1,
    ),
    Parameter(
        "denominator",
        "choice",
        "official",
        "Divide a label's precision by |S|·B, as the authors' code (official), or by |S|² (smoothap).",
        choices=("official", "smoothap"),
    ),
)

_SIMDIS = (
    _TAU,
    Parameter(
        "position",
        "choice",
        "outside",
        "Factors K outside the log weigh a pair; inside it they leave SupCon ANY's gradient.",
        choices=("outside", "inside"),
    ),
)

_MACL = (
    Parameter(
        "alpha",
        "float",
        1.5,
        "How much the overlap J of two label sets lowers their temperature: T falls with exp(−αJ).",
        "α",
        low=0,
        high=10,
    ),
    Parameter(
        "beta",
        "float",
        0.1,
        "How much rare labels of the anchor raise its temperatures: T grows by β/log(1+h).",
        "β",
        low=0,
        high=10,
    ),
    Parameter(
        "eps",
        "float",
        1e-8,
        "Added to log(1+f) in the weight w = 1/(log(1+f)+ε).",
        "ε",
        low=0,
        high=1,
    ),
    Parameter("use_w", "bool", True, "Weigh a pair by the rarity of its shared labels; off: w = 1.", "w"),
    Parameter("use_T", "bool", True, "One temperature per pair; off: τ for all of them.", "T"),
    Parameter(
        "tau",
        "float",
        0.3,
        "The constant temperature when T is off; without effect otherwise.",
        "τ",
        low=0.001,
        high=10,
    ),
    Parameter(
        "tau_scale",
        "float",
        1.0,
        "Factor on every T, in place of the global τ that eq. 4 does not have; 1 as printed.",
        low=0.001,
        high=10,
    ),
    Parameter(
        "denominator",
        "choice",
        "paper",
        "In a positive's softmax every image has its own T as in eq. 4 (paper), or the positive's T (own).",
        choices=("paper", "own"),
    ),
    Parameter(
        "frequency",
        "choice",
        "count",
        "f and h as numbers of training images (count) or as shares of the training split (share).",
        choices=("count", "share"),
    ),
    Parameter(
        "cooccurrence",
        "choice",
        "support",
        "f of a pair: images with all shared labels (support), the shared labels' counts (mean, min, sum), "
        "or the mean co-occurrence of their labels (matrix).",
        "f",
        choices=("support", "mean", "min", "sum", "matrix"),
    ),
    Parameter(
        "rarity",
        "choice",
        "mean",
        "h of an anchor: mean, min or sum of its labels' counts, or images with all its labels (support).",
        "h",
        choices=("mean", "min", "sum", "support"),
    ),
    Parameter(
        "normalize_w",
        "bool",
        False,
        "Divide w by its mean over the batch's positive pairs, so that it does not shrink the loss.",
    ),
    Parameter(
        "overlap_weight",
        "bool",
        False,
        "Multiply w by the overlap J of the two label sets (not in the paper).",
    ),
)

_SUPCON = "Khosla et al., NeurIPS 2020"
_AUDIBERT = "Audibert, Gauffre and Amini, ECML PKDD 2024"
_STUDY = "Audibert, Gauffre and Amini, Multi-label contrastive learning: a comprehensive study, 2024"
_MULSUPCON = "Zhang and Wu, AAAI 2024"
_AMIR = "Amir and Aptoula, Multi-Label Adaptive Contrastive Learning"

LOSSES: dict[str, LossSpec] = {
    spec.key: spec
    for spec in (
        LossSpec(
            "supcon_all",
            "SupCon ALL",
            _SUPCON,
            "Pulls images with exactly the same labels together.",
            (_TAU,),
        ),
        LossSpec(
            "supcon_any",
            "SupCon ANY",
            _SUPCON,
            "Pulls images that share at least one label together, all alike.",
            (_TAU,),
        ),
        LossSpec(
            "lbase",
            "LBase",
            _AUDIBERT,
            "Pulls a pair in proportion to the overlap of its label sets.",
            (_TAU,),
        ),
        LossSpec(
            "lproto",
            "LProto",
            "Gupta et al., CVPR 2023",
            "Pulls an image to the learned prototypes of its labels; images never meet each other.",
            (_TAU,),
        ),
        LossSpec(
            "lmsc",
            "LMsc",
            _AUDIBERT,
            "Pulls to images and prototypes label by label, evened out between frequent and rare labels.",
            _LMSC,
        ),
        LossSpec(
            "oml",
            "OML",
            "Imbriaco et al., IEEE TGRS 2022",
            "Raises a smooth average precision, label by label.",
            _OML,
        ),
        LossSpec(
            "mulsupcon",
            "MulSupCon",
            _MULSUPCON,
            "One contrastive term per label of the anchor.",
            (_TAU,),
        ),
        LossSpec(
            "wg_mulsupcon",
            "Wg-MulSupCon",
            _MULSUPCON,
            "MulSupCon in which every image weighs the same, however many labels it has.",
            (_TAU,),
        ),
        LossSpec(
            "simdis",
            "Sim-Dis",
            "Huang et al., arXiv 2410.13439",
            "Pulls more for more shared labels, and less for labels that the anchor lacks.",
            _SIMDIS,
        ),
        LossSpec(
            "lreg",
            "LReg",
            _STUDY,
            "Label-wise contrast with prototypes, in which no positive is ever pushed away.",
            (_TAU, _LREG_ALPHA),
        ),
        LossSpec(
            "lworeg",
            "L-W/O-Reg",
            _STUDY,
            "LReg without the regulariser.",
            (_TAU, _LREG_ALPHA),
        ),
        LossSpec(
            "macl",
            "MACL",
            _AMIR,
            "MulSupCon with a weight for rare shared labels and a temperature for every pair.",
            _MACL,
        ),
        LossSpec(
            "wg_macl",
            "Wg-MACL",
            _AMIR,
            "MACL in which every image weighs the same, however many labels it has.",
            _MACL,
        ),
    )
}


def temperature(key: str, params: Mapping[str, object]) -> str:
    """The parameter that plays the part of τ: `tau_scale` of MACL, `temperature` of OML."""
    names = [parameter.name for parameter in LOSSES[key].parameters]
    if "tau_scale" in names and params.get("use_T", True):
        return "tau_scale"
    return "tau" if "tau" in names else "temperature"


def check_params(key: str, params: Mapping[str, object]) -> dict[str, Value]:
    """All parameters of a loss with the defaults filled in; nothing is converted.

    Raises:
        TypeError: If a parameter is unknown or of another kind.
        ValueError: If the loss is unknown or a value is out of range.
    """
    if key not in LOSSES:
        raise ValueError(f"need one of {', '.join(LOSSES)}, got {key!r}")
    return LOSSES[key].check(params)


def make_loss(key: str, labels: "ArrayLike | Tensor", dim: int, **params: Value) -> "nn.Module":
    """A loss as a module: `loss(z, y)` with z (B, D) unit rows and y (B, L) in {0, 1} is a scalar.

    Args:
        key: One of LOSSES.
        labels: (N, L) multi-hot labels of the training split, for label counts.
        dim: Embedding size D, for prototypes (the parameter `.prototypes`, (L, D), where a loss has them).
        params: Parameters of the loss by name.

    Raises:
        TypeError: If a parameter is unknown or of another kind, or `dim` is no integer.
        ValueError: If the loss is unknown, a value out of range, or `labels` no (N, L) matrix of 0 and 1.
    """
    checked = check_params(key, params)
    from core.losses.build import build  # torch loads here, not with the table

    return build(key, labels, dim, checked)
