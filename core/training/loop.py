"""The training loop: a run folder in; curve, weights, test embeddings and scores out.

Every launcher starts `python -m core.training RUN_FOLDER`; the worker calls `run`. A run for several devices
is handed to as many processes (`core.training.ranks`), each of which calls `train` as one of their group.
Where torchrun has started the processes already, rank 0 holds the run.
"""

import json
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from core import device as devices
from core import metrics
from core.background.signals import on_stop
from core.data import Dataset
from core.encoder.model import ProjectionHead
from core.errors import MaclError
from core.files import write_atomic
from core.runs import Run, RunConfig, State, more, origin, without_nan
from core.runs.folder import TRAINS_ON
from core.runs.where import Hold
from core.training import cached, checkpoint, ranks, recent
from core.training.batches import batches, learning_rate
from core.training.checkpoint import Course
from core.training.group import ALONE, Group, Lost
from core.training.learner import Learner
from core.training.log import Left, Log, Progress, Stopped, Taken, fail

CHECKPOINT_SECONDS = float(
    os.environ.get("MACL_CHECKPOINT_SECONDS", "5")
)  # at least this long between two; a stop saves at once
LOG_STEPS = 10
MOST_FRAMES = 100  # saved test embeddings per run, so that a run of very many epochs does not fill the disk
THREADS = torch.get_num_threads()  # of a new run; a resumed one keeps the number it began with
ENDS = (None, Stopped, Left, Taken)  # what ends a run before its time, by the number that rank 0 tells
LOST_SECONDS = 10.0  # in which every rank that lives has noticed the loss of another
VALIDATION_METRIC = "map_medium"  # decides which epoch `keep: best` keeps


def stop_on_signal(folder: Path) -> None:
    """Let Ctrl-C, SIGTERM and a closed terminal stop the run so that it can be resumed, not kill it."""

    def stop() -> None:
        with suppress(OSError):
            (folder / "stop").touch()

    on_stop(stop)


def warm_up() -> None:
    """Import and run once what the first run would otherwise have to wait for."""
    head = ProjectionHead(8, 8, 8)
    optimizer = torch.optim.Adam(head.parameters(), fused=True)  # imports torch's compiler: 1 s
    head(torch.zeros(2, 8)).sum().backward()
    optimizer.step()


def warm_up_backbones() -> None:
    """Import what most backbones need; a run on cached features does without."""
    import timm  # noqa: F401  (1 s)


def run(
    folder: Path,
    progress: Progress | None = None,
    *,
    submitted_only: bool = False,
    auto: str = "auto",
    leave: Callable[[], bool] = lambda: False,
    together: Group = ALONE,
) -> State:
    """Train the run of `folder` from its start or its last checkpoint until it ends or is stopped.

    Errors of training are written into the folder (`error.txt`, with the traceback in `log.txt`) and give the
    state "failed"; they are not raised, so that a worker goes on with the next run.

    Args:
        folder: A run folder with `config.json`.
        progress: Called with (done, total, what) during everything that takes long, besides `progress.json`.
        submitted_only: Leave the run alone if somebody has taken it out of the queue in the meantime.
        auto: The device for a run whose device is "auto".
        leave: Asked at every step whether this machine is wanted back: the run then saves a checkpoint and
            is interrupted, to go on elsewhere.
        together: The group of processes of which this is rank 0, if one is there already.

    Returns:
        finished, stopped, failed or interrupted; or, with `submitted_only`, the state of a run that was left
        alone.

    Raises:
        MaclError: If there is no such folder, another process is training this run, or a cluster has it.
        OSError: If the folder cannot be written.
    """
    run = Run(folder)
    if not folder.is_dir():
        raise MaclError(f"there is no run folder {folder}")
    with Hold(folder) as hold:
        if run.finished:  # by the time it was free; training again would lose the result
            return "finished"
        if submitted_only and not (folder / "submitted").exists():
            hold.release()
            return run.state
        log = Log(run, progress, lambda: Taken if hold.lost else Left if leave() else None)
        try:
            state = attempt(run, log, auto, together)
        finally:
            devices.give_back_memory()
        hold.release(waits=state == "interrupted")
        return state


def attempt(run: Run, log: Log, auto: str, together: Group = ALONE) -> State:
    """One attempt at a run that this process holds; its markers tell what came of it."""
    try:
        run.mark("started")
        run.unmark("submitted", "stopped", "error.txt")
        ranks.wait_for_last(run)
        run.unmark(*(path.name for path in run.path.glob(".*.safetensors.*")))  # of a process that was killed
        log.say(f"started, process {os.getpid()}")
        if not together.joined and (count := run.config.devices) > 1:
            ranks.train(run, log, count, auto)
        else:
            train(run, log, auto, together)
        run.unmark("progress.json")
        log.say("finished")
        return "finished"
    except Taken:  # its files belong to somebody else now
        return "interrupted"
    except Left:
        run.unmark("progress.json")
        log.say("left this machine; it can be resumed")
        return "interrupted"
    except Stopped:
        run.mark("stopped")
        run.unmark("stop", "progress.json")
        log.say("stopped; it can be resumed")
        return "stopped"
    except Exception as error:
        fail(run, log, named(error, together))
        return "failed"


