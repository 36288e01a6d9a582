"""The demo set that comes with the program: drawn scenes, laid out like a person's own folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.data import folder
from core.data.info import LABELS_17, DatasetInfo, Found
from core.data.prepared import Progress
from core.data.reading import READ, Reading
from core.data.source import File
from core.files import PROJECT

DEMO = DatasetInfo(
    name="demo",
    title="Demo scenes",
    summary="2,100 drawn scenes of 160 px with DLRSD's 17 labels; training sizes above 128 px enlarge them.",
    classes=LABELS_17,
    images=2100,
    train=0,
    val=0,
    terms="Drawn for this program: free to use.",
    where="the program's own repository, which holds it",
    home=PROJECT / "assets" / "demo",
)


def collect(files: Sequence[File], progress: Progress | None = None, reading: Reading = READ) -> Found:
    """As for a person's folder, but in the order of the image numbers: the sub-folders only group by scene.

    Raises:
        MaclError: As `core.data.folder.collect`.
    """
    found = folder.collect(files, progress, reading)
    order = sorted(range(len(found.files)), key=lambda i: found.files[i].stem)
    return replace(
        found,
        names=tuple(found.files[i].stem for i in order),
        files=tuple(found.files[i] for i in order),
        labels=found.labels[order],
        given=tuple(found.given[i] for i in order) if found.given else (),
    )
