"""Scores of a randomly ordered gallery, in closed form where there is one."""

import numpy as np

from core.metrics.ranking import Floats, Ints, make_task
from core.metrics.relevance import LEVELS, Galleries, Relevance, check_labels, discounts, galleries
from core.metrics.scores import CUT, MAP_CUT, METRICS, as_array, means, score

SHUFFLES = 20


def chance(
    y: object,
    protocol: str = "paper",
    queries: object | None = None,
    gallery: object | None = None,
    ideal: str = "gallery",
) -> dict[str, float]:
    """Expectation of `core.metrics.evaluate` when every gallery is shuffled: the 7 keys, deterministic.

    Exact for the paper's protocol. AP over m images with R positives has the expectation
    (R−1)/(m−1) + (m−R)·H_m/(m(m−1)); cut after k images, the same holds for k in place of m and the
    hypergeometric number of positives among the first k. A random order has the mean gain at every rank
    (nDCG), and the Jaccard index of a positive does not depend on its rank, so wAP is the mean J of the
    positives times AP@100. The mean of 20 seeded shuffles for `imbriaco` and for `ideal="retrieved"`.

    Arguments and errors as in `core.metrics.evaluate`.
    """
    labels = check_labels(as_array(y))
    task = make_task(len(labels), protocol, queries, gallery)
    if protocol == "paper" and ideal == "gallery":
        return _exact(galleries(Relevance(labels, task), task, CUT))
    rng = np.random.default_rng(0)
    size = len(task.gallery)
    runs = [
        means(
            score(
                lambda block: rng.random((block.stop - block.start, size)),
                labels,
                task,
                protocol,
                ideal,
            )
        )
        for _ in range(SHUFFLES)
    ]
    return {key: float(np.mean([run[key] for run in runs])) for key in METRICS}


def expected_precision(positives: Ints, images: Ints, k: int | None = None) -> Floats:
    """Expected AP of a random order (eqs. 11 and 14), 0 without positives.

    Args:
        positives: R (K,) positives in each gallery.
        images: m (K,) images in each gallery, ≥ 1.
        k: Only the first k ranks count.
    """
    r, m = positives.astype(np.float64), images.astype(np.float64)
    seen = images if k is None else np.minimum(images, k)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, images.max() + 1)))])
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1.0, images.max() + 1))])[seen]
    misses = images - positives
    # no positive among the first `seen`: C(m − R, seen) / C(m, seen)
    possible = misses >= seen
    log_none = (
        log_factorial[misses]
        + log_factorial[images - seen]
        - log_factorial[np.where(possible, misses - seen, 0)]
        - log_factorial[images]
    )
    some = 1.0 - np.where(possible, np.exp(np.where(possible, log_none, 0.0)), 0.0)
    mean_found = r * seen / m
    # E[AP | n ≥ 1 found] = (n − 1)/(k − 1) + (k − n)·H_k/(k(k − 1)) is linear in n; a single rank has AP 1
    others = np.maximum(seen - 1, 1)
    ap = (mean_found - some) / others + (seen * some - mean_found) * harmonic / (seen * others)
    return np.where(seen == 1, some, ap)


def _exact(facing: Galleries) -> dict[str, float]:
    """Expectations per kind of query, averaged over the queries that count."""
    m = np.maximum(facing.images, 1)  # an empty gallery has no positives and is left out below
    positives = facing.positives
    values = {
        key: expected_precision(positives[:, i], m, MAP_CUT if key == "map_sim" else None)
        for i, key in enumerate(LEVELS)
    }
    covered = np.concatenate([[0.0], np.cumsum(discounts(CUT))])[
        np.minimum(m, CUT)
    ]  # Σ of the discounts, (K,)
    values["ndcg_sim"] = facing.mean_shared * covered / np.where(positives[:, 0] > 0, facing.best_shared, 1.0)
    values["ndcg"] = facing.mean_jaccard * covered / np.where(positives[:, 0] > 0, facing.best_jaccard, 1.0)
    values["wap"] = facing.positive_jaccard * expected_precision(positives[:, 0], m, CUT)
    needed = dict.fromkeys(METRICS, 0) | {key: i for i, key in enumerate(LEVELS)}
    queries = np.bincount(facing.kind, minlength=len(m))  # (K,)
    result = {}
    for key in METRICS:
        weight = queries * (positives[:, needed[key]] > 0)
        result[key] = float(values[key] @ weight / weight.sum()) if weight.any() else float("nan")
    return result