def named(error: Exception, together: Group) -> Exception:
    """The error, with the ranks that are gone if a loss of them is what it says."""
    if not isinstance(error, Lost):
        return error
    away = together.missing(LOST_SECONDS)
    who = f"rank {', '.join(map(str, away))} of {together.size} has ended" if away else str(error)
    return Lost(f"{who}: resume the run, and it goes on from its last checkpoint")


@dataclass
class Training:
    """Everything one training run works with."""

    run: Run
    log: Log
    config: RunConfig
    data: Dataset
    learner: Learner
    course: Course
    together: Group = ALONE


def train(run: Run, log: Log, auto: str = "auto", together: Group = ALONE) -> None:
    """Prepare, train, score; afterwards the run folder holds everything that a page reads.

    Every process of a group calls it; only the first writes.
    """
    with together.in_turn():
        training = prepare(run, log, auto, together)
    meet(training)
    train_steps(training)
    log.say(f"training took {training.course.seconds:.2f} s for {training.course.step} steps")
    finish(training)


def prepare(run: Run, log: Log, auto: str = "auto", together: Group = ALONE) -> Training:
    """Everything before the first remaining step; MaclError if a resumed run would not be the same run."""
    config = run.config
    tensors, meta = checkpoint.read(run)
    if began_with := meta.get("config"):  # not in a checkpoint of an earlier version
        if more.allowed(run, began_with["epochs"], config.epochs):
            log.say(f"trains on to {config.epochs} epochs; it began with {began_with['epochs']}")
            began_with = began_with | {"epochs": config.epochs}
        origin.check_config(config, began_with)
    number_before = meta.get("ranks", together.size)
    threads = meta.get("threads", THREADS) if number_before == together.size else THREADS
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    devices.keep_memory()  # saves a tenth of a step on a CPU
    device = together.device(devices.resolve(auto if config.device == "auto" else config.device))
    log.say(f"device: {described(device, config, together)}")

    began = time.monotonic()
    data = recent.dataset(config, log.step)
    log.say(f"{len(data.names)} images ready after {time.monotonic() - began:.1f} s")
    course = Course(threads, checkpoint.check_data(run, data, meta), together.size)
    if together.first:
        write_atomic(run.path / "data.json", json.dumps(course.data, indent=2) + "\n")
        write_atomic(run.path / "splits.json", json.dumps(checkpoint.split_names(data)))
        write_atomic(run.path / "classes.json", json.dumps(data.classes))

    began = time.monotonic()
    weights = "none" if meta else config.weights  # a checkpoint holds the weights
    learner = Learner(config, data, device, weights, log.step, together)
    log.say(f"encoder ready after {time.monotonic() - began:.1f} s")
    for warning in learner.warnings:
        log.say(f"{config.spec.title}: {warning}")
    if why := cached.inexact(learner.encoder, config, device, together):
        log.say(f"not the gradient of a batch embedded at once: {why}")
    checkpoint.restore(learner, course, tensors, meta)
    if together.first:
        checkpoint.cut_back(run, course.step, learner.per_epoch)
    if meta:
        log.say(f"resumed after step {course.step}")
    if number_before != together.size:
        number = f"{together.size} process{'es' * (together.size > 1)}"
        is_not = "what comes is not bit for bit what it would have been"
        log.say(f"goes on with {number}, after {number_before}: {is_not}")
    return Training(run, log, config, data, learner, course, together)


def meet(training: Training) -> None:
    """See that all processes of a group begin alike; MaclError if one has other images."""
    together, learner = training.together, training.learner
    if not together.joined:
        return
    key = float(int(sha256(json.dumps(training.course.data).encode()).hexdigest()[:12], 16))
    if together.told(key, training.course.step) != [key, training.course.step]:
        raise MaclError(
            "its images, labels or checkpoint are not those of rank 0: give all machines the same"
        )
    learner.load(together.shared(learner.tensors()))
    random.seed(training.config.seed)  # a person's own loss may draw from these, and then all draw the same
    np.random.seed(training.config.seed)


def described(device: torch.device, config: RunConfig, together: Group) -> str:
    """The device in words; of a group how many of them."""
    words = devices.describe(device, config.precision)
    return f"{together.size} × {words}" if together.size > 1 else words


