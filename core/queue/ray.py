"""The launcher of a Ray cluster: one task per run, with what it asks for in GPUs and processor cores.

A task dies with the process that has given it to Ray, so that is neither a page nor a command but a process
of its own (`core.queue.ray_driver`), as a worker is one. It takes hand-overs from the run root; if it dies,
the next one puts their runs forward again.

Reference: Ray Core, https://docs.ray.io/en/latest/ray-core/walkthrough.html (Apache 2.0).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from core.errors import MaclError
from core.queue import hand_over, launch, ray_check, ray_cluster, ray_parts, settings, version
from core.queue.launcher import Finding, Standing
from core.queue.ray_parts import FOLDER, NAME
from core.runs import Run
from core.runs.where import Lease


class Ray:
    """Hands runs to Ray."""

    def __init__(self) -> None:
        self.settings = settings.read().ray or settings.Ray.model_validate({})

    def submit(self, runs: Sequence[Run], pack: int = 1) -> None:
        """Hand runs over, `pack` of them in each task."""
        ray_cluster.refuse()
        for run in runs:
            self._refuse_cuda(run)
        hand_over.submit(NAME, runs, pack, self._hand)

    def look(self, runs: Sequence[Run]) -> Mapping[str, Standing]:
        """Where the runs stand, from their folders and the note of the process that speaks to Ray."""
        standings: dict[str, Standing] = {}
        for root in {run.path.parent for run in runs}:
            those = [run for run in runs if run.path.parent == root]
            standings |= _look(root, those)
        return standings

    def stop(self, run: Run) -> None:
        """Stop a run by its marker; the process that speaks to Ray takes one that waits back."""
        hand_over.stop(run, lambda lease: None)

    def check(self, root: Path) -> Iterator[Finding]:
        """Whether tokens, cluster, demands, shared path, version and locks are there, node by node."""
        yield from ray_check.findings(self.settings, root)

    def _hand(self, claim: str, parts: list[list[Path]]) -> list[str]:
        asked = self.settings.for_devices(hand_over.most_devices(parts))
        ray_parts.hand(parts[0][0].parent, claim, parts, version.commit(), asked)
        return [f"{claim}_{index}" for index in range(len(parts))]

    def _refuse_cuda(self, run: Run) -> None:
        device = launch.device_of(run)
        if device.startswith("cuda") and not self.settings.gpus:
            raise MaclError(
                f"device: need auto or cpu, as [ray] in {settings.place()} asks for no GPU; got {device}"
            )


def _look(root: Path, runs: Sequence[Run]) -> dict[str, Standing]:
    folder = root / FOLDER
    known = {one.claim for one in ray_parts.handed(folder)}
    leases = {run.id: run.where for run in runs}
    trouble = ray_parts.trouble(root) if known else ""
    queue = ray_parts.queue(folder)
    order = {name: place for place, name in enumerate(queue)}
    return {name: _standing(lease, known, trouble, queue, order) for name, lease in leases.items()}


def _standing(
    lease: Lease, known: set[str], trouble: str, queue: Mapping[str, str], order: Mapping[str, int]
) -> Standing:
    claim = ray_parts.whole(lease.claim)
    if lease.lives:
        return Standing("running", host=lease.host)
    if claim not in known:
        return Standing("gone")
    if trouble:
        return Standing("unknown", reason=trouble)
    part = f"{claim}_{lease.index}"
    return Standing("waiting", order.get(part), queue.get(part, ""))
