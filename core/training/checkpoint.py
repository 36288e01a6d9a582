"""The checkpoint of a run: all that a bit-for-bit continuation needs, in one file never half written."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from core.data import Dataset
from core.encoder.tensors import read_tensors
from core.encoder.weights import weights_key
from core.errors import MaclError
from core.files import write_atomic
from core.runs import Run, origin, without_nan
from core.runs.folder import TRAINS_ON
from core.training.learner import Learner

NAME = "resume.safetensors"
MODEL = "model.safetensors"
BEST = "best.safetensors"  # weights of the best epoch on validation so far


@dataclass
class Course:
    """How far a training run has come.

    Attributes:
        threads: Number of CPU threads; results with one and two differ in the last bits.
        data: Digests of what it is trained on.
        ranks: Number of processes; results of one and several differ in the last bits.
        step: Steps done.
        best: Validation score of the best epoch so far.
        best_epoch: That epoch, counted from 1; 0 before the first.
        seconds: Time spent in training.
    """

    threads: int
    data: dict[str, str]
    ranks: int = 1
    step: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0


def write(run: Run, learner: Learner, course: Course) -> None:
    """Write a checkpoint in place of the previous one."""
    losses = learner.read()
    tensors = learner.tensors()
    for index, parameter in enumerate(learner.parameters):
        state = learner.optimizer.state[parameter]
        tensors.update({f"optimizer.{index}.{key}": v.contiguous() for key, v in state.items()})
    tensors["generator.cpu"] = torch.get_rng_state()
    if learner.device.type == "cuda":
        tensors["generator.cuda"] = torch.cuda.get_rng_state(learner.device)
    meta = asdict(course) | {"losses": losses, "config": learner.config.model_dump()}
    write_atomic(run.path / NAME, save(tensors, {"meta": json.dumps(meta)}))


def read(run: Run) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and numbers of the last checkpoint; both empty if there is none."""
    path = run.path / NAME
    if not path.exists():
        return {}, {}
    try:
        tensors, metadata = read_tensors(path)
        return tensors, dict(json.loads(metadata["meta"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise MaclError(
            f"the checkpoint {path} is damaged ({error}): delete it, and resume starts from the beginning"
        ) from error


def check_data(run: Run, data: Dataset, meta: dict[str, Any]) -> dict[str, str]:
    """Digests of what the run is trained on; MaclError if they differ from those of its checkpoint.

    With other data its test split could leak, or its result would mix two trainings.
    """
    config, saved = run.config, meta.get("data", {})
    # for a network trained as a whole the checkpoint holds the weights, and their file may be gone
    saved_weights = meta.get("config", {}).get("weights", config.weights)
    still_pretrained = config.trainable == "all" and config.weights == saved_weights
    weights = (
        saved.get("weights", "")
        if meta and still_pretrained
        else weights_key(config.backbone, config.weights)
    )
    current = origin.digests(config, data, weights)
    if saved:
        origin.check_data(current, saved, data.name)
        origin.check_weights(config, meta["config"], weights, saved["weights"])
    elif meta and (  # a checkpoint of an earlier version
        run.splits() != split_names(data) or run.classes() != list(data.classes)
    ):
        raise MaclError(
            f"the images or labels of {data.name} have changed since this run began: put them back "
            "as they were, or start a new run"
        )
    return current


def split_names(data: Dataset) -> dict[str, list[str]]:
    """Names of the images of each split."""
    return {key: [data.names[i] for i in rows] for key, rows in data.splits.items()}


def restore(learner: Learner, course: Course, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Go back to a checkpoint, or to the start if it is empty."""
    if meta:
        _check_fits(learner, tensors)
        learner.load(tensors)
        for index, parameter in enumerate(learner.parameters):
            prefix = f"optimizer.{index}."
            state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            learner.optimizer.state[parameter] = {k: _like(v, parameter) for k, v in state.items()}
        torch.set_rng_state(tensors["generator.cpu"])
        if "generator.cuda" in tensors and learner.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["generator.cuda"], learner.device)
        learner.losses = meta["losses"]
        course.step, course.seconds = meta["step"], meta["seconds"]
        course.best, course.best_epoch = meta["best"], meta["best_epoch"]


def cut_back(run: Run, step: int, per_epoch: int) -> None:
    """Cut the curve and the frames of a run back to this step; an epoch has `per_epoch` of them."""
    lines = [json.dumps(without_nan(row)) for row in run.history() if row["step"] <= step]
    write_atomic(run.path / "metrics.jsonl", "".join(line + "\n" for line in lines))
    for epoch in run.frames():
        if epoch > step // per_epoch or not step:  # these epochs are trained again
            run.unmark(f"frames/{epoch:05d}.safetensors")


def write_model(run: Run, learner: Learner, name: str, epoch: int) -> None:
    """Write what has been learned, with the configuration, the look and the number of the epoch."""
    meta = {
        "config": learner.config.model_dump_json(), "look": learner.look.text, "epoch": str(epoch),
    }  # fmt: skip
    write_atomic(run.path / name, save(learner.tensors(), meta))


def read_best(run: Run, epoch: int) -> dict[str, Tensor]:
    """What had been learned by the best epoch on validation."""
    path = run.path / BEST
    if not path.exists() and (run.path / TRAINS_ON).exists():  # a finished run's model is its best
        path = run.path / MODEL
    try:
        tensors, meta = read_tensors(path)
        if meta.get("epoch", str(epoch)) != str(epoch):  # earlier versions wrote no epoch
            raise OSError(f"need those of epoch {epoch}, got those of epoch {meta['epoch']}")
        return tensors
    except (SafetensorError, OSError) as error:
        raise MaclError(
            f"the best weights {path} are gone or damaged ({error}): delete {NAME} beside "
            "them, and resume starts from the beginning"
        ) from error


def _check_fits(learner: Learner, tensors: dict[str, Tensor]) -> None:
    """MaclError if the checkpoint has another network or loss, which is all an earlier version's can tell."""
    own = {key: tuple(value.shape) for key, value in learner.tensors().items()}
    saved = {k: tuple(v.shape) for k, v in tensors.items() if k.startswith(("encoder.", "loss."))}
    if wrong := [key for key in sorted({*own, *saved}) if own.get(key) != saved.get(key)]:
        raise MaclError(
            f"config.json does not fit the checkpoint of this run ({wrong[0]} is {own.get(wrong[0])} "
            f"instead of {saved.get(wrong[0])}): put it back as it was, or start a new run"
        )


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """An optimiser moment in the memory layout of its parameter, which the fused optimiser relies on."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter).copy_(value)
