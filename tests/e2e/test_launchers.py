"""A run handed to Slurm from the form, in a real browser; Slurm's commands are stood in for by scripts.

The real ones are in `tests/core/queue/test_slurm.py`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.runs import Run
from tests.e2e.conftest import Server, field, wait

COMMANDS = {
    "sbatch": 'cp "$1" {folder}/script && echo "Submitted batch job 7"',
    "squeue": 'name="$(sed -n "s/^#SBATCH --job-name=//p" {folder}/script)"\n'
    'echo "7|N/A|PENDING||9|gpu|Resources|$name"',
    "scancel": 'echo "$@" >> {folder}/cancelled',
    "scontrol": "",
    "srun": "",
}


@pytest.fixture(scope="module")
def slurm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server where Slurm is set up; what its commands did is in the folder `slurm` of its home."""
    home = tmp_path_factory.mktemp("slurm_server")
    folder = home / "slurm"
    folder.mkdir()
    for name, text in COMMANDS.items():
        (folder / name).write_text(f"#!/bin/sh\n{text.format(folder=folder)}\n")
        (folder / name).chmod(0o755)
    (home / "launchers.toml").write_text('[slurm]\npartition = "gpu"\n')
    server = Server(home, tmp_path_factory.getbasetemp() / "home" / "cache")
    server.environment["MACL_LAUNCHERS"] = str(home / "launchers.toml")
    server.environment["PATH"] = f"{folder}:{server.environment['PATH']}"
    server.run_root.mkdir()
    server.start()
    yield server
    server.close()
    assert "Traceback" not in server.log(), server.log()


def test_a_run_is_handed_to_slurm_waits_there_and_is_stopped(
    slurm_server: Server, page: Page, tiny: Path
) -> None:
    page.goto(f"{slurm_server.url}/train?dataset=Your+own+images&loss=LBase")
    place = field(page, "Its folder or archive")
    place.fill(str(tiny))
    place.press("Enter")
    page.get_by_role("radio", name="Slurm").click()
    page.get_by_text("The same on the command line").click()
    expect(page.get_by_text("--queue --launcher slurm").first).to_be_visible()
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_text("queued; slurm, job 7, next, Resources").first).to_be_visible()
    (run,) = [Run(path.parent) for path in slurm_server.run_root.glob("*-folder-lbase-*/config.json")]
    assert (run.state, run.where.launcher, run.where.job) == ("queued", "slurm", "7")
    page.wait_for_url(re.compile(f"runs={run.id}"))
    page.get_by_role("button", name="Stop", exact=True).click()
    wait(lambda: run.state == "stopped")
    wait(lambda: (slurm_server.home / "slurm" / "cancelled").exists())
    assert (slurm_server.home / "slurm" / "cancelled").read_text() == "7\n"
    expect(page.get_by_role("button", name="Resume", exact=True)).to_be_enabled()
