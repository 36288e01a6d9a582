"""The built-in losses, described without torch: one entry each."""

from core.losses.describe import built_in
from core.losses.parameters import LossSpec, Value

_SUPCON = "Khosla et al., NeurIPS 2020"
_AUDIBERT = "Audibert, Gauffre and Amini, ECML PKDD 2024"
_STUDY = "Audibert, Gauffre and Amini, Multi-label contrastive learning: a comprehensive study, 2024"
_MULSUPCON = "Zhang and Wu, AAAI 2024"
_AMIR = "Amir and Aptoula, Multi-Label Adaptive Contrastive Learning"


def _loss(key: str, title: str, source: str, cls: str, summary: str, **fixed: Value) -> tuple[str, LossSpec]:
    """One loss; `cls` is its file and its class, `fixed` what makes it this one of the class's losses."""
    settings = tuple(p for p in built_in(cls) if p.name not in fixed)
    return key, LossSpec(key, title, source, summary, settings, cls, tuple(fixed.items()))


# fmt: off
LOSSES: dict[str, LossSpec] = dict([
    _loss("supcon_all", "SupCon ALL", _SUPCON, "supcon.SupCon",
          "Pulls images with exactly the same labels together.", positives="all"),
    _loss("supcon_any", "SupCon ANY", _SUPCON, "supcon.SupCon",
          "Pulls images that share at least one label together, all alike.", positives="any"),
    _loss("lbase", "LBase", _AUDIBERT, "lbase.LBase",
          "Pulls a pair in proportion to the overlap of its label sets."),
    _loss("lproto", "LProto", "Gupta et al., CVPR 2023", "lproto.LProto",
          "Pulls an image to the learned prototypes of its labels; images never meet each other."),
    _loss("lmsc", "LMsc", _AUDIBERT, "lmsc.LMsc",
          "Pulls to images and prototypes label by label, evened out between frequent and rare labels."),
    _loss("oml", "OML", "Imbriaco et al., IEEE TGRS 2022", "oml.OML",
          "Raises a smooth average precision, label by label."),
    _loss("mulsupcon", "MulSupCon", _MULSUPCON, "mulsupcon.MulSupCon",
          "One contrastive term per label of the anchor.", weighted=False),
    _loss("wg_mulsupcon", "Wg-MulSupCon", _MULSUPCON, "mulsupcon.MulSupCon",
          "MulSupCon in which every image weighs the same, however many labels it has.", weighted=True),
    _loss("simdis", "Sim-Dis", "Huang et al., arXiv 2410.13439", "simdis.SimDis",
          "Pulls more for more shared labels, and less for labels that the anchor lacks."),
    _loss("lreg", "LReg", _STUDY, "lreg.LReg",
          "Label-wise contrast with prototypes, in which no positive is ever pushed away.", regularise=True),
    _loss("lworeg", "L-W/O-Reg", _STUDY, "lreg.LReg",
          "LReg without the regulariser.", regularise=False),
    _loss("macl", "MACL", _AMIR, "macl.MACL",
          "MulSupCon with a weight for rare shared labels and a temperature for every pair.", weighted=False),
    _loss("wg_macl", "Wg-MACL", _AMIR, "macl.MACL",
          "MACL in which every image weighs the same, however many labels it has.", weighted=True),
    _loss("macl_nested", "MACL-nested", "own study, beyond the paper", "nested.NestedMACL",
          "Orders images by overlap: a positive is compared only with images that share less."),
])
# fmt: on
