"""Pictures of embedding spaces: PCA at once, UMAP from a process of its own, cached by content.

UMAP is seeded: the same embeddings, parameters and seed give the same picture on the same machine; another
processor or library version may give another one. Only `core.projection.fit` imports umap; pages read what
the process of `core.projection.worker` has written to the cache.
"""

from core.projection.plane import align, pca
from core.projection.store import Step, Umap, layout, progress, request, retry, there

__all__ = ["Step", "Umap", "align", "layout", "pca", "progress", "request", "retry", "there"]
