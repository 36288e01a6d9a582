"""Images that show the same place: copies, turned or recompressed ones, and crops that overlap.

Where one of a pair is trained on and the other is tested on, the test is easier than it looks. Found by phase
correlation (Kuglin and Hines, 1975), from coarse to fine, in a detached process:

1. All pairs at 32 × 32 pixels. The peak of the phase correlation says how well one image, moved, fits the
   other: 1 for a copy, below 0.2 for most unrelated ones. Mirrored and quarter-turned copies are looked for
   without a move, by the correlation of 16 × 16 pixels.
2. The promising ones at 64 × 64 pixels, and the best of them at the prepared size: the similarity of a pair
   is the correlation of the fine structure (details against their local contrast) where the two overlap.

`python -m core.data.duplicates NAME ROOT KEY SIZE` writes the pairs into the cache.
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft
from scipy.ndimage import gaussian_filter

from core.data.info import Dataset
from core.data.job import Preparation, detach, read_status, tell_status
from core.data.prepared import Progress, cache_root, cores, in_parallel, make_folder
from core.errors import MaclError
from core.files import lock, write_atomic

VERSION = 1
KEPT = 0.5  # similarity from which a pair is kept; unrelated images stay below, but for runways and the like
SAME = 0.7  # from which two images are taken for the same place
LEAST_OVERLAP = 0.25  # of the image; smaller common parts prove too little
COARSE, MIDDLE, FINE = 32, 64, 160  # pixels of the three looks; FINE or the prepared size, if smaller
COARSE_PEAK = 0.2  # of the phase correlation, to be looked at again
TURNED = 0.9  # correlation of 16 × 16 pixels, to be looked at again
MIDDLE_SIMILARITY = 0.5  # to be looked at at the full size
CHUNK = 2048  # images correlated with one other at a time

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two images that show the same place.

    Attributes:
        a, b: Rows in the prepared data set, a < b.
        similarity: Correlation of the fine structure where they overlap, KEPT … 1.
        overlap: Share of the image that both show, LEAST_OVERLAP … 1.
        turn: How b has to be turned: quarter turns to the left, after a mirroring if 4 … 7; 0 for none.
    """

    a: int
    b: int
    similarity: float
    overlap: float
    turn: int = 0


def start(name: str, root: str | None, key: str, image_size: int) -> None:
    """Look for pairs in a process of its own, unless that is going on; returns at once.

    Args:
        name: Name of the data set, which must be prepared.
        root: Folder or archive; None looks in the usual place.
        key: Hash of its images, `Dataset.key`.
        image_size: Training size, pixels.

    Raises:
        MaclError: If the cache cannot be written.
    """
    detach(_job(key), "core.data.duplicates", name, root or "", key, image_size)


def status(key: str) -> Preparation:
    """What the last `start` for these images has come to."""
    return Preparation("done") if _path(key).is_file() else read_status(_job(key))


def result(key: str) -> list[Pair]:
    """The pairs that were found, most similar first.

    Raises:
        MaclError: If nobody has looked for them yet.
    """
    try:
        rows = json.loads(_path(key).read_text())
    except (OSError, ValueError):
        raise MaclError("nobody has looked for duplicates among these images yet") from None
    return [Pair(*row) for row in rows]


def look(data: Dataset, progress: Progress | None = None) -> list[Pair]:
    """The pairs of a data set, here and now; kept, so that nobody looks twice at the same images."""
    if not _path(data.key).is_file():
        make_folder(_path(data.key).parent)
        pairs = find(data.images, progress)
        write_atomic(_path(data.key), json.dumps([astuple(pair) for pair in pairs]))
    return result(data.key)


def across(pairs: Sequence[Pair], splits: Mapping[str, NDArray[np.int64]]) -> dict[tuple[str, str], int]:
    """Number of pairs for any two splits (in their order) that their images lie in; 0 included."""
    held = split_of(splits)
    order = list(splits)
    found = Counter(tuple(sorted((held[p.a], held[p.b]), key=order.index)) for p in pairs)
    return {both: found[both] for both in combinations_with_replacement(order, 2)}


def leaked(pairs: Sequence[Pair], splits: Mapping[str, NDArray[np.int64]]) -> int:
    """Number of test images that show the same place as a training image."""
    held = split_of(splits)
    both = [{held[p.a]: p.a, held[p.b]: p.b} for p in pairs]
    return len({rows["test"] for rows in both if rows.keys() >= {"train", "test"}})


