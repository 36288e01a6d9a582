"""What a loss does with one batch, in numpy: MACL's terms, pair weights, forces and optima of all losses.

The formulas are those of `core.losses`, written a second time without torch because a page must not load it;
the tests compare the two. The losses themselves could answer from a process, as the embedder does. Once warm
that is fast enough (`python -m tests.bench.mechanism`, two busy cores, 128 images, all 13 losses: median
39 ms, p95 102 ms; here 12 and 178 ms), but from a cold start it is not: the first answer takes 2.4 to 5.7 s
and 640 MB for torch and the losses alone, 13 to 17 s and 770 MB in the embedder with its networks, where it
would also wait behind images. The page draws at once.
"""

from core.mechanism.batch import draw, nearest, order, pictured
from core.mechanism.force import MACL, WITH_PROTOTYPES, factors, forces
from core.mechanism.macl import LabelPart, PairTerms, label_parts, label_shares, pair_terms, printed_forces
from core.mechanism.maps import LABELWISE, Batch, Maps, centroids, maps, pairs_csv, shares, table_csv
from core.mechanism.optimum import optimal_similarities

__all__ = [
    "LABELWISE",
    "MACL",
    "WITH_PROTOTYPES",
    "Batch",
    "LabelPart",
    "Maps",
    "PairTerms",
    "centroids",
    "draw",
    "factors",
    "forces",
    "label_parts",
    "label_shares",
    "maps",
    "nearest",
    "optimal_similarities",
    "order",
    "pair_terms",
    "pairs_csv",
    "pictured",
    "printed_forces",
    "shares",
    "table_csv",
]
