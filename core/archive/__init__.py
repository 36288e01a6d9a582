"""Archives: any number of a person's own images, embedded by one or more encoders, and searched."""

from core.archive.adapter import Archive
from core.archive.encoder import Encoder
from core.archive.folder import create, encoders, open, parts
from core.archive.table import Answer, Hit, Index, Record

__all__ = [
    "Answer",
    "Archive",
    "Encoder",
    "Hit",
    "Index",
    "Record",
    "create",
    "encoders",
    "open",
    "parts",
]
