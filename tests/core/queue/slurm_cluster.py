"""A real Slurm of two nodes on this machine, with daemons, ports, keys and files of its own."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
MARK = "MACL_TEST_SLURMD"  # in the environment of a node's daemon and of all that it starts
PATIENCE = 180.0  # seconds that anything here may take on a busy machine
CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=100000
PreemptMode=REQUEUE
PreemptType=preempt/partition_prio
ReturnToService=2
SlurmdTimeout=3
MessageTimeout=5
TCPTimeout=1
MinJobAge=300
KillWait=10
CompleteWait=0
NodeName=n1 NodeAddr=127.0.0.1 NodeHostname=localhost Port={ports[1]} CPUs=2 RealMemory=1000
NodeName=n2 NodeAddr=127.0.0.1 NodeHostname=localhost Port={ports[2]} CPUs=2 RealMemory=1000
PartitionName=tiny Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=first Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=9
"""


def missing() -> list[str]:
    """What of Slurm is not installed here."""
    return [name for name in DAEMONS if shutil.which(name, path=_path()) is None]


def _path() -> str:
    return os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


class Cluster:
    """Two nodes of two cores, n1 and n2; `close` ends all of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("state", "spool.n1", "spool.n2"):
            (folder / name).mkdir()
        folder.chmod(0o711)  # or munge refuses its socket there
        ports = _free_ports(3)
        text = CONFIGURATION.format(folder=folder, user=getpass.getuser(), ports=ports)
        self.conf = folder / "slurm.conf"
        self.conf.write_text(text)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)

    def open(self) -> None:
        """Start everything; returns when both nodes take jobs."""
        self._daemon(
            "munged", "munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key",
            f"--socket={self.folder}/munge.socket", f"--pid-file={self.folder}/munged.pid",
            f"--seed-file={self.folder}/munged.seed",
        )  # fmt: skip
        self.wait(lambda: (self.folder / "munge.socket").exists(), "munged answers")
        self._daemon("slurmctld", "slurmctld", "-D", "-c", "-f", str(self.conf))
        for node in ("n1", "n2"):
            self.start_node(node)
        self.wait(lambda: self.ready() == ["n1", "n2"], "both nodes are ready")

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._daemon(node, "slurmd", "-D", "-N", node, "-f", str(self.conf), mark=node)

    def kill_node(self, node: str) -> None:
        """Kill a node's daemon and all that it has started, as if its power had gone."""
        self._kill(self.daemons.pop(node))
        while processes := self._of_node(node):
            for pid in processes:  # oldest first: what watches a job dies before the job
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def _of_node(self, node: str) -> list[int]:
        """Living processes of this node: its daemon's own, and those of its jobs."""
        mark, found = f"{MARK}={self.folder}:{node}".encode(), []
        of_jobs = {f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={self.conf}".encode()}
        for path in Path("/proc").iterdir():
            with suppress(OSError):
                if path.name.isdecimal():
                    variables = set((path / "environ").read_bytes().split(b"\0"))
                    if mark in variables or of_jobs <= variables:
                        found.append(int(path.name))
        return sorted(found)

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, timeout=PATIENCE,
            check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def ready(self) -> list[str]:
        """Nodes on which nothing runs and jobs may begin."""
        with suppress(subprocess.CalledProcessError):
            lines = self.ask("sinfo", "--noheader", "--Node", "--partition=tiny", "--format=%N %T")
            return sorted(line.split()[0] for line in lines.splitlines() if line.split()[1] == "idle")
        return []

    @property
    def environment(self) -> dict[str, str]:
        """What makes commands speak to this cluster."""
        return {"SLURM_CONF": str(self.conf), "PATH": _path()}

    def cancel_all(self) -> None:
        """Take all jobs out of the queue; those that wait first, or they would begin meanwhile."""
        for state in ("PENDING", "RUNNING"):
            self.ask("scancel", "--quiet", f"--user={getpass.getuser()}", f"--state={state}")

    def begin_now(self) -> None:
        """Let jobs that were put back into the queue begin: Slurm holds them back for two minutes.

        Not at once: a node refuses a credential made in the second in which it has revoked the one before.
        """
        time.sleep(2.5)
        listed = self.ask("squeue", "--array", "--noheader", "--states=PD", "--format=%i %r")
        for job, reason in (line.split(maxsplit=1) for line in listed.splitlines()):
            if reason == "BeginTime":
                with suppress(subprocess.CalledProcessError):  # it has begun meanwhile
                    self.ask("scontrol", "update", f"JobId={job}", "StartTime=now")

    def wait(self, for_what: Callable[[], object], words: str, seconds: float = PATIENCE) -> None:
        """Until something is true; fails with the logs of the cluster."""
        deadline = time.monotonic() + seconds
        while not for_what():
            dead = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            assert not dead, f"{dead} died\n{self.logs()}"
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {words}\n{self.logs()}"
            time.sleep(0.05)

    def logs(self) -> str:
        """What the daemons said last, and what is in the queue."""
        parts = []
        for path in sorted(self.folder.glob("*.out")):
            lines = path.read_text(errors="replace").splitlines()
            parts.append("\n".join((f"--- {path.name}", *lines[-25:])))
        with suppress(subprocess.SubprocessError):
            parts.append(self.ask("squeue", "--array", "--states=all"))
        return "\n".join(parts)

    def close(self) -> None:
        """Cancel what runs and kill all that was started here."""
        with suppress(subprocess.SubprocessError, OSError):
            self.cancel_all()
        for node in [name for name in self.daemons if name in ("n1", "n2")]:
            self.kill_node(node)
        for daemon in reversed(self.daemons.values()):
            self._kill(daemon)

    def _daemon(self, name: str, *command: str, mark: str = "") -> None:
        marked = {MARK: f"{self.folder}:{mark}"} if mark else {}
        with (self.folder / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command, env=os.environ | self.environment | marked, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip

    def _kill(self, daemon: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
