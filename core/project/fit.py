"""UMAP itself (McInnes, Healy and Melville, 2018); importing this takes seconds."""

import io
from collections.abc import Callable

import numpy as np
import umap
from numpy.typing import NDArray

from core.project.plane import pca
from core.project.store import FEWEST, Umap

# Of a picture that begins with another: smaller steps leave more of it where it was, and the picture is as
# trustworthy (four losses on WHDLD, each begun with MulSupCon's picture).
RATE_FROM_PICTURE = 0.1

Progress = Callable[[int, int], None]


def fit(
    z: NDArray[np.float32], settings: Umap, start: NDArray[np.float64] | None, tell: Progress
) -> NDArray[np.float32]:
    """Places (N, dims) of embeddings z (N, D); the same ones for the same arguments on one machine.

    Args:
        z: Unit rows; the cosine decides who is a neighbour, as in retrieval.
        settings: Parameters.
        start: Places (N, dims) to begin with; None: the principal components. Beginning with the picture of
            another run keeps what both have in common in the same place (Kobak and Linderman, 2021, show how
            much of a picture its beginning decides), while the neighbours are those of this space.
        tell: Told how many of all epochs are done.
    """
    if len(z) < FEWEST:
        return pca(z, settings.dims).astype(np.float32)
    model = umap.UMAP(
        n_components=settings.dims,
        n_neighbors=min(settings.n_neighbors, len(z) - 1),
        min_dist=settings.min_dist,
        metric="cosine",
        init=(pca(z, settings.dims) if start is None else start).astype(np.float32),
        learning_rate=1.0 if start is None else RATE_FROM_PICTURE,
        random_state=settings.seed,
        n_jobs=1,  # what a seed asks for
        verbose=True,
        tqdm_kwds={"file": _Bar(tell), "bar_format": "{n_fmt}/{total_fmt}\n", "disable": False},
    )
    return np.asarray(model.fit_transform(z), dtype=np.float32)


class _Bar(io.StringIO):
    """Takes what a progress bar writes."""

    def __init__(self, tell: Progress) -> None:
        super().__init__()
        self._tell = tell

    def write(self, text: str) -> int:
        done, slash, total = text.strip().partition("/")
        if slash and done.isdecimal() and total.isdecimal():
            self._tell(int(done), int(total))
        return len(text)
