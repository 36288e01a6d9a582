"""The one door for what a run folder holds: files as they must be, or one sentence that names the odd one.

JSON and safetensors say nothing of the shape of what is in them. Whatever reads a file of a run reads it
here, so that the rest of the program meets no list where it needs a name. Nothing here imports torch.
"""

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from core.errors import MaclError
from core.explain import explain

Shape = TypeVar("Shape")
Text = Annotated[str, Field(strict=True)]
SCHEMA = 1  # of scores.json, sweeps and summaries; files that do not say are of the first

SPLITS = TypeAdapter(dict[str, list[Text]])
CLASSES = TypeAdapter(list[Text])
DIGESTS = TypeAdapter(dict[str, Text])


class Change(BaseModel):
    """One change of the number of epochs, as `epochs.json` records it."""

    model_config = ConfigDict(strict=True)

    before: int = Field(alias="from", ge=0)
    to: int = Field(ge=0)
    at: str = ""


CHANGES = TypeAdapter(list[Change])


def parsed(content: str | bytes, path: Path) -> Any:
    """The JSON in a file; MaclError if it is none, or nested deeper than anybody writes."""
    try:
        return json.loads(content)
    except RecursionError:
        raise MaclError(f"{path} is damaged (its lists are nested too deeply): copy the run again") from None
    except ValueError as error:
        raise MaclError(f"{path} is damaged ({error}): copy the run again") from None


def fitting(content: object, shape: TypeAdapter[Shape], path: Path) -> Shape:
    """The content of a file in its shape; MaclError says what does not fit, or that a newer one wrote it."""
    future(content, path)
    try:
        return shape.validate_python(content)
    except ValidationError as error:
        raise MaclError(f"{path} is damaged ({first(error)}): copy the run again") from None


def first(error: ValidationError) -> str:
    """The first thing that does not fit: a file of thousands of numbers may have as many."""
    return explain(error).partition("; ")[0]


def future(content: object, path: Path) -> None:
    """MaclError if a file says that it has a newer schema than this version knows."""
    schema = content.get("schema", SCHEMA) if isinstance(content, dict) else SCHEMA
    if isinstance(schema, int) and schema > SCHEMA:
        raise MaclError(
            f"{path} was written by a newer version of this program (its schema is {schema}, this version "
            f"knows {SCHEMA}): open it with that version"
        )


def embeddings(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings z (n, D) float32, finite, and labels y (n, L) uint8 of 0 and 1.

    Raises:
        MaclError: If they cannot be read or do not fit.
        OSError: If the file cannot be opened.
    """
    z, y = (_array(path, name) for name in ("z", "y"))
    if z.ndim != 2 or y.ndim != 2 or len(z) != len(y):
        shapes = " and ".join("×".join(map(str, one.shape)) or "no rows" for one in (z, y))
        raise MaclError(_odd(path, f"need as many rows in z as in y, got {shapes}"))
    if rows := int((~np.isfinite(z).all(axis=1)).sum()):
        raise MaclError(_odd(path, f"{rows} of its {len(z)} rows are not finite"))
    return z, y


def _array(path: Path, name: str) -> np.ndarray:
    try:
        with safe_open(path, framework="numpy") as file:
            kind = file.get_slice(name).get_dtype()
            wanted = ("F16", "F32", "F64") if name == "z" else ("U8", "I8", "BOOL", "I32", "I64", "F32")
            if kind not in wanted:  # numpy has no bf16
                raise MaclError(_odd(path, f"{name} is {kind}, need {wanted[0]} to {wanted[-1]}"))
            return np.asarray(file.get_tensor(name))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise MaclError(_odd(path, str(error))) from None


def _odd(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}): copy it again, or train the run again"
