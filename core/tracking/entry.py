"""What a run folder says, in the form that a tracking server takes; nothing here knows a server.

Names: an experiment for each data set, a run for each run folder, found again by its tag `macl.run`. Of the
curve every number of every row is a point at its training step; the scores are points `test/…`, `chance/…`
and `oracle/…` at the step whose weights were scored. A parameter is never changed at a server, so a
configuration that changes later (more epochs, another device) says so in tags `macl.now.…`.
"""

import getpass
import hashlib
import json
import math
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.data import DATASETS
from core.report import method_name
from core.runs import Run, RunConfig

EXPERIMENT = "MACL Lab: "
RUN, ROOT, STEPS, STATE = "macl.run", "macl.root", "macl.steps", "macl.state"
DELETED, RENAMED, NOW = "macl.deleted", "macl.renamed_from", "macl.now."
CONFIG, SCORES, FILES = "macl.config", "macl.scores", "macl.files"
STATUS = {
    "queued": "SCHEDULED",
    "running": "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "stopped": "KILLED",
    "interrupted": "KILLED",
}
ENDS = ("scores.json", "error.txt", "stopped")  # the youngest of them says when a run ended
SENT = (
    "config.json", "scores.json", "metrics.jsonl", "splits.json", "classes.json", "data.json", "epochs.json",
    "log.txt", "model.safetensors", "embeddings.safetensors", "*.py",
)  # fmt: skip
LONGEST = 500  # characters of a value; servers before MLflow 2.8 take no more
FORBIDDEN = re.compile(r"[^A-Za-z0-9_\-. /]")  # in the name of a metric or parameter
Point = tuple[str, float, int, float]  # name, value, training step, seconds of training


@dataclass(frozen=True)
class Entry:
    """One run as a server is to have it.

    Attributes:
        run: Its folder.
        name: Its title.
        experiment: Name of the experiment it belongs to.
        status: One of MLflow's: SCHEDULED, RUNNING, FINISHED, FAILED, KILLED.
        began: When it was made, milliseconds since 1970.
        ended: When it ended, likewise; None while it has not.
        params: Its configuration, the parameters of its loss among them.
        tags: What may change about it.
        rows: The rows of its curve.
    """

    run: Run
    name: str
    experiment: str
    status: str
    began: int
    ended: int | None
    params: dict[str, str]
    tags: dict[str, str]
    rows: list[dict[str, float]]

    @property
    def config(self) -> str:
        """A digest of its configuration."""
        return digest(self.params)

    def curve(self, after: int) -> list[list[Point]]:
        """The points of every row of the curve beyond this step, row by row."""
        return [
            [
                (metric(name), value, int(row["step"]), row.get("seconds", 0.0))
                for name, value in row.items()
                if name != "step" and not math.isnan(value)
            ]
            for row in self.rows
            if row["step"] > after
        ]

    def scores(self) -> list[Point]:
        """The points of its scores; none before the end, nor for a metric without a value."""
        if not self.run.finished:
            return []
        scores = self.run.scores()
        of_weights = [row for row in self.rows if row.get("epoch") == scores.get("epoch")]
        kept = of_weights or self.rows or [{"step": 0}]
        step, seconds = int(kept[-1]["step"]), kept[-1].get("seconds", 0.0)
        return [
            (key(f"{part}/{name}"), float(value), step, seconds)
            for part, title in (("test", "metrics"), ("chance", "chance"), ("oracle", "oracle"))
            for name, value in scores.get(title, {}).items()
            if value is not None
        ]

    def files(self) -> list[Path]:
        """The files of a finished run that are sent on request; none before its end."""
        if not self.run.finished:
            return []
        return sorted({path for pattern in SENT for path in self.run.path.glob(pattern) if path.is_file()})


def read(run: Run) -> Entry:
    """What a server is to have of this run.

    Raises:
        MaclError: If its configuration cannot be read.
    """
    config, state, rows = run.config, run.state, run.history()
    params = _params(config)
    tags = {
        RUN: run.id,
        ROOT: root_key(run.path.parent),
        STATE: state,
        "macl.folder": f"{socket.gethostname()}:{run.path}",
        "macl.loss": config.spec.title,
        "macl.error": run.error[:LONGEST] if state == "failed" else "",
    }
    return Entry(
        run,
        run.title or f"{method_name(config)} · {_dataset(config)} · {config.preset} · seed {config.seed}",
        f"{EXPERIMENT}{_dataset(config)}",
        STATUS[state],
        _time(run.path / "config.json") or 0,
        max(filter(None, (_time(run.path / name) for name in ENDS)), default=None),
        params,
        tags,
        rows,
    )


def source() -> dict[str, str]:
    """Tags by which MLflow itself shows who made a run, and with what."""
    tags = {"mlflow.source.name": "MACL Lab", "mlflow.source.type": "LOCAL"}
    with suppress(OSError, KeyError, ImportError):  # a user without a name, as in a container
        tags["mlflow.user"] = getpass.getuser()
    return tags


def root_key(root: Path) -> str:
    """What stands for a run root of this machine: a digest, as no search can ask for every path."""
    return digest([socket.gethostname(), str(root.resolve())])


def metric(column: str) -> str:
    """The name of a column of the curve; those of the validation split stand together as `val/…`."""
    return key(f"val/{column.removeprefix('val_')}" if column.startswith("val_") else column)


def key(name: str) -> str:
    """A name with no character that MLflow forbids."""
    return FORBIDDEN.sub("_", name)


def digest(content: Any) -> str:
    """Equal for equal contents; anything that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def digest_of(files: Iterable[Path]) -> str:
    """Equal for files with the same names, sizes and times."""
    about = [(path.name, info.st_size, info.st_mtime_ns) for path in files for info in (path.stat(),)]
    return digest(about)


def _params(config: RunConfig) -> dict[str, str]:
    fields = config.model_dump(exclude={"own", "params", "reading"}) | config.params
    if "reading" in config.model_dump():
        fields |= config.reading.model_dump()
    return {key(name): str(value)[:LONGEST] for name, value in fields.items()}


def _dataset(config: RunConfig) -> str:
    """The title of a data set, or of a person's own folder its name."""
    if config.dataset == "folder" and config.data_root:
        return f"folder {Path(config.data_root).name}"
    return DATASETS[config.dataset].title


def _time(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return None
