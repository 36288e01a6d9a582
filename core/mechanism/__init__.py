"""What a loss does with one batch, in numpy: MACL's terms, pair weights, forces and optima of all losses.

The formulas are those of `core.losses`, written a second time without torch because a page must not load it;
the tests hold both against each other.
"""

from core.mechanism.batch import draw, nearest, order, pictured
from core.mechanism.force import WITH_PROTOTYPES, forces, weights
from core.mechanism.macl import LabelPart, PairTerms, label_parts, label_shares, pair_terms, printed_forces
from core.mechanism.maps import LABELWISE, MACL, Batch, Maps, centroids, maps, pairs_csv, shares, table_csv
from core.mechanism.optimum import asked

__all__ = [
    "LABELWISE",
    "MACL",
    "WITH_PROTOTYPES",
    "Batch",
    "LabelPart",
    "Maps",
    "PairTerms",
    "asked",
    "centroids",
    "draw",
    "forces",
    "label_parts",
    "label_shares",
    "maps",
    "nearest",
    "order",
    "pair_terms",
    "pairs_csv",
    "pictured",
    "printed_forces",
    "shares",
    "table_csv",
    "weights",
]
