"""What the check of a person's own loss is asked, and what it answers; no torch."""

from dataclasses import dataclass, field

from pydantic import TypeAdapter

from core.losses.parameters import LossSpec, Value


@dataclass
class Report:
    """What the check found.

    Attributes:
        spec: What forms and tables show; None if the file did not get that far.
        errors: Why no run can be trained with it, one sentence each.
        warnings: What a person should know of it.
        cost: Time of forward and backward on 128 images, as a multiple of MulSupCon's.
    """

    spec: LossSpec | None = None
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cost: float | None = None


@dataclass
class Request:
    """The loss that another process is to try, and the limit on all of the loss's own code."""

    text: str
    name: str
    params: dict[str, Value]
    seconds: float


REPORT, REQUEST = TypeAdapter(Report), TypeAdapter(Request)