def split_of(splits: Mapping[str, NDArray[np.int64]]) -> dict[int, str]:
    """The split of each row."""
    return {int(row): split for split, rows in splits.items() for row in rows}


def find(images: NDArray[np.uint8], progress: Progress | None = None) -> list[Pair]:
    """All pairs, most similar first.

    Args:
        images: (N, P, P, 3).
        progress: Called with (done, total, what).
    """
    if len(images) < 2:
        return []
    side = min(FINE, images.shape[1])
    small = np.stack([_grey(image, MIDDLE) for image in images])  # (N, MIDDLE, MIDDLE)
    candidates = sorted(_equal(images) | _moved(small, progress) | _turned(small))
    phases, fine = _phase(small), np.stack([_fine(image) for image in small])

    def look(candidate: tuple[int, int, int]) -> Pair | None:
        a, b, turn = candidate
        if turn:
            similarity, _ = compare(small[a], turned(small[b], turn))
        else:
            similarity, _ = _fit(phases[a], fine[a], phases[b], fine[b])
        if similarity < MIDDLE_SIMILARITY and not np.array_equal(images[a], images[b]):
            return None
        similarity, overlap = compare(_grey(images[a], side), turned(_grey(images[b], side), turn))
        return Pair(a, b, round(similarity, 4), round(overlap, 4), turn) if similarity >= KEPT else None

    best: dict[tuple[int, int], Pair] = {}
    for pair in in_parallel(look, candidates, progress, "Looking closely at promising pairs"):
        if pair and pair.similarity > best.get((pair.a, pair.b), Pair(0, 0, 0, 0)).similarity:
            best[pair.a, pair.b] = pair
    return sorted(best.values(), key=lambda pair: (-pair.similarity, pair.a, pair.b))


def compare(a: Floats, b: Floats) -> tuple[float, float]:
    """How well image b, moved, fits image a, both grey (S, S): (similarity −1 … 1, overlapping share).

    Images that agree in every pixel have a similarity of 1, even without any structure.
    """
    if np.array_equal(a, b):
        return 1.0, 1.0
    return _fit(_phase(a[None])[0], _fine(a), _phase(b[None])[0], _fine(b))


def _fit(
    phase_a: NDArray[np.complex64], fine_a: Floats, phase_b: NDArray[np.complex64], fine_b: Floats
) -> tuple[float, float]:
    size = len(fine_a)
    peaks = fft.irfft2(phase_a * np.conj(phase_b), s=fine_a.shape)
    down, right = divmod(int(peaks.argmax()), size)
    best = -1.0, 0.0
    for y in (down, down - size):  # the correlation is circular: a move or its complement
        for x in (right, right - size):
            rows, columns = _common(y, size), _common(x, size)
            share = (rows[0].stop - rows[0].start) * (columns[0].stop - columns[0].start) / size**2
            if share >= LEAST_OVERLAP:
                similarity = _correlation(fine_a[rows[0], columns[0]], fine_b[rows[1], columns[1]])
                best = max(best, (similarity, share))
    return best


def turned(image: Floats, turn: int) -> Floats:
    """A grey image (S, S), mirrored if turn ≥ 4, then turned to the left by quarters."""
    return np.rot90(image[:, ::-1] if turn >= 4 else image, turn % 4)


def _equal(images: NDArray[np.uint8]) -> set[tuple[int, int, int]]:
    """Images that agree in every byte, which may have no structure to compare."""
    first: dict[int, list[int]] = {}
    pairs = set()
    for row, image in enumerate(images):
        alike = first.setdefault(hash(np.ascontiguousarray(image).tobytes()), [])
        pairs |= {(other, row, 0) for other in alike[:1]}
        alike.append(row)
    return pairs


