"""Which images: one value that says what to prepare, show, examine and train on."""

import json
from dataclasses import asdict, dataclass
from typing import Self

from core.data import sets
from core.data.info import Dataset
from core.data.prepared import Progress


@dataclass(frozen=True, slots=True)
class ImageSet:
    """The images of a data set at one size.

    Attributes:
        name: Key of `DATASETS`.
        root: Folder or archive; None: the default place.
        size: Training size in pixels.
        skip_broken: Whether images that cannot be read are left out.
    """

    name: str
    root: str | None = None
    size: int = 128
    skip_broken: bool = False

    def load(
        self, seed: int = 0, *, only_prepared: bool = False, progress: Progress | None = None
    ) -> Dataset:
        """As `core.data.load`, with the split of this seed."""
        return sets.load(
            self.name,
            self.root,
            image_size=self.size,
            seed=seed,
            skip_broken=self.skip_broken,
            only_prepared=only_prepared,
            progress=progress,
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """A single command-line argument for another process."""
        return json.dumps(asdict(self))

    def is_prepared(self) -> bool:
        """As `core.data.is_prepared`."""
        return sets.is_prepared(self.name, self.root, self.size)

    def fingerprint(self) -> str:
        """As `core.data.fingerprint`."""
        return sets.fingerprint(self.name, self.root)
