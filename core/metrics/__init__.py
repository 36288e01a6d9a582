"""The seven retrieval metrics (paper, section 4.3, eqs. 11–18), with chance and oracle.

Every query ranks its gallery, itself left out, by cosine similarity. Scores that agree to 1.4e-14 are tied,
and ties stay in gallery order. A query without a positive in its gallery is left out (nan per query); one
whose positives all lie beyond the first k counts 0. A mean over no queries is nan. Fractions of 1.
"""

from core.metrics.expected import chance
from core.metrics.labelwise import by_label_count, by_rarity, per_label, rarity_groups
from core.metrics.scores import METRICS, evaluate, oracle, per_query

__all__ = [
    "METRICS",
    "by_label_count",
    "by_rarity",
    "chance",
    "evaluate",
    "oracle",
    "per_label",
    "per_query",
    "rarity_groups",
]
