"""What is known of a data set before and after it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.data.band_files import BandFiles, Patch
from core.data.look import LOOK, Look
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
        columns: Of each column of a person's own table its name and what it was taken as.
        given: For each image "train", "val", "test" or "" as the data set itself says; empty where it says
            nothing.
        given_by: Where it says so, in words.
        whole: How many images could be used before some were drawn; 0 if all are here.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    files: tuple[File | BandFiles | Patch, ...]
    labels: np.ndarray
    labels_from: str
    without_row: tuple[str, ...] = ()
    without_image: tuple[str, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    several_rows: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    given: tuple[str, ...] = ()
    given_by: str = ""
    whole: int = 0


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set ready for training.

    Attributes:
        name: Key of `DATASETS`.
        images: (N, P, P, C) uint8, memory-mapped read-only; P as `prepared.prepared_size`, C as `look` says:
            3, RGB, unless the network sees another number of bands.
        labels: (N, L) uint8 in {0, 1}, every row with at least one label.
        classes: L label names.
        names: N unique image names.
        splits: "train", "val", "test" to ascending int64 row numbers; every row is in exactly one.
        unlabelled: Number of images left out because they have no label.
        key: Hash of the content of `images`; equal for equal pixels, whatever the labels or the split.
        skipped: (name, reason) of broken images that the person chose to skip.
        missing: Number of rows of the label table whose image is missing.
        given_by: Where the data set says the split, in words; empty if it is random.
        unnamed: Number of images left out because the split that the data set gives does not name them.
        notes: Decisions on the way that the person may want to know of.
        look: How the images were seen: which bands, and what became black and white.
        given: For each image the part of the split that the data set gives; empty if it gives none.
        whole: Of how many images these were drawn; 0 if they are all.
        sides: Width and height of the original images, from a sample, most frequent first.
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
    given_by: str = ""
    unnamed: int = 0
    look: Look = LOOK
    given: tuple[str, ...] = ()
    whole: int = 0
    sides: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        """Number of images N."""
        return len(self.names)

    def picture(self, row: int) -> np.ndarray:
        """What a person sees of an image: (P, P, 3) uint8 RGB."""
        return np.asarray(self.look.rgb(self.images[row]))

    @property
    def picture_key(self) -> str:
        """As `key`, of what a person sees."""
        return f"{self.key}-{'-'.join(map(str, self.look.shown))}" if self.look.shown else self.key
