"""The page and an archive in Milvus: one sentence, and nothing is asked of the address."""

from pathlib import Path

import pytest

from core.archive import job
from core.archive.server import Server
from tests.components import open_page


@pytest.mark.parametrize("address", ["milvus:http://127.0.0.1:19530/europe", "milvus:lite.db/europe"])
def test_an_address_is_for_the_command_line(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MACL_RUN_ROOT", str(tmp_path))
    monkeypatch.setattr(job, "home", lambda: tmp_path / "jobs")
    asked: list[object] = []
    monkeypatch.setattr(Server, "__init__", lambda self, *given: asked.append(given))
    page = open_page("archive", archive=address)
    assert "an archive in Milvus is for the command line" in page.error[0].value
    assert asked == []
    assert job.known() == []
