"""What a job of a cluster does on its node: it trains its runs one after another, in this process.

A machine that is wanted back, or a time limit, ends in a checkpoint and a run that its cluster begins again.
Nothing here imports torch before the threads of the job are known.
"""

import os
import signal
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from core.errors import MaclError
from core.files import PROJECT
from core.queue import version
from core.queue.collect import Collected
from core.runs import Run, where
from core.runs.where import WARNINGS

# Of the environment of a hand-over, what its jobs have too.
CARRIED = (
    "MACL_CACHE", "MACL_DATA_ROOT", "MACL_LOSSES", "MACL_RUN_ROOT", "MACL_BEAT_SECONDS",
    "MACL_CHECKPOINT_SECONDS",
)  # fmt: skip


@dataclass
class Job:
    """The runs of one job; small, because an engine may write it to a file.

    Attributes:
        launcher: Key of the launcher.
        claim: Name of the hand-over.
        folders: Run folders, in order.
        commit: Version of the program that handed them over.
        collect: Folder on the node's disk to write runs in; empty: they are written where they are.
        auto: The device for runs whose device is "auto".
        leaving: The signal that asked it to leave; 0 before.
    """

    launcher: str
    claim: str
    folders: list[str]
    commit: str
    collect: str = ""
    auto: str = "auto"
    leaving: int = field(default=0, compare=False)

    def train(self, job: str, host: str, cores: int) -> int:
        """Train all runs that are still this job's.

        Args:
            job: The engine's name of this job.
            host: The engine's name of this machine.
            cores: Threads of the training.

        Returns:
            The signal that made it leave before the end of all runs; 0 if none did.
        """
        for number in WARNINGS:
            signal.signal(number, self._warned)
        os.environ.update({
            where.LAUNCHER: self.launcher, where.CLAIM: self.claim, where.JOB: job, where.HOST: host,
        })  # fmt: skip
        os.environ["OMP_NUM_THREADS"] = str(cores)  # whatever the shell of the submission said
        for folder in map(Path, self.folders):
            if not self.leaving and self._is_ours(folder):
                self._train(Run(folder))
        return self.leaving

    def give_back(self, reason: str) -> None:
        """Let the runs that are still this job's belong to nobody, because it does not begin again."""
        for folder in map(Path, self.folders):
            if where.read(folder).claim == self.claim:
                where.end(folder, reason)

    def _is_ours(self, folder: Path) -> bool:
        """Whether a run waits for this job; not if it was stopped, deleted, or handed over anew."""
        lease, run = where.read(folder), Run(folder)
        ours = lease.claim == self.claim and lease.state != "ended" and not run.finished
        if not ours:
            print(f"{folder.name} is not this job's any more: left alone", flush=True)
        return ours

    def _train(self, run: Run) -> None:
        try:
            self._refuse(run)
        except MaclError as error:
            run.mark("error.txt", str(error))
            where.end(run.path)
            return
        from core.training import loop

        print(f"{run.id} begins", flush=True)
        try:
            with Collected(run.path, self.collect) if self.collect else nullcontext(run.path) as place:
                state = loop.run(place, auto=self.auto, leave=lambda: bool(self.leaving))
        except (MaclError, OSError) as error:  # somebody has it after all, or its folder has gone
            print(f"{run.id}: {error}", file=sys.stderr, flush=True)
        else:
            print(f"{run.id} {state}", flush=True)

    def _refuse(self, run: Run) -> None:
        """MaclError if this checkout is not the one that the run was handed over with."""
        now = version.commit()
        if now != self.commit:
            raise MaclError(
                f"{PROJECT} is at commit {now or 'unknown'}, but this run was handed over at commit "
                f"{self.commit or 'unknown'}: macl resume {run.id} hands it over with the version now there"
            )

    def _warned(self, number: int, _frame: FrameType | None) -> None:
        self.leaving = number
