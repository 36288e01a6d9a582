"""A person's own loss: one class in one file, loaded from its text, described, and wrapped for training.

The text runs with the rights of this process: only what a person named on the command line, or added, comes
here.
"""

import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.errors import MaclError
from core.losses.batch import check_batch, is_fake
from core.losses.describe import GIVEN, parameters
from core.losses.parameters import LossSpec, Value
from core.losses.source import digest, name_of, read

__all__ = ["OwnLoss", "build_own", "describe", "digest", "load", "name_of", "read"]

OWN = "your own loss"  # the source of its specification
_LET_THROUGH = (MaclError, FloatingPointError, MemoryError, torch.OutOfMemoryError)  # others know what to do


def load(text: str, name: str) -> type[nn.Module]:
    """Run the text of a loss file as a module of its own, and return its one class.

    The module stands in `sys.modules`, where dataclasses look, and its lines in `linecache`, where
    `inspect.getsource` and tracebacks do. Its `__file__` is no path: the text is what was run.

    Raises:
        MaclError: If the text does not compile or run, or does not hold exactly one loss.
    """
    version = digest(text)[:8]
    module = ModuleType(f"macl_own_loss_{name}_{version}", f"The text of {name}.py.")
    module.__file__ = file = f"<{name}@{version}.py>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    sys.modules[module.__name__] = module
    try:
        exec(compile(text, file, "exec", dont_inherit=True), vars(module))
        return _the_class(module, f"{name}.py")
    except BaseException as error:
        del sys.modules[module.__name__]
        if isinstance(error, MaclError) or not isinstance(error, Exception | SystemExit):
            raise
        raise MaclError(_why_not(error, file, f"{name}.py")) from error


def describe(cls: type[nn.Module], name: str, text: str) -> LossSpec:
    """What forms and tables show of a class that `load` returned.

    Raises:
        MaclError: If `forward` does not take (z, y), or a parameter is none that a form can show.
    """
    try:
        inspect.signature(cls.forward).bind(None, None, None)
    except TypeError as error:
        raise MaclError(f"{name}.py: {cls.__name__}.forward is called with (z, y): {error}") from None
    try:
        settings = parameters(cls)
    except MaclError as error:
        raise MaclError(f"{name}.py: {cls.__name__}: {error}") from None
    first = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0]
    summary, _, _ = (" ".join(first.split()) + " ").partition(". ")
    return LossSpec(
        key=f"{name}@{digest(text)[:8]}",
        title=name,
        source=OWN,
        summary=f"{summary.strip().rstrip('.') or f'The class {cls.__name__}, which has no docstring'}.",
        parameters=settings,
        cls=cls.__name__,
        sha256=digest(text),
        from_similarities=callable(getattr(cls, "from_similarities", None)),
        pair_terms=callable(getattr(cls, "pair_terms", None)),
    )


def build_own(
    text: str, spec: LossSpec, labels: NDArray[np.uint8], dim: int, params: Mapping[str, Value]
) -> "OwnLoss":
    """The loss of that text, wrapped.

    Args:
        text: Of the loss file.
        spec: What `describe` said of it.
        labels: (N, L) training labels in {0, 1}; the constructor gets a float32 tensor, as y in `forward`.
        dim: Embedding size D.
        params: All parameters, checked.

    Raises:
        MaclError: If the text is another one, or does not build.
    """
    if digest(text) != spec.sha256:
        raise MaclError(f"{spec.key}: the text of the loss has changed since it was described: add it again")
    name = spec.key.partition("@")[0]
    cls = load(text, name)
    given = {"labels": torch.tensor(labels, dtype=torch.float32), "classes": labels.shape[1], "dim": dim}
    wanted = inspect.signature(cls.__init__).parameters
    taken = {key: given[key] for key in GIVEN if key in wanted}
    try:
        inner = cls(**taken, **params)
    except (Exception, SystemExit) as error:
        raise MaclError(_said(error, _file_of(cls), f"{cls.__name__}.__init__")) from error
    return OwnLoss(inner, labels.shape[1])


