"""Downloads that survive a lost connection: resumed by HTTP Range, verified, and only then given their name.

References:
    HTTP Semantics, RFC 9110, section 14 (range requests).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from core.data.info import DatasetInfo
from core.data.prepared import Progress
from core.errors import MaclError

CHUNK = 1 << 18  # bytes
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5  # failures in a row, each without a single new byte


def fetch_archive(
    info: DatasetInfo,
    destination: Path,
    progress: Progress | None = None,
    url: str | None = None,
    sha256: str | None = None,
    pause: float = 1.0,
) -> Path:
    """Download the archive of a data set into a folder; bytes that are there already are not fetched again.

    Args:
        info: The data set.
        destination: Folder for the archive, created when missing.
        progress: Called with (bytes done, bytes in all or 0 when unknown, what).
        url: Another address for the same archive.
        sha256: Checksum of the archive at `url`, hexadecimal; None keeps the published one.
        pause: Seconds before the first retry after a lost connection, doubled each time.

    Returns:
        The path of the verified archive.

    Raises:
        MaclError: If no stable address is known, the server refuses, the connection stays lost, the disk is
            full, or the checksum differs.
    """
    published = info.download
    if published is None and not (url and sha256):
        raise MaclError(f"{info.title} has no stable address with a checksum: get it from {info.where}")
    address = url or (published.url if published else "")
    algorithm, digest = (
        ("sha256", sha256) if sha256 else (published.algorithm, published.digest) if published else ("", "")
    )
    filename = published.filename if published else Path(address.split("?")[0]).name or f"{info.name}.zip"
    target = destination / filename
    what = f"Downloading {filename}"
    try:
        destination.mkdir(parents=True, exist_ok=True)
        if target.is_file():
            if _digest(target, algorithm) == digest.lower():
                return target
            raise MaclError(f"{target} is another file than {address}: move it away, then fetch again")
        partial = target.with_name(filename + ".part")
        with partial.open("ab") as stream:
            _only_one(stream, partial)
            _download(address, stream, partial, progress, what, pause)
            os.fsync(stream.fileno())
            if _digest(partial, algorithm) != digest.lower():
                partial.unlink()
                raise MaclError(
                    f"{address} gave a file with another {algorithm} than published: it was deleted; "
                    f"try again, or get {info.title} from {info.where}"
                )
            partial.replace(target)
    except OSError as error:
        raise MaclError(
            f"cannot write to {destination} ({error.strerror or error}): make room or choose another folder; "
            "fetching again goes on where this one ended"
        ) from None
    return target


def _only_one(stream: BinaryIO, partial: Path) -> None:
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise MaclError(f"another process is downloading to {partial}: wait for it") from None
    if not partial.exists() or not os.path.samestat(os.fstat(stream.fileno()), partial.stat()):
        # finished and renamed between opening and locking: writing here would change the archive
        raise MaclError(f"another process has just ended downloading to {partial}: fetch again")


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _download(
    address: str, stream: BinaryIO, partial: Path, progress: Progress | None, what: str, pause: float
) -> None:
    """Append what is missing; after a lost connection, try again from where it stopped."""
    failures = 0
    while True:
        size_before = stream.seek(0, os.SEEK_END)
        try:
            if _attempt(address, stream, partial, progress, what):
                return
            cause = "the connection was cut"
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            cause = str(getattr(error, "reason", error) or error)
        size_after = stream.seek(0, os.SEEK_END)
        failures = 0 if size_after > size_before else failures + 1
        if failures >= ATTEMPTS:
            raise MaclError(
                f"cannot download {address} ({cause}): check the connection; fetching again goes on after "
                f"{size_after / 1e6:.1f} MB"
            ) from None
        time.sleep(pause * 2 ** max(failures - 1, 0))


def _attempt(address: str, stream: BinaryIO, partial: Path, progress: Progress | None, what: str) -> bool:
    """One request; True when the file is complete."""
    received = stream.seek(0, os.SEEK_END)
    request = urllib.request.Request(address, headers={"User-Agent": "macl-lab"})
    if received:
        request.add_header("Range", f"bytes={received}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:  # nothing beyond what is there: complete, or longer than the file
                return _after_416(error, stream, received)
            if error.code in (408, 429) or error.code >= 500:
                return False
            raise MaclError(
                f"{address} answered {error.code} {error.reason}: the file may have moved, "
                "give its new address with url and sha256"
            ) from None
    with response:
        if response.status != 206:  # the server does not support ranges: start again
            stream.truncate(0)
            received = 0
        elif not str(response.headers.get("Content-Range", "")).startswith(f"bytes {received}-"):
            stream.truncate(0)
            return False
        length = response.headers.get("Content-Length")
        total = received + int(length) if length else 0
        _room(partial, total - received)
        while chunk := response.read(CHUNK):
            stream.write(chunk)
            received += len(chunk)
            if progress:
                progress(received, total, what)
        stream.flush()
        return not total or received == total


def _after_416(error: urllib.error.HTTPError, stream: BinaryIO, have: int) -> bool:
    total = re.search(r"/(\d+)$", error.headers.get("Content-Range") or "")
    if total and int(total.group(1)) == have:
        return True
    stream.truncate(0)
    return False


def _room(partial: Path, need: int) -> None:
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(partial.parent).free
        if need > free:
            raise MaclError(
                f"{partial.parent} has room for {free / 1e6:.0f} MB, need {need / 1e6:.0f} MB: "
                "make room or choose another folder"
            )
