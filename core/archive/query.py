"""Questions to an archive: by an image file, with the encoder of a run and no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core import runs
from core.archive import folder
from core.archive.adapter import Archive
from core.archive.encoder import Encoder
from core.data.decode import decode, quiet_decoding, reason
from core.data.look import Look
from core.data.prepared import prepared_size
from core.errors import MaclError
from core.runs import Run

if TYPE_CHECKING:
    from core.encoder.trained import Trained


@dataclass(frozen=True, eq=False)
class Asked:
    """The part of an archive that is searched, and the network whose embeddings it holds."""

    archive: Archive
    network: Trained

    def embed(self, image: Path) -> np.ndarray:
        """Embedding (D,) of an image file; MaclError if it cannot be read."""
        encoder = self.archive.encoder
        try:
            data = image.expanduser().read_bytes()
            with quiet_decoding():
                pixels = decode(data, prepared_size(encoder.image_size), Look.of(encoder.look))
        except Exception as error:  # readers raise almost anything on a damaged file
            raise MaclError(f"{image}: {reason(error)}: choose another image") from None
        z: np.ndarray = self.network.embed(pixels[None])[0]
        return z


def asked(uri: str | Path, run: str, root: Path) -> Asked:
    """What a run searches: the part of the archive that has been embedded with the very same encoder.

    Args:
        uri: The archive.
        run: As `core.runs.find` takes it, or the id of an encoder; empty where there is only one.
        root: Folder of the runs.

    Raises:
        MaclError: If the run, or its weights, are gone, or it is none of the archive's encoders (any more).
    """
    from core.encoder import trained

    found = folder.parts(uri)
    if not run and len(found) > 1:
        raise MaclError(f"{uri} has several encoders: choose one of {_names(found)} with --run")
    known = [part.encoder for part in found if not run or part.encoder.id == run]
    target = _run_of(known[0], root) if known else runs.find(run, root)
    network = trained.read(target)
    now = Encoder.of(target, network)
    for part in found:
        if part.encoder.id == now.id and (not known or part.encoder == known[0]):
            return Asked(part, network)
    if before := known or [part.encoder for part in found if part.encoder.run == target.id]:
        raise MaclError(
            f"{target.id} is another encoder now than in {uri} ({differs(now, before[-1])}): put it back, or "
            f"embed the images again with `macl archive add {uri} --run {target.id}`"
        )
    raise MaclError(
        f"{uri} has no embeddings of {target.id} (it has those of {_names(found)}): "
        f"add them with `macl archive add {uri} --run {target.id}`"
    )


def of_run(uri: str | Path, run: str) -> list[Archive]:
    """The parts of an archive that carry this name of a run, its ending, or an id of an encoder.

    Raises:
        MaclError: If there is none.
    """
    found = folder.parts(uri)
    name = Path(run).name
    exact = [part for part in found if name in (part.encoder.run, part.encoder.id)]
    if fitting := exact or [part for part in found if name and part.encoder.run.endswith(name)]:
        return fitting
    raise MaclError(f"{uri} has no embeddings of {run}: choose one of {_names(found)} with --run")


def differs(now: Encoder, then: Encoder) -> str:
    """In what two encoders differ."""
    if now.image_size != then.image_size:
        return f"images of {now.image_size} pixels, not {then.image_size}"
    return "its images are seen differently" if now.look != then.look else "its weights have changed"


def below(sources: Sequence[str], where: str | None) -> str:
    """The condition that images lie in these files or folders, and meet another."""
    names = [str(Path(source).expanduser().absolute()).replace("'", "''") for source in sources]
    parts = [f"source = '{name}' OR starts_with(source, '{name}/')" for name in names]
    conditions = [" OR ".join(parts)] if parts else []
    return " AND ".join(f"({one})" for one in [*conditions, *([where] if where else [])])


def _run_of(encoder: Encoder, root: Path) -> Run:
    """The run of an encoder: where it was, or of the same name among the runs of this machine."""
    there = Run(Path(encoder.path))
    return there if (there.path / "config.json").is_file() else runs.find(encoder.run, root)


def _names(found: Sequence[Archive]) -> str:
    return ", ".join(part.encoder.name for part in found)


def combined(wanted: np.ndarray, unwanted: np.ndarray) -> np.ndarray:
    """The query (D,) of several examples: the mean of the wanted less the mean of the unwanted, of length 1.

    Rocchio's feedback, with both means of the same weight.

    Args:
        wanted: Their embeddings (n, D), at least one.
        unwanted: Likewise (m, D), or none.

    Raises:
        MaclError: If nothing is left.
    """
    z = wanted.astype(np.float64).mean(axis=0)
    if len(unwanted):
        z = z - unwanted.astype(np.float64).mean(axis=0)
    length = float(np.linalg.norm(z))
    if length < 1e-6:
        raise MaclError("the wanted and the unwanted examples cancel each other: take one of them away")
    query: np.ndarray = (z / length).astype(np.float32)
    return query


@dataclass(frozen=True)
class Filter:
    """Which images are searched, as a page says it.

    Attributes:
        labels: At least one of them is predicted; none: any.
        source: Is in the path, in small or capital letters.
        box: West, south, east and north, degrees; west may be more than east, across the date line.
    """

    labels: tuple[str, ...] = ()
    source: str = ""
    box: tuple[float, float, float, float] | None = None

    @property
    def where(self) -> str | None:
        """As a condition; None for all images."""
        parts = []
        if self.labels:
            parts.append(" OR ".join(f"array_has(labels, {quoted(label)})" for label in self.labels))
        if self.source.strip():
            parts.append(f"strpos(lower(source), {quoted(self.source.strip().lower())}) > 0")
        if self.box is not None:
            west, south, east, north = self.box
            across = "AND" if west <= east else "OR"
            parts.append(
                f"(lon >= {west!r} {across} lon <= {east!r}) AND lat >= {south!r} AND lat <= {north!r}"
            )
        return " AND ".join(f"({part})" for part in parts) or None


def quoted(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"
