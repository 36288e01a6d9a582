"""The launcher of a Slurm cluster, through submitit.

Every hand-over is one job, or an array of jobs for several runs. Slurm begins a job again after the loss of
its node and after pre-emption; before its time limit, of which Slurm warns by a signal, it saves a checkpoint
and puts itself back into the queue. Position and reason come from `squeue`, asked once for all runs; `sacct`
is never asked, as many clusters keep no accounts.

Reference: submitit, https://github.com/facebookincubator/submitit (MIT).
"""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.queue import hand_over, settings, slurm_check, slurm_jobs, version
from core.queue.job import Job
from core.queue.launcher import Finding, Standing
from core.queue.slurm_jobs import ASK_SECONDS, Call
from core.runs import Run
from core.runs.where import Lease

NAME = "slurm"
LOOK_SECONDS = 2.0  # for which an answer of squeue is good
PAGE_SECONDS = 10.0  # that squeue may take: a page waits for it
SILENT_SECONDS = 20.0  # before a Slurm that did not answer is asked again
LONGEST = 1000  # jobs of an array: what Slurm allows unless a cluster sets it otherwise
COLUMNS = "%i|%K|%T|%N|%Q|%P|%r|%j"  # the name last: it may hold anything
WAITS = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD", "SUSPENDED")
RUNS = ("RUNNING", "CONFIGURING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "RESIZING")
DIED = ("FAILED", "OUT_OF_MEMORY")  # of a job whose own process has ended badly


@dataclass(frozen=True)
class Row:
    """A job as squeue lists it."""

    job: str
    index: int
    state: str
    host: str
    priority: int
    partition: str
    reason: str
    name: str


@dataclass
class Answer:
    """What squeue said last, and when it was asked."""

    asked: float = 0.0
    rows: tuple[Row, ...] = ()
    trouble: str = ""


_last = Answer()  # of this process: pages of one server look once for all


class Slurm:
    """Hands runs to Slurm."""

    def __init__(self) -> None:
        self.settings = settings.read().slurm or settings.Slurm.model_validate({})

    def submit(self, runs: Sequence[Run], pack: int = 1) -> None:
        """Hand runs over as one job or one array; `pack` of them in each job."""
        hand_over.submit(NAME, runs, pack, self._hand)

    def look(self, runs: Sequence[Run]) -> Mapping[str, Standing]:
        """Where the runs stand, from one call of squeue."""
        leases = {run.id: run.where for run in runs}
        newest = max((lease.at for lease in leases.values() if lease.state == "waiting"), default=0.0)
        answer = _ask(newest)
        by_part = {(row.name, row.index): row for row in answer.rows}
        order = _order(answer.rows)
        return {
            name: Standing("unknown", reason=answer.trouble)
            if answer.trouble
            else _standing(by_part.get(name_and_index(lease)), order)
            for name, lease in leases.items()
        }

    def stop(self, run: Run) -> None:
        """Stop a run by its marker while it is trained, else take its job out of the queue."""
        hand_over.stop(run, self._cancel)

    def check(self, root: Path) -> Iterator[Finding]:
        """Whether commands, partition, shared path, version and locks are there; tries them in a job."""
        yield from slurm_check.findings(self.settings, root)

    def _hand(self, claim: str, parts: list[list[Path]]) -> list[str]:
        commit, root, jobs = version.commit(), parts[0][0].parent, list[str]()
        asked = self.settings.for_devices(hand_over.most_devices(parts))
        calls = [
            Call(Job(NAME, claim, list(map(str, part)), commit, self.settings.collect)) for part in parts
        ]
        for start in range(0, len(calls), LONGEST):
            name, _ = name_and_index(Lease(claim=claim, index=start))
            executor = slurm_jobs.executor(asked, root, name)
            jobs += slurm_jobs.submit(executor, calls[start : start + LONGEST])
        return jobs

    def _cancel(self, lease: Lease) -> None:
        """Take a job that waits out of the queue; one that has begun meanwhile leaves the run alone."""
        for row in _ask(time.time()).rows:
            if (row.name, row.index) == name_and_index(lease) and row.state in (*WAITS, *RUNS):
                subprocess.run(["scancel", row.job], capture_output=True, timeout=ASK_SECONDS, check=False)


def name_and_index(lease: Lease) -> tuple[str, int]:
    """The name of the job of a lease, and its number in the array of that name."""
    array, index = divmod(lease.index, LONGEST)
    return f"{lease.claim}-{array}" if array else lease.claim, index


def _ask(after: float) -> Answer:
    """What squeue says of all jobs, at most `LOOK_SECONDS` old and not from before this time."""
    now = time.time()
    good = SILENT_SECONDS if _last.trouble else LOOK_SECONDS
    if (_last.trouble or _last.asked > after) and 0 <= now - _last.asked < good:
        return _last
    command = ["squeue", "--array", "--states=all", "--noheader", f"--format={COLUMNS}"]
    rows: list[Row] = []
    trouble = ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PAGE_SECONDS, check=False)
        if done.returncode:
            trouble = (done.stderr.strip().splitlines() or ["squeue failed"])[-1]
        rows = [row for line in done.stdout.splitlines() if (row := _row(line)) is not None]
    except OSError as error:
        trouble = f"squeue: {error.strerror or error}"
    except subprocess.TimeoutExpired:
        trouble = f"squeue does not answer within {PAGE_SECONDS:.0f} s"
    _last.asked, _last.rows, _last.trouble = now, tuple(rows), trouble
    return _last


def _row(line: str) -> Row | None:
    """A line of squeue; None for one of another form."""
    parts = line.strip().split("|", 7)
    if len(parts) != 8:
        return None
    job, index, state, host, priority, partition, reason, name = parts
    number = int(index) if index.isdecimal() else 0  # N/A without an array
    reason = "" if reason in ("None", "(null)") else reason
    return Row(
        job, number, state, host, int(priority) if priority.isdecimal() else 0, partition, reason, name
    )


def _order(rows: Sequence[Row]) -> dict[str, int]:
    """How many waiting jobs of the same partition come before each waiting one, as far as priorities say."""
    waiting: dict[str, list[Row]] = {}
    for row in rows:
        if row.state in WAITS:
            waiting.setdefault(row.partition, []).append(row)
    order: dict[str, int] = {}
    for those in waiting.values():
        ranked = sorted(those, key=lambda row: (-row.priority, _number(row.job), row.index))
        order |= {row.job: place for place, row in enumerate(ranked)}
    return order


def _number(job: str) -> int:
    number = job.partition("_")[0]
    return int(number) if number.isdecimal() else 0


def _standing(row: Row | None, order: Mapping[str, int]) -> Standing:
    if row is None:
        return Standing("gone")
    if row.state in WAITS:
        return Standing("waiting", order.get(row.job), row.reason)
    if row.state in RUNS:
        return Standing("running", host=row.host)
    return Standing("gone", reason=row.state, died=row.state in DIED)
