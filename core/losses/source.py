"""The file of a person's own loss as text: its name, its encoding, its hash. No torch, and nothing is run."""

import hashlib
import keyword
from pathlib import Path

from core.errors import MaclError
from core.losses.catalog import LOSSES

MOST_BYTES = 1_000_000
LONGEST_NAME = 40  # characters: it stands in tables, legends and addresses
TAKEN = ("chance", "oracle", "all")  # rows of tables, and the word for every loss


def name_of(path: Path) -> str:
    """The name of a loss: its file's name without ".py".

    Raises:
        MaclError: If that is no plain name, or the name of something else.
    """
    name = path.stem
    if path.suffix != ".py":
        raise MaclError(f"{path.name}: a loss is one Python file: need a name that ends in .py")
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name) or len(name) > LONGEST_NAME:
        raise MaclError(
            f"{path.name}: the file's name is the name of the loss: need up to {LONGEST_NAME} letters a–z, "
            "digits and _, no digit first and no word of Python, such as my_margin.py: rename it"
        )
    if name.lower() in LOSSES or name.lower() in TAKEN:
        what = f"the built-in {LOSSES[name.lower()].title}" if name.lower() in LOSSES else "something else"
        raise MaclError(f"{path.name}: {name} is the name of {what}: give the file another name")
    return name


def read(path: Path) -> str:
    """The text of a loss file; its line ends stay as they are, so that it keeps its hash.

    Raises:
        MaclError: If it cannot be read, is too large, or is no UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise MaclError(f"{path} cannot be read ({reason}): give the path of a Python file") from None
    if len(data) > MOST_BYTES:
        raise MaclError(f"{path.name}: larger than 1 MB: need a file with the code of one loss alone")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise MaclError(f"{path.name}, line {line}: not UTF-8: save the file in that encoding") from None


def digest(text: str) -> str:
    """The sha256 of a loss's text, in hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()
