"""Train the missing runs of a benchmark, and none twice."""

import hashlib
import math
import signal
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from core.background.signals import on_stop
from core.errors import MaclError
from core.experiments.benchmark.plan import Method, Plan, identity
from core.files import lock, unlock
from core.queue import hand_over, launch
from core.queue import launcher as launchers
from core.runs import Run, RunConfig, create, list_runs
from core.runs.where import LOCAL
from core.training import recent

CHOOSE_BY = "val_map_medium"  # of the last epoch, averaged over the seeds of the search
POLL_SECONDS = 1.0
ENDED = ("interrupted", "stopped", "failed")

Tell = Callable[[int, int, str], None]
Said = Callable[[str], None]


class Interrupted(Exception):
    """Somebody stopped the benchmark; the same command continues it."""


@dataclass
class Outcome:
    """Outcome of a benchmark.

    Attributes:
        runs: Finished runs of the report, in the order of the plan.
        joined: Identities of runs of the report done on another machine, in the order of the plan.
        failures: One line for each run that did not finish, with the reason.
        tuned: Result of the search by data set and method: the parameter, the candidates with their mean on
            the validation split, and the chosen value.
    """

    runs: list[Run] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    tuned: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)


def train(
    plan: Plan,
    folder: Path,
    tell: Tell | None = None,
    say: Said = print,
    joined: Collection[str] = (),
    launcher: str = LOCAL,
    pack: int = 1,
) -> Outcome:
    """Run everything in the plan that is neither in `folder` nor done on another machine.

    Args:
        plan: What to run.
        folder: Folder of the run folders; created if missing.
        tell: Called with (done, total, what) about runs, and about what takes long inside a run.
        say: Called with one line per finished run.
        joined: Identities of runs done on another machine.
        launcher: Who trains; local: this process itself.
        pack: How many runs a job of a cluster trains.

    Raises:
        MaclError: If a data set is missing, or a field of the plan is wrong; before anything is run.
        Interrupted: After Ctrl-C or SIGTERM; a run of this process has saved a checkpoint, those of a cluster
            go on.
    """
    for dataset in plan.roots:  # a mistake must show now, not after hours
        first = next(plan.report(dataset, plan.methods))
        recent.dataset(first, tell)
    try:
        (folder / ".claims").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MaclError(f"cannot write to {folder} ({error.strerror}): choose another folder") from error
    launchers.launcher(launcher)  # a mistake must show now
    work = Work(folder, plan.runs, tell, say, launcher, pack)
    outcome = Outcome()
    with work.stop_on_signal():
        for dataset in plan.roots:
            chosen: Sequence[Method] = plan.methods
            if plan.tune:
                chosen = _tune(plan, dataset, work, outcome)
            report = list(plan.report(dataset, chosen))
            work.complete(report, joined)
            for config in report:
                if (run := work.finished(config)) is not None:
                    outcome.runs.append(run)
                elif identity(config) in joined:
                    outcome.joined.append(identity(config))
    outcome.failures = list(work.failures.values())
    return outcome


def _tune(plan: Plan, dataset: str, work: "Work", outcome: Outcome) -> list[Method]:
    """The methods, each at its best temperature on the validation split of this data set."""
    search = list(plan.search(dataset))
    work.complete([config for _, _, config in search])
    chosen = []
    for method in plan.methods:
        means: dict[float, float] = {}
        for value in method.candidates():
            configs = [config for m, v, config in search if m is method and v == value]
            finished = [run for config in configs if (run := work.finished(config)) is not None]
            if len(finished) == len(configs):  # a candidate that fails on a seed is out
                means[value] = statistics.fmean(_validation(run) for run in finished)
        means = {value: mean for value, mean in means.items() if not math.isnan(mean)}
        if not means:
            chosen.append(method)  # its failures are reported; run it at the default
            continue
        best = max(means, key=lambda value: means[value])
        chosen.append(method.at(best))
        outcome.tuned.setdefault(dataset, {})[method.key] = {
            "parameter": method.temperature,
            "chosen": best,
            "validation": {f"{value:g}": round(mean, 6) for value, mean in means.items()},
        }
    return chosen


def _validation(run: Run) -> float:
    """The search's criterion, for the weights the run kept; nan if the validation split gives no value."""
    values = [line.get(CHOOSE_BY) for line in run.history()]
    numbers = [value for value in values if value is not None and not math.isnan(value)]
    if run.config.keep == "best" and numbers:
        return max(numbers)
    return math.nan if not values or values[-1] is None else values[-1]


