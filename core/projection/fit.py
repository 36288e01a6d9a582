"""UMAP itself (McInnes, Healy and Melville, 2018); importing this takes seconds."""

import io
from collections.abc import Callable

import numpy as np
import umap
from numpy.typing import NDArray

from core.errors import MaclError
from core.projection.plane import pca
from core.projection.store import FEWEST, Umap

# Learning rate of a picture that starts from another: smaller steps leave more of it in place, and the result
# is as trustworthy (four losses on WHDLD, each started from MulSupCon's picture).
RATE_FROM_PICTURE = 0.1
LEAST_SPREAD = 1e-6  # of the places on an axis; less is rounding

Progress = Callable[[int, int], None]

# umap would compile its functions anew in every process, for ten seconds: keep them beside its code, where
# pynndescent's and a few of its own are kept.
for _module in (umap.umap_, umap.layouts, umap.utils):
    for _function in vars(_module).values():
        if hasattr(_function, "enable_caching"):
            _function.enable_caching()


def fit(
    z: NDArray[np.float32], settings: Umap, start: NDArray[np.float64] | None, tell: Progress
) -> NDArray[np.float32]:
    """Places (N, dims) of embeddings z (N, D); the same ones for the same arguments on one machine.

    Args:
        z: Unit rows; neighbours are found by cosine, as in retrieval.
        settings: Parameters.
        start: Places (N, dims) to start from; None: the principal components. Starting from the picture of
            another run keeps what both have in common in the same place (Kobak and Linderman, 2021, show how
            much of a picture its start decides), while the neighbours are those of this space.
        tell: Called with the epochs done and their total.

    Raises:
        MaclError: If UMAP ends without a place for each image.
    """
    principal = pca(z, settings.dims)
    if (
        len(z) < FEWEST or np.ptp(principal, axis=0).max() < LEAST_SPREAD
    ):  # all in one place: nothing to lay out
        return principal.astype(np.float32)
    initial = principal if start is None or np.ptp(start, axis=0).max() < LEAST_SPREAD else start
    model = umap.UMAP(
        n_components=settings.dims,
        n_neighbors=min(settings.n_neighbors, len(z) - 1),
        min_dist=settings.min_dist,
        metric="cosine",
        init=_spread(initial, settings.seed).astype(np.float32),
        learning_rate=1.0 if start is None else RATE_FROM_PICTURE,
        random_state=settings.seed,
        n_jobs=1,  # required for a seeded result
        verbose=True,
        tqdm_kwds={"file": _Bar(tell), "bar_format": "{n_fmt}/{total_fmt}\n", "disable": False},
    )
    places = np.asarray(model.fit_transform(z), dtype=np.float32)
    if not np.isfinite(places).all():
        raise MaclError("UMAP gave no places for this space: choose PCA, or other parameters of UMAP")
    return places


def _spread(places: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Add a little noise to an axis without spread: UMAP divides by the spread of each axis."""
    reach = np.ptp(places, axis=0)
    noise = np.random.default_rng(seed).normal(scale=1e-3 * reach.max(), size=places.shape)
    return np.where(reach > LEAST_SPREAD * reach.max(), places, places + noise)


class _Bar(io.StringIO):
    """Reads progress from what a progress bar writes."""

    def __init__(self, tell: Progress) -> None:
        super().__init__()
        self._tell = tell

    def write(self, text: str) -> int:
        done, slash, total = text.strip().partition("/")
        if slash and done.isdecimal() and total.isdecimal():
            self._tell(int(done), int(total))
        return len(text)
