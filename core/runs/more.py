"""More epochs for a run: the one change of its configuration that a resume allows.

A finished run that trains on keeps its scores, weights and embeddings until the new ones are there, and can
go back to them. What was changed, and when, stays in `epochs.json` of the run. Nothing here imports torch.
"""

import json
import time
from typing import Any

from safetensors import SafetensorError, safe_open

from core.errors import MaclError
from core.files import lock, unlock, write_atomic
from core.runs.config import RunConfig
from core.runs.folder import TRAINS_ON, Run, without_nan

CHECKPOINT = "resume.safetensors"
NOTE = "epochs.json"


def changes(run: Run) -> list[dict[str, Any]]:
    """Every change of the number of epochs, first to last: `from`, `to`, `at`; empty if there was none."""
    try:
        rows = json.loads((run.path / NOTE).read_bytes())
        return [row for row in rows if isinstance(row["from"], int) and isinstance(row["to"], int)]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def allowed(run: Run, began: int, now: int) -> bool:
    """Whether a run that began with so many epochs may have so many now: the change has been noted."""
    noted = changes(run)
    return bool(noted) and now > began and noted[-1]["to"] == now and began in [row["from"] for row in noted]


def results_of(run: Run) -> int | None:
    """Epochs of the results that a run which trains on still has; None if it does not train on."""
    try:
        return int((run.path / TRAINS_ON).read_text())
    except (OSError, ValueError):
        return None


def extend(run: Run, epochs: int) -> None:
    """Let a run train to so many epochs in all; the next resume goes on from its last checkpoint.

    Raises:
        MaclError: If it is running, came with the product, has as many epochs already, or cannot come to the
            result of a run that was started with so many.
    """
    if run.recorded:
        raise MaclError(f"{run.id} came with the product and cannot be trained on")
    with _Held(run):
        config = run.config
        if epochs == config.epochs and not run.finished:
            return
        if epochs <= config.epochs:
            raise MaclError(f"need more than the {config.epochs} epochs that {run.id} has, got {epochs}")
        fields = config.model_dump() | {"epochs": epochs}
        wanted = RunConfig.build(fields.pop("preset"), **fields)
        began = (run.path / CHECKPOINT).exists()
        if began and config.scheduler == "cosine":
            raise MaclError(
                f"{run.id} has a cosine schedule, which ends with its last epoch: with more epochs every "
                f"step before would have been another, so start a new run with {epochs} epochs"
            )
        if run.finished:
            if not began:
                raise MaclError(
                    f"{run.id} has no checkpoint to go on from (earlier versions and benchmarks remove it at "
                    f"the end): start a new run with {epochs} epochs"
                )
            if (last := run.scores().get("epochs", config.epochs)) < config.epochs:
                raise MaclError(
                    f"{run.id} stopped early after epoch {last}, and with more epochs it would stop there "
                    f"again: start a new run with a patience of more than {config.patience}"
                )
            run.mark(TRAINS_ON, str(config.epochs))
        _change(run, wanted)


def take_back(run: Run) -> None:
    """Make a run that trains on finished again, with the epochs of the results that it still has.

    Raises:
        MaclError: If it is running, does not train on, or was killed while it wrote its new results.
    """
    with _Held(run):
        epochs = results_of(run)
        if epochs is None:
            raise MaclError(f"{run.id} does not train on: there is nothing to take back")
        if int(_about(run, "model.safetensors").get("epoch", -1)) != run.scores().get("epoch"):
            raise MaclError(f"{run.id} has its new weights already: resume it, and it ends at once")
        kept = [json.dumps(without_nan(row)) for row in run.history() if row.get("epoch", 0) <= epochs]
        write_atomic(run.path / "metrics.jsonl", "".join(line + "\n" for line in kept))
        run.unmark(*(f"frames/{epoch:05d}.safetensors" for epoch in run.frames() if epoch > epochs))
        began = json.loads(_about(run, CHECKPOINT).get("meta", "{}")).get("config", {})
        if began.get("epochs") != epochs:  # it has been trained further than its results
            run.unmark(CHECKPOINT, "best.safetensors")
        _change(run, run.config.model_copy(update={"epochs": epochs}))
        run.unmark("submitted", "stop", "stopped", "error.txt", TRAINS_ON)


def _change(run: Run, config: RunConfig) -> None:
    row = {"from": run.config.epochs, "to": config.epochs, "at": time.strftime("%Y-%m-%d %H:%M:%S")}
    run.mark(NOTE, json.dumps([*changes(run), row], indent=2) + "\n")
    run.mark("config.json", config.model_dump_json(indent=2) + "\n")


def _about(run: Run, name: str) -> dict[str, str]:
    """What a file of tensors says of itself; empty if there is none, or it cannot be read."""
    try:
        with safe_open(run.path / name, framework="numpy") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}


class _Held:
    """The lock of a run, so that nobody trains it while its configuration changes."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __enter__(self) -> None:
        if not lock(self.run.path / "lock"):
            raise MaclError(f"{self.run.id} is running: stop it first, then change its number of epochs")

    def __exit__(self, *_: object) -> None:
        unlock(self.run.path / "lock")
