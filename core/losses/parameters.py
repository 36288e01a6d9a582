"""Settings of a loss: names, kinds, ranges, defaults. No torch: forms and the command line start fast."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Value = float | bool | str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of a loss.

    Attributes:
        name: Keyword of `make_loss`.
        kind: "float", "bool" or "choice".
        default: Value if none is given.
        help: One line for a form.
        symbol: The letter in the paper; empty if it has none.
        low: Smallest allowed value of a float; None: no bound.
        high: Largest allowed value of a float; None: no bound.
        choices: The values of a choice.
    """

    name: str
    kind: Literal["float", "bool", "choice"]
    default: Value
    help: str
    symbol: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def check(self, value: object) -> Value:
        """The value itself, unchanged.

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
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"{self.name}: need {self._range()}, got {value}")
        return value

    def _range(self) -> str:
        if self.low is None and self.high is None:
            return "a finite number"
        return f"a number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class LossSpec:
    """One loss as forms and tables show it.

    Attributes:
        key: Name for `make_loss`, run folders and the command line.
        title: Name in the paper's tables.
        source: Who published it, and where.
        summary: What it does, in one sentence.
        parameters: Its settings, in the order of a form.
    """

    key: str
    title: str
    source: str
    summary: str
    parameters: tuple[Parameter, ...]

    def check(self, params: Mapping[str, object]) -> dict[str, Value]:
        """All parameters with the defaults filled in.

        Raises:
            TypeError: If a parameter is unknown or of another kind.
            ValueError: If a value is out of range.
        """
        names = {p.name for p in self.parameters}
        for name in params:
            if name not in names:
                raise TypeError(f"{self.key}: need one of {', '.join(sorted(names))}, got {name!r}")
        return {p.name: p.check(params.get(p.name, p.default)) for p in self.parameters}
