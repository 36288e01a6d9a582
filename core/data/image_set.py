"""Which images: one value that says what to prepare, show, examine and train on."""

import json
from dataclasses import dataclass, replace
from typing import Self

from core.data import sets
from core.data.info import Dataset
from core.data.prepared import Progress, broken_message
from core.data.reading import READ, Reading
from core.data.recall import Which, is_remembered, recalled
from core.data.splits import split
from core.errors import MaclError


@dataclass(frozen=True, slots=True)
class ImageSet:
    """The images of a data set at one size.

    Attributes:
        name: Key of `DATASETS`.
        root: Folder or archive; None: the default place.
        size: Training size in pixels.
        skip_broken: Whether images that cannot be read are left out.
        reading: How its tables and images are read.
    """

    name: str
    root: str | None = None
    size: int = 128
    skip_broken: bool = False
    reading: Reading = READ

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
            reading=self.reading,
            only_prepared=only_prepared,
            progress=progress,
        )

    def opened(self, seed: int = 0) -> Dataset:
        """As `load` of what was loaded before, whatever the seed; reads no table and no image: for pages.

        Raises:
            MaclError: If nobody has loaded it, or it has changed since; if it has broken images.
        """
        known = sets.dataset_info(self.name)
        kept = recalled(self._which(), self.fingerprint())
        if kept is None:
            raise sets.not_prepared(known, self.size)
        data, its_seed = kept
        if data.skipped and not self.skip_broken:
            raise MaclError(broken_message(data.skipped, len(data) + len(data.skipped)))
        if seed == its_seed:
            return data
        return replace(data, splits=split(data.labels, data.names, known, seed, data.given, data.whole))

    def can_open(self, files: str | None = None) -> bool:
        """Whether `opened` finds these images as they are now; `files` is their fingerprint, where known."""
        return is_remembered(self._which(), self.fingerprint() if files is None else files)

    def _which(self) -> Which:
        return sets.which(self.name, self.root, self.size, self.reading)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(**fields | {"reading": Reading(**fields["reading"])})

    def to_json(self) -> str:
        """A single command-line argument for another process."""
        reading = self.reading.model_dump(exclude_defaults=True)
        return json.dumps(
            {
                "name": self.name, "root": self.root, "size": self.size,
                "skip_broken": self.skip_broken, "reading": reading,
            }
        )  # fmt: skip

    def is_prepared(self) -> bool:
        """As `core.data.is_prepared`."""
        return sets.is_prepared(self.name, self.root, self.size, self.reading)

    def fingerprint(self) -> str:
        """As `core.data.fingerprint`."""
        return sets.fingerprint(self.name, self.root)
