"""Which images can ask the chosen runs: test images, and those of all splits where these are searched."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import streamlit as st

from app import cache
from app.kit import gallery, query
from core.errors import MaclError
from core.retrieval import ask
from core.retrieval.search import Gallery
from core.runs import Run


@dataclass(frozen=True)
class Askable:
    """Images of the chosen runs that know the same data set as the first one."""

    runs: Sequence[Run]

    def known(self, name: str) -> bool:
        """Whether a run can be asked for the image of this name."""
        if any(name in images.rows for images in self._galleries()):
            return True
        splits = (cache.split_of(run, name) for run in self._runs if ask.can_answer(run))
        return _everything() and any(splits)

    def labels(self, name: str) -> np.ndarray | None:
        """Labels (L,) of an image; None while only a gallery that is being computed holds it."""
        return next(
            (images.y[images.rows[name]] for images in self._galleries() if name in images.rows), None
        )

    @cached_property
    def _runs(self) -> list[Run]:
        return [run for run in self.runs if not gallery.foreign(run, self.runs[0])]

    def _galleries(self) -> Iterator[Gallery]:
        for run in self._runs:
            for everything in (False, True) if _everything() and ask.can_answer(run) else (False,):
                with suppress(MaclError, OSError):  # its own row says what is wrong with it
                    images = cache.gallery(run, everything)
                    if images is not None:
                        yield images


def _everything() -> bool:
    return bool(st.session_state[query.GALLERY] == "all")
