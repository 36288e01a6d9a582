"""How Slurm is given jobs: through submitit, with what a person has set."""

import os
import shlex
import shutil
import signal
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import MaclError
from core.files import PROJECT
from core.queue.job import CARRIED, Job
from core.queue.settings import Slurm

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "srun")
FOLDER = ".slurm"  # in the run root: scripts and output of the jobs, by hand-over
ASK_SECONDS = 30.0


def executor(s: Slurm, root: Path, name: str) -> Any:
    """A submitit executor for jobs of this name, with what the person has set.

    Raises:
        MaclError: If submitit or a command of Slurm is missing.
    """
    submitit = _submitit()
    if missing := [command for command in COMMANDS if shutil.which(command) is None]:
        raise MaclError(
            f"{', '.join(missing)}: not found on this machine; hand runs over from a login node of the "
            "cluster"
        )
    folder = root / FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "job_name": name,
        "time": s.minutes,
        "cpus_per_task": s.cores,
        "srun_args": [f"--cpus-per-task={s.cores}"],  # srun does not take it from the job any more
        "array_parallelism": s.at_once,
        "signal_delay_s": s.warn_seconds,
        "setup": [*_environment(s.cores), *s.setup],
        # a run may be begun again any number of times
        "additional_parameters": {"requeue": True, **s.options},
    }
    if s.gpus:
        given["gpus_per_node"] = s.gpus
    given |= {"partition": s.partition} if s.partition else {}
    given |= {"account": s.account} if s.account else {}
    given |= {"mem": f"{int(s.memory_gb * 1024)}M"} if s.memory_gb else {}
    made = submitit.SlurmExecutor(folder, max_num_timeout=10**9)
    made.update_parameters(**given)
    return made


class Call:
    """A job as submitit keeps it; for its `checkpoint` it begins again even if a signal comes very early."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self) -> None:
        """Train; if the machine is wanted back, put the job back into the queue."""
        of_array, number = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        name = f"{of_array}_{number}" if of_array else os.environ["SLURM_JOB_ID"]
        host = os.environ.get("SLURMD_NODENAME", "")
        cores = int(os.environ.get("SLURM_CPUS_PER_TASK") or 1)
        asked = self.job.train(name, host, cores)
        if asked == signal.SIGTERM and not _is_preempted(name):
            self.job.give_back("CANCELLED")
        elif asked:
            subprocess.run(["scontrol", "requeue", name], timeout=ASK_SECONDS, check=False)

    def checkpoint(self) -> Any:
        """What submitit is to call when the job begins again."""
        return _submitit().helpers.DelayedSubmission(self)


def submit(executor: Any, calls: Sequence[Any]) -> list[str]:
    """Hand calls to Slurm as one job or one array; returns Slurm's names of the jobs.

    Raises:
        MaclError: If Slurm refuses, in its words.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without accounts submitit warns at every turn
            return [str(job.job_id) for job in executor.submit_array(calls)]
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        said = [line for line in str(error).splitlines() if "error" in line.lower()]
        raise MaclError(
            f"Slurm does not take the job ({said[-1].strip() if said else error}): "
            "`macl launcher check slurm` says what is wrong"
        ) from None


def _is_preempted(job: str) -> bool:
    """Whether Slurm takes the machine back for another job; else this one has been cancelled."""
    asked = ["scontrol", "show", "job", job]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=ASK_SECONDS, check=False).stdout
    return "PreemptTime=" in said and "PreemptTime=None" not in said


def _environment(cores: int) -> list[str]:
    """Lines of shell that give a job this checkout and the places that were set here.

    Clusters differ in whether a job has the environment of its submission.
    """
    path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    # the threads here too, because numpy is there before the job begins
    places = {"PYTHONPATH": path, "OMP_NUM_THREADS": str(cores)}
    places |= {name: os.environ[name] for name in CARRIED if os.environ.get(name)}
    return [f"cd {shlex.quote(str(PROJECT))}", *(f"export {k}={shlex.quote(v)}" for k, v in places.items())]


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise MaclError('Slurm needs submitit: pip install -e ".[slurm]"') from None
    return submitit
