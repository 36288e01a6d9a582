"""Prepared images as small JPEGs that travel inside a page's data, each encoded once."""

import base64
import io

import numpy as np
from PIL import Image

from core.data import Dataset

EDGE = 224  # pixels; a tile is hardly ever drawn larger
QUALITY = 88
KEPT = 4096  # encoded images held at once, about 50 MB


class Thumbnails:
    """Images of one data set by name.

    Args:
        dataset: The prepared data set; its image array stays mapped, not read.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.classes = dataset, dataset.classes
        self._rows = {name: row for row, name in enumerate(dataset.names)}
        self._encoded: dict[str, str] = {}

    def pixels(self, name: str) -> np.ndarray | None:
        """The prepared image as seen, (P, P, 3) uint8; None if the data set has none of that name."""
        return self.dataset.picture(self._rows[name]) if name in self._rows else None

    def uri(self, name: str) -> str:
        """The image as a data URI; empty if the data set has none of that name."""
        if name not in self._rows:
            return ""
        encoded = self._encoded.get(name)
        if encoded is None:
            encoded = self._encoded[name] = encode(self.dataset.picture(self._rows[name]))
            if len(self._encoded) > KEPT:  # the oldest goes; another tab may have taken it already
                self._encoded.pop(next(iter(self._encoded)), None)
        return encoded


def encode(image: np.ndarray) -> str:
    """A (P, P, 3) uint8 image as JPEG of at most EDGE pixels, as a data URI."""
    picture = Image.fromarray(image)
    picture.thumbnail((EDGE, EDGE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
