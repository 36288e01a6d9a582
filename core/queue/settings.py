"""What a person has set about clusters: one file, `launchers.toml`, with one table for each launcher.

It is $MACL_LAUNCHERS if that is set, else `launchers.toml` in this checkout. A launcher is set up when its
table is there, even an empty one. The environment variable MACL_LAUNCHERS reaches no job: a job has what it
needs from its submission.
"""

import os
import tomllib
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import MaclError
from core.explain import explain
from core.files import PROJECT

VARIABLE = "MACL_LAUNCHERS"


class Asked(BaseModel):
    """What a table says of GPUs and processor cores."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpus: float
    cores: int

    def for_devices(self, devices: int) -> Self:
        """What runs on so many devices of a machine ask for: a GPU for each if any, and cores for each."""
        gpus = max(self.gpus, devices) if self.gpus and devices > 1 else self.gpus
        return self.model_copy(update={"gpus": type(self.gpus)(gpus), "cores": self.cores * devices})


class Slurm(Asked):
    """Table `[slurm]`: what one job asks Slurm for."""

    partition: str = Field("", description="Partition; empty: the cluster's default")
    account: str = Field("", description="Account that is charged; empty: the person's default")
    gpus: int = Field(0, ge=0, le=16, description="GPUs of a job; 0: it trains on the CPU")
    cores: int = Field(1, ge=1, le=1024, description="Processor cores of a job for each device, and threads")
    memory_gb: float = Field(0, ge=0, description="Memory of a job in GB; 0: the cluster's default")
    minutes: int = Field(240, ge=1, description="Time limit; a run that reaches it goes on in a new job")
    warn_seconds: int = Field(
        90, ge=1, description="Seconds before the limit at which a job saves a checkpoint"
    )
    at_once: int = Field(
        256, ge=1, description="Jobs of one sweep or benchmark that may run at the same time"
    )
    setup: tuple[str, ...] = Field((), description="Lines of shell before Python starts: module load …")
    collect: str = Field(
        "", description="Folder on a node's disk to write runs in, which are brought back; empty: none"
    )
    options: dict[str, str | int] = Field({}, description="Further options of sbatch: qos, constraint …")


class Ray(Asked):
    """Table `[ray]`: where the cluster is, and what one task asks it for."""

    address: str = Field(
        "auto",
        pattern=r"^(auto|(ray://)?[^\s/:]+:\d+)$",
        description="auto: the cluster of this machine; ray://HOST:10001: one that is reached as a client",
    )
    gpus: float = Field(
        0, ge=0, le=16, description="GPUs of a task; 0: it trains on the CPU; 0.5: two share one"
    )
    cores: int = Field(1, ge=1, le=1024, description="Processor cores of a task for each device, and threads")
    memory_gb: float = Field(0, ge=0, description="Memory that a task asks for in GB; 0: none in particular")
    resources: dict[str, float] = Field({}, description="Further resources of a node, as it was started with")
    at_once: int = Field(
        0, ge=0, description="Tasks that Ray has at the same time; 0: what its nodes can train, and one more"
    )


class Launchers(BaseModel):
    """The whole file; a launcher without a table is not set up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slurm: Slurm | None = None
    ray: Ray | None = None


def place() -> Path:
    """Where the file is, or would be."""
    return Path(os.environ.get(VARIABLE) or PROJECT / "launchers.toml").expanduser()


def read() -> Launchers:
    """What is set; nothing if there is no file.

    Raises:
        MaclError: If it cannot be read, or a setting is unknown or out of range.
    """
    path = place()
    try:
        return Launchers.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        return Launchers()
    except OSError as error:
        raise MaclError(f"{path} cannot be read ({error.strerror}): mend it, or set {VARIABLE}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise MaclError(f"{path} is no TOML file ({error}): mend it, see the README on clusters") from None
    except ValidationError as error:
        raise MaclError(f"{path}: {explain(error)}") from None
