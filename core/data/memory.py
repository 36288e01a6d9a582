"""Out of memory is out of memory: it stops the work, and is never taken for a broken file."""

import errno
import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from core.data import raster
from core.errors import MaclError

_SAID = ("out of memory", "insufficient memory", "cannot allocate memory", "can't start new thread")
_DOUBTFUL = ("broken data stream", "could not create decoder object", "decoder error")
_PER_PIXEL = 32  # bytes: what JPEG 2000, the hungriest, asks for at once


def is_short(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, says that memory was short."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        text = str(error).lower()
        if any(words in text for words in _SAID):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_doubtful(error: Exception) -> bool:
    """Whether a decoder says only that it failed, as some do of damaged data and of too little memory."""
    return isinstance(error, SystemError) or any(words in str(error) for words in _DOUBTFUL)


def has_room(data: bytes | Mapping[str, raster.Readable]) -> bool:
    """Whether the memory for decoding this image can be had now; true where its size cannot be told."""
    if not isinstance(data, bytes):
        return all(has_room(file.read()) for file in data.values())
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        np.empty(_PER_PIXEL * width * height, np.uint8)  # asked for, not touched
    except Exception as error:  # of a damaged file, whatever it is
        return not is_short(error)
    return True


def out_of_memory(what: str, name: str = "") -> MaclError:
    """The error that ends the work.

    Args:
        what: The work.
        name: The image it happened at.
    """
    where = f"at {name} ({what.lower()})" if name else f"({what.lower()})"
    return MaclError(
        f"out of memory {where}: nothing is said of the images; free memory, allow the process more, or make "
        "the largest images smaller, then try again"
    )