def train_steps(training: Training) -> None:
    """Train all remaining steps; the number of steps done alone says where a run is in its course."""
    run, log, config = training.run, training.log, training.config
    learner, course, rows = training.learner, training.course, training.data.splits["train"]
    together = training.together
    per_epoch, seconds_before = learner.per_epoch, course.seconds
    total = per_epoch * config.epochs
    order: list[np.ndarray] = []
    began = since = saved = time.monotonic()
    images = 0
    if course.step == 0:
        save_frame(training, 0)
    while course.step < total and not out_of_patience(training):
        epoch, batch = divmod(course.step, per_epoch)
        rate = learning_rate(config, epoch)
        if batch == 0 or not order:
            order = batches(rows, config.batch_size, config.seed, epoch)
            learner.begin_epoch(rate)
        learner.step(order[batch], course.step + 1)
        course.step += 1
        images += len(order[batch])
        ended = batch + 1 == per_epoch
        if ended or course.step % LOG_STEPS == 0 or course.step == 1:
            losses, learner.losses = learner.read(), []
            now = time.monotonic()
            mean = sum(losses) / len(losses)  # the loss of a single batch would be mostly noise
            row = {"step": course.step, "epoch": epoch + 1, "loss": mean, "lr": rate}
            row["images_per_s"] = round(images / max(now - since, 1e-9), 1)
            row["seconds"] = round(seconds_before + now - began, 3)
            line = json.dumps(row | (validate(training, epoch + 1) if ended else {}))
            if together.first:
                with (run.path / "metrics.jsonl").open("a") as file:
                    file.write(line + "\n")
            if ended:
                save_frame(training, epoch + 1)
            images, since = 0, time.monotonic()
        course.seconds = seconds_before + time.monotonic() - began
        end = ENDS[int(together.told(ENDS.index(log.end_wanted()))[0])]  # all end after the same step
        if end is Taken:
            raise end
        due = end or (ended and time.monotonic() - saved >= CHECKPOINT_SECONDS)
        if due and together.first:
            checkpoint.write(run, learner, course)
            saved = time.monotonic()
        if end:
            raise end
        log.show(course.step, total, "training")


def out_of_patience(training: Training) -> bool:
    """Whether validation has not improved for `patience` epochs."""
    course, patience = training.course, training.config.patience
    done = course.step // training.learner.per_epoch  # epochs
    return bool(patience and course.best_epoch) and done - course.best_epoch >= patience


def validate(training: Training, epoch: int) -> dict[str, float | None]:
    """Metrics on the validation split, keys prefixed with "val_"; saves the weights if they are the best."""
    course, rows, together = training.course, training.data.splits["val"], training.together
    if len(rows) < 2:
        return {}
    z, scores = training.learner.embed(rows, course.step), dict[str, float]()
    if together.first:
        scores = metrics.evaluate(z, training.data.labels[rows])
        if training.config.keep == "best" and scores[VALIDATION_METRIC] > course.best:
            course.best, course.best_epoch = scores[VALIDATION_METRIC], epoch
            checkpoint.write_model(training.run, training.learner, checkpoint.BEST, epoch)
    course.best, best_epoch = together.told(course.best, course.best_epoch)
    course.best_epoch = int(best_epoch)
    return without_nan({f"val_{key}": round(value, 6) for key, value in scores.items()})


def save_frame(training: Training, epoch: int) -> None:
    """Save test embeddings of this epoch, if due; half precision is enough for a picture."""
    config, folder = training.config, training.run.path / "frames"
    every = config.embed_every and max(config.embed_every, -(-config.epochs // MOST_FRAMES))
    if every and (epoch % every == 0 or epoch == config.epochs):
        z = training.learner.embed(training.data.splits["test"], training.course.step)
        if training.together.first:
            folder.mkdir(exist_ok=True)
            write_atomic(folder / f"{epoch:05d}.safetensors", save({"z": torch.from_numpy(z).half()}))


def finish(training: Training) -> None:
    """Write weights, test embeddings, then scores: the scores file is what makes a run finished."""
    run, log, config, data = training.run, training.log, training.config, training.data
    learner, course, together = training.learner, training.course, training.together
    epochs = course.step // learner.per_epoch
    kept_epoch = course.best_epoch or epochs
    if together.first:
        checkpoint.write(run, learner, course)  # before loading the best weights: more epochs go on from here
    if epochs < config.epochs:
        why = f"none was better on validation for {config.patience} epochs"
        log.say(f"stopped early after epoch {epochs} of {config.epochs}: {why}")
    if course.best_epoch:
        if together.first:
            learner.load(checkpoint.read_best(run, kept_epoch))
        learner.load(together.shared(learner.tensors()))
        log.say(f"keeping epoch {course.best_epoch}, the best on validation")
    elif config.keep == "best":
        log.say("keeping the last epoch: the validation split is too small to tell which is best")
    rows = data.splits["test"]
    z, y = learner.embed(rows, course.step, log.step), np.asarray(data.labels[rows])
    if not together.first:
        return
    tensors = {"z": torch.from_numpy(z), "y": torch.from_numpy(y)}
    scores = {
        "metrics": without_nan(metrics.evaluate(z, y)),
        "chance": without_nan(metrics.chance(y)),
        "oracle": without_nan(metrics.oracle(y)),
        "epoch": kept_epoch,
        "epochs": epochs,
        "images": len(rows),
        "training_s": round(course.seconds, 3),
        "device": described(learner.device, config, together),
    }
    # in this order, once everything is computed: a run given more epochs keeps its old files until now
    checkpoint.write_model(run, learner, checkpoint.MODEL, kept_epoch)
    write_atomic(run.path / "embeddings.safetensors", save(tensors))
    write_atomic(run.path / "scores.json", json.dumps(scores, indent=2) + "\n")
    run.unmark(TRAINS_ON, checkpoint.BEST, "stop")
