"""How images of any depth and any number of bands are seen: which bands, and what is black and white."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np

TAILS = 0.5, 99.5  # percentiles of a deep image that become 0 and 255 where each has its own stretch
STRETCH = f"{TAILS[0]:g}-{TAILS[1]:g} % of each image"
NATURAL = (("B04", "B03", "B02"), ("red", "green", "blue"))  # Sentinel-2, and names that say it
ALL = ("all",)  # instead of the bands, before it is known how many an image has

TINY = float(np.finfo(np.float32).tiny)

Limits = tuple[tuple[float, float], ...]


class MissingBand(ValueError):
    """An image lacks a band, or has another number of them; `what` says it without a way out."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what}; choose with --bands")


@dataclass(frozen=True)
class Look:
    """What of an image is seen.

    Attributes:
        bands: One band, those of red, green and blue, or all that the network sees: numbers from 1, or names;
            empty: the first three.
        limits: The values that become 0 and 255 in images of more than 8 bits, for each of these bands or
            for all; empty: those of each image.
        plain: Whether all images (of a sample) are as every viewer shows them: 8 bits, four bands at most.
        whole: Whether an image has just these bands, so that one with more or fewer is none of the set.
        shown: Which of `bands` a person sees, as indices: one, or three; empty: the first three.
    """

    bands: tuple[str, ...] = ()
    limits: Limits = ()
    plain: bool = True
    whole: bool = False
    shown: tuple[int, ...] = ()

    @property
    def channels(self) -> int:
        """Number of channels C that the network sees; one band of several is seen as grey RGB."""
        return len(self.bands) if self.whole or len(self.bands) not in (0, 1) else 3

    def rgb(self, pixels: np.ndarray) -> np.ndarray:
        """What a person sees of prepared pixels (…, C): (…, 3)."""
        count = pixels.shape[-1]
        if count == 3 and not self.shown:
            return pixels
        shown = self.shown or ((0, 1, 2) if count >= 3 else (0,))
        return pixels[..., shown if len(shown) == 3 else shown[:1] * 3]

    def cut(self) -> Self:
        """The look at an image that holds the chosen bands only, in their order: a part of a scene."""
        if self.channels == 3 and not self.whole:
            return replace(self, bands=())
        return replace(self, bands=tuple(str(number) for number in range(1, len(self.bands) + 1)))

    @property
    def text(self) -> str:
        """All of it that decides pixels, on one line; `of` reads it."""
        limits = " ".join(f"{low!r}:{high!r}" for low, high in self.limits) or STRETCH
        parts = [
            "whole" if self.whole else "",
            f"bands {','.join(self.bands)}" if self.bands else "",
            f"shown {','.join(map(str, self.shown))}" if self.shown else "",
        ]
        return "; ".join([*filter(None, parts), limits])

    @classmethod
    def of(cls, text: str) -> Self:
        """The look that wrote this text."""
        *before, limits = text.split("; ")
        said = dict(part.partition(" ")[::2] for part in before)
        return cls(
            tuple(said["bands"].split(",")) if "bands" in said else (),
            () if limits == STRETCH else tuple(map(_pair, limits.split())),
            whole="whole" in said,
            shown=tuple(map(int, said["shown"].split(","))) if "shown" in said else (),
        )

    @property
    def key(self) -> str:
        """What it adds to the key of a prepared array: nothing where the pixels are as in every viewer."""
        return "" if self.plain and not self.bands and not self.limits else replace(self, shown=()).text

    def chosen(self, names: Sequence[str]) -> list[int]:
        """The bands that are seen, as indices: one, three, or as many as the network sees.

        Args:
            names: Name of each band of the image, empty where it has none.

        Raises:
            MissingBand: If the image lacks a band, or has others than those of the set.
        """
        if self.whole and len(names) != len(self.bands):
            raise MissingBand(f"{counted(len(names))} where the data set has {len(self.bands)}")
        if self.whole and not all(names):
            return list(range(len(names)))  # without names the order says which is which
        if self.bands:
            return [position(band, names) for band in self.bands]
        return list(natural(names)) or ([0, 1, 2] if len(names) >= 3 else [0])

    def levels(self, values: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
        """Grey levels of deep bands.

        Args:
            values: (C, H, W) of any type.
            known: (H, W) bool, where there are data; None: everywhere. The rest becomes black.

        Returns:
            (H, W, C) uint8.

        Raises:
            ValueError: If no value is known and finite.
        """
        if values.dtype.kind == "f":
            finite = np.isfinite(values).all(axis=0)
            known = finite if known is None else known & finite
        if known is not None and not known.any():
            raise ValueError("no finite pixel value")
        limits = self.limits or (_own_limits(values, known),)
        grey = [_grey(band, *limits[min(index, len(limits) - 1)]) for index, band in enumerate(values)]
        if known is not None:
            for band in grey:
                band[~known] = 0
        return np.stack(grey, axis=-1)


LOOK = Look()


def parsed_bands(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The bands that a person names, or `ALL`, or none; and those that are to be shown, empty if not said.

    Raises:
        ValueError: If it is no list of bands, or what is to be shown is not one or three of them.
    """
    seen, colon, shown = text.partition(":")
    bands, colours = (tuple(part.strip() for part in one.split(",")) for one in (seen, shown))
    if not seen.strip() and not colon:
        return (), ()
    if seen.strip().lower() == ALL[0]:
        bands = ALL
    known = bands == ALL or {*colours} <= {*bands}
    if not all(bands) or not text.isprintable() or ";" in text or (colon and not (all(colours) and known)):
        raise ValueError(
            "need bands with commas between such as 4,3,2 or B04,B03,B02, or all, and perhaps what is shown "
            f"of them as in all:4,3,2, got {text!r}"
        )
    if colon and len(colours) not in (1, 3):
        raise ValueError(f"need one band to be shown, or red, green and blue such as all:4,3,2, got {text!r}")
    return bands, colours if colon else ()


def natural(names: Sequence[str]) -> tuple[int, ...]:
    """Where red, green and blue are by their names; empty if the names do not say it."""
    for colours in NATURAL:
        if {*colours} <= {*names}:
            return tuple(names.index(band) for band in colours)
    return ()


def position(band: str, names: Sequence[str]) -> int:
    """The index of a band by its number from 1, or by its name among `names`.

    Raises:
        MissingBand: If it is not there.
    """
    if band.isdecimal():
        if 1 <= int(band) <= len(names):
            return int(band) - 1
    else:
        plain = [plain_name(name) for name in names]
        if plain_name(band) in plain:
            return plain.index(plain_name(band))
    known = ", ".join(name for name in names if name)
    by_name = bool(known) and not band.isdecimal()
    has = known if by_name else f"1 to {len(names)}" if len(names) > 1 else "only one"
    raise MissingBand(f"no band {band}: it has {has}")


def plain_name(name: str) -> str:
    """`B4`, `b04`, `band 4` and `B04, central wavelength 665 nm` are one band."""
    first = re.split(r"[,;(]", name.lower())[0]
    return re.sub(r"^(?:band|b)0*(?=\d)", "b", re.sub(r"[^a-z0-9]", "", first))


def parsed_stretch(text: str) -> Limits | None:
    """The limits that a person fixes; empty for those of each image, None for those of the data set.

    Raises:
        ValueError: If it is no stretch.
    """
    if text in ("dataset", "image", "none"):
        return {"dataset": None, "image": (), "none": ((0.0, 255.0),)}[text]
    try:
        low, high = _pair(text)
    except ValueError:
        low, high = 0.0, 0.0
    if not (np.isfinite((low, high)).all() and low < high):
        raise ValueError(f"need dataset, image, none, or LOW:HIGH such as 0:3000, got {text!r}")
    return ((low, high),)


def _pair(text: str) -> tuple[float, float]:
    low, high = text.split(":")
    return float(low), float(high)


def counted(bands: int) -> str:
    """So many bands in words."""
    return f"{bands} bands" if bands != 1 else "one band"


def _own_limits(values: np.ndarray, known: np.ndarray | None) -> tuple[float, float]:
    """Those of one image, of all its bands together, so that its colours stay."""
    seen = values if known is None else values[:, known]
    # without interpolation, so that small images and those that differ in their tails only lose nothing
    low = float(np.percentile(seen, TAILS[0], method="lower"))
    high = float(np.percentile(seen, TAILS[1], method="higher"))
    return (low, high) if low < high else (float(seen.min()), float(seen.max()))


def _grey(band: np.ndarray, low: float, high: float) -> np.ndarray:
    if band.dtype.kind in "iu" and band.dtype.itemsize <= 2:
        band = band.astype(band.dtype.newbyteorder("="))
        levels: np.ndarray = _levels_of_all(band.dtype.str, low, high)[band.view(f"u{band.dtype.itemsize}")]
        return levels
    return _scaled(band, low, high)


@lru_cache(maxsize=256)  # 64 kB each, and one for every band of an image
def _levels_of_all(kind: str, low: float, high: float) -> np.ndarray:
    """The grey level of every value of an integer type, in the order of its bits without a sign."""
    dtype = np.dtype(kind)
    unsigned = np.arange(1 << 8 * dtype.itemsize).astype(f"u{dtype.itemsize}")
    return _scaled(unsigned.view(dtype), low, high)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    kind = np.float32 if values.dtype.itemsize == 4 and values.dtype.kind == "f" else np.float64
    scaled = np.nan_to_num(values.astype(kind), nan=low, posinf=high, neginf=low)
    scaled.clip(low, high, out=scaled)
    scaled -= kind(low)
    scaled *= kind(255 / max(high - low, TINY))
    rounded: np.ndarray = np.rint(scaled).astype(np.uint8)
    return rounded
