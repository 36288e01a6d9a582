"""Where an archive is: in Milvus, or in a folder with a part for each encoder and a mark of what it is."""

from __future__ import annotations

import json
from pathlib import Path

from core.archive import milvus, store
from core.archive.adapter import Archive
from core.archive.catalogue import is_address
from core.archive.encoder import Encoder
from core.archive.server import SCHEME
from core.archive.store import begin, locked
from core.errors import MaclError
from core.files import write_atomic

MARK, VERSION = "archive.json", 1  # what says that a folder is an archive, and of which layout


def open(uri: str | Path, encoder: str = "") -> Archive:
    """The part of an archive that one encoder has embedded.

    Args:
        uri: Its folder, or its address in Milvus.
        encoder: Id of the encoder, or the beginning of it; empty where there is only one.

    Raises:
        MaclError: If there is no archive, or not exactly one such encoder in it.
    """
    found = parts(uri)
    fitting = [part for part in found if part.encoder.id.startswith(encoder)]
    if len(fitting) != 1:
        held = "; ".join(f"{part.encoder.id} of {part.encoder.run}" for part in found)
        what = f"no encoder {encoder}" if encoder else "several encoders"
        raise MaclError(f"{uri} holds {what}: choose among {held}")
    return fitting[0]


def create(uri: str | Path, encoder: Encoder) -> Archive:
    """The part of this encoder, made if it is not there yet.

    Raises:
        MaclError: If the folder holds something else, or cannot be written.
    """
    if milvus.is_address(uri):
        return milvus.create(uri, encoder)
    root = folder_of(uri)
    folder = root / encoder.id
    try:
        root.mkdir(parents=True, exist_ok=True)
        held = [path.name for path in root.iterdir() if not path.name.startswith(".")]
        if held and MARK not in held:
            raise MaclError(f"{root} is not empty and no archive: give a new folder")
        write_atomic(root / MARK, json.dumps({"version": VERSION}) + "\n")
        folder.mkdir(exist_ok=True)
        with locked(folder):
            if not (folder / "current").exists():
                begin(folder, encoder.dim, 1)
                encoder.write(folder)
                write_atomic(folder / "current", "1")
    except OSError as error:
        raise MaclError(f"{root} cannot be written ({error.strerror}): choose another folder") from None
    return store.Archive(folder)


def encoders(uri: str | Path) -> list[Encoder]:
    """Of an archive, in the order of their runs; empty if it is none."""
    if milvus.is_address(uri):
        return milvus.encoders(uri)
    found = [Encoder.read(path.parent) for path in folder_of(uri).glob("*/current")]
    return sorted(found, key=lambda encoder: (encoder.run, encoder.id))


def parts(uri: str | Path) -> list[Archive]:
    """One for each encoder; MaclError if there is no archive."""
    if milvus.is_address(uri):
        return [*milvus.parts(uri)]
    root = folder_of(uri)
    found: list[Archive] = [store.Archive(root / encoder.id) for encoder in encoders(root)]
    if not found:
        raise MaclError(f"{uri} is no archive: make one with `macl archive add {uri} --run RUN SOURCE`")
    return found


def folder_of(uri: str | Path) -> Path:
    """Where an archive lies; MaclError for an address: its vectors are mapped into memory."""
    if any(part.startswith(SCHEME) for part in Path(uri).parts):
        raise MaclError("an archive in Milvus is for the command line: give a folder, or use `macl archive`")
    if is_address(uri):
        raise MaclError(
            f"{uri} is an address: need a folder, on this machine or on a shared disk that can lock files; "
            "to keep it in an object store copy the folder there, and back to search it"
        )
    return Path(uri).expanduser()
