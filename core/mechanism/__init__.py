"""What a loss does with one batch, in numpy: MACL's terms, pair weights, forces and optima of all losses.

The formulas are those of `core.losses`, written a second time without torch because a page must not load it;
the tests compare the two. A loss that has no numpy form, such as a person's own, is asked by `ask`: a process
runs it (`worker`, `autograd`) and the page waits. The built-in ones need not wait. A warm process would do
(`python -m tests.bench.mechanism`, two busy cores, 128 images, all losses: median 36 ms, p95 84 ms; here 17
and 290 ms), but its first answer takes 5.5 s, and torch and the losses 620 MB. The page draws at once.
"""

from core.mechanism.batch import draw, nearest, order, pictured
from core.mechanism.force import MACL, WITH_PROTOTYPES, factors, forces, written
from core.mechanism.macl import LabelPart, PairTerms, label_parts, label_shares, pair_terms, printed_forces
from core.mechanism.maps import LABELWISE, Answer, Batch, Maps, centroids, maps, pairs_csv, shares, table_csv
from core.mechanism.nested import compared, is_nested, nested_optimum
from core.mechanism.optimum import optimal_similarities

__all__ = [
    "LABELWISE",
    "MACL",
    "WITH_PROTOTYPES",
    "Answer",
    "Batch",
    "LabelPart",
    "Maps",
    "PairTerms",
    "centroids",
    "compared",
    "draw",
    "factors",
    "forces",
    "is_nested",
    "label_parts",
    "label_shares",
    "maps",
    "nearest",
    "nested_optimum",
    "optimal_similarities",
    "order",
    "pair_terms",
    "pairs_csv",
    "pictured",
    "printed_forces",
    "shares",
    "table_csv",
    "written",
]