class OwnLoss(nn.Module):
    """A person's loss with what every loss does around its formula: see `core.losses.batch`.

    Args:
        inner: The person's module.
        classes: Number of labels L.
    """

    def __init__(self, inner: nn.Module, classes: int) -> None:
        super().__init__()
        self.inner, self.classes = inner, classes

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """The loss of a batch: z (B, D) unit rows, y (B, L) in {0, 1} -> scalar, computed in float32 or more.

        Raises:
            TypeError: If z is not floating point.
            ValueError: If the shapes disagree, B < 2, z is not finite, or y holds anything but 0 and 1.
            FloatingPointError: If the result is not finite.
            MaclError: If the person's code fails, or returns no scalar.
        """
        z, y = check_batch(z, y, self.classes)
        value = self.unchecked(z, y)
        if not is_fake(value) and not value.isfinite():
            raise FloatingPointError(
                f"need a finite loss, got {value.item()} from {type(self.inner).__name__}"
            )
        return value

    def unchecked(self, z: Tensor, y: Tensor) -> Tensor:
        """The loss of a batch known to be valid; a result that is not finite is returned as it is."""
        return self._scalar("forward", z, y)

    @property
    def has_similarities(self) -> bool:
        """Whether the class has the loss as a function of the similarities."""
        return callable(getattr(self.inner, "from_similarities", None))

    def from_similarities(self, s: Tensor, y: Tensor) -> Tensor:
        """The loss of similarities (B, B), as the class has it; y (B, L)."""
        return self._scalar("from_similarities", s, y)

    def pair_terms(self, y: Tensor) -> dict[str, Tensor]:
        """The weight "w" and the temperature "T" of each pair, (B, B), as far as the class tells them.

        Raises:
            MaclError: If the person's code fails, or returns anything else.
        """
        if not callable(getattr(self.inner, "pair_terms", None)):
            return {}
        terms, name = self._call("pair_terms", y), f"{type(self.inner).__name__}.pair_terms"
        if not isinstance(terms, dict) or not terms.keys() <= {"w", "T"}:
            raise MaclError(f'{name}: need a dict with "w", "T" or both, got {_shown(terms)}')
        for key, value in terms.items():
            if not isinstance(value, Tensor) or value.shape != (len(y), len(y)):
                raise MaclError(f'{name}: need "{key}" of shape {(len(y), len(y))}, got {_shown(value)}')
        return terms

    def _scalar(self, method: str, x: Tensor, y: Tensor) -> Tensor:
        x = x if x.dtype in (torch.float32, torch.float64) else x.float()
        with torch.autocast(x.device.type, enabled=False):
            value = self._call(method, x, y.to(x.dtype))
        if not isinstance(value, Tensor) or value.shape != () or not value.is_floating_point():
            raise MaclError(
                f"{type(self.inner).__name__}.{method}: need one number, a floating-point tensor of shape "
                f"(), got {_shown(value)}: take the mean or the sum over the batch"
            )
        return value

    def _call(self, method: str, *tensors: Tensor) -> Any:
        call: Callable[..., Any] = self.inner if method == "forward" else getattr(self.inner, method)
        try:
            return call(*tensors)
        except _LET_THROUGH:
            raise
        except (Exception, SystemExit) as error:
            name = f"{type(self.inner).__name__}.{method}"
            raise MaclError(_said(error, _file_of(type(self.inner)), name)) from error


def _the_class(module: ModuleType, file: str) -> type[nn.Module]:
    """The one loss in a module: the class that its `__all__` names, else the last in a line of descent."""
    values = [value for value in vars(module).values() if isinstance(value, type)]
    classes = list(dict.fromkeys(value for value in values if value.__module__ == module.__name__))
    losses = [cls for cls in classes if issubclass(cls, nn.Module)]
    named = [cls for cls in losses if cls.__name__ in getattr(module, "__all__", ())]
    last = named or [
        cls for cls in losses if not any(issubclass(other, cls) for other in losses if other is not cls)
    ]
    if len(last) > 1:
        names = " and ".join(sorted(cls.__name__ for cls in last))
        raise MaclError(
            f'{file}: need one loss, got the classes {names}: name the loss by __all__ = ["…"], or give each '
            "a file of its own"
        )
    if not last:
        hint = f": derive {classes[0].__name__} from torch.nn.Module" if len(classes) == 1 else ""
        raise MaclError(f"{file}: need one class derived from torch.nn.Module, got none{hint}")
    if last[0].forward is nn.Module.forward:
        raise MaclError(f"{file}: {last[0].__name__} has no forward(z, y): write the formula there")
    return last[0]


def _why_not(error: BaseException, module_file: str, file: str) -> str:
    """One sentence about text that does not compile or run."""
    place = _place(error, module_file, file)
    if isinstance(error, SyntaxError) and error.filename == module_file:
        return f"{file}, line {error.lineno}: {error.msg}: correct the syntax"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return (
            f"{place}: it imports {error.name}, which is not installed: install it into this environment or "
            "do without (a loss is one file, whatever lies beside it)"
        )
    return _said(error, module_file, file)


def _said(error: BaseException, file: str, what: str) -> str:
    """An exception of a person's code in one line, with the line of their file."""
    if isinstance(error, SystemExit):
        return f"{_place(error, file, what)}: it ends the program: take that out"
    message = " ".join(str(error).split()) or "no message"
    return f"{_place(error, file, what)}: {type(error).__name__}: {message[:300]}"


def _file_of(cls: type) -> str:
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or ""


def _place(error: BaseException, file: str, what: str) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{what}, line {lines[-1]}" if lines else what


def _shown(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {value.dtype}"
    return f"{value!r:.60} ({type(value).__name__})"
