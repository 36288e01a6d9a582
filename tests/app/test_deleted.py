"""What the pages know of a run that somebody has deleted while they show it."""

import shutil
from pathlib import Path

import pytest

from app import cache
from core import runs
from core.errors import MaclError
from core.runs import Run


def test_the_configuration_of_a_deleted_run_is_what_was_read_last(
    finished_runs: Path, tmp_path: Path
) -> None:
    source = runs.list_runs(finished_runs)[0]
    run = Run(Path(shutil.copytree(source.path, tmp_path / "runs" / source.id)))
    assert cache.config(run) == source.config
    changed = source.config.model_copy(update={"device": "cuda"})
    (run.path / "config.json").write_text(changed.model_dump_json())
    assert cache.config(run) == changed
    assert not cache.gone(run)
    runs.delete(run)
    assert cache.gone(run)
    assert cache.config(run) == changed
    with pytest.raises(MaclError):
        cache.config(Run(tmp_path / "runs" / "never-read"))
