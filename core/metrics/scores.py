"""Eqs. 11–18 as functions of the ranked relevance; one ranking serves them all."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from core.metrics.ranking import Floats, Task, cosine_scores, each_block, make_task, ranked, unit_rows
from core.metrics.relevance import (
    LEVELS,
    Relevance,
    check_labels,
    discounts,
    galleries,
)

METRICS: dict[str, str] = {
    "map_sim": "mAP(sim)@5000",
    "ndcg_sim": "nDCG(sim)@100",
    "map_easy": "mAP Easy@0.4",
    "map_medium": "mAP Medium@0.6",
    "map_hard": "mAP Hard@0.8",
    "ndcg": "nDCG@100",
    "wap": "wAP@100",
}
MAP_CUT = 5000  # map_sim looks at this many images
CUT = 100  # nDCG and wAP at this many

IDEALS = ("gallery", "retrieved")
IMBRIACO_EPS = 1e-6  # added to the denominators of nDCG and wAP in the published code


def evaluate(
    z: object,
    y: object,
    protocol: str = "paper",
    queries: object | None = None,
    gallery: object | None = None,
    ideal: str = "gallery",
) -> dict[str, float]:
    """Mean of each metric over its queries: the 7 keys of METRICS, fractions of 1.

    Args:
        z: Embeddings (N, D) of any real type, rows of any length; array or torch tensor.
        y: Labels (N, L), 0 or 1.
        protocol: `paper`, every image queries the others; `imbriaco` (Imbriaco et al., Toward Multilabel
            Image Retrieval for Remote Sensing, 2021, as in their code): disjoint queries and gallery,
            trapezoid AP, queries without a Hard match left out of all three levels, nDCG and wAP on the
            number of shared labels (so wAP exceeds 1), nDCG's ideal within the first 100.
        queries: Indices (Q,) of the images that query; by default as the protocol says.
        gallery: Indices (G,) of the images searched; by default as the protocol says.
        ideal: What nDCG divides by: the best order of the whole `gallery`, or of the `retrieved` 100.

    Raises:
        ValueError: Shapes that disagree, values that are not finite or not 0/1, unknown option, bad indices.
    """
    return means(per_query(z, y, protocol, queries, gallery, ideal))


def per_query(
    z: object,
    y: object,
    protocol: str = "paper",
    queries: object | None = None,
    gallery: object | None = None,
    ideal: str = "gallery",
) -> dict[str, Floats]:
    """Each metric of each query (Q,), nan where it is left out; arguments and errors as in `evaluate`."""
    unit = unit_rows(as_array(z))
    labels = check_labels(as_array(y), rows=len(unit))
    task = make_task(len(unit), protocol, queries, gallery)
    return score(cosine_scores(unit, task), labels, task, protocol, ideal)


def oracle(
    y: object,
    protocol: str = "paper",
    queries: object | None = None,
    gallery: object | None = None,
    ideal: str = "gallery",
) -> dict[str, float]:
    """The metrics of a ranking by Jaccard index, ties in gallery order; arguments as in `evaluate`.

    The best possible value of the three levels, `map_sim` and `ndcg`, and nearly that of `ndcg_sim`. No bound
    for `wap`: eq. 18 gives more to a single exact match followed by irrelevant images.
    """
    labels = check_labels(as_array(y))
    task = make_task(len(labels), protocol, queries, gallery)
    relevance = Relevance(labels, task)

    def jaccard(block: slice) -> Floats:
        return relevance.jaccard[relevance.codes(relevance.query_set[block])][:, relevance.gallery_set]

    return means(score(jaccard, labels, task, protocol, ideal))


def means(values: dict[str, Floats]) -> dict[str, float]:
    """Mean over the queries that are not left out; nan if none remain."""
    counted = {key: row[~np.isnan(row)] for key, row in values.items()}
    return {key: float(row.mean()) if row.size else float("nan") for key, row in counted.items()}


def score(
    scores: Callable[[slice], Floats], y: NDArray[np.uint8], task: Task, protocol: str, ideal: str
) -> dict[str, Floats]:
    """Each metric of each query (Q,) when the gallery is ranked by `scores`.

    Args:
        scores: Returns the scores (b, G) in −1 … 1 of a slice of the queries; they may be overwritten.
        y: Labels (N, L).
        task: Queries and gallery.
        protocol: As in `evaluate`.
        ideal: As in `evaluate`.
    """
    if ideal not in IDEALS:
        raise ValueError(f"need ideal {' or '.join(IDEALS)}, got {ideal!r}")
    published = protocol == "imbriaco"
    relevance = Relevance(y, task)
    facing = galleries(relevance, task, CUT)
    result = {key: np.full(len(task.queries), np.nan) for key in METRICS}
    if len(task.gallery) == 0:
        return result
    best = facing.best_shared[facing.kind], facing.best_jaccard[facing.kind]  # (Q,), (Q,)

    def rank_and_score(block: slice, values: Floats) -> None:
        own = task.self_column[block]
        inside = np.flatnonzero(own >= 0)
        codes = relevance.codes(relevance.query_set[block])  # (b, S)
        levels = relevance.level[codes].take(relevance.gallery_set, axis=1)  # (b, G)
        levels[inside, own[inside]] = 0  # the query itself is relevant to nothing
        level, first = ranked(values, own, levels, CUT)  # (b, G), (b, k), best first
        for i, key in enumerate(LEVELS, start=1):
            similar = key == "map_sim"
            hits = level[:, :MAP_CUT] >= i if similar else level >= i
            result[key][block] = average_precision(hits, trapezoid=published and not similar)

        top = np.take_along_axis(codes, relevance.gallery_set[first], axis=1)  # (b, k)
        top[level[:, :CUT] == 0] = 0  # the code of two empty sets, which gains nothing
        best_shared, best_jaccard = (row[block] if ideal == "gallery" else None for row in best)
        shared = relevance.shared_gain[top]
        result["ndcg_sim"][block] = ndcg(shared, best_shared)
        if published:
            result["ndcg"][block] = ndcg(shared, None, IMBRIACO_EPS)
            result["wap"][block] = weighted_precision(relevance.overlap[top], IMBRIACO_EPS)
        else:
            result["ndcg"][block] = ndcg(relevance.jaccard_gain[top], best_jaccard)
            result["wap"][block] = weighted_precision(relevance.jaccard[top])

    each_block(task, scores, rank_and_score)
    positives = facing.positives[facing.kind]  # (Q, 4)
    for i, key in enumerate(LEVELS):
        level_needed = 3 if published and key != "map_sim" else i
        result[key][positives[:, level_needed] == 0] = np.nan
    for key in ("ndcg_sim", "ndcg", "wap"):
        result[key][positives[:, 0] == 0] = np.nan
    return result


def average_precision(hits: NDArray[np.bool_], trapezoid: bool = False) -> Floats:
    """AP of each row (b,), eqs. 11 and 14; 0 for a row without a hit.

    Args:
        hits: (b, k) whether the image at each rank is a positive.
        trapezoid: Average the precision before and after each positive (the code of revisited Oxford).
    """
    positives = np.cumsum(hits, axis=1, dtype=np.int32)  # (b, k) positives up to and with each rank
    total = positives[:, -1].copy()
    rank = np.arange(1, hits.shape[1] + 1)
    positives *= hits
    area = np.vecdot(positives, 1.0 / rank)  # (b,) Σ over positives of P@rank
    if trapezoid:
        earlier = np.concatenate([[0.0], 1.0 / rank[:-1]])  # P before rank n: (found − 1)/(n − 1)
        # and 1 at the first rank
        before = np.vecdot(positives, earlier) - np.vecdot(hits, earlier) + hits[:, 0]
        area = (area + before) / 2
    return np.asarray(area / np.maximum(total, 1))


def ndcg(gain: Floats, best: Floats | None, eps: float = 0.0) -> Floats:
    """NDCG of each row (b,), eqs. 12 and 15; 0 where the ideal is 0.

    Args:
        gain: (b, k) gain at each rank.
        best: (b,) the ideal DCG; None takes the best order of the given gains.
        eps: Added to the ideal.
    """
    discount = discounts(gain.shape[1])
    dcg = np.vecdot(gain, discount)
    if best is None:
        best = np.vecdot(-np.sort(-gain, axis=1), discount)
    return np.asarray(dcg / np.where(best > 0, best + eps, 1.0))


def weighted_precision(weight: Floats, eps: float = 0.0) -> Floats:
    """Weighted AP of each row (b,), eq. 18: mean relevance up to each positive, averaged over the positives.

    Args:
        weight: (b, k) relevance at each rank (J, or the number of shared labels), 0 for what shares nothing.
        eps: Added to the number of positives.
    """
    hits = weight > 0
    mean = np.cumsum(weight, axis=1) / np.arange(1, weight.shape[1] + 1)  # (b, k)
    total = hits.sum(1)
    return np.asarray((mean * hits).sum(1) / np.where(total > 0, total + eps, 1.0))


def as_array(values: object) -> object:
    """A torch tensor of any device and type as an array; anything else unchanged."""
    if hasattr(values, "detach"):
        return values.detach().cpu().double().numpy()
    return values
