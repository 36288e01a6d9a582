"""What is known of a data set before and after it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.data.source import File

# The 17 labels shared by DLRSD, the UC Merced multi-label table and ML-AID; mask value 1 is the first.
LABELS_17 = (
    "airplane",
    "bare soil",
    "buildings",
    "cars",
    "chaparral",
    "court",
    "dock",
    "field",
    "grass",
    "mobile home",
    "pavement",
    "sand",
    "sea",
    "ship",
    "tanks",
    "trees",
    "water",
)


@dataclass(frozen=True)
class Download:
    """A stable address with a published checksum.

    Attributes:
        url: Where the archive is.
        filename: Its file name on disk.
        algorithm: Name of the checksum for `hashlib`: "sha256" or "md5".
        digest: The published checksum, hexadecimal.
        note: What the archive lacks; empty if it is complete.
    """

    url: str
    filename: str
    algorithm: str
    digest: str
    note: str = ""


@dataclass(frozen=True)
class DatasetInfo:
    """One data set as the paper (Tables 2 and 3) and its authors describe it.

    Attributes:
        name: Key of `DATASETS`.
        title: The name people know it by.
        summary: One plain sentence.
        classes: Label names in column order; empty if the person's own table names them.
        images: Number of images when complete; 0 if it can be any.
        train, val: Fixed sizes of these splits, the rest is the test split; 0 means 70/10/20 %.
        terms: What the images may be used for.
        where: Where to get it.
        download: Address with checksum, if one is known.
        home: Its folder, if it comes with the program.
    """

    name: str
    title: str
    summary: str
    classes: tuple[str, ...]
    images: int
    train: int
    val: int
    terms: str
    where: str
    download: Download | None = None
    home: Path | None = None

    @property
    def labels(self) -> int:
        """Number of labels L; 0 if the person's own table decides."""
        return len(self.classes)

    @property
    def test(self) -> int:
        """Size of the test split when complete; 0 if it can be any."""
        return self.images - self.train - self.val if self.train else self.images // 5


@dataclass(frozen=True)
class Found:
    """Images and labels of one data set as found on disk, matched but not decoded.

    Attributes:
        classes: Label names, column order of `labels`.
        names: Unique name of each image, ascending.
        files: The image of each name.
        labels: (N, L) uint8; a row of zeros is an image without a label.
        labels_from: What the labels were read from, in words.
        without_row: Images the labels say nothing about; they count as unlabelled.
        without_image: Rows of the table whose image is missing.
        broken: Image names whose label could not be read (a damaged mask), with the reason.
        notes: Decisions on the way that the person may want to know of.
        several_rows: Images with several rows, whose labels were joined.
        problems: What must be fixed in the labels before they can be used.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    files: tuple[File, ...]
    labels: np.ndarray
    labels_from: str
    without_row: tuple[str, ...] = ()
    without_image: tuple[str, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    several_rows: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set ready for training.

    Attributes:
        name: Key of `DATASETS`.
        images: (N, P, P, 3) uint8 RGB, memory-mapped read-only; P as `prepared.prepared_size` says.
        labels: (N, L) uint8 in {0, 1}, every row with at least one label.
        classes: L label names.
        names: N unique image names.
        splits: "train", "val", "test" to ascending int64 row numbers; every row is in exactly one.
        unlabelled: Number of images left out because they have no label.
        key: Hash of the content of `images`; equal for equal pixels, whatever the labels or the split.
        skipped: (name, reason) of broken images that the person chose to skip.
        missing: Number of rows of the label table whose image is missing.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    names: tuple[str, ...]
    splits: Mapping[str, np.ndarray]
    unlabelled: int
    key: str
    skipped: tuple[tuple[str, str], ...] = ()
    missing: int = 0
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        """Number of images N."""
        return len(self.names)
