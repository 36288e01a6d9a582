"""What `macl launcher check slurm` finds out: each thing that a run needs, tried where it will be needed.

The last part is a job that looks around on its node, and leaves what it has seen on the shared path.
"""

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import MaclError
from core.files import PROJECT, NoLocks, lock, unlock, write_atomic
from core.queue import slurm_jobs, version
from core.queue.launcher import Finding
from core.queue.settings import Slurm
from core.queue.slurm_jobs import COMMANDS, FOLDER

# Reasons to wait that end only when somebody changes a setting.
NEVER = ("PartitionTimeLimit", "PartitionNodeLimit", "AssocGrpCpuLimit", "AccountNotAllowed", "QOSNotAllowed")
PATIENCE_SECONDS = 120.0  # for the job; a queue may be long
POLL_SECONDS = 0.5


class Probe:
    """What the job does: it tries on its node what a run would need there."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self) -> None:
        """Write what was seen."""
        seen: dict[str, Any] = {
            "host": os.environ.get("SLURMD_NODENAME", ""),
            "commit": version.commit(),
            "project": str(PROJECT),
            "cores": len(os.sched_getaffinity(0)),
            "lock": "",
            "gpus": len([part for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part]),
        }
        try:
            # held by the process that checks, if the file system shows the locks of another machine
            seen["lock"] = "free" if lock(Path(self.folder) / "lock") else "held"
            unlock(Path(self.folder) / "lock")
        except NoLocks:
            seen["lock"] = "none"
        write_atomic(Path(self.folder) / "seen.json", json.dumps(seen))


def findings(settings: Slurm, root: Path) -> Iterator[Finding]:
    """One sentence after the other, up to the first thing without which the rest cannot be tried."""
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    if missing:
        yield Finding(False, f"{', '.join(missing)}: not found; is this a login node of the cluster?")
        return
    yield Finding(True, f"{', '.join(COMMANDS)} are found")
    try:
        partitions = _partitions()
    except MaclError as error:
        yield Finding(False, str(error))
        return
    wanted = settings.partition
    if wanted and wanted not in partitions:
        yield Finding(False, f"there is no partition {wanted}: Slurm has {', '.join(sorted(partitions))}")
        return
    yield Finding(True, f"partition {wanted} exists" if wanted else "the default partition is taken")
    yield from _in_a_job(settings, root)


def _partitions() -> set[str]:
    command = ["sinfo", "--noheader", "--format=%R"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MaclError(f"Slurm does not answer ({error})") from None
    if done.returncode:
        raise MaclError(f"Slurm does not answer ({done.stderr.strip()})")
    return set(done.stdout.split())


def _in_a_job(settings: Slurm, root: Path) -> Iterator[Finding]:
    name = f"macl-check-{secrets.token_hex(4)}"
    folder = root / FOLDER / name
    try:
        folder.mkdir(parents=True)
        (job,) = slurm_jobs.submit(slurm_jobs.executor(settings, root, name), [Probe(str(folder))])
    except (MaclError, OSError) as error:
        yield Finding(False, str(error))
        return
    yield Finding(True, f"Slurm takes jobs: {job} looks around on a node")
    try:
        try:
            locks = lock(folder / "lock")
        except NoLocks:
            locks = False
        seen, why = _wait_for(folder / "seen.json", job)
        if seen is None:
            yield Finding(False, why)
            return
        yield from _of_node(seen, root, settings.gpus, locks)
    finally:
        unlock(folder / "lock")
        subprocess.run(["scancel", job], capture_output=True, timeout=30, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(path: Path, job: str) -> tuple[dict[str, Any] | None, str]:
    """What the job saw; else None and why not."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        state = subprocess.run(
            ["squeue", "--jobs", job, "--states=all", "--noheader", "--format=%T|%r"],
            capture_output=True, text=True, timeout=30, check=False,
        ).stdout.strip()  # fmt: skip
        if path.exists():
            return json.loads(path.read_bytes()), ""
        word, _, reason = state.partition("|")
        if word in ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT", "OUT_OF_MEMORY", ""):
            return None, (
                f"job {job} has ended ({word or 'gone'}) and left nothing in {path.parent}: that path is not "
                f"the same on the node, or Python does not start there. {_last_words(path.parent)}"
            )
        if word == "PENDING" and reason in NEVER:
            return None, f"job {job} would wait for ever ({reason}): mend the settings of the job"
        if time.monotonic() > deadline:
            why = f"{word.lower()}, {reason}"
            return (
                None,
                f"job {job} has not answered within {PATIENCE_SECONDS:.0f} s ({why}): try again later",
            )
        time.sleep(POLL_SECONDS)


def _last_words(folder: Path) -> str:
    lines = [line for path in folder.glob("*.err") for line in path.read_text(errors="replace").splitlines()]
    return f"It said last: {lines[-1][:300]}" if lines else ""


def _of_node(seen: dict[str, Any], root: Path, gpus: int, locks: bool) -> Iterator[Finding]:
    host, here = seen["host"], version.commit()
    yield Finding(True, f"{root} is the same on {host}")
    if seen["commit"] == here:
        yield Finding(True, f"the checkout on {host} is at the same commit, {here or 'unknown'}")
    else:
        theirs, ours = seen["commit"] or "unknown", here or "unknown"
        yield Finding(False, f"{seen['project']} on {host} is at commit {theirs}, this checkout at {ours}")
    if gpus and seen["gpus"] < gpus:
        yield Finding(False, f"a job has {seen['gpus']} GPUs on {host}, need {gpus}")
    if seen["lock"] == "none" or not locks:
        says = "cannot lock files: runs of the cluster do without, runs of this machine need another folder"
        yield Finding(False, f"the file system of {root} {says}")
    elif seen["lock"] == "free":
        says = "does not show the locks of this machine there: only heartbeats tell that a run lives"
        yield Finding(False, f"the file system of {root} {says}")
    else:
        yield Finding(True, f"the file system shows the locks of this machine on {host}")