class Work:
    """The runs of one folder, and which of them are still to do."""

    def __init__(
        self, folder: Path, total: int, tell: Tell | None, say: Said, launcher: str = LOCAL, pack: int = 1
    ) -> None:
        self.folder, self.total, self.tell, self.say = folder, total, tell, say
        self.launcher, self.pack = launcher, pack
        self.failures: dict[str, str] = {}  # by the key of the configuration
        self.done = 0
        self.stopped = False
        self.current: Path | None = None
        self._runs: dict[str, Run] = {}
        self._known: set[str] = set()

    def finished(self, config: RunConfig) -> Run | None:
        """The finished run of this configuration, if there is one."""
        run = self._find(key(config))
        return run if run is not None and run.state == "finished" else None

    def complete(self, configs: Iterable[RunConfig], joined: Collection[str] = ()) -> None:
        """Train what is neither finished nor joined; returns when all have finished or failed.

        It waits for what another process is training: each configuration is claimed by a lock that dies with
        its process.
        """
        remaining = list(configs)
        if self.launcher != LOCAL:
            self._complete_elsewhere([config for config in remaining if identity(config) not in joined])
            self.done += sum(identity(config) in joined for config in remaining)
            return
        while remaining:
            busy = []
            for config in remaining:
                if self.stopped:
                    raise Interrupted
                if identity(config) in joined:
                    self.done += 1
                elif not self._attempt(config):
                    busy.append(config)
            self._show()
            if len(busy) == len(remaining):
                time.sleep(POLL_SECONDS)
            remaining = busy

    def _attempt(self, config: RunConfig) -> bool:
        """Train this configuration unless it is finished; False if another process is at it."""
        name = key(config)
        claim = self.folder / ".claims" / name  # never removed: a lock belongs to the file, not to its name
        if self.finished(config) is None:
            if not lock(claim):
                return False
            try:
                if (
                    self.finished(config) is None
                ):  # another process may have finished it before we had the lock
                    self._show()
                    self._train(config, name)
            finally:
                unlock(claim)
        self.done += 1
        return True

    def _show(self) -> None:
        """Report progress; only around training, as runs that are there already would distort the speed."""
        if self.tell is not None:
            self.tell(self.done, self.total, "benchmark")

    def _complete_elsewhere(self, configs: Sequence[RunConfig]) -> None:
        """Hand what is missing to the launcher and wait for its end; the runs outlive this process."""
        missing = {key(config): config for config in configs if self.finished(config) is None}
        self.done += len(configs) - len(missing)
        claim = self.folder / ".claims" / "hand-over"  # of two processes only one hands over
        while not lock(claim):
            self._pause()
        try:
            made = {name: self._begin(config, name) for name, config in missing.items()}
            hand_over.settle(made.values(), grace=0)
            wanted = [run for run in made.values() if run.state in ENDED or run.lost]
            for run in wanted:
                run.unmark("deaths")
            if wanted:
                launchers.launcher(self.launcher).submit(wanted, self.pack)
        finally:
            unlock(claim)
        while made:
            self._show()
            self._pause()
            hand_over.settle(made.values())
            for name, run in list(made.items()):
                if (state := run.state) == "interrupted":
                    launch.take_up(run)
                elif state in ("finished", "failed", "stopped"):
                    why = run.error or f"was stopped; macl resume {run.id} goes on with it"
                    self._ended(missing[name], name, made.pop(name), state, why)
                    self.done += 1
        self._show()

    def _pause(self) -> None:
        if self.stopped:
            raise Interrupted
        time.sleep(POLL_SECONDS)

    def _begin(self, config: RunConfig, name: str) -> Run:
        """The run of a configuration that is not finished, made if there is none."""
        run = self._find(name) or create(config, self.folder)
        self._runs[name] = run
        if run.config != config and not (run.where.elsewhere or run.where.lives):
            # begun with another device, or before the archive was moved
            run.mark("config.json", config.model_dump_json(indent=2) + "\n")
        return run

    def _train(self, config: RunConfig, name: str) -> None:
        from core.training import loop as training

        run = self._begin(config, name)
        run.unmark("stop")
        self.current = run.path
        try:
            state = training.run(run.path, self.tell)
            error = run.error
        except MaclError as problem:
            state, error = "failed", str(problem)
        finally:
            self.current = None
        if state == "stopped":
            raise Interrupted
        self._ended(config, name, run, state, error)

    def _ended(self, config: RunConfig, name: str, run: Run, state: str, error: str) -> None:
        """Say what came of a run."""
        description = f"{config.dataset} {Method(config.loss, _changed(config)).key} seed {config.seed}"
        if state == "finished":
            run.unmark("resume.safetensors")  # one of hundreds, never needed again
            scores = run.scores()
            medium = scores["metrics"]["map_medium"]
            medium_text = "–" if medium is None else f"{100 * medium:.2f}"
            self.say(f"{description}: mAP Medium {medium_text}, {scores['training_s']:.1f} s")
        else:
            self.failures[name] = f"{description}: {error}"
            self.say(f"{description} failed: {error}")

    def _find(self, name: str) -> Run | None:
        """The run with this key; looks at folders that are new since the last call."""
        if name not in self._runs:
            for run in list_runs(self.folder):
                if run.id in self._known:
                    continue
                self._known.add(run.id)
                with suppress(MaclError):  # a folder without a readable configuration is not ours
                    self._runs.setdefault(key(run.config), run)
        return self._runs.get(name)

    def stop_on_signal(self) -> "_Signals":
        """A context in which Ctrl-C, SIGTERM and a closed terminal stop the current run, to be resumed."""
        return _Signals(self)

    def stop(self) -> None:
        """End after the current step of the current run."""
        self.stopped = True
        if self.current is not None:
            with suppress(OSError):
                (self.current / "stop").touch()


class _Signals:
    """Signal handlers of a benchmark; the previous ones come back at its end."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __enter__(self) -> None:
        self.usual = on_stop(self.work.stop)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.usual.items():
            signal.signal(number, handler)


def key(config: RunConfig) -> str:
    """Short hash of everything that determines the outcome, as a file name."""
    return hashlib.sha256(config.identity.encode()).hexdigest()[:16]


def _changed(config: RunConfig) -> dict[str, bool | float | str]:
    from core.losses import spec_of

    defaults = {parameter.name: parameter.default for parameter in spec_of(config.loss).parameters}
    return {name: value for name, value in config.params.items() if value != defaults[name]}
