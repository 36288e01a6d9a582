"""Which encoder has embedded a part of an archive, known by its weights and the size of its images."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.encoder.identity import identity
from core.errors import MaclError
from core.files import write_atomic
from core.runs import Run
from core.runs.origin import look_of

if TYPE_CHECKING:
    from core.encoder.trained import Trained

FILE = "encoder.json"


@dataclass(frozen=True)
class Encoder:
    """An encoder.

    Attributes:
        id: Digest of its weights, of the size of its images and of how they are seen.
        dim: D, the embedding size.
        run: Name of the run it comes from; empty if it is of no run.
        path: Folder of that run.
        image_size: Side of its images, pixels.
        look: How they are seen: bands and stretch.
        classes: Labels of the run.
    """

    id: str
    dim: int
    run: str = ""
    path: str = ""
    image_size: int = 0
    look: str = ""
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: Run, network: Trained) -> Encoder:
        """The encoder of a run; `network` is what was read from it."""
        config = network.config
        return cls(
            identity(run, network),
            config.dim,
            run.id,
            str(run.path),
            config.image_size,
            look_of(run).text,
            tuple(run.classes()),
        )

    @classmethod
    def read(cls, folder: Path) -> Encoder:
        """The one of a folder; MaclError if it cannot be read."""
        try:
            fields = json.loads((folder / FILE).read_bytes())
            return cls(**fields | {"classes": tuple(fields["classes"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise MaclError(f"{folder / FILE} cannot be read ({error}): copy the archive again") from None

    def write(self, folder: Path) -> None:
        """Keep it."""
        write_atomic(folder / FILE, json.dumps(asdict(self), indent=2) + "\n")

    @property
    def name(self) -> str:
        """For people: the run, or the id."""
        return self.run or self.id
