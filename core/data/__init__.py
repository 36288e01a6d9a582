"""Data sets by name: images prepared once, multi-hot labels, the paper's splits. Imports no torch."""

from core.background.cache import cache_root
from core.data.image_set import ImageSet
from core.data.info import Dataset, DatasetInfo
from core.data.reading import READ, Reading
from core.data.report import Report
from core.data.sets import DATASETS, check, default_root, fetch, find, fingerprint, is_prepared, load, sides
from core.data.splits import split

__all__ = [
    "DATASETS",
    "READ",
    "Dataset",
    "DatasetInfo",
    "ImageSet",
    "Reading",
    "Report",
    "cache_root",
    "check",
    "default_root",
    "fetch",
    "find",
    "fingerprint",
    "is_prepared",
    "load",
    "sides",
    "split",
]
