"""Downloads against a server on this machine that cuts, refuses and forgets as real ones do."""

import contextlib
import hashlib
import http.server
import re
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core import data
from core.data import DATASETS, download
from core.errors import MaclError

CONTENT = np.random.default_rng(0).bytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """One file, served as `server.plan` says: the n-th request is cut after so many bytes."""

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/DLRSD.zip")
            self.end_headers()
            return
        if server.status != 200:
            self.send_error(server.status)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1)) if wanted and server.knows_ranges else 0
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else len(body)
        with contextlib.suppress(ConnectionError):  # the client may have seen enough
            self.wfile.write(body[:cut])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.ranges, running.cuts, running.status, running.knows_ranges = [], [], 200, True
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)


def address(server: http.server.ThreadingHTTPServer, path: str = "/DLRSD.zip") -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def get(
    server: http.server.ThreadingHTTPServer, to: Path, sha256: str = SHA256, path: str = "/DLRSD.zip", **more
):
    return data.fetch("dlrsd", to, url=address(server, path), sha256=sha256, **more)


def test_download_with_progress_and_no_second_time(server, tmp_path: Path) -> None:
    seen = []
    target = get(server, tmp_path / "new", progress=lambda *step: seen.append(step))
    assert target == tmp_path / "new" / "DLRSD.zip"
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT), "Downloading DLRSD.zip")
    assert [path.name for path in target.parent.iterdir()] == ["DLRSD.zip"]
    assert get(server, tmp_path / "new") == target
    assert server.ranges == [None]


def test_goes_to_where_load_looks(server) -> None:
    target = data.fetch("dlrsd", url=address(server), sha256=SHA256)
    assert target.parent == data.default_root("dlrsd")
    target.unlink()


def test_a_cut_is_resumed_within_one_call(server, tmp_path: Path) -> None:
    server.cuts = [300_000, 400_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-", "bytes=700000-"]


def test_a_later_call_goes_on_where_the_first_ended(server, tmp_path: Path) -> None:
    server.cuts = [300_000] + [0] * 9
    with pytest.raises(MaclError, match=r"connection was cut.*goes on after 0\.3 MB"):
        get(server, tmp_path)
    assert (tmp_path / "DLRSD.zip.part").stat().st_size == 300_000
    assert not (tmp_path / "DLRSD.zip").exists()
    server.cuts, server.ranges = [], []
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=300000-"]
    assert not (tmp_path / "DLRSD.zip.part").exists()


def test_redirects_keep_the_range(server, tmp_path: Path) -> None:
    (tmp_path / "DLRSD.zip.part").write_bytes(CONTENT[:1000])
    assert get(server, tmp_path, path="/moved").read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", "bytes=1000-"]


def test_server_without_range_starts_again(server, tmp_path: Path) -> None:
    server.knows_ranges = False
    (tmp_path / "DLRSD.zip.part").write_bytes(b"x" * 5000)
    assert get(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"more"])
def test_a_part_that_is_whole_or_too_long(server, tmp_path: Path, left: bytes) -> None:
    (tmp_path / "DLRSD.zip.part").write_bytes(left)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_wrong_checksum_keeps_nothing(server, tmp_path: Path) -> None:
    with pytest.raises(MaclError, match=r"another sha256 than published: it was deleted"):
        get(server, tmp_path, sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "DLRSD.zip.part").write_bytes(b"x" * 5000)  # left over from another file
    with pytest.raises(MaclError, match="another sha256"):
        get(server, tmp_path)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_another_file_in_its_place_is_not_overwritten(server, tmp_path: Path) -> None:
    (tmp_path / "DLRSD.zip").write_bytes(b"mine")
    with pytest.raises(MaclError, match="is another file than"):
        get(server, tmp_path)
    assert (tmp_path / "DLRSD.zip").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("status", "message"), [(404, "answered 404"), (403, "answered 403"), (503, "cannot")]
)
def test_wrong_status(server, tmp_path: Path, status: int, message: str) -> None:
    server.status = status
    with pytest.raises(MaclError, match=message):
        get(server, tmp_path)
    assert len(server.ranges) == (download.ATTEMPTS if status == 503 else 1)


def test_no_server_at_all(tmp_path: Path) -> None:
    with pytest.raises(MaclError, match=r"Connection refused.*check the connection"):
        data.fetch("dlrsd", tmp_path, url="http://127.0.0.1:9/DLRSD.zip", sha256=SHA256)


def test_too_little_room_is_said_before_the_download(server, tmp_path: Path, monkeypatch) -> None:
    usage = download.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(MaclError, match="has room for 0 MB, need 1 MB"):
        get(server, tmp_path)


def test_a_write_that_fails_keeps_the_part_for_later(server, tmp_path: Path) -> None:
    """The kernel refuses to let files grow: what a full disk does, without filling one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        with pytest.raises(MaclError, match="cannot write to"):
            get(server, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "DLRSD.zip.part").stat().st_size == 400_000
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=400000-"


def test_where_no_address_is_known_it_says_where_to_get_it(tmp_path: Path) -> None:
    for name, place in (
        ("ml_aid", "AID-Multilabel-Dataset"),
        ("whdld", "sites.google.com"),
        ("folder", "own"),
    ):
        with pytest.raises(MaclError, match=place):
            data.fetch(name, tmp_path)
    with pytest.raises(MaclError, match="choose one of"):
        data.fetch("nothing", tmp_path)


def test_published_addresses() -> None:
    for name, algorithm, length in (("dlrsd", "sha256", 64), ("ucm", "md5", 32)):
        known = DATASETS[name].download
        assert known is not None
        assert known.url.startswith("https://huggingface.co/datasets/")
        assert known.url.endswith("/" + known.filename)
        assert (known.algorithm, len(known.digest)) == (algorithm, length)
    assert "LandUse_Multilabeled.txt" in DATASETS["ucm"].download.note


def test_md5_of_a_published_archive(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    ucm = DATASETS["ucm"]
    known = replace(ucm.download, url=address(server), digest=hashlib.md5(CONTENT).hexdigest().upper())
    monkeypatch.setitem(DATASETS, "ucm", replace(ucm, download=known))
    assert data.fetch("ucm", tmp_path).name == "UCMerced_LandUse.zip"
