"""The run folder, the only store: configuration, markers, metrics, scores and embeddings of one run.

The state of a run follows from its files and its lock and is kept nowhere else. Nothing here imports torch.
"""

import os
import secrets
import shutil
import threading
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from core.background.requests import read_deaths
from core.errors import MaclError, why
from core.explain import explain, unknown
from core.files import lock, locked_by, scratch, unlock, write_atomic
from core.losses import own
from core.runs import contents, where
from core.runs.config import FIELDS, RunConfig
from core.runs.curve import curve_row, is_number
from core.runs.where import Lease

TRAINS_ON = "trains_on"  # marks a scored run given more epochs; holds the number its scores belong to
_stamping, _latest = threading.Lock(), 0
State = Literal["queued", "running", "finished", "stopped", "failed", "interrupted"]


@dataclass(frozen=True)
class Run:
    """One run folder. Only reads, except for the markers that start, stop and resume it."""

    path: Path

    @property
    def id(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def config(self) -> RunConfig:
        """The saved configuration; MaclError if it cannot be read."""
        try:
            return RunConfig.model_validate_json((self.path / "config.json").read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise MaclError(f"{self.path} is no run folder: it has no config.json") from None
        except OSError as error:
            raise MaclError(f"{self.path / 'config.json'} cannot be read ({why(error)})") from None
        except ValidationError as error:
            wrong = f"{self.path / 'config.json'}: {explain(error, FIELDS)}"
            wrote, this = self.version, program()
            shape = any(one["type"] != "json_invalid" for one in error.errors(include_url=False))
            if wrote != this and (unknown(error) or (wrote and shape)):
                by = f"version {wrote}" if wrote else "another version"
                wrong += f" ({by} of this program wrote it, this is {this}: open it with that one)"
            raise MaclError(wrong) from None

    @property
    def version(self) -> str:
        """Version of the program that made the folder; empty if it did not say."""
        try:
            return (self.path / "version.txt").read_text().strip()[:40]
        except (OSError, ValueError):
            return ""

    @property
    def state(self) -> State:
        """State derived from the folder, see the table in `core.queue.launch`."""
        has = self._has
        if self.finished:
            return "finished"
        lease = where.read(self.path)
        if lease.lives or locked_by(self.path / "lock") is not None:
            return "running"
        if self.finished:  # it ended between the two checks
            return "finished"
        if has("submitted"):
            return "queued"
        if has("error.txt"):
            return "failed"
        if has("stopped"):
            return "stopped"
        if lease.elsewhere:
            return "queued"
        return "interrupted" if has("started") else "queued"

    @property
    def finished(self) -> bool:
        """Whether it has its scores, and has not been given more epochs."""
        return self._has("scores.json") and not self._has(TRAINS_ON)

    @property
    def lost(self) -> bool:
        """Whether it was created but never handed to a worker, because its creator died in between."""
        return self.state == "queued" and not self._has("submitted") and not self.where.elsewhere

    @property
    def where(self) -> Lease:
        """Who has the run, and where it is trained."""
        return where.read(self.path)

    @property
    def queued_again(self) -> bool:
        """Whether a cluster, which took the run from a machine or lost that, is to begin it again."""
        return self.where.elsewhere and self._has("started") and self.state == "queued"

    @property
    def error(self) -> str:
        """Why the run failed; empty if it did not."""
        unknown = "its reason could not be written: is the disk full?" if self._has("error.txt") else ""
        return self._text("error.txt") or unknown

    @property
    def deaths(self) -> tuple[int, int]:
        """How many workers have died while training this run, and the step it had reached."""
        return read_deaths(self.path / "deaths")

    @property
    def log(self) -> str:
        """The log of the run, with times."""
        return self._text("log.txt")

    def history(self) -> list[dict[str, float]]:
        """Rows of metrics.jsonl in order; damaged ones, or one still being written, are left out."""
        return self.history_after(0)[0]

    def history_after(self, offset: int) -> tuple[list[dict[str, float]], int]:
        """Rows of metrics.jsonl from this byte on, and the byte after the last complete one."""
        try:
            with (self.path / "metrics.jsonl").open("rb") as file:
                file.seek(offset)
                text = file.read()
        except OSError:
            return [], 0
        complete, newline, _ = text.rpartition(b"\n")
        rows = [row for line in complete.splitlines() if (row := curve_row(line)) is not None]
        return rows, offset + len(complete) + len(newline)

    def progress(self) -> dict[str, Any]:
        """What the run is doing now: `what`, `done`, `total`, `eta_s`.

        Empty before the start, or if a machine that went down left a damaged file: the run writes a new one
        within seconds.
        """
        try:
            report = self._json("progress.json")
        except MaclError:
            return {}
        numbers: list[Any] = [report.get("done"), report.get("total"), report.get("eta_s", "missing") or 0]
        sound = all(is_number(number) and number >= 0 for number in numbers)
        return report if sound and isinstance(report.get("what"), str) else {}

    def scores(self) -> dict[str, Any]:
        """`metrics`, `chance`, `oracle`: the seven keys each, fractions; empty before the end."""
        return self._json("scores.json")

    @property
    def precision(self) -> str:
        """The precision the network computed in, "bf16" or "float32"; before the end, the one asked for."""
        computed_in = str(self.scores().get("device", "")).rpartition(", ")[2]
        return computed_in if computed_in in ("bf16", "float32") else self.config.precision

    def splits(self) -> dict[str, list[str]]:
        """Image names of `train`, `val` and `test`; `test` in the row order of the embeddings."""
        return contents.fitting(self._json("splits.json"), contents.SPLITS, self.path / "splits.json")

    def classes(self) -> list[str]:
        """Names of the labels, in column order; empty for a run that has not begun.

        MaclError for a file that is damaged, or still being copied.
        """
        path = self.path / "classes.json"
        names = self._parsed("classes.json", [])
        if not isinstance(names, list):
            raise MaclError(f"{path} is damaged (no list): copy the run again")
        return contents.fitting(names, contents.CLASSES, path)

    def embeddings(self) -> tuple[np.ndarray, np.ndarray]:
        """Test embeddings z (n, D) float32 and labels y (n, L) uint8.

        MaclError before the end of the run, or if the file cannot be read.
        """
        path = self.path / "embeddings.safetensors"
        if not path.is_file():
            raise MaclError(f"{self.id} has no test embeddings: it is {self.state}; resume it to its end")
        try:
            return contents.embeddings(path)
        except OSError as error:
            raise MaclError(f"{self.id} has test embeddings that cannot be read ({why(error)})") from None

    def frames(self) -> list[int]:
        """Epochs after which the test embeddings were saved, ascending; 0 is before the first step."""
        stems = (path.stem for path in (self.path / "frames").glob("*.safetensors"))
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def frame(self, epoch: int) -> np.ndarray:
        """Test embeddings (n, D) float32 after an epoch, unit rows, in the order of the final ones.

        Raises:
            MaclError: If they were not saved, or cannot be read.
        """
        path = self.path / "frames" / f"{epoch:05d}.safetensors"
        try:
            z = load_file(path)["z"].astype(np.float32)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise MaclError(f"{path} cannot be read ({error})") from error
        if z.ndim != 2:
            raise MaclError(f"{path} cannot be read (need rows, got {z.ndim} dimensions)")
        return np.asarray(z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12))

    @property
    def recorded(self) -> bool:
        """Whether the run came with the product (assets/recorded); such a run is never changed."""
        return self._has("recorded")

    @property
    def title(self) -> str:
        """The person's own name for the run; empty if it has none."""
        return self._text("name.txt").strip()

    def rename(self, title: str) -> None:
        """Name the run, with at most 80 characters on one line; an empty name removes it."""
        self.mark("name.txt", " ".join(title.split())[:80])

    def mark(self, name: str, text: str = "") -> None:
        """Put a marker file into the folder."""
        write_atomic(self.path / name, text)

    def unmark(self, *names: str) -> None:
        """Remove marker files; missing ones are no error."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def _has(self, name: str) -> bool:
        return os.path.exists(self.path / name)  # Path.exists raises in a folder that cannot be read

    def _text(self, name: str) -> str:
        try:
            return (self.path / name).read_text(errors="replace")
        except OSError:
            return ""

    def _json(self, name: str) -> dict[str, Any]:
        """Content of a file; empty if it is missing or empty; MaclError if it is damaged."""
        content = self._parsed(name, {})
        if not isinstance(content, dict):
            raise MaclError(f"{self.path / name} is damaged (no object): copy the run again")
        contents.future(content, self.path / name)
        return content

    def _parsed(self, name: str, empty: object) -> object:
        try:
            text = (self.path / name).read_text(errors="replace")
        except PermissionError as error:  # no damage
            raise MaclError(f"{self.path / name} cannot be read ({why(error)})") from None
        except OSError:
            return empty
        return contents.parsed(text, self.path / name) if text else empty


def create(config: RunConfig, root: Path) -> Run:
    """A new run folder with its configuration; the name carries time, data set, loss and seed.

    Raises:
        MaclError: If the root cannot be written, or the text of an own loss is not among the person's losses.
    """
    text = text_of_loss(config)
    name = f"{_stamp()}-{config.dataset}-{config.loss}-s{config.seed}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        unfinished = scratch(root / name)
        unfinished.mkdir()
        begin(unfinished, config, text)
        while (path := root / f"{name}-{secrets.token_hex(2)}").exists():
            pass
        unfinished.rename(path)  # renamed when complete, so that nobody finds a run without its configuration
    except OSError as error:
        raise MaclError(
            f"no run can be kept in {root} ({error.strerror or error}): "
            "make room there, or choose another folder with --run-root or MACL_RUN_ROOT"
        ) from error
    return Run(path)


def _stamp() -> str:
    """The time to the millisecond; no two runs of a process share one, so that they keep their order."""
    global _latest
    with _stamping:
        while (now := time.time_ns() // 1_000_000) == _latest:
            time.sleep(0.0002)
        _latest = now
    seconds, rest = divmod(now, 1000)
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(seconds)) + f".{rest:03d}"


def text_of_loss(config: RunConfig) -> str:
    """The text of a run's loss if it is a person's own; MaclError if they have not named it here."""
    return own.text_of(config.loss) if config.own is not None else ""


def begin(folder: Path, config: RunConfig, text: str) -> None:
    """Write the configuration into a new run folder, and the text of its loss: it is its own witness."""
    if text:
        write_atomic(folder / f"{own.name_in(config.loss)}.py", text)
    write_atomic(folder / "version.txt", f"{program()}\n")
    write_atomic(folder / "config.json", config.model_dump_json(indent=2) + "\n")


def program() -> str:
    """Version of this program."""
    return metadata.version("macl-lab")


def list_runs(root: Path) -> list[Run]:
    """All run folders in `root`, newest first; folders without a configuration are skipped."""
    try:
        names = [name for name in os.listdir(root) if not name.startswith(".")]
    except OSError:
        return []
    return [Run(root / name) for name in sorted(names, reverse=True) if _holds_run(root / name)]


def _holds_run(folder: Path) -> bool:
    """Whether it has a configuration, or may have one that somebody does not let us see."""
    try:
        os.stat(folder / "config.json")
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def delete(run: Run) -> Path:
    """Move a run to the trash folder of its root; `restore` brings it back.

    Raises:
        MaclError: If it is running (stop it first) or recorded with the product.
    """
    if run.recorded:
        raise MaclError(f"{run.id} came with the product and cannot be deleted")
    if run.where.lives or not lock(run.path / "lock"):  # held until it has moved, so that no worker takes it
        raise MaclError(f"{run.id} is running: stop it first, then delete it")
    try:
        trash = run.path.parent / ".trash"
        trash.mkdir(exist_ok=True)
        run.unmark("submitted")  # the queue must not find it again after a restore
        return run.path.rename(trash / run.id)
    finally:
        unlock(run.path / "lock")


def trashed(root: Path) -> list[Run]:
    """Deleted runs, newest first."""
    return list_runs(root / ".trash")


def empty_trash(root: Path) -> None:
    """Delete for good what is in the trash.

    Raises:
        MaclError: If something in it cannot be deleted.
    """
    try:
        shutil.rmtree(root / ".trash")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise MaclError(f"cannot empty the trash of {root}: {error}") from error


def restore(run: Run) -> Run:
    """Bring a deleted run back into its root."""
    return Run(run.path.rename(run.path.parent.parent / run.id))


def find(name: str, root: Path) -> Run:
    """The run with this path, folder name or unique ending of it; MaclError if there is not exactly one."""
    direct = Path(name)
    if (direct / "config.json").is_file():
        return Run(direct.absolute())
    runs = list_runs(root)
    matches = [run for run in runs if run.id == name] or [
        run for run in runs if name and run.id.endswith(name)
    ]
    if len(matches) != 1:
        number = "no run" if not matches else f"{len(matches)} runs"
        raise MaclError(
            f"{number} named {name!r} in {root}: give a folder, a full name, or its unique ending"
        )
    return matches[0]
