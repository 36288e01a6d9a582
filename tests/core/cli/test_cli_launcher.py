"""`--queue`, `--launcher` and `macl launcher check`; Slurm's commands are stood in for by scripts here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import runs
from core.queue import settings
from core.runs import Run

MACL = [sys.executable, "-c", "from core.cli import main; main()"]
SMALL = ["--preset", "instant", "--image-size", "32", "--batch-size", "16", "--device", "cpu"]


def macl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MACL, *words], capture_output=True, text=True, check=False, timeout=200)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with commands that take every job and keep it waiting; Slurm is set up."""
    folder = tmp_path / "bin"
    folder.mkdir()
    texts = {
        "sbatch": f'cp "$1" {folder}/script && echo "Submitted batch job 7"',
        "squeue": f'[ -e {folder}/script ] && echo "7|N/A|PENDING||9|gpu|Resources|'
        f"$(sed -n 's/^#SBATCH --job-name=//p' {folder}/script)\" || true",
        "scancel": f"rm {folder}/script", "scontrol": "", "srun": "", "sinfo": "echo gpu",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    settings.place().parent.mkdir(parents=True, exist_ok=True)
    settings.place().write_text(
        '[slurm]\npartition = "gpu"\ngpus = 2\ncores = 3\nmemory_gb = 1.5\nminutes = 9\n'
        'setup = ["module load cuda"]\noptions = {qos = "long"}\n'
    )
    return folder


def test_a_run_is_handed_over_stopped_and_handed_over_again(slurm: Path, tiny: Path, root: Path) -> None:
    given = [*SMALL, "--dataset", "folder", "--data-root", str(tiny), "--run-root", str(root)]
    done = macl("train", *given, "--queue", "--launcher", "slurm")
    assert done.returncode == 0, done.stderr
    run = Run(Path(done.stdout.splitlines()[-1]))
    assert (run.state, run.where.job) == ("queued", "7")
    script = (slurm / "script").read_text()
    for line in (
        "#SBATCH --partition=gpu", "#SBATCH --gpus-per-node=2", "#SBATCH --cpus-per-task=3",
        "#SBATCH --mem=1536M", "#SBATCH --time=9", "#SBATCH --qos=long", "#SBATCH --requeue",
        "module load cuda", "export OMP_NUM_THREADS=3",
    ):  # fmt: skip
        assert line in script.splitlines(), script
    assert "slurm, job 7, next, Resources" in macl("runs", "--run-root", str(root)).stdout
    run.mark("started")
    assert "queued again" in macl("runs", "--run-root", str(root)).stdout
    done = macl("resume", run.id, "--run-root", str(root))
    assert (done.returncode, "waits in the queue of slurm (job 7)" in done.stderr) == (1, True)
    done = macl("resume", run.id, "--launcher", "local", "--run-root", str(root))
    assert (done.returncode, "waits in the queue of slurm" in done.stderr) == (1, True)
    assert macl("stop", run.id, "--run-root", str(root)).returncode == 0
    assert run.state == "stopped"
    assert not (slurm / "script").exists()
    claim = run.where.claim
    done = macl("resume", run.id, "--run-root", str(root))
    assert (done.returncode, run.state) == (0, "queued"), done.stderr
    assert run.where.claim != claim


def test_a_mistake_is_one_line_and_makes_no_run(tiny: Path, root: Path) -> None:
    given = [*SMALL, "--dataset", "folder", "--data-root", str(tiny), "--run-root", str(root)]
    for words, says in (
        (["train", *given, "--launcher", "slurm"], "give --queue too"),
        (["train", *given, "--launcher", "slurm", "--queue"], "slurm is not set up"),
        (["sweep", "seed=0-1", "--launcher", "pbs", "--run-root", str(root)], "need one of local, slurm"),
        (["launcher", "check", "slurm"], "slurm is not set up"),
    ):
        done = macl(*words)
        assert (done.returncode, len(done.stderr.strip().splitlines())) >= (1, 1)
        assert says in done.stderr, done.stderr
    assert runs.list_runs(root) == []


def test_a_queued_run_is_trained_by_a_worker_of_this_machine(tiny: Path, root: Path) -> None:
    from tests.small_runs import wait

    done = macl(
        "train",
        *SMALL,
        "--dataset",
        "folder",
        "--data-root",
        str(tiny),
        "--epochs",
        "1",
        "--run-root",
        str(root),
        "--queue",
    )
    assert done.returncode == 0, done.stderr
    run = Run(Path(done.stdout.splitlines()[-1]))
    wait(lambda: run.state == "finished")


def test_check_stops_at_the_first_thing_that_is_missing(
    slurm: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slurm / "sinfo").write_text("#!/bin/sh\necho cpu\n")
    done = macl("launcher", "check", "slurm", "--run-root", str(root))
    assert done.returncode == 1
    assert "ok  sbatch, squeue, scancel, scontrol, srun are found" in done.stdout
    assert "NOT there is no partition gpu: Slurm has cpu" in done.stderr
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    done = macl("launcher", "check", "slurm", "--run-root", str(root))
    assert "NOT sbatch, squeue, scancel, scontrol, srun: not found" in done.stderr
