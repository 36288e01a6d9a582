"""Train what a benchmark lacks, and nothing twice."""

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
from core.runs import Run, RunConfig, create, list_runs
from core.training import recent

CHOOSE_BY = "val_map_medium"  # of the last epoch, mean over the seeds of the search
POLL_SECONDS = 1.0

Tell = Callable[[int, int, str], None]
Said = Callable[[str], None]


class Interrupted(Exception):
    """Somebody stopped the benchmark; the same command goes on with it."""


@dataclass
class Outcome:
    """What a benchmark has come to.

    Attributes:
        runs: Finished runs of the report, in the order of the plan.
        joined: Identities of runs of the report that another machine has done, in the order of the plan.
        failures: One line for each run that did not finish, with its reason.
        tuned: Data set to method to what its search found: the candidates with their mean on the validation
            split, the number of runs behind each, and the chosen value.
    """

    runs: list[Run] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    tuned: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)


def train(
    plan: Plan, folder: Path, tell: Tell | None = None, say: Said = print, joined: Collection[str] = ()
) -> Outcome:
    """Run everything of the plan that neither `folder` holds yet nor another machine has done.

    Args:
        plan: What is to be run.
        folder: Run folders live here; made if missing.
        tell: Told (done, total, what) about runs, and about what takes long inside a run.
        say: Told one line per finished run.
        joined: Identities of runs that another machine has done.

    Raises:
        MaclError: If a data set is not there, or a field of the plan is wrong: before anything is run.
        Interrupted: After Ctrl-C or SIGTERM; the current run has saved a checkpoint.
    """
    for dataset in plan.roots:  # a person's mistake must not show after hours
        first = next(plan.report(dataset, plan.methods))
        recent.dataset(first, tell)
    try:
        (folder / ".claims").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MaclError(f"cannot write to {folder} ({error.strerror}): choose another folder") from error
    work = Work(folder, plan.runs, tell, say)
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
    """The methods with the temperature that is best on the validation split of this data set."""
    search = list(plan.search(dataset))
    work.complete([config for _, _, config in search])
    chosen = []
    for method in plan.methods:
        means: dict[float, float] = {}
        for value in method.candidates():
            configs = [config for m, v, config in search if m is method and v == value]
            found = [run for config in configs if (run := work.finished(config)) is not None]
            if len(found) == len(configs):  # one that fails on a seed is no choice
                means[value] = statistics.fmean(_validation(run) for run in found)
        means = {value: mean for value, mean in means.items() if not math.isnan(mean)}
        if not means:
            chosen.append(method)  # its failures are reported; the default is run all the same
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
    """What the search goes by: of the weights that the run kept; nan if no validation split can tell."""
    values = [line.get(CHOOSE_BY) for line in run.history()]
    known = [value for value in values if value is not None and not math.isnan(value)]
    if run.config.keep == "best" and known:
        return max(known)
    return math.nan if not values or values[-1] is None else values[-1]


class Work:
    """The runs of one folder, and which of them are still to do."""

    def __init__(self, folder: Path, total: int, tell: Tell | None, say: Said) -> None:
        self.folder, self.total, self.tell, self.say = folder, total, tell, say
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
        """Train what is neither finished nor joined; returns when all are finished or have failed.

        What another process is training is waited for: each configuration is claimed by a lock that dies with
        its process.
        """
        left = list(configs)
        while left:
            others = []
            for config in left:
                if self.stopped:
                    raise Interrupted
                if identity(config) in joined:
                    self.done += 1
                elif not self._attempt(config):
                    others.append(config)
            self._show()
            if len(others) == len(left):
                time.sleep(POLL_SECONDS)
            left = others

    def _attempt(self, config: RunConfig) -> bool:
        """Train this configuration unless it is finished; False if another process is at it."""
        name = key(config)
        claim = self.folder / ".claims" / name  # never removed: a lock is of the file, not of the name
        if self.finished(config) is None:
            if not lock(claim):
                return False
            try:
                if self.finished(config) is None:  # somebody may have finished it before we had the lock
                    self._show()
                    self._train(config, name)
            finally:
                unlock(claim)
        self.done += 1
        return True

    def _show(self) -> None:
        """Only around a training: what is there already, and counted at once, says nothing of the speed."""
        if self.tell is not None:
            self.tell(self.done, self.total, "benchmark")

    def _train(self, config: RunConfig, name: str) -> None:
        from core.training import loop as training

        run = self._find(name) or create(config, self.folder)
        self._runs[name] = run
        if run.config != config:  # begun by a call with another device, or before the archive was moved
            run.mark("config.json", config.model_dump_json(indent=2) + "\n")
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
        about = f"{config.dataset} {Method(config.loss, _changed(config)).key} seed {config.seed}"
        if state == "finished":
            run.unmark("resume.safetensors")  # of hundreds of runs, none of which is ever trained on
            scores = run.scores()
            medium = scores["metrics"]["map_medium"]
            shown = "–" if medium is None else f"{100 * medium:.2f}"
            self.say(f"{about}: mAP Medium {shown}, {scores['training_s']:.1f} s")
        else:
            self.failures[name] = f"{about}: {error}"
            self.say(f"{about} failed: {error}")

    def _find(self, name: str) -> Run | None:
        """The run of this key; looks at folders that were not there the last time."""
        if name not in self._runs:
            for run in list_runs(self.folder):
                if run.id in self._known:
                    continue
                self._known.add(run.id)
                with suppress(MaclError):  # a folder without a readable configuration is none of ours
                    self._runs.setdefault(key(run.config), run)
        return self._runs.get(name)

    def stop_on_signal(self) -> "_Signals":
        """While it is open, Ctrl-C, SIGTERM and a closed terminal stop the current run resumably."""
        return _Signals(self)

    def stop(self) -> None:
        """End after the current step of the current run."""
        self.stopped = True
        if self.current is not None:
            with suppress(OSError):
                (self.current / "stop").touch()


class _Signals:
    """Handlers of a benchmark, put back at its end."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __enter__(self) -> None:
        self.usual = on_stop(self.work.stop)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.usual.items():
            signal.signal(number, handler)


def key(config: RunConfig) -> str:
    """Short hash of everything that decides the outcome: a name for a file."""
    return hashlib.sha256(config.identity.encode()).hexdigest()[:16]


def _changed(config: RunConfig) -> dict[str, bool | float | str]:
    from core.losses import LOSSES

    defaults = {parameter.name: parameter.default for parameter in LOSSES[config.loss].parameters}
    return {name: value for name, value in config.params.items() if value != defaults[name]}
