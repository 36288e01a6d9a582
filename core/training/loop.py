"""The training loop: one run folder in, curve, weights, test embeddings and scores out.

`python -m core.training RUN_FOLDER` is the one entry point of every launcher; the worker calls `run`.
"""

import errno
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from core import device as devices
from core import metrics
from core.background.signals import on_stop
from core.encoder.model import Encoder, ProjectionHead, build_backbone
from core.encoder.tensors import read_tensors
from core.encoder.weights import weights_key
from core.errors import MaclError
from core.files import lock, unlock, write_atomic
from core.losses import make_loss
from core.losses.batch import BatchLoss, unchecked
from core.runs import Run, State, origin, without_nan
from core.training import recent
from core.training.batches import Frozen, Images, batches, learning_rate
from core.training.features import features

CHECKPOINT_SECONDS = float(
    os.environ.get("MACL_CHECKPOINT_SECONDS", "5")
)  # not oftener; a stop saves at once
LOG_STEPS = 10
MOST_FRAMES = 100  # saved test embeddings of a run; a run of very many epochs must not fill the disk
THREADS = torch.get_num_threads()  # of a new run; a resumed one in the same worker may have had others
VALIDATION_METRIC = "map_medium"  # what `keep: best` goes by

Progress = Callable[[int, int, str], None]


class Stopped(Exception):
    """Somebody asked the run to stop; it is resumable."""


