"""The process that speaks to Ray for one run root; `core.queue.ray_parts` starts it, `main` is it.

It takes hand-overs, gives Ray as many of their tasks as its nodes can train and one more, and the others when
those have ended: a task that Ray begins again on another node then does not wait behind hundreds. Ray ends
its tasks when this process dies. The next one waits for runs that may still live, by their heartbeats, and
puts the others forward with a new claim, so that no task of an earlier process can take them as well.
"""

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.background.process import Running
from core.errors import MaclError
from core.queue import ray_cluster, ray_parts, ray_task
from core.queue.ray_parts import NAME, Handed
from core.runs import Run, where
from core.runs.where import Hold, Lease

IDLE_SECONDS = 60.0
POLL_SECONDS = 0.3
SWEEP_SECONDS = 2.0  # between two looks at all runs that wait
AGAIN_SECONDS = 5.0  # before a part whose task has left it undone is put forward again
JOIN_SECONDS = 10.0  # before a cluster that does not answer is asked again


def main(running: Running) -> None:
    """Serve the hand-overs of a run root until there has been none for a while."""
    folder = running.process.path.parent
    while True:
        if where.read(folder).lives:  # one on another machine serves them
            return
        with Hold(folder):
            Driver(folder, running).serve()
        running.release()
        # something may have been handed over between the last look and the release
        if running.ending or not ray_parts.handed(folder) or not running.begin():
            return


@dataclass(eq=False)
class Part:
    """One task of a hand-over.

    Attributes:
        handed: The hand-over.
        index: Its place in it.
        task: Ray's reference, while Ray has it.
        after: Time before which it is not put forward.
        left: Looks in a row at which none of its runs was to be trained any more, while Ray had it.
    """

    handed: Handed
    index: int
    task: Any = None
    after: float = 0.0
    left: int = 0

    @property
    def name(self) -> str:
        """What people see as the job."""
        return f"{self.handed.claim}_{self.index}"

    def runs(self) -> list[Run]:
        """Its runs that are still to be trained."""
        folders = self.handed.parts[self.index]
        return [run for run in map(Run, folders) if ray_parts.is_of(run, self.handed.claim)]


