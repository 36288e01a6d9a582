"""The search behind `core.data.duplicates`: phase correlation of all pairs, from coarse to fine."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft
from scipy.ndimage import gaussian_filter

from core.background.cores import cores
from core.data.pair import KEPT, LEAST_OVERLAP, Pair
from core.data.prepared import Progress, in_parallel

COARSE, MIDDLE, FINE = 32, 64, 160  # pixels of the three stages; the last is the prepared size if smaller
COARSE_PEAK = 0.2  # least peak of the phase correlation for a closer look
TURNED = 0.9  # least correlation of 16 × 16 pixels for a closer look
MIDDLE_SIMILARITY = 0.5  # least similarity for a look at full size
CHUNK = 2048  # images correlated with another one at a time

Floats = NDArray[np.float32]


def find(images: NDArray[np.uint8], progress: Progress | None = None) -> list[Pair]:
    """All pairs, most similar first.

    Args:
        images: (N, P, P, C).
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
    """How well image b, shifted, fits image a, both grey (S, S): (similarity −1 … 1, overlapping share).

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
    for y in (down, down - size):  # the correlation is circular: a shift or its complement
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
    """Pairs that agree in every byte, as they may have no structure to compare."""
    first: dict[int, list[int]] = {}
    pairs = set()
    for row, image in enumerate(images):
        alike = first.setdefault(hash(np.ascontiguousarray(image).tobytes()), [])
        pairs |= {(other, row, 0) for other in alike[:1]}
        alike.append(row)
    return pairs


def _moved(small: Floats, progress: Progress | None) -> set[tuple[int, int, int]]:
    """Pairs that may be the same place up to a shift."""
    phases = _phase(_halved(small, MIDDLE // COARSE))
    count, pairs = len(phases), set()
    for a in range(count):
        if progress and a % 16 == 0:  # each row leaves fewer pairs to do
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
    """A (P, P, C) image as brightness (side, side)."""
    if image.shape[2] == 3:
        grey = Image.fromarray(image).convert("L")
    else:
        grey = Image.fromarray(np.rint(image.mean(axis=2)).astype(np.uint8))
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
    window = np.sqrt(np.outer(hann, hann))  # fades out the borders, which do not wrap around
    spectrum = fft.rfft2((images - images.mean(axis=(1, 2), keepdims=True)) * window)
    spectrum[:, 0, 0] = 0
    length = np.abs(spectrum)
    spectrum /= length + 1e-3 * length.mean(axis=(1, 2), keepdims=True) + 1e-6
    energy = np.sqrt((fft.irfft2(spectrum, s=images.shape[1:]) ** 2).sum(axis=(1, 2)))
    return np.asarray(spectrum / np.maximum(energy, 1e-6)[:, None, None], dtype=np.complex64)


def _fine(image: Floats) -> Floats:
    """Details (S, S) of a grey image relative to local contrast, so that edges do not outweigh texture."""
    details = gaussian_filter(image, 0.7) - gaussian_filter(image, 4.0)
    contrast = np.sqrt(gaussian_filter(details**2, 6.0))
    return np.asarray(details / (contrast + 1.0), dtype=np.float32)


def _common(move: int, size: int) -> tuple[slice, slice]:
    """The overlap of two rows of pixels, the second shifted by `move`: in the first, and in the second."""
    return slice(max(0, move), size + min(0, move)), slice(max(0, -move), size + min(0, -move))


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))
