"""More epochs for a run: the one change of configuration that a resume allows.

A finished run that trains on keeps its scores, weights and embeddings until the new ones are there, and can
go back to them. `epochs.json` in its folder records each change and its time. Nothing here imports torch.
"""

import json
import time
from typing import Any

from safetensors import SafetensorError, safe_open

from core.errors import MaclError
from core.files import lock, unlock, write_atomic
from core.runs import contents
from core.runs.config import RunConfig
from core.runs.curve import without_nan
from core.runs.folder import TRAINS_ON, Run

CHECKPOINT = "resume.safetensors"
NOTE = "epochs.json"


def changes(run: Run) -> list[dict[str, Any]]:
    """Every change of the number of epochs, oldest first: `from`, `to`, `at`; empty if there was none."""
    try:
        rows = contents.parsed((run.path / NOTE).read_bytes(), run.path / NOTE)
        fitting = contents.fitting(rows, contents.CHANGES, run.path / NOTE)
    except (OSError, MaclError):
        return []
    return [row.model_dump(by_alias=True) for row in fitting]


def allowed(run: Run, began: int, now: int) -> bool:
    """Whether a run that began with `began` epochs may have `now` epochs: the change must be recorded."""
    recorded = changes(run)
    return (
        bool(recorded)
        and now > began
        and recorded[-1]["to"] == now
        and began in [row["from"] for row in recorded]
    )


def results_of(run: Run) -> int | None:
    """For a run that trains on, the epochs its present results belong to; None for others."""
    try:
        return int((run.path / TRAINS_ON).read_text())
    except (OSError, ValueError):
        return None


def extend(run: Run, epochs: int) -> None:
    """Let a run train to this many epochs in all; the next resume goes on from its last checkpoint.

    Raises:
        MaclError: If it is running, came with the product, has that many epochs already, or could not reach
            the result of a run started with that many.
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
        extended = RunConfig.build(fields.pop("preset"), **fields)
        has_checkpoint = (run.path / CHECKPOINT).exists()
        if has_checkpoint and config.scheduler == "cosine":
            raise MaclError(
                f"{run.id} has a cosine schedule, which ends with its last epoch: with more epochs every "
                f"step before would have been another, so start a new run with {epochs} epochs"
            )
        if run.finished:
            if not has_checkpoint:
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
        _change(run, extended)


def take_back(run: Run) -> None:
    """Make a run that trains on finished again, with the epochs of its present results.

    Raises:
        MaclError: If it is running, does not train on, or was killed while writing its new results.
    """
    with _Held(run):
        epochs = results_of(run)
        if epochs is None:
            raise MaclError(f"{run.id} does not train on: there is nothing to take back")
        if int(_about(run, "model.safetensors").get("epoch", -1)) != run.scores().get("epoch"):
            raise MaclError(f"{run.id} has its new weights already: resume it, and it ends at once")
        rows = [json.dumps(without_nan(row)) for row in run.history() if row.get("epoch", 0) <= epochs]
        write_atomic(run.path / "metrics.jsonl", "".join(line + "\n" for line in rows))
        run.unmark(*(f"frames/{epoch:05d}.safetensors" for epoch in run.frames() if epoch > epochs))
        checkpoint_config = json.loads(_about(run, CHECKPOINT).get("meta", "{}")).get("config", {})
        if checkpoint_config.get("epochs") != epochs:  # it has been trained further than its results
            run.unmark(CHECKPOINT, "best.safetensors")
        _change(run, run.config.model_copy(update={"epochs": epochs}))
        run.unmark("submitted", "stop", "stopped", "error.txt", TRAINS_ON)


def _change(run: Run, config: RunConfig) -> None:
    row = {"from": run.config.epochs, "to": config.epochs, "at": time.strftime("%Y-%m-%d %H:%M:%S")}
    run.mark(NOTE, json.dumps([*changes(run), row], indent=2) + "\n")
    run.mark("config.json", config.model_dump_json(indent=2) + "\n")


def _about(run: Run, name: str) -> dict[str, str]:
    """Metadata of a file of tensors; empty if it is missing or cannot be read."""
    try:
        with safe_open(run.path / name, framework="numpy") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):
        return {}


class _Held:
    """Holds the lock of a run, so that nobody trains it while its configuration changes."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __enter__(self) -> None:
        if self.run.where.lives or not lock(self.run.path / "lock"):
            raise MaclError(f"{self.run.id} is running: stop it first, then change its number of epochs")

    def __exit__(self, *_: object) -> None:
        unlock(self.run.path / "lock")