def main() -> int:
    """Train the run folder given as the only argument; exit code 0 only if it finished."""
    if len(sys.argv) != 2:
        print("usage: python -m core.training RUN_FOLDER", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    Run(folder).unmark("stop")  # left over from a run that was killed while it stopped
    stop_on_signal(folder)
    try:
        state = run(folder)
    except (MaclError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(state if state != "failed" else f"failed: {Run(folder).error}", file=sys.stderr)
    return 0 if state == "finished" else 1


def warm_up() -> None:
    """Import and run once what the first run would otherwise wait for."""
    head = ProjectionHead(8, 8, 8)
    optimizer = torch.optim.Adam(head.parameters(), fused=True)  # imports torch's compiler: 1 s
    head(torch.zeros(2, 8)).sum().backward()
    optimizer.step()


def warm_up_backbones() -> None:
    """Import what most backbones need; a run on features that are there already does without."""
    import timm  # noqa: F401  (1 s)


def run(
    folder: Path, progress: Progress | None = None, *, submitted_only: bool = False, auto: str = "auto"
) -> State:
    """Train the run of `folder` from its start or its last checkpoint, to its end or until stopped.

    What goes wrong is written into the folder (`error.txt`, with the traceback in `log.txt`) and ends in the
    state "failed"; it is not raised, so that a worker goes on with the next run.

    Args:
        folder: A run folder with `config.json`.
        progress: Told (done, total, what) about everything that takes long, besides `progress.json`.
        submitted_only: Leave the run alone if somebody took it out of the queue in the meantime.
        auto: The device of a run that leaves it open.

    Returns:
        finished, stopped or failed; with `submitted_only` whatever the state of a run left alone is.

    Raises:
        MaclError: If there is no such folder, or another process is training this run.
        OSError: If the folder cannot be written.
    """
    run = Run(folder)
    if not folder.is_dir():
        raise MaclError(f"there is no run folder {folder}")
    if not lock(folder / "lock"):
        raise MaclError(f"{run.id} is being trained by another process: wait for it, or stop it first")
    if (folder / "scores.json").exists():  # by the time the lock was free; trained again it would be lost
        unlock(folder / "lock")
        return "finished"
    if submitted_only and not (folder / "submitted").exists():
        unlock(folder / "lock")
        return run.state
    log = Log(run, progress)
    try:
        run.mark("started")
        run.unmark("submitted", "stopped", "error.txt")
        run.unmark(*(path.name for path in folder.glob(".*.safetensors.*")))  # of a process that was killed
        log.say(f"started, process {os.getpid()}")
        Trainer(run, log, auto).train()
        run.unmark("progress.json")
        log.say("finished")
        return "finished"
    except Stopped:
        run.mark("stopped")
        run.unmark("stop", "progress.json")
        log.say("stopped; it can be resumed")
        return "stopped"
    except Exception as error:
        fail(run, log, error)
        return "failed"
    finally:
        unlock(folder / "lock")
        devices.give_back_memory()


def fail(run: Run, log: "Log", error: Exception) -> None:
    """Write why a run failed into its folder, as far as a full disk or a folder that has gone allows."""
    message = str(error) if isinstance(error, MaclError) else f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = f"the disk of {run.path} is full: make room, then resume the run"
    elif isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        message = "there is not enough memory: lower the batch size or the image size"
    with suppress(OSError):
        run.unmark("submitted", "stop", "progress.json")  # or a worker would take it again and again
        (run.path / "error.txt").touch()  # needs no room
        run.mark("error.txt", message)
        log.say(message if isinstance(error, MaclError) else "".join(traceback.format_exception(error)))


class Log:
    """What a run tells: lines with times, and where it is in whatever takes long."""

    def __init__(self, run: Run, progress: Progress | None) -> None:
        self.run = run
        self.progress = progress
        self.what = ""
        self.began = self.told = 0.0
        self.first = 0  # what was done already when this phase began: a resumed run begins in the middle

    def say(self, text: str) -> None:
        """Append one line with the time to log.txt."""
        with (self.run.path / "log.txt").open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def step(self, done: int, total: int, what: str) -> None:
        """Report progress, a few times a second at most on disk; raises Stopped if a stop was asked for."""
        self.show(done, total, what)
        if self.stop_asked():
            raise Stopped

    def show(self, done: int, total: int, what: str) -> None:
        """Report progress."""
        now = time.monotonic()
        if what != self.what:
            self.what, self.began, self.told, self.first = what, now, 0.0, done
        if now - self.told > 0.25 or done == total:
            self.told = now
            spent = now - self.began
            left = spent / (done - self.first) * (total - done) if done > self.first else None
            about = {"what": what, "done": done, "total": total, "eta_s": left}
            (self.run.path / "progress.json.new").write_text(json.dumps(about))
            (self.run.path / "progress.json.new").replace(self.run.path / "progress.json")
        if self.progress is not None:
            with suppress(OSError):  # its terminal has been closed: that is no reason for a training to end
                self.progress(done, total, what)

    def stop_asked(self) -> bool:
        """Somebody put the marker `stop` into the folder."""
        return (self.run.path / "stop").exists()


class Trainer:
    """State of one training. `train` reads top to bottom."""

    def __init__(self, run: Run, log: Log, auto: str = "auto") -> None:
        self.run, self.log, self.config, self.auto = run, log, run.config, auto
        self.step = 0  # steps done
        self.losses: list[float] = []  # of the steps since the last line of the curve
        self.unread: list[
            tuple[int, Tensor]
        ] = []  # steps with loss and norm of the gradient, still on the GPU
        self.best = -math.inf
        self.best_epoch = 0
        self.seconds = 0.0  # spent in training before this start
        self.saved = time.monotonic()

    def train(self) -> None:
        """Prepare, train, score; everything that a page reads is in the run folder afterwards."""
        config, log = self.config, self.log
        tensors, meta = self._read_checkpoint()
        if "config" in meta:  # not in a checkpoint of an earlier version
            origin.check_config(config, meta["config"])
        self.threads = meta.get("threads", THREADS)
        torch.set_num_threads(self.threads)  # one and two threads differ in the last bits
        torch.backends.cudnn.deterministic = True
        devices.keep_memory()  # a tenth of a step on a CPU
        self.device = devices.resolve(self.auto if config.device == "auto" else config.device)
        self.ahead = devices.runs_ahead(self.device)
        log.say(f"device: {devices.describe(self.device, config.precision)}")

        started = time.monotonic()
        self.data = recent.dataset(config, log.step)
        log.say(f"{len(self.data.names)} images ready after {time.monotonic() - started:.1f} s")
        self.began = self._check_unchanged(meta)
        write_atomic(self.run.path / "data.json", json.dumps(self.began, indent=2) + "\n")
        write_atomic(self.run.path / "splits.json", json.dumps(self._split_names()))
        write_atomic(self.run.path / "classes.json", json.dumps(self.data.classes))

        started = time.monotonic()
        self._build("none" if meta else config.weights)  # a checkpoint holds the weights
        log.say(f"encoder ready after {time.monotonic() - started:.1f} s")
        self._restore(tensors, meta)
        self._train_steps()
        log.say(f"training took {self.seconds:.2f} s for {self.step} steps")
        try:
            self._finish()
        except Stopped:
            self._checkpoint()
            raise

    def _build(self, weights: str) -> None:
        config, data = self.config, self.data
        self.rows = data.splits["train"]
        if len(self.rows) < 2:
            raise MaclError(
                f"need at least 2 training images, got {len(self.rows)}: add images to {data.name}"
            )
        if config.trainable == "head":
            table = features(
                data,
                config.backbone,
                config.weights,
                config.image_size,
                str(self.device),
                self.log.step,
                config.precision,
            )
            torch.manual_seed(config.seed)  # after the features: computing them must not change the head
            self.encoder: nn.Module = ProjectionHead(table.shape[1], config.hidden, config.dim)
            self.source: Images | Frozen = Frozen(table, self.device)
        else:
            torch.manual_seed(config.seed)
            backbone = build_backbone(config.backbone, weights)
            head = ProjectionHead(backbone.features, config.hidden, config.dim)
            self.encoder = Encoder(backbone, head).to(memory_format=devices.memory_format(self.device))
            self.source = Images(data, config, self.device)
        self.encoder.to(self.device)
        labels = torch.from_numpy(np.asarray(data.labels[self.rows]))
        self.loss = make_loss(config.loss, labels, config.dim, **config.params).to(self.device)
        self.formula: Callable[[Tensor, Tensor], Any] = (
            partial(unchecked, cast(BatchLoss, self.loss)) if self.ahead else self.loss
        )
        self.labels = torch.from_numpy(np.asarray(data.labels)).to(self.device)  # (N, L)
        kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
        parameters = [*self.encoder.parameters(), *self.loss.parameters()]
        self.optimizer = kind(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)

    def _train_steps(self) -> None:
        """All steps that are left; the number of steps done alone says where a run is in its course."""
        config, began, already = self.config, time.monotonic(), self.seconds
        per_epoch = max(1, len(self.rows) // config.batch_size)
        total = per_epoch * config.epochs
        order: list[np.ndarray] = []
        images, since = 0, began
        if self.step == 0:
            self._save_frame(0)
        while self.step < total:
            epoch, batch = divmod(self.step, per_epoch)
            if batch == 0 or not order:
                order = batches(self.rows, config.batch_size, config.seed, epoch)
                rate = learning_rate(config, epoch)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                self.encoder.train()
            self._step(order[batch])
            self.step += 1
            images += len(order[batch])
            ended = batch + 1 == per_epoch
            if ended or self.step % LOG_STEPS == 0 or self.step == 1:
                self._read()
                now = time.monotonic()
                mean = sum(self.losses) / len(self.losses)  # of one batch it would be mostly noise
                self.losses = []
                row = {"step": self.step, "epoch": epoch + 1, "loss": mean, "lr": rate}
                row["images_per_s"] = round(images / max(now - since, 1e-9), 1)
                row["seconds"] = round(already + now - began, 3)
                self._write(row | (self._validate(epoch + 1) if ended else {}))
                if ended:
                    self._save_frame(epoch + 1)
                images, since = 0, time.monotonic()
            self.seconds = already + time.monotonic() - began
            asked = self.log.stop_asked()
            if asked or (ended and time.monotonic() - self.saved >= CHECKPOINT_SECONDS):
                self._checkpoint()
            if asked:
                raise Stopped
            self.log.show(self.step, total, "training")

    def _step(self, rows: np.ndarray) -> None:
        """One optimiser step on the images of `rows`.

        A look at a value waits until a GPU has caught up with the program. So there nobody looks at the loss
        before the next line of the curve is due.
        """
        images = self.source.train(rows, self.step)
        with self.source.autocast():
            z = self.encoder(images)  # (B, D)
        y = self.labels[devices.send(torch.from_numpy(rows), self.device)]  # (B, L)
        try:
            loss = self.formula(z.float(), y)  # outside autocast: z @ z.T would become bf16
            loss.backward()
        except (FloatingPointError, ValueError) as error:
            raise self._diverged(str(error), self.step + 1) from error
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.config.clip or math.inf)
        self.unread.append((self.step + 1, torch.stack([loss.detach(), norm])))
        if not self.ahead:
            self._read()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _read(self) -> None:
        """Note the losses of the steps since the last look, in nats; MaclError at the first not finite."""
        if not self.unread:
            return
        steps, values = zip(*self.unread, strict=True)
        self.unread = []
        for step, (loss, norm) in zip(steps, torch.stack(values).tolist(), strict=True):
            if not math.isfinite(loss) or not math.isfinite(norm):
                what = "gradient" if math.isfinite(loss) else "loss"
                raise self._diverged(f"the {what} is not finite", step)
            self.losses.append(loss)

    def _epoch(self, done: int) -> int:
        """The epoch of the step after so many, counted from 1."""
        return done // max(1, len(self.rows) // self.config.batch_size) + 1

    def _diverged(self, what: str, step: int) -> MaclError:
        config = self.config
        if config.lr > 0.005:
            cause = f"the learning rate {config.lr} is likely too high: try 0.001"
        elif any(key in config.params and float(config.params[key]) < 0.05 for key in ("tau", "tau_scale")):
            cause = "the temperature is likely too low: try 0.1 or more"
        else:
            cause = "try a lower learning rate, or precision float32"
        kept = " The last checkpoint is kept." if (self.run.path / "resume.safetensors").exists() else ""
        return MaclError(
            f"training diverged at step {step} (epoch {self._epoch(step - 1)}): {what}; {cause}.{kept}"
        )

    def _embed(self, rows: np.ndarray, what: str = "") -> np.ndarray:
        """Embeddings (n, D) float32 of these images in evaluation mode; MaclError if one is not finite."""
        self.encoder.eval()
        parts, size = [np.zeros((0, self.config.dim), np.float32)], self.source.at_once
        with torch.inference_mode(), self.source.autocast():
            for start in range(0, len(rows), size):
                z = self.encoder(self.source.test(rows[start : start + size]))
                parts.append(z.float().cpu().numpy())
                if what:
                    self.log.step(min(start + size, len(rows)), len(rows), what)
        found = np.concatenate(parts)
        if not np.isfinite(found).all():  # the last step has ruined the weights
            raise self._diverged("the embeddings are not finite", self.step)
        return found

    def _validate(self, epoch: int) -> dict[str, float | None]:
        """Metrics on the validation split, with "val_" before their keys; keeps the weights of the best."""
        rows = self.data.splits["val"]
        if len(rows) < 2:
            return {}
        scores = metrics.evaluate(self._embed(rows), self.data.labels[rows])
        if self.config.keep == "best" and scores[VALIDATION_METRIC] > self.best:
            self.best, self.best_epoch = scores[VALIDATION_METRIC], epoch
            self._save_model("best.safetensors")
        return without_nan({f"val_{key}": round(value, 6) for key, value in scores.items()})

    def _read_best(self) -> dict[str, Tensor]:
        path = self.run.path / "best.safetensors"
        try:
            return read_tensors(path)[0]
        except (SafetensorError, OSError) as error:
            raise MaclError(
                f"the best weights {path} are gone or damaged ({error}): delete resume.safetensors beside "
                "them, and resume starts from the beginning"
            ) from error

    def _save_frame(self, epoch: int) -> None:
        """Test embeddings after this epoch, if they are wanted; in half precision, enough for a picture."""
        epochs = self.config.epochs
        every = self.config.embed_every and max(self.config.embed_every, -(-epochs // MOST_FRAMES))
        if every and (epoch % every == 0 or epoch == epochs):
            z = torch.from_numpy(self._embed(self.data.splits["test"])).half()
            (self.run.path / "frames").mkdir(exist_ok=True)
            write_atomic(self.run.path / "frames" / f"{epoch:05d}.safetensors", save({"z": z}))

    def _finish(self) -> None:
        """Weights, test embeddings, then the scores: their file is what makes a run finished."""
        if self.best_epoch:
            self._load_tensors(self._read_best())
            self.log.say(f"keeping epoch {self.best_epoch}, the best on validation")
        elif self.config.keep == "best":
            self.log.say("keeping the last epoch: the validation split is too small to tell which is best")
        self._save_model("model.safetensors")
        rows = self.data.splits["test"]
        z, y = self._embed(rows, "test embeddings"), np.asarray(self.data.labels[rows])
        tensors = {"z": torch.from_numpy(z), "y": torch.from_numpy(y)}
        write_atomic(self.run.path / "embeddings.safetensors", save(tensors))
        scores = {
            "metrics": without_nan(metrics.evaluate(z, y)),
            "chance": without_nan(metrics.chance(y)),
            "oracle": without_nan(metrics.oracle(y)),
            "epoch": self.best_epoch or self.config.epochs,
            "images": len(rows),
            "training_s": round(self.seconds, 3),
            "device": devices.describe(self.device, self.config.precision),
        }
        write_atomic(self.run.path / "scores.json", json.dumps(scores, indent=2) + "\n")
        self.run.unmark("resume.safetensors", "best.safetensors", "stop")

    # -- what is on disk ------------------------------------------------------------------------------------

    def _split_names(self) -> dict[str, list[str]]:
        return {key: [self.data.names[i] for i in rows] for key, rows in self.data.splits.items()}

    def _write(self, row: dict[str, Any]) -> None:
        with (self.run.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _tensors(self) -> dict[str, Tensor]:
        encoder = {f"encoder.{key}": value for key, value in self.encoder.state_dict().items()}
        loss = {f"loss.{key}": value for key, value in self.loss.named_parameters()}
        return {key: value.detach().contiguous() for key, value in {**encoder, **loss}.items()}

    def _load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self.encoder.load_state_dict(
            {k.removeprefix("encoder."): v for k, v in tensors.items() if k.startswith("encoder.")}
        )
        with torch.no_grad():
            for key, parameter in self.loss.named_parameters():
                parameter.copy_(tensors[f"loss.{key}"])

    def _save_model(self, name: str) -> None:
        meta = {"config": self.config.model_dump_json()}
        write_atomic(self.run.path / name, save(self._tensors(), meta))

    def _checkpoint(self) -> None:
        """Everything that a bit-for-bit continuation needs, in one file that is never half written."""
        self._read()
        tensors = self._tensors()
        for index, state in enumerate(self._optimizer_states()):
            tensors.update({f"optimizer.{index}.{key}": v.contiguous() for key, v in state.items()})
        tensors["generator.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["generator.cuda"] = torch.cuda.get_rng_state(self.device)
        meta = {
            "step": self.step,
            "losses": self.losses,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "seconds": self.seconds,
            "threads": self.threads,
            "config": self.config.model_dump(),
            "data": self.began,
        }
        write_atomic(self.run.path / "resume.safetensors", save(tensors, {"meta": json.dumps(meta)}))
        self.saved = time.monotonic()

    def _optimizer_states(self) -> list[dict[str, Tensor]]:
        parameters = self.optimizer.param_groups[0]["params"]
        return [self.optimizer.state[parameter] for parameter in parameters]

    def _read_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and numbers of the last checkpoint; both empty if there is none."""
        path = self.run.path / "resume.safetensors"
        if not path.exists():
            return {}, {}
        try:
            tensors, metadata = read_tensors(path)
            return tensors, dict(json.loads(metadata["meta"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise MaclError(
                f"the checkpoint {path} is damaged ({error}): delete it, and resume starts from the beginning"
            ) from error

    def _check_unchanged(self, meta: dict[str, Any]) -> dict[str, str]:
        """Digests of what the run is trained on; MaclError if they are not those of its checkpoint.

        Its test split would leak, or its result would be that of two trainings.
        """
        config, data, began = self.config, self.data, meta.get("data", {})
        # a checkpoint holds the weights of a network that is trained whole, and their file may be gone
        named = meta.get("config", {}).get("weights", config.weights)
        same = config.trainable == "all" and config.weights == named
        weights = began.get("weights", "") if meta and same else weights_key(config.backbone, config.weights)
        now = origin.digests(config, data, weights)
        if began:
            origin.check_data(now, began, data.name)
            origin.check_weights(config, meta["config"], weights, began["weights"])
        elif meta and (  # a checkpoint of an earlier version
            self.run.splits() != self._split_names() or self.run.classes() != list(data.classes)
        ):
            raise MaclError(
                f"the images or labels of {data.name} have changed since this run began: put them back "
                "as they were, or start a new run"
            )
        return now

    def _check_fits(self, tensors: dict[str, Tensor]) -> None:
        """MaclError if the checkpoint is of another network or loss: an earlier version's says no more."""
        own = {key: tuple(value.shape) for key, value in self._tensors().items()}
        saved = {k: tuple(v.shape) for k, v in tensors.items() if k.startswith(("encoder.", "loss."))}
        if wrong := [key for key in sorted({*own, *saved}) if own.get(key) != saved.get(key)]:
            raise MaclError(
                f"config.json does not fit the checkpoint of this run ({wrong[0]} is {own.get(wrong[0])} "
                f"instead of {saved.get(wrong[0])}): put it back as it was, or start a new run"
            )

    def _restore(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        """Go back to the checkpoint, if there is one, and cut the curve back to its step."""
        if meta:
            self._check_fits(tensors)
            self._load_tensors(tensors)
            for index, parameter in enumerate(self.optimizer.param_groups[0]["params"]):
                prefix = f"optimizer.{index}."
                state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
                self.optimizer.state[parameter] = {k: _like(v, parameter) for k, v in state.items()}
            torch.set_rng_state(tensors["generator.cpu"])
            if "generator.cuda" in tensors and self.device.type == "cuda":
                torch.cuda.set_rng_state(tensors["generator.cuda"], self.device)
            self.step, self.losses = meta["step"], meta["losses"]
            self.best, self.best_epoch, self.seconds = meta["best"], meta["best_epoch"], meta["seconds"]
            self.log.say(f"resumed after step {self.step}")
        kept = [json.dumps(without_nan(row)) for row in self.run.history() if row["step"] <= self.step]
        write_atomic(self.run.path / "metrics.jsonl", "".join(line + "\n" for line in kept))
        for epoch in self.run.frames():
            if epoch >= self._epoch(self.step) or not self.step:  # of epochs that come again
                self.run.unmark(f"frames/{epoch:05d}.safetensors")


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """A moment in the memory layout of its parameter, which the fused optimiser takes for granted."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter).copy_(value)


def stop_on_signal(folder: Path) -> None:
    """Let Ctrl-C, SIGTERM and a closed terminal stop the run of `folder` resumably instead of killing it."""

    def stop() -> None:
        with suppress(OSError):
            (folder / "stop").touch()

    on_stop(stop)
