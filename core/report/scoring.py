"""Score a finished run again: for metrics that it lacks, and in a search of its whole data set."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from core import metrics
from core.errors import MaclError
from core.files import lock, unlock
from core.report.rows import flaw
from core.runs import Run, contents, without_nan

SAME = 1e-6  # a saved value and that of the saved embeddings agree to this, on any machine
AT_ONCE = 64  # images read from disk and embedded at once

Scores = dict[str, dict[str, float | None]]


def again(run: Run, protocol: str = "paper") -> Scores:
    """`metrics`, `chance` and `oracle` of a run from its saved test embeddings; None if no image can query.

    Raises:
        MaclError: If it has no readable embeddings.
    """
    z, y = run.embeddings()
    return {
        "metrics": without_nan(metrics.evaluate(z, y, protocol)),
        "chance": without_nan(metrics.chance(y, protocol)),
        "oracle": without_nan(metrics.oracle(y, protocol)),
    }


def complete(run: Run) -> list[str]:
    """Add the metrics that scores.json lacks, from the saved embeddings; existing values stay.

    A damaged file is written anew, without what only the training knew, such as its time.

    Returns:
        Keys of the metrics added.

    Raises:
        MaclError: If the run came with the product, has not finished, or is being trained again; or if an
            existing value is not that of the embeddings.
    """
    if run.recorded:
        raise MaclError(f"{run.id} came with the product and is never written to: train it here")
    if run.state != "finished":
        raise MaclError(f"{run.id} is {run.state}, and only a finished run has scores: resume it to its end")
    if not lock(run.path / "lock"):
        raise MaclError(f"{run.id} is being trained again: wait for its end")
    try:
        computed = again(run)
        if (saved := _sound(run)) is None:
            anew = {**computed, "images": len(run.embeddings()[0])}
            run.mark("scores.json", json.dumps(anew, indent=2) + "\n")
            return [*metrics.METRICS]
        for part, values in computed.items():
            for key, value in values.items():
                if key in saved[part] and not _same(saved[part][key], value):
                    raise MaclError(
                        f"{run.id} was left as it is: in scores.json {key} in {part} is {saved[part][key]}, "
                        f"by its embeddings {value}; copy the run again, or train it again"
                    )
        added = [key for key in metrics.METRICS if any(key not in saved[part] for part in computed)]
        if added:
            merged = saved | {part: values | saved[part] for part, values in computed.items()}
            run.mark("scores.json", json.dumps(merged, indent=2) + "\n")
        return added
    finally:
        unlock(run.path / "lock")


def _sound(run: Run) -> dict[str, Any] | None:
    """The saved scores; None where they are damaged, so that they have to be written anew."""
    path = run.path / "scores.json"
    try:
        saved = contents.parsed(path.read_bytes(), path)
    except MaclError:
        return None
    contents.future(saved, path)  # what a newer version wrote is no damage
    return saved if isinstance(saved, dict) and not flaw(saved) else None


def _same(saved: float | None, computed: float | None) -> bool:
    if saved is None or computed is None:
        return saved is computed
    return abs(saved - computed) <= SAME


def over_all(run: Run, progress: Callable[[int, int, str], None] | None = None) -> dict[str, Any]:
    """The scores of a run if its test images search all other images: training, validation and test.

    Not the paper's protocol: the network was trained on most of what it finds. All images are embedded again,
    so that queries and gallery go through the same network on the same machine.

    Args:
        run: A run with its weights.
        progress: Called with images done, images in all, and what is being done.

    Returns:
        As `again`, and `gallery`, `queries` (number of query images), `images` (number searched).

    Raises:
        MaclError: If the run has no weights, or its images are gone or have changed.
    """
    from core.encoder import trained  # torch: 2 s

    config, splits = run.config, run.splits()
    network = trained.read(run)
    data = config.images.load(config.seed, progress=progress)
    row_of = {name: row for row, name in enumerate(data.names)}
    names = [name for part in ("train", "val", "test") for name in splits.get(part, [])]
    queries = np.arange(len(names) - len(splits.get("test", [])), len(names))
    y = np.asarray(data.labels)[[row_of.get(name, 0) for name in names]] > 0  # (N, L)
    tested = np.array_equal(y[queries], run.embeddings()[1] > 0)
    if not names or not tested or not row_of.keys() >= set(names):
        raise MaclError(
            f"{config.dataset} does not hold the images and labels that {run.id} was trained on: "
            f"put them back to {config.data_root or 'where they were'}"
        )
    parts = []
    for start in range(0, len(names), AT_ONCE):
        rows = [row_of[name] for name in names[start : start + AT_ONCE]]
        parts.append(network.embed(data.images[rows]))
        if progress:
            progress(start + len(rows), len(names), "embedding all images")
    z = np.concatenate(parts)  # (N, D)
    return {
        "gallery": "all",
        "queries": len(queries),
        "images": len(names),
        "metrics": without_nan(metrics.evaluate(z, y, queries=queries)),
        "chance": without_nan(metrics.chance(y, queries=queries)),
        "oracle": without_nan(metrics.oracle(y, queries=queries)),
    }
