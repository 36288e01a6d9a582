"""The grid as one picture, as the paper's Fig. 7: a row per run, borders by Jaccard index, labels below."""

import io
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from app.kit.gallery import border
from app.kit.palette import jaccard_color
from app.kit.retrieved import SPLITS, Row
from app.retrieval.rows import Query

PAPER, INK, SOFT = "#ffffff", "#17222b", "#56636d"
BORDER, GAP, PAD = 6, 14, 28
LINES = 3  # of labels below an image
WIDEST = 16_000  # pixels; more images get smaller tiles
# The font that comes with Pillow has Latin letters only.
_PLAIN = str.maketrans(
    {"α": "alpha", "β": "beta", "τ": "tau", "γ": "gamma", "ε": "eps", "−": "-", "–": "-", "—": "-", "×": "x",
     "∞": "inf", "≥": ">=", "≤": "<=", "“": '"', "”": '"', "’": "'", "…": "..."}
)  # fmt: skip

Pixels = Callable[[str], np.ndarray | None]


def png(rows: Sequence[Row], query: Query, labels: Sequence[str], pixels: Pixels, about: str) -> bytes:
    """The grid as a PNG.

    Args:
        rows: Of the grid, in its order.
        query: The image that asks.
        labels: Names of the query's labels.
        pixels: Gives the image (P, P, 3) uint8 of a name, None for none.
        about: What the picture shows, in one line below it.
    """
    file = io.BytesIO()
    draw(rows, query, labels, pixels, about).save(file, "PNG", optimize=True)
    return file.getvalue()


def draw(rows: Sequence[Row], query: Query, labels: Sequence[str], pixels: Pixels, about: str) -> Image.Image:
    """As `png`, as an image; light whatever the theme, for print."""
    most = max([1, *(len(row.images) for row in rows)])
    edge = max(64, min(180, (WIDEST - 2 * PAD) // (most + 1) - GAP))
    small, plain, bold = (ImageFont.load_default(size) for size in (12, 14, 17))
    head, caption = 30, 18 + LINES * 15
    high = head + edge + caption + GAP
    start, beside = PAD + edge + 2 * GAP, PAD + 230  # where rows begin; what stands beside the scale
    foot_words = f"-missing  +extra label   {about}"
    ends = [
        2 * PAD + (most + 1) * (edge + GAP) + GAP,
        beside + small.getlength(plainly(foot_words)) + PAD,
        *(after_title(start, row, bold) + plain.getlength(plainly(figures(row))) + PAD for row in rows),
    ]
    wide = min(WIDEST, math.ceil(max(ends)))
    sheet = Image.new("RGB", (wide, 2 * PAD + len(rows) * high + 50), PAPER)
    pen = ImageDraw.Draw(sheet)

    def text(
        corner: tuple[float, float],
        words: str,
        font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
        color: str = INK,
        room: float = edge,
    ) -> None:
        pen.text(corner, fitting(words, font, room), color, font)

    def tile(left: int, top: int, name: str, color: str) -> None:
        picture = pixels(name)
        pen.rectangle((left, top, left + edge - 1, top + edge - 1), color)
        inside = edge - 2 * BORDER
        if picture is None:
            pen.rectangle(
                (left + BORDER, top + BORDER, left + edge - BORDER - 1, top + edge - BORDER - 1), "#eef1f3"
            )
        else:
            shrunk = Image.fromarray(np.asarray(picture)).resize((inside, inside), Image.Resampling.LANCZOS)
            sheet.paste(shrunk, (left + BORDER, top + BORDER))

    first = PAD + head
    text((PAD, PAD), "Query", bold)
    tile(PAD, first, query.image, INK)
    text((PAD, first + edge + 3), query.name, plain)
    for n, line in enumerate(wrapped(", ".join(labels), small, edge, LINES + 3)):
        text((PAD, first + edge + 21 + 15 * n), line, small, SOFT)

    for index, row in enumerate(rows):
        top = PAD + index * high
        pen.rectangle((start, top + 2, start + 5, top + 20), row.color)
        text((start + 14, top), row.title, bold, room=wide - PAD - start - 14)
        behind = after_title(start, row, bold)
        text((behind, top + 3), figures(row), plain, SOFT, wide - PAD - behind)
        for column, image in enumerate(row.images):
            left, upper = start + column * (edge + GAP), top + head
            tile(left, upper, image.name, border(image))
            score = f"J {image.jaccard:.2f}" if image.compared else f"cos {image.cosine:.3f}"
            split = "" if image.split == "test" else SPLITS[image.split]
            text((left, upper + edge + 3), f"{image.rank}   {score}   {split}", plain)
            words = [
                *(image.shared if image.compared else image.labels),
                *(f"-{label}" for label in image.missing),
                *(f"+{label}" for label in image.extra),
            ]
            for n, line in enumerate(wrapped(", ".join(words), small, edge, LINES)):
                text((left, upper + edge + 21 + 15 * n), line, small, SOFT)

    foot = 2 * PAD + len(rows) * high
    for step in range(120):
        pen.line((PAD + 70 + step, foot, PAD + 70 + step, foot + 10), jaccard_color(step / 119))
    text((PAD, foot - 4), "Jaccard 0", small)
    text((PAD + 198, foot - 4), "1", small)
    text((beside, foot - 4), foot_words, small, SOFT, wide - PAD - beside)
    return sheet


def figures(row: Row) -> str:
    """The figures of a row, or why it has none."""
    return " · ".join(row.captions) or row.note


def after_title(start: int, row: Row, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> float:
    """Where the words after the title begin, in a row that begins at `start`."""
    return start + 14 + font.getlength(plainly(row.title)) + 18


def plainly(words: str) -> str:
    """The words in letters that the font has."""
    latin = words.translate(_PLAIN)
    return "".join(letter if letter.isprintable() and ord(letter) < 0x250 else "?" for letter in latin)


def fitting(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    """The words, shortened with dots if they are wider than the room."""
    words = plainly(words)
    if font.getlength(words) <= room:
        return words
    while words and font.getlength(words + "...") > room:
        words = words[:-1]
    return words + "..."


def wrapped(
    words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int, lines: int
) -> list[str]:
    """The words in at most so many lines."""
    done: list[str] = []
    for word in words.split(", "):
        if done and font.getlength(plainly(f"{done[-1]}, {word}")) <= room:
            done[-1] += f", {word}"
        else:
            done.append(word)
    return done if len(done) <= lines else [*done[: lines - 1], done[lines - 1] + " ..."]
