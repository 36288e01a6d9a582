"""Settings of a loss: names, kinds, ranges, defaults. No torch: forms and the command line start fast."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Value = bool | int | float | str
Kind = Literal["float", "int", "bool", "choice"]
Tau = Annotated[float, Field(ge=0.001, le=100, title="τ")]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of a loss.

    Attributes:
        name: Keyword of `make_loss`.
        kind: "float", "int", "bool" or "choice".
        default: Value if none is given.
        help: One line for a form.
        symbol: The letter in the paper; empty if it has none.
        low: Smallest allowed value of a number; None: no bound.
        high: Largest allowed value of a number; None: no bound.
        choices: The values of a choice.
        above: Whether `low` itself is not allowed.
        below: Whether `high` itself is not allowed.
    """

    name: str
    kind: Kind
    default: Value
    help: str
    symbol: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    above: bool = False
    below: bool = False

    def check(self, value: object) -> Value:
        """The value itself, unchanged but for 3.0 where an int is asked for: JSON knows one kind of number.

        Raises:
            TypeError: If the value is of another kind.
            ValueError: If it is out of range, not finite, or none of the choices.
        """
        if self.kind == "bool":
            if not isinstance(value, bool):
                raise TypeError(f"{self.name}: need True or False, got {value!r}")
            return value
        if self.kind == "choice":
            if not isinstance(value, str):
                raise TypeError(f"{self.name}: need one of {', '.join(self.choices)}, got {value!r}")
            if value not in self.choices:
                raise ValueError(f"{self.name}: need one of {', '.join(self.choices)}, got {value!r}")
            return value
        if isinstance(value, bool) or not isinstance(value, float | int):
            raise TypeError(f"{self.name}: need a number, got {value!r}")
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        inside = math.isfinite(value) and low <= value <= high
        if not inside or (self.above and value == low) or (self.below and value == high):
            raise ValueError(f"{self.name}: need {self.reach}, got {value}")
        if self.kind == "float":
            return value
        if value != int(value):
            raise TypeError(f"{self.name}: need a whole number, got {value!r}")
        return int(value)

    def allows(self, value: object) -> bool:
        """Whether `check` takes it."""
        try:
            self.check(value)
        except (TypeError, ValueError):
            return False
        return True

    @property
    def reach(self) -> str:
        """What a number has to be, in words."""
        number = "a whole number" if self.kind == "int" else "a number"
        if self.low is None and self.high is None:
            return number if self.kind == "int" else "a finite number"
        if self.high is None:
            return f"{number} above {self.low:g}" if self.above else f"{number} of {self.low:g} or more"
        if self.low is None:
            return f"{number} below {self.high:g}" if self.below else f"{number} of {self.high:g} or less"
        low = f"above {self.low:g} and up" if self.above else f"from {self.low:g}"
        return f"{number} {low} to {'below ' if self.below else ''}{self.high:g}"


@dataclass(frozen=True, slots=True)
class LossSpec:
    """One loss as forms and tables show it.

    Attributes:
        key: Name for `make_loss`, run folders and the command line.
        title: Name in the paper's tables.
        source: Who published it, and where; of a person's own: "your own loss".
        summary: What it does, in one sentence.
        parameters: Its settings, in the order of a form.
        cls: File and name of its class; of a person's own its name alone.
        fixed: What tells this loss from others of that class.
        sha256: Of the text of a person's own loss; empty for a built-in.
        from_similarities: Whether the class has the loss as a function of the similarities.
        pair_terms: Whether the class tells the weight or the temperature of each pair.
    """

    key: str
    title: str
    source: str
    summary: str
    parameters: tuple[Parameter, ...]
    cls: str
    fixed: tuple[tuple[str, Value], ...] = ()
    sha256: str = ""
    from_similarities: bool = True
    pair_terms: bool = False

    def check(self, params: Mapping[str, object]) -> dict[str, Value]:
        """All parameters with the defaults filled in.

        Raises:
            TypeError: If a parameter is unknown or of another kind.
            ValueError: If a value is out of range.
        """
        names = {p.name for p in self.parameters}
        for name in params:
            if not names:
                raise TypeError(f"{self.key}: need no parameter, got {name!r}")
            if name not in names:
                raise TypeError(f"{self.key}: need one of {', '.join(sorted(names))}, got {name!r}")
        return {p.name: p.check(params.get(p.name, p.default)) for p in self.parameters}
