"""What is Milvus's own: addresses, tokens, servers that do not answer, an index that others put there."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core import archive
from core.archive import Encoder, marks, milvus, server
from core.errors import MaclError
from core.files import PROJECT
from tests.core.archive.made import DIM, brute, empty, filled, found, records, vectors
from tests.core.archive.test_archive_adapters import LACKING, closed

SILENT = "does not answer: is Milvus there"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("milvus_lite", reason=LACKING)
    place = f"milvus:{tmp_path / 'lite.db'}/archive"
    yield place
    closed(place)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("milvus:http://127.0.0.1:1/x", f"http://127.0.0.1:1 {SILENT}"),
        ("milvus:http:/127.0.0.1:1/x", f"http://127.0.0.1:1 {SILENT}"),  # as pathlib writes it
        ("milvus:http://nowhere.invalid/x", f"http://nowhere.invalid:19530 {SILENT}"),
        ("milvus:https://127.0.0.1:1/x", f"https://127.0.0.1:1 {SILENT}"),
        ("milvus:http://lite.db/x", f"http://lite.db:19530 {SILENT}"),  # a host, not a file
        (
            "milvus:http://h:19530/my-name",
            "is no address of an archive in Milvus: need milvus:http://HOST:19",
        ),
        ("milvus:http://h:19530/", "is no address of an archive in Milvus"),
        ("milvus:europe", "is no address of an archive in Milvus"),
        ("milvus:europe.db", "is no address of an archive in Milvus"),
        (
            "milvus:nowhere/a.db/x",
            "is no archive: make one with `macl archive add milvus:nowhere/a.db/x --run",
        ),
    ],
)
def test_an_address_with_nothing_there_is_said(address: str, message: str) -> None:
    pytest.importorskip("pymilvus")
    with pytest.raises(MaclError) as said:
        archive.open(address)
    assert message in str(said.value)
    assert "\n" not in str(said.value)


def test_a_token_is_not_part_of_an_address_and_never_said(
    place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import grpc
    from milvus_lite.adapter.grpc.servicer import MilvusServicer

    for address in ("milvus:http://me:hidden@host:19530/x", "milvus:http:/hidden@host/x"):
        with pytest.raises(
            MaclError, match="holds no token: put it into the variable MACL_MILVUS_TOKEN"
        ) as said:
            archive.open(address)
        assert "hidden" not in str(said.value)
    given: list[str] = []

    def refused(self: object, request: object, context: grpc.ServicerContext) -> None:
        given.extend(str(value) for key, value in context.invocation_metadata() if key == "authorization")
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure, please check api key is correct")

    monkeypatch.setattr(MilvusServicer, "Connect", refused)
    with pytest.raises(
        MaclError, match=r"lite\.db asks for a token: put it into the variable MACL_MILVUS_TOKEN"
    ):
        empty(place)
    assert given == []
    monkeypatch.setenv("MACL_MILVUS_TOKEN", "me:hidden")
    with pytest.raises(MaclError, match="refuses the token in the variable MACL_MILVUS_TOKEN") as said:
        empty(place)
    assert len(given) == 1  # it was sent, once
    assert "hidden" not in str(said.value) + caplog.text


def test_milvus_lite_lets_one_process_in(place: str, tmp_path: Path) -> None:
    empty(place)
    code = "import sys\nfrom core import archive\nfrom core.errors import MaclError\n"
    code += "try: archive.open(sys.argv[1])\nexcept MaclError as error: print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code, place], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    assert done.stdout.startswith(f"{tmp_path / 'lite.db'} cannot be opened: another process has it open")
    assert done.stderr == ""
    (tmp_path / "other.db").write_text("no")
    with pytest.raises(MaclError, match=r"other\.db cannot be opened: .* or it is not of Milvus Lite"):
        archive.open(f"milvus:{tmp_path}/other.db/x")
    with pytest.raises(MaclError, match="is not there: make the folder first"):
        empty(f"milvus:{tmp_path}/nowhere/lite.db/x")


@pytest.mark.parametrize("package", ["pymilvus", "milvus_lite"])
def test_without_the_package(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from importlib.util import find_spec

    monkeypatch.setattr(
        server.importlib.util, "find_spec", lambda name: None if name == package else find_spec(name)
    )
    name = package.replace("_", "-")
    with pytest.raises(MaclError, match=f"needs the package {name}: .*pip install .*{name}"):
        empty(f"milvus:{tmp_path}/lite.db/x")


def test_another_index_makes_answers_approximate_and_says_so(place: str) -> None:
    one, z = filled(place, 100)
    assert one.index is None
    with pytest.raises(MaclError, match="is searched exactly: for another index, replace that of the field"):
        one.build_index()
    client, name = one._server.client, one._name
    client.release_collection(name)
    client.drop_index(name, "vector")
    other = client.prepare_index_params()
    params = {"M": 8, "efConstruction": 64}
    other.add_index("vector", index_type="HNSW", index_name="mine", metric_type="IP", params=params)
    client.create_index(name, other)
    client.load_collection(name)
    answer = one.search(z[4], 5)
    assert answer.how == "approximate, recall not measured"
    assert found(answer)[0] == 4
    assert one.index is not None
    assert (one.index.kind, one.index.rows) == ("HNSW", 100)
    with pytest.raises(MaclError, match="has the index HNSW, which gives no exact answers"):
        one.search(z[4], 5, exact=True)


def test_more_rows_than_one_request_takes(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus, "BATCH", 16)
    monkeypatch.setattr(server, "PAGE", 16)
    monkeypatch.setattr(milvus, "MOST", 60)
    one, z = filled(place, 90)
    assert one.ids().tolist() == list(range(90))
    z = np.concatenate([z, vectors(10, seed=2)])
    assert one.add(records(0, 100), z) == 10
    assert found(one.search(z[2], 60)) == brute(z, z[2], 60)
    with pytest.raises(MaclError, match="gives at most 60 answers at once, not 61: ask for fewer"):
        one.search(z[2], 61)
    assert one.remove(range(80)) == 80
    assert one.ids().tolist() == list(range(80, 100))


def test_archives_at_one_place_are_kept_apart(place: str) -> None:
    one, other = filled(place, 5)[0], filled(place + "_2", 3)[0]
    one.remove([1])
    assert (len(one), len(other)) == (4, 3)
    with pytest.raises(MaclError, match=f"archive_{'a' * 16} at .* is something else: choose another name"):
        archive.open(f"{place}_{'a' * 16}")
    with pytest.raises(MaclError, match="is no archive: make one with"):
        archive.open(place + "_3")


def test_a_page_takes_it_for_no_folder(tmp_path: Path) -> None:
    """As the pages write what is typed: as the absolute path of a file."""
    for uri in (tmp_path / "milvus:http:" / "host:19530" / "x", tmp_path / "milvus:lite.db" / "x"):
        for refused in (
            lambda uri=uri: archive.parts(str(uri)),
            lambda uri=uri: archive.create(str(uri), Encoder("a" * 16, DIM)),
            lambda uri=uri: marks.read(str(uri)),
        ):
            with pytest.raises(
                MaclError, match="is for the command line: give a folder, or use `macl archive`"
            ):
                refused()
    assert [*tmp_path.iterdir()] == []


def test_nothing_of_it_is_read_without_an_address() -> None:
    code = "import sys\nfrom core import archive\nfrom core.cli import main\n"
    code += "print({'pymilvus', 'milvus_lite', 'grpc', 'faiss'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert done.stdout == "set()\n"
