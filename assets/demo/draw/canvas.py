"""The drawing surface: colour and height in one RGBX image, the material in another, both twice as fine.

Coordinates are metres from the centre of the image in a frame turned by a random angle; a picture is
drawn flat, and `assets.demo.draw.light` then casts the shadows from the heights.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from assets.demo.draw import texture
from assets.demo.draw.dice import Colour, Dice
from assets.demo.draw.materials import Mat
from assets.demo.draw.palette import Palette

HEIGHT_UNIT = 0.15  # metres per level of the height band; the highest object is 38 m

Point = tuple[float, float]


class Frame:
    """Local metres at a place and an angle, turned into pixels."""

    __slots__ = ("ax", "ay", "bx", "by", "x", "y")

    def __init__(self, x: float, y: float, angle: float, scale: float) -> None:
        self.x, self.y = x, y
        self.ax, self.ay = math.cos(angle) * scale, math.sin(angle) * scale
        self.bx, self.by = -self.ay, self.ax

    def at(self, u: float, v: float) -> Point:
        """Pixels of a local point."""
        return self.x + u * self.ax + v * self.bx, self.y + u * self.ay + v * self.by

    def points(self, local: Iterable[Point]) -> list[Point]:
        """Pixels of local points."""
        x, y, ax, ay, bx, by = self.x, self.y, self.ax, self.ay, self.bx, self.by
        return [(x + u * ax + v * bx, y + u * ay + v * by) for u, v in local]

    def box(self, u0: float, v0: float, u1: float, v1: float) -> list[Point]:
        """Pixels of a local rectangle."""
        return self.points(((u0, v0), (u1, v0), (u1, v1), (u0, v1)))


class Canvas:
    """One picture in the making.

    Args:
        dice: Random numbers of this picture.
        size: Side of the finished picture in pixels; the canvas is twice as wide.
        metres: Side of the finished picture in metres.
    """

    def __init__(self, dice: Dice, size: int, metres: float) -> None:
        self.dice, self.size, self.metres = dice, 2 * size, metres
        self.scale = self.size / metres  # pixels per metre
        self.reach = metres * 0.72  # beyond this from the centre nothing is seen
        self.turn = dice.between(0, math.tau)
        self.sun = dice.between(0, math.tau)  # direction of the sun in the picture
        self.elevation = math.radians(dice.between(32, 62))
        self.palette = Palette(dice)
        self.art = Image.new("RGBX", (self.size, self.size))
        self.mat = Image.new("L", (self.size, self.size))
        self._art = ImageDraw.Draw(self.art)
        self._mat = ImageDraw.Draw(self.mat)
        self._whole = Frame(self.size / 2, self.size / 2, self.turn, self.scale)
        self.lift = 0.0  # metres added to every height, for what stands on a bridge
        lean, aside = dice.between(0, math.tau), dice.between(0.0, 0.22) * self.scale
        self.lean = (aside * math.cos(lean), aside * math.sin(lean))  # pixels per metre of height
        self._sprites: dict[tuple[int, int, Colour, float], Image.Image] = {}

    def _level(self, height: float) -> int:
        return min(255, int((height + self.lift) / HEIGHT_UNIT))

    def frame(self, x: float, y: float, angle: float = 0.0, up: float = 0.0) -> Frame:
        """A local frame at a point in metres, turned by `angle` against the scene.

        What stands `up` metres high is seen a little aside of its foot: the camera is not above it.
        """
        px, py = self._whole.at(x, y)
        px, py = px + up * self.lean[0], py + up * self.lean[1]
        return Frame(px, py, self.turn + angle, self.scale)

    def sees(self, x: float, y: float, radius: float) -> bool:
        """Whether a disc in metres touches the picture."""
        px, py = self._whole.at(x, y)
        r = radius * self.scale
        return -r < px < self.size + r and -r < py < self.size + r

    def lies(self, x: float, y: float) -> int:
        """The material at a point in metres; `Mat.NONE` outside the picture."""
        px, py = (int(v) for v in self._whole.at(x, y))
        if not (0 <= px < self.size and 0 <= py < self.size):
            return int(Mat.NONE)
        level = self.mat.getpixel((px, py))
        assert isinstance(level, int)
        return level

    def lit(self, colour: Colour, angle: float, slope: float = 0.25) -> Colour:
        """The colour of a facet that falls towards `angle` (against the scene)."""
        k = 1 + slope * math.cos(self.turn + angle - self.sun)
        return min(255, int(colour[0] * k)), min(255, int(colour[1] * k)), min(255, int(colour[2] * k))

    def fill(self, colour: Colour, mat: Mat) -> None:
        """Cover everything with one flat material."""
        self.art.paste((*colour, 0), (0, 0, self.size, self.size))
        self.mat.paste(int(mat), (0, 0, self.size, self.size))

    def shape(self, pixels: Sequence[Point], colour: Colour, mat: Mat | None, height: float = 0.0) -> None:
        """A filled polygon in pixels; without a material it only repaints what lies there."""
        self._art.polygon(pixels, fill=(*colour, self._level(height)))
        if mat is not None:
            self._mat.polygon(pixels, fill=int(mat))

    def box(
        self,
        x: float,
        y: float,
        length: float,
        width: float,
        angle: float,
        colour: Colour,
        mat: Mat | None,
        height: float = 0.0,
    ) -> None:
        """A rectangle in metres around (x, y), `length` along its angle."""
        half = self.frame(x, y, angle).box(-length / 2, -width / 2, length / 2, width / 2)
        self.shape(half, colour, mat, height)

    def area(self, points: Iterable[Point], colour: Colour, mat: Mat | None, height: float = 0.0) -> None:
        """A filled polygon in metres."""
        self.shape(self._whole.points(points), colour, mat, height)

    def disc(
        self,
        x: float,
        y: float,
        radius: float,
        colour: Colour,
        mat: Mat | None,
        height: float = 0.0,
        up: float = 0.0,
    ) -> None:
        """A filled circle in metres, `height` high and seen where something `up` high is seen."""
        bounds = self._bounds(x, y, radius, up)
        self._art.ellipse(bounds, fill=(*colour, self._level(height)))
        if mat is not None:
            self._mat.ellipse(bounds, fill=int(mat))

    def ring(
        self,
        x: float,
        y: float,
        radius: float,
        width: float,
        colour: Colour,
        height: float = 0.0,
        up: float = 0.0,
    ) -> None:
        """A circle's outline in metres, repainting only."""
        ink = (*colour, self._level(height))
        thick = max(1, round(width * self.scale))
        self._art.ellipse(self._bounds(x, y, radius, up), outline=ink, width=thick)

    def _bounds(self, x: float, y: float, radius: float, up: float) -> tuple[float, float, float, float]:
        px, py = self._whole.at(x, y)
        px, py, r = px + up * self.lean[0], py + up * self.lean[1], radius * self.scale
        return px - r, py - r, px + r, py + r

    def stroke(self, pixels: Sequence[Point], width: float, colour: Colour, height: float = 0.0) -> None:
        """A line through points in pixels, `width` in metres, repainting only."""
        thick = max(1, round(width * self.scale))
        self._art.line(pixels, fill=(*colour, self._level(height)), width=thick)

    def path(
        self, points: Iterable[Point], width: float, colour: Colour, mat: Mat | None, height: float = 0.0
    ) -> None:
        """A line in metres with round joints."""
        pixels = self._whole.points(points)
        thick = max(1, round(width * self.scale))
        self._art.line(pixels, fill=(*colour, self._level(height)), width=thick, joint="curve")
        if mat is not None:
            self._mat.line(pixels, fill=int(mat), width=thick, joint="curve")

    def dashes(self, start: Point, end: Point, width: float, dash: float, gap: float, colour: Colour) -> None:
        """A broken line in metres, repainting only."""
        (x0, y0), (x1, y1) = start, end
        length = math.hypot(x1 - x0, y1 - y0)
        ux, uy = (x1 - x0) / length, (y1 - y0) / length
        at = self.dice.between(0, gap)
        while at < length:
            stop = min(length, at + dash)
            self.path(((x0 + ux * at, y0 + uy * at), (x0 + ux * stop, y0 + uy * stop)), width, colour, None)
            at += dash + gap

    def crown(self, x: float, y: float, radius: float, colour: Colour, mat: Mat, height: float) -> None:
        """A round plant in metres: a rough dome whose top is `height` metres up."""
        px, py = self._whole.at(x, y)
        r = min(40, max(2, round(radius * self.scale)))
        variant = self.dice.whole(0, 5)  # drawn even for what is not seen: scenes are the same at any size
        if not (-r < px < self.size + r and -r < py < self.size + r):
            return
        dome, soft, hard = texture.crown(r, variant)
        key = (r, variant, colour, int(height))
        sprite = self._sprites.get(key)
        if sprite is None:
            pixels = np.empty((*dome.shape, 4), np.uint8)
            pixels[:, :, :3] = colour
            pixels[:, :, 3] = dome * min(255, height / HEIGHT_UNIT)
            sprite = Image.frombuffer("RGBX", soft.size, pixels.tobytes(), "raw", "RGBX", 0, 1)
            self._sprites[key] = sprite
        corner = (int(px) - r - 1, int(py) - r - 1)
        self.art.paste(sprite, corner, soft)
        self.mat.paste(int(mat), (*corner, corner[0] + soft.width, corner[1] + soft.height), hard)

    def walls(
        self,
        x: float,
        y: float,
        length: float,
        width: float,
        angle: float,
        colour: Colour,
        mat: Mat,
        up: float,
    ) -> None:
        """The visible sides of a block: quads from its foot to its eaves."""
        if math.hypot(*self.lean) * up < 1.2:
            return
        u, v = length / 2, width / 2
        foot = self.frame(x, y, angle).box(-u, -v, u, v)
        eaves = self.frame(x, y, angle, up).box(-u, -v, u, v)
        for i, facing in enumerate((-math.pi / 2, 0.0, math.pi / 2, math.pi)):
            j = (i + 1) % 4
            shade = self.lit(colour, angle + facing, 0.45)
            self.shape((foot[i], foot[j], eaves[j], eaves[i]), shade, mat, up * 0.5)

    def cover(
        self,
        mat: Mat,
        colours: tuple[Colour, Colour],
        radius: float,
        share: float,
        height: float,
        where: Image.Image | None = None,
    ) -> None:
        """Crowns or bushes of a mean radius in metres over the whole picture, or where the mask is set."""
        r = radius * self.scale
        nearest = min(texture.RADII, key=lambda have: abs(math.log(have / r)))
        share = min(texture.SHARES, key=lambda have: abs(have - share))
        heights, tones = texture.crowns(nearest, share, self.size, nearest / r, self.dice)
        (r0, g0, b0), (r1, g1, b1) = colours
        ramps = [[int(a + (b - a) * v / 255) for v in range(256)] for a, b in ((r0, r1), (g0, g1), (b0, b1))]
        k = height / HEIGHT_UNIT / 255
        bands = [tones.point(ramp) for ramp in ramps]
        bands.append(heights.point([min(255, int(v * k)) for v in range(256)]))
        mask = heights.point(_SOME)
        if where is not None:
            gone = Image.new("L", mask.size)
            mask = Image.composite(mask, gone, where)
        self.art.paste(Image.merge("RGBX", bands), (0, 0), mask)
        self.mat.paste(int(mat), (0, 0, self.size, self.size), mask)

    def grid(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scene coordinates in metres of every pixel, a row (1, S) and a column (S, 1) to be mixed.

        x = cos(turn) * row + sin(turn) * column, y = -sin(turn) * row + cos(turn) * column.
        """
        along = (np.arange(self.size, dtype=np.float32) - self.size / 2) / self.scale
        return along[None, :], along[:, None]

    def field(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scene coordinates x and y in metres of every pixel, (S, S) each."""
        row, column = self.grid()
        c, s = math.cos(self.turn), math.sin(self.turn)
        return c * row + s * column, c * column - s * row

    def strata(self, depth: NDArray[np.float32], stops: Sequence[tuple[float, Colour, Mat]]) -> None:
        """Colour everything by a depth in 0..1: colours run between stops, materials change at them."""
        index = Image.fromarray((np.clip(depth, 0, 1) * 255).astype(np.uint8))
        places = [s[0] * 255 for s in stops]
        levels = np.arange(256)
        bands = [
            index.point([int(v) for v in np.interp(levels, places, [s[1][k] for s in stops])])
            for k in range(3)
        ]
        bands.append(Image.new("L", index.size))
        self.art.paste(Image.merge("RGBX", bands))
        which = np.clip(np.searchsorted(places, levels, side="right") - 1, 0, len(stops) - 1)
        self.mat.paste(index.point([int(stops[i][2]) for i in which]))

    def paint(self, where: Image.Image, colour: Colour, mat: Mat | None) -> None:
        """A flat colour where the mask (L) is set, softly; the material where it is more than half set."""
        self.art.paste((*colour, 0), (0, 0, self.size, self.size), where)
        if mat is not None:
            self.mat.paste(int(mat), (0, 0, self.size, self.size), where.point(_SOLID))

    def print(self, pattern: NDArray[np.float32], dark: Colour, bright: Colour, where: Image.Image) -> None:
        """A pattern in 0..1 between two colours where the mask (L) is set; materials stay."""
        self.tone(Image.fromarray((np.clip(pattern, 0, 1) * 255).astype(np.uint8)), dark, bright, where)

    def tone(
        self, index: Image.Image, dark: Colour, bright: Colour, where: Image.Image | None = None
    ) -> None:
        """An L image shown between two colours, everywhere or where the mask (L) is set."""
        bands = [
            index.point([int(a + (b - a) * v / 255) for v in range(256)])
            for a, b in zip(dark, bright, strict=True)
        ]
        bands.append(Image.new("L", index.size))
        self.art.paste(Image.merge("RGBX", bands), (0, 0), where)

    def mask(self, points: Iterable[Point]) -> Image.Image:
        """The mask (L) of a polygon in metres."""
        where = Image.new("L", (self.size, self.size))
        ImageDraw.Draw(where).polygon(self._whole.points(points), fill=255)
        return where


_SOLID = [255 if v > 127 else 0 for v in range(256)]
_SOME = [255 if v > 30 else 0 for v in range(256)]
