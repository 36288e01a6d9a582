"""What a person can fix: shown as a message, never as a traceback."""

import errno

WAYS_OUT = {
    errno.EACCES: "it belongs to somebody else, or is protected: ask them to let you use it, or copy it",
    errno.EPERM: "it belongs to somebody else, or is protected: ask them to let you use it, or copy it",
    errno.ENOSPC: "the disk is full: make room there, or choose another folder",
    errno.EDQUOT: "your share of the disk is used up: make room there, or choose another folder",
    errno.EROFS: "the disk can only be read: choose a folder on another one",
    errno.EEXIST: "a file is there: choose another name",
    errno.ENOTDIR: "a file is where a folder is needed: choose another folder",
}


class MaclError(Exception):
    """What was wrong, what was expected, and what to do next, in one line."""


def words(error: OSError) -> str:
    """What the system refused, with the way out, in one line."""
    return f"{error.filename2 or error.filename}: {why(error)}" if error.filename else why(error)


def why(error: OSError) -> str:
    """The same without the name of the file."""
    said = error.strerror or str(error) or "the system refused"
    way = WAYS_OUT.get(error.errno or 0, "")
    return f"{said}; {way}" if way else said
