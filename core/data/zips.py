"""One file of a zip, read in place.

References:
    The layout of a zip's local header: PKWARE APPNOTE.TXT 6.3.10, section 4.3.7.
"""

import os
import struct
import zipfile
import zlib
from pathlib import Path

LARGEST = 1 << 30  # bytes of one file inside a zip; a larger one counts as a zip bomb


def read(archive: Path, member: zipfile.ZipInfo) -> bytes:
    """Read one file of a zip without a shared `ZipFile`, whose reference count is not thread-safe.

    Raises:
        OSError: If the zip cannot be read.
        zipfile.BadZipFile: If it is damaged at this file.
    """
    if member.flag_bits & 1:
        raise zipfile.BadZipFile("encrypted inside the zip: unpack it with its password first")
    if member.file_size > LARGEST:
        raise zipfile.BadZipFile(f"{member.file_size / 1e9:.1f} GB inside the zip")
    handle = os.open(archive, os.O_RDONLY)
    try:
        header = os.pread(handle, 30, member.header_offset)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise zipfile.BadZipFile("damaged inside the zip")
        name, extra = struct.unpack("<HH", header[26:30])
        data = os.pread(handle, member.compress_size, member.header_offset + 30 + name + extra)
    finally:
        os.close(handle)
    if member.compress_type == zipfile.ZIP_DEFLATED:
        try:
            # the limit keeps a member that unpacks to more than it declares from filling the memory
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.file_size + 1)
        except zlib.error:
            raise zipfile.BadZipFile("damaged inside the zip") from None
    elif member.compress_type != zipfile.ZIP_STORED:
        raise zipfile.BadZipFile("packed by a method other than deflate: unzip the archive first")
    if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
        raise zipfile.BadZipFile("damaged inside the zip")
    return data
