"""What the mirror to a tracking server costs a training: `python -m tests.bench.mirror`.

The same run in alternation without a mirror, with a server that answers, with one that is down (its port
refuses), and with one that hangs for the first half of the run (it takes connections and does not answer, the
worst that a client can meet). Medians of the whole time of `macl resume`, start and end included; the mirror
is started anew for every run, so that its imports count. The server, which stands for another machine, has
the lowest priority. At the end all runs are equal, and the server has all of them whole. On a machine that
does other things only the seconds of processor say something.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from core import runs
from core.background.process import Process
from core.runs import Run, RunConfig
from tests.bench import measured, sized, verdict
from tests.small_runs import assert_same_outcome, wait
from tests.tracking_server import Server

ROUNDS = sized(5, 1)
BAR = 1.02  # of the time without a mirror
MACL = [sys.executable, "-c", "from core.cli import main; main()"]
WAYS = sized(("no mirror", "up", "down", "hangs"), ("no mirror", "up"))


def configuration() -> RunConfig:
    """Half a minute of a whole network on two cores."""
    preset = sized("quick", "instant")
    return RunConfig.build(preset, dataset="demo", loss="macl", epochs=sized(8, 1), image_size=sized(96, 64))


def main() -> int:
    """Print medians and their ratios beside the bar; 1 if one is missed."""
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(Path(scratch) / "mlflow")
        server.start()
        try:
            for pid in group(server):
                os.setpriority(os.PRIO_PROCESS, pid, 19)
            seconds: dict[str, list[float]] = {way: [] for way in WAYS}
            used: dict[str, list[float]] = {way: [] for way in WAYS}
            spent: dict[str, list[float]] = {way: [] for way in WAYS}
            made = []
            for turn in range(sized(0, 1), ROUNDS + 1):
                for way in WAYS:
                    run = runs.create(configuration(), Path(scratch) / f"{way}{turn}")
                    took, own, mirrors = train(run, server, way)
                    made.append(run)
                    if turn:  # the first round prepares the images and warms up
                        seconds[way].append(took)
                        used[way].append(own)
                        spent[way].append(mirrors)
            for run in made:
                assert_same_outcome(run, made[0])
                assert_whole(run, server)
        finally:
            server.stop()
    medians, held = {way: statistics.median(times) for way, times in seconds.items()}, []
    for way in WAYS:
        ratio = medians[way] / medians["no mirror"]
        pairs = [a / b for a, b in zip(seconds[way], seconds["no mirror"], strict=True)]
        print(
            f"server {way}: {medians[way]:.2f} s, {ratio:.3f} × no mirror (bar {BAR}; by round "
            f"{', '.join(f'{pair:.3f}' for pair in pairs)}); seconds of processor: training "
            f"{statistics.median(used[way]):.1f}, mirror {statistics.median(spent[way]):.1f}; "
            f"load {os.getloadavg()[0]:.1f}"
        )
        held.append(way == "no mirror" or measured(f"run time, server {way}", ratio, "×", BAR))
    return verdict(not all(held))


def train(run: Run, server: Server, way: str) -> tuple[float, float, float]:
    """Seconds of one run, and the seconds of processor that it and its mirror have used until then."""
    uri = {"no mirror": "", "down": "http://127.0.0.1:1"}.get(way, server.uri)
    pids = group(server)
    for pid in pids if way == "hangs" else []:
        os.kill(pid, signal.SIGSTOP)
    began = time.perf_counter()
    process = subprocess.Popen(
        [*MACL, "resume", run.id, "--run-root", str(run.path.parent)],
        env={**os.environ, "MACL_MLFLOW_URI": uri}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    if way == "hangs":
        wait(lambda: half(run) or run.state in ("finished", "failed"), 1200)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, run.log
    return took, usage.ru_utime + usage.ru_stime, end(run.path.parent)


def half(run: Run) -> bool:
    """Whether half of its epochs are over."""
    rows = run.history()
    return bool(rows) and 2 * rows[-1]["epoch"] > configuration().epochs


def assert_whole(run: Run, server: Server) -> None:
    """The server has the whole run after what it missed has been sent."""
    subprocess.run(
        [*MACL, "mlflow", "sync", "--run-root", str(run.path.parent)],
        env={**os.environ, "MACL_MLFLOW_URI": server.uri}, check=True, capture_output=True,
    )  # fmt: skip
    found = server.runs()[run.id]
    assert found["info"]["status"] == "FINISHED"
    assert server.history(found, "loss") == [(row["step"], row["loss"]) for row in run.history()]


def end(root: Path) -> float:
    """End the mirrors of this root; returns the seconds of processor that they have used."""
    used = 0.0
    for path in root.glob(".mlflow-*.lock"):
        if (pid := Process(path.with_suffix("")).pid) is not None:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            os.kill(pid, signal.SIGKILL)
            wait(lambda pid=pid: not Path(f"/proc/{pid}").exists())  # type: ignore[misc]
    return used


def group(server: Server) -> list[int]:
    """The processes of a server."""
    assert server.process is not None
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            if int(path.read_text().rpartition(")")[2].split()[2]) == server.process.pid:
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    sys.exit(main())