def _moved(small: Floats, progress: Progress | None) -> set[tuple[int, int, int]]:
    """Pairs that may be the same place up to a move."""
    phases = _phase(_halved(small, MIDDLE // COARSE))
    count, pairs = len(phases), set()
    for a in range(count):
        if progress and a % 16 == 0:  # pairs left to do fall with every row
            progress(a * (2 * count - a) // 2, count * count // 2, "Comparing all pairs")
        for start in range(a + 1, count, CHUNK):
            crossed = phases[a] * np.conj(phases[start : start + CHUNK])
            peaks = fft.irfft2(crossed, s=(COARSE, COARSE), workers=cores()).max(axis=(1, 2))
            pairs |= {(a, start + int(b), 0) for b in np.flatnonzero(peaks >= COARSE_PEAK)}
    return pairs


def _turned(small: Floats) -> set[tuple[int, int, int]]:
    """Pairs that may be the same image, mirrored or turned by a quarter."""
    flat = _halved(small, MIDDLE // 16)
    unit, pairs = _unit(flat), set()
    for turn in range(1, 8):
        other = _unit(np.stack([turned(image, turn) for image in flat]))
        for start in range(0, len(unit), CHUNK):
            alike = unit[start : start + CHUNK] @ other.T >= TURNED  # (CHUNK, N)
            rows, columns = np.nonzero(alike)
            pairs |= {
                (a, b, turn) for a, b in zip((rows + start).tolist(), columns.tolist(), strict=True) if a < b
            }
    return pairs


def _grey(image: NDArray[np.uint8], side: int) -> Floats:
    """A (P, P, 3) image as brightness (side, side)."""
    grey = Image.fromarray(image).convert("L")
    if grey.width != side:
        grey = grey.resize((side, side), Image.Resampling.BOX)
    return np.asarray(grey, dtype=np.float32)


def _halved(images: Floats, step: int) -> Floats:
    """Means over step × step pixels: (N, S, S) -> (N, S / step, S / step)."""
    n, size = images.shape[:2]
    shape = (n, size // step, step, size // step, step)
    return np.asarray(images.reshape(shape).mean(axis=(2, 4)), dtype=np.float32)


def _unit(images: Floats) -> Floats:
    """Images (N, S, S) as unit rows (N, S²) without their mean; zeros for a flat image."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3))


def _phase(images: Floats) -> NDArray[np.complex64]:
    """Spectra (N, S, S/2 + 1) of length one at every frequency, so that two equal images correlate to 1."""
    size = images.shape[1]
    hann = np.hanning(size + 2)[1:-1].astype(np.float32)
    window = np.sqrt(np.outer(hann, hann))  # the sides do not continue on the other side
    spectrum = fft.rfft2((images - images.mean(axis=(1, 2), keepdims=True)) * window)
    spectrum[:, 0, 0] = 0
    length = np.abs(spectrum)
    spectrum /= length + 1e-3 * length.mean(axis=(1, 2), keepdims=True) + 1e-6
    energy = np.sqrt((fft.irfft2(spectrum, s=images.shape[1:]) ** 2).sum(axis=(1, 2)))
    return np.asarray(spectrum / np.maximum(energy, 1e-6)[:, None, None], dtype=np.complex64)


def _fine(image: Floats) -> Floats:
    """Details (S, S) of a grey image against their contrast around: strong edges do not outweigh texture."""
    details = gaussian_filter(image, 0.7) - gaussian_filter(image, 4.0)
    contrast = np.sqrt(gaussian_filter(details**2, 6.0))
    return np.asarray(details / (contrast + 1.0), dtype=np.float32)


def _common(move: int, size: int) -> tuple[slice, slice]:
    """Where two rows of pixels overlap when the second is moved by `move`, in the first and in the second."""
    return slice(max(0, move), size + min(0, move)), slice(max(0, -move), size + min(0, -move))


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))


def main() -> None:
    """Look for the pairs of one data set and say in the job's file how it goes."""
    from core.data import load

    name, root, key, size = sys.argv[1], sys.argv[2] or None, sys.argv[3], int(sys.argv[4])
    job = _job(key)
    make_folder(job.parent)
    if not lock(job.with_suffix(".lock")):
        return

    def tell(done: int, total: int, what: str) -> None:
        tell_status(job, state="running", what=what, done=done, total=total)

    try:
        data = load(name, root, image_size=size, skip_broken=True)
        if data.key != key:
            raise MaclError("the images have changed since the page was opened: open it again")
        look(data, tell)
        tell_status(job, state="done")
    except Exception as error:
        tell_status(job, state="failed", error=str(error) or type(error).__name__)
        raise


def _path(key: str) -> Path:
    return cache_root() / "duplicates" / f"{key}-{VERSION}.json"


def _job(key: str) -> Path:
    return cache_root() / "duplicates" / f"{key}-{VERSION}.job"


if __name__ == "__main__":
    main()