class Driver:
    """What is given to Ray, and what waits."""

    def __init__(self, folder: Path, running: Running) -> None:
        self.folder, self.running = folder, running
        self.ray: Any = None
        self.warm: Any = None  # how Ray calls a task: in a process that has done others,
        self.fresh: Any = None  # or in one that gives the memory of its GPU back when it ends
        self.address = ""
        self.parts: list[Part] = []
        self.known: set[str] = set()
        self.said: dict[str, str] | None = None
        self.reasons: dict[str, str] = {}
        self.trouble = ""
        self.joins = self.swept = 0.0  # when to ask the cluster again; last look at all that waits
        self.nodes: tuple[float, list[dict[str, Any]]] = (0.0, [])

    def serve(self) -> None:
        """Take turns until idle or asked to end; Ray then ends what it still trains, to be begun again."""
        try:
            self.running.serve(self.turn, IDLE_SECONDS, POLL_SECONDS)
        finally:
            if self.ray is not None:
                self.ray.shutdown()

    def turn(self) -> bool:
        """One look at everything; whether anything is left to do."""
        self._take_in()
        if not self.parts:
            return False
        if self._joined():
            try:
                self._let_go()
                self._put_forward()
            except Exception as error:  # the cluster has gone; of its classes of errors some are its base
                self._lost(error)
        if self.ray is None:
            time.sleep(POLL_SECONDS)
        self._sweep()
        self._say()
        return True

    def _take_in(self) -> None:
        for handed in ray_parts.handed(self.folder):
            if handed.claim not in self.known:
                self.known.add(handed.claim)
                self.parts += [Part(handed, index) for index in range(len(handed.parts))]

    def _joined(self) -> bool:
        """Whether a cluster has been joined: that of the first hand-over."""
        first = self.parts[0].handed.settings.address
        if self.ray is not None and first != self.address and not self._tasks():
            self.ray.shutdown()
            self.ray = None
        if self.ray is None and time.monotonic() >= self.joins:
            try:
                self.ray, self.address, self.trouble = ray_cluster.join(first), first, ""
                self.warm = self.ray.remote(ray_task.train)
                self.fresh = self.ray.remote(max_calls=1)(ray_task.train)
            except MaclError as error:
                self.trouble, self.joins = str(error), time.monotonic() + JOIN_SECONDS
            else:
                self.running.progressed()
                self.running.say(what="")
        return self.ray is not None

    def _tasks(self) -> dict[Any, Part]:
        return {part.task: part for part in self.parts if part.task is not None}

    def _let_go(self) -> None:
        """Take back the tasks that have ended, and those that nobody wants any more."""
        tasks = self._tasks()
        if not tasks:
            time.sleep(POLL_SECONDS)
            return
        ended, going = self.ray.wait([*tasks], num_returns=len(tasks), timeout=POLL_SECONDS)
        for task in ended:
            part = tasks[task]
            part.task, part.left = None, 0
            try:
                self.ray.get(task)
            except self.ray.exceptions.TaskCancelledError:
                pass
            except self.ray.exceptions.RayTaskError as error:
                self._fail(part, error.cause or error)
            except self.ray.exceptions.RayError as error:
                self._fail(part, error)
            if not part.runs():
                self._done(part)
            part.after = time.monotonic() + AGAIN_SECONDS
        for task in going:
            part = tasks[task]
            part.left = 0 if part.runs() else part.left + 1
            if part.left == 2:  # once may be a task that is just ending
                self.ray.cancel(task)

    def _put_forward(self) -> None:
        """Give Ray what it has room for, in order."""
        self.reasons, had = {}, len(self._tasks())
        for part in [*self.parts]:
            s = part.handed.settings
            if part.task is not None or s.address != self.address:
                continue
            room = self._room(part)
            if not room:
                self.reasons[part.name] = f"no node has {ray_cluster.wanted(s)}"
            if had >= (s.at_once or room + 1):
                break
            runs = part.runs()
            if not runs:
                self._done(part)
            elif time.monotonic() >= part.after and not any(run.where.lives for run in runs):
                part.task, had = self._begin(part, runs), had + 1

    def _begin(self, part: Part, runs: list[Run]) -> Any:
        claim, handed = f"{part.handed.claim}.{secrets.token_hex(2)}", part.handed
        for run in runs:
            alone = len(handed.parts[part.index]) == 1
            lease = Lease(NAME, claim, part.index, alone, part.name, state="waiting", at=time.time())
            where.write(run.path, lease)
        s = handed.settings
        more = {"memory": int(s.memory_gb * 1024**3)} if s.memory_gb else {}
        task = (self.fresh if s.gpus else self.warm).options(
            name=part.name, num_cpus=s.cores, num_gpus=s.gpus, resources=s.resources, **more,
            max_retries=-1,  # a lost node is no fault of the run's; its own deaths are counted in the task
            runtime_env={"env_vars": handed.variables},
        )  # fmt: skip
        folders = [str(run.path) for run in runs]
        return task.remote(claim, part.name, folders, handed.commit, s.cores, s.gpus)

    def _room(self, part: Part) -> int:
        """How many tasks like this the cluster can train."""
        asked, nodes = self.nodes
        if time.monotonic() - asked > SWEEP_SECONDS or not nodes:
            nodes = self.ray.nodes()
            self.nodes = time.monotonic(), nodes
        return ray_cluster.room(nodes, part.handed.settings)

    def _fail(self, part: Part, error: BaseException) -> None:
        """A task that could not begin its runs: they would not begin at the next turn either."""
        for run in part.runs():
            with suppress(OSError):
                run.mark(
                    "error.txt",
                    f"a node could not begin it ({ray_cluster.first_line(error)}): `macl launcher check ray` "
                    "says what is wrong there",
                )
                where.end(run.path)

    def _done(self, part: Part) -> None:
        self.parts.remove(part)
        if not any(one.handed is part.handed for one in self.parts):
            (self.folder / f"{part.handed.claim}.json").unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Forget what was stopped or deleted while it waited."""
        if time.monotonic() - self.swept > SWEEP_SECONDS:
            for part in [*self.parts]:
                if part.task is None and not part.runs():
                    self._done(part)
            self.swept = time.monotonic()

    def _say(self) -> None:
        """Say what waits, in order: what Ray has comes first."""
        given = [part for part in self.parts if part.task is not None and not self._is_running(part)]
        kept = [part for part in self.parts if part.task is None]
        waiting = {part.name: self.reasons.get(part.name, self.trouble) for part in given + kept}
        if waiting != self.said:
            ray_parts.say_queue(self.folder, waiting)
            self.said = waiting

    def _is_running(self, part: Part) -> bool:
        return any(run.where.lives for run in part.runs())

    def _lost(self, error: Exception) -> None:
        """The cluster does not answer any more: everything is put forward again when it does."""
        print(f"the cluster is lost: {type(error).__name__}: {error}", flush=True)
        self.trouble = f"Ray does not answer at {self.address} ({ray_cluster.first_line(error)})"
        for part in self.parts:
            part.task = None
        with suppress(Exception):
            self.ray.shutdown()
        self.ray, self.joins = None, time.monotonic() + JOIN_SECONDS
