"""Random numbers of one image: PCG64 seeded by (seed, index), handed out one at a time and fast."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Colour = tuple[int, int, int]


class Dice:
    """Scalar draws from a pool of uniform numbers (a generator call per scalar costs ten times more)."""

    def __init__(self, seed: int, index: int) -> None:
        self._rng = np.random.Generator(np.random.PCG64([seed, index]))
        self._pool: list[float] = []

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        if not self._pool:
            self._pool = self._rng.random(1024).tolist()
        return self._pool.pop()

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.unit()

    def whole(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int((high - low + 1) * self.unit())

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def pick(self, items: Sequence[T]) -> T:
        """One item, all equally likely."""
        return items[int(len(items) * self.unit())]

    def spread(self, sigma: float) -> float:
        """Bell-shaped around 0 with standard deviation `sigma`, never beyond 3 sigma."""
        return sigma * 2 * (self.unit() + self.unit() + self.unit() - 1.5)

    def near(self, colour: Colour, light: float = 0.06, hue: float = 2.5) -> Colour:
        """The colour made a little lighter or darker (share) and pushed in hue (levels)."""
        k = 1 + self.spread(light)
        r, g, b = (min(255, max(0, int(v * k + self.spread(hue)))) for v in colour)
        return r, g, b
