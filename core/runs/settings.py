"""Settings of a run for forms and command lines: fields of its configuration, parameters of its loss.

All of it is derived from `RunConfig` and the losses: a new field is one line there.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from core.data import Reading, source
from core.errors import MaclError
from core.explain import short
from core.losses import Parameter, Value, known, spec_of
from core.losses.own import resolve
from core.runs.config import NO_EFFECT, PRESETS, SUBJECT, OneOf, Place, RunConfig

YES, NO = ("true", "1", "on"), ("false", "0", "off")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a run.

    Attributes:
        name: Name of the field or the parameter.
        kind: Kind of its values.
        title: Title for people.
        help: One line.
        low: Smallest number; None: no bound.
        high: Largest number; None: no bound.
        above: Whether `low` itself is not allowed.
        choices: All values of a choice.
        words: Values of a path that name no file.
    """

    name: str
    kind: Literal["bool", "int", "float", "choice", "path", "text"]
    title: str
    help: str
    low: float | None = None
    high: float | None = None
    above: bool = False
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def reach(self) -> str:
        """The range of a number, in words."""
        if self.low is None:
            return "any number" if self.high is None else f"{self.high:.10g} or less"
        low = f"{'above ' if self.above else ''}{self.low:.10g}"
        if self.high is None:
            return low if self.above else f"{low} or more"
        return f"{low}{',' if self.above else ''} to {self.high:.10g}"

    @property
    def few(self) -> tuple[Value, ...]:
        """All values if there are only a few; empty for numbers and free text."""
        return (True, False) if self.kind == "bool" else self.choices or self.words

    def read(self, text: str) -> Value:
        """The value that a person means; only `RunConfig` checks whether it is allowed.

        A path is made absolute: the process that trains or resumes the run may be in another folder.
        """
        if self.kind == "bool":
            if (word := text.strip().lower()) not in YES + NO:
                raise MaclError(f"{self.name}: need true or false, got {short(text)}")
            return word in YES
        if self.kind in ("int", "float"):
            try:
                return int(text) if self.kind == "int" else float(text)
            except ValueError:
                raise MaclError(f"{self.name}: need a number, got {short(text)}") from None
        if self.name == "loss":
            with suppress(ValueError):
                return resolve(text)  # the version that a name stands for now
        if self.kind == "path" and text not in ("", *self.words):
            return str(source.place(text).absolute())
        return text


def shown(value: object) -> str:
    """A value as text that `Setting.read` accepts."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def flag(name: str, *, no: bool = False) -> str:
    """The option of a field: `--image-size`, `--no-augment`."""
    return f"--{'no-' if no else ''}{name.replace('_', '-')}"


def field(name: str) -> Setting:
    """A field of the configuration: a bool, a number, one of several words, a path, or any other text."""
    info = _info(name)
    marks = {type(mark): mark for mark in info.metadata}
    choices: tuple[str, ...] = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    if isinstance(names := marks.get(OneOf), OneOf):
        choices = tuple(names.names)
    if name == "loss":
        choices = tuple(known())
    place = marks.get(Place)
    kinds: dict[Any, Any] = {bool: "bool", int: "int", float: "float", str: "text"}
    bounds = {
        key: getattr(mark, key) for mark in info.metadata for key in ("ge", "gt", "le") if hasattr(mark, key)
    }
    return Setting(
        name,
        "path" if place else "choice" if choices else kinds[info.annotation],
        info.title or name.replace("_", " ").capitalize(),
        info.description or "",
        bounds.get("ge", bounds.get("gt")),
        bounds.get("le"),
        "gt" in bounds,
        choices,
        place.words if place else (),
    )


def parameter(p: Parameter) -> Setting:
    """A parameter of a loss."""
    title = f"{p.symbol} · {p.name}" if p.symbol else p.name
    return Setting(p.name, p.kind, title, p.help, p.low, p.high, p.above, p.choices)


def fields() -> list[Setting]:
    """Fields that a person can set, in the order of the configuration."""
    names = [name for name in RunConfig.model_fields if name not in ("own", "params", "preset", "reading")]
    return [field(name) for name in (*names, *Reading.model_fields)]


def of_preset() -> list[Setting]:
    """Fields that a preset sets or leaves at the paper's value."""
    return [setting for setting in fields() if setting.name not in (*SUBJECT, *Reading.model_fields)]


def of_loss(loss: str) -> dict[str, Setting]:
    """Parameters of a loss by name; empty if there is no such loss."""
    try:
        return {p.name: parameter(p) for p in spec_of(loss).parameters}
    except ValueError:
        return {}


def axes(loss: str) -> list[Setting]:
    """Settings a figure may have on an axis: all that change the outcome, except data set and seed."""
    settings = [setting for setting in of_preset() if setting.name not in NO_EFFECT]
    return [*of_loss(loss).values(), field("loss"), *settings]


def preset_value(preset: str, name: str) -> Any:
    """Value of a field before anybody changes it."""
    return PRESETS[preset].get(name, _info(name).default)


def value_of(config: RunConfig, name: str) -> Any:
    """Value of a field of a configuration, or of its reading."""
    return getattr(config.reading if name in Reading.model_fields else config, name)


def _info(name: str) -> FieldInfo:
    return Reading.model_fields[name] if name in Reading.model_fields else RunConfig.model_fields[name]
