"""Milvus at an address: how it is reached, and its errors as sentences."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import MaclError

SCHEME, TOKEN = "milvus:", "MACL_MILVUS_TOKEN"
ADDRESS = re.compile(r"milvus:(?:(https?):/{1,2}([^/\s]+)|(.+\.db))/([A-Za-z_]\w{0,199})/?", re.ASCII)
NEED = (
    "need milvus:http://HOST:19530/NAME, or milvus:FILE.db/NAME for Milvus Lite; NAME of letters, digits, _"
)
INSTALL = ".venv/bin/pip install --constraint constraints.txt"
REFUSED = re.compile(r"unauthenticated|permission.?denied|auth check fail", re.IGNORECASE)
SILENT = re.compile(r"fail connecting|unavailable|unimplemented|deadline.?exceeded|timeout", re.IGNORECASE)
CONNECT_SECONDS, SECONDS, LOAD_SECONDS = 5.0, 60.0, 600.0  # that a server may take for its answer
PAGE = 5000  # rows that are read at once

Fields = Mapping[str, tuple[str, dict[str, object]]]  # type and options of each


class Server:
    """Milvus, and the name of an archive in it.

    Args:
        uri: Address of the archive.
        make: Whether a file of Milvus Lite may be made.

    Raises:
        MaclError: Here and in all calls: what is wrong, in one sentence.
    """

    def __init__(self, uri: str | Path, make: bool = False) -> None:
        if "@" in str(uri):
            raise MaclError(f"an address of Milvus holds no token: put it into the variable {TOKEN}")
        if (found := ADDRESS.fullmatch(str(uri))) is None:
            raise MaclError(f"{uri} is no address of an archive in Milvus: {NEED}")
        self.uri = str(uri)
        scheme, host, file, self.name = found.groups()
        for package in ("pymilvus", *(["milvus-lite"] if file else [])):
            if importlib.util.find_spec(package.replace("-", "_")) is None:
                raise MaclError(f"{uri} needs the package {package}: {INSTALL} {package}")
        if file:
            path = Path(file).expanduser().absolute()
            if not path.exists() and not make:
                raise no_archive(uri)
            if not path.parent.is_dir():
                raise MaclError(f"{path.parent} is not there: make the folder first")
            self.place = str(path)
        else:
            port = "" if re.search(r":\d+$", host) else ":443" if scheme == "https" else ":19530"
            self.place = f"{scheme}://{host}{port}"
        os.environ.setdefault("PYTHON_DOTENV_DISABLED", "1")  # the package reads a .env file otherwise
        import pymilvus  # 3 s, and only this needs it

        for name in ("pymilvus", "pymilvus.milvus_client", "milvus_lite"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what is wrong is in the error
        self._types = pymilvus.DataType
        with self.asked():
            self.client: Any = pymilvus.MilvusClient(
                self.place, token=os.environ.get(TOKEN, ""), timeout=CONNECT_SECONDS
            )

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Errors of the client, as sentences."""
        import grpc
        from pymilvus import MilvusException

        try:
            yield
        except (MilvusException, grpc.RpcError) as error:
            raise MaclError(self._sentence(error)) from None

    def make(self, collection: str, fields: Fields) -> None:
        """Make a collection: the first field is its key, and the vectors are searched exactly."""
        with self.asked():
            schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
            for name, (kind, options) in fields.items():
                named = {
                    key: getattr(self._types, str(one)) if key == "element_type" else one
                    for key, one in options.items()
                }
                schema.add_field(
                    name, getattr(self._types, kind), is_primary=name == next(iter(fields)), **named
                )
            index = self.client.prepare_index_params()
            index.add_index("vector", index_type="FLAT", metric_type="IP")
            self.client.create_collection(
                collection, schema=schema, index_params=index, consistency_level="Strong", timeout=SECONDS
            )

    def has(self, collection: str, field: str) -> bool:
        """Whether there is a collection, which is loaded then; MaclError if it has no such field."""
        with self.asked():
            if not self.client.has_collection(collection, timeout=SECONDS):
                return False
            about = self.client.describe_collection(collection, timeout=SECONDS)
            self.client.load_collection(collection, timeout=LOAD_SECONDS)  # at once where it is
        if field not in [one["name"] for one in about["fields"]]:
            raise MaclError(
                f"{collection} at {self.place} is something else: choose another name than {self.name}"
            )
        return True

    def read(self, collection: str, names: Sequence[str], where: str = "", rows: int = PAGE) -> list[Any]:
        """These fields of all rows that meet a filter, in no order; asks for so many rows at once."""
        found: list[Any] = []
        with self.asked():
            pages = self.client.query_iterator(
                collection, batch_size=rows, filter=where, output_fields=list(names), timeout=SECONDS
            )
            while page := pages.next():
                found += page
            pages.close()
        return found

    def _sentence(self, error: BaseException) -> str:
        causes: list[BaseException] = []
        cause: BaseException | None = error
        while cause is not None and cause not in causes:
            causes.append(cause)
            cause = cause.__cause__ or cause.__context__
        told = " ".join(map(str, causes))
        if REFUSED.search(told):
            what = "refuses the token in" if os.environ.get(TOKEN) else "asks for a token: put it into"
            return f"{self.place} {what} the variable {TOKEN}"
        if "Open local milvus failed" in told:
            return (
                f"{self.place} cannot be opened: another process has it open (Milvus Lite lets one in "
                "at a time), or it is not of Milvus Lite"
            )
        if SILENT.search(told):
            return f"{self.place} does not answer: is Milvus there, and does it run?"
        why = " ".join(str(getattr(error, "message", error)).split())[:200]
        return f"{self.uri}: Milvus says: {why}"


def no_archive(uri: str | Path) -> MaclError:
    """What to say of an address with nothing there."""
    return MaclError(f"{uri} is no archive: make one with `macl archive add {uri} --run RUN SOURCE`")
