"""The launcher of this machine: the workers of `core.queue.launch`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from core.errors import MaclError
from core.queue import launch
from core.queue.launcher import Finding, Standing
from core.runs import Run


class Local:
    """Runs wait in their folders; a worker of this machine takes them in order."""

    def submit(self, runs: Sequence[Run], pack: int = 1) -> None:
        """Queue the runs and make sure that workers live; a worker trains all one after another anyway."""
        devices = {}
        for run in runs:
            launch.requeue(run)
            devices[launch.device_of(run), run.path.parent] = True
        for device, root in devices:
            launch.ensure_worker(device, root)

    def look(self, runs: Sequence[Run]) -> Mapping[str, Standing]:
        """Their places in the queue of their run root."""
        orders = {root: [one.id for one in launch.queue(root)] for root in {run.path.parent for run in runs}}
        found = {}
        for run in runs:
            order = orders[run.path.parent]
            if run.id in order:
                found[run.id] = Standing("waiting", order.index(run.id))
            else:
                found[run.id] = Standing("running" if run.state == "running" else "gone")
        return found

    def stop(self, run: Run) -> None:
        """Ask a run to stop."""
        launch.stop(run)

    def check(self, root: Path) -> Iterator[Finding]:
        """Whether a worker can start."""
        try:
            launch.ensure_worker("auto", root)
        except (MaclError, OSError) as error:
            yield Finding(False, f"no worker can start: {error}")
        else:
            yield Finding(True, f"a worker of this machine takes the runs of {root}")
