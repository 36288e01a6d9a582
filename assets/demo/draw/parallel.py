"""Drawing many images on all processors.

The workers are plain interpreters that import this package and write raw bytes to their standard
output. They never import the caller's main module, so `render` also works from a page, from
`python -c`, from standard input and from a script without a `__main__` guard, where spawned
`multiprocessing` workers would run the caller again.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import IO

import numpy as np
from numpy.typing import NDArray

from core.background.cores import cores

Progress = Callable[[int, int, str], None]

_ROOT = Path(__file__).parents[3]
_LABELS = 17


def render(
    count: int, seed: int = 0, size: int = 160, progress: Progress | None = None, workers: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The first `count` images of the data set `seed`.

    Args:
        count: How many.
        seed: Which data set.
        size: Side in pixels, 32..512.
        progress: Called as progress(done, count, what) ten times a second, from this thread.
        workers: Processes; by default one per processor that this process may use.

    Returns:
        Images (count, size, size, 3) and labels (count, 17), equal to `draw` index by index.

    Raises:
        RuntimeError: If a worker dies; the message ends with what it last wrote.
        ValueError: If an argument is out of range.
    """
    if count < 1 or seed < 0 or not 32 <= size <= 512:
        raise ValueError(f"need count >= 1, seed >= 0 and size in 32..512, got {count}, {seed}, {size}")
    images = np.empty((count, size, size, 3), np.uint8)
    labels = np.empty((count, _LABELS), np.uint8)
    number = min(workers or cores(), count)
    done = [0] * number
    running = [_start(k, count, number, seed, size) for k in range(number)]
    threads = [
        Thread(target=_receive, args=(process, k, number, images, labels, done), daemon=True)
        for k, process in enumerate(running)
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
                if progress:
                    progress(sum(done), count, "drawing the demo set")
    finally:
        for process in running:
            process.kill()
        for thread in threads:
            thread.join()
        said = [_close(process) for process in running]
    for k in range(number):
        if done[k] < len(range(k, count, number)):
            raise RuntimeError(f"a drawing process ended early: {said[k] or 'no message'}")
    return images, labels


def _close(process: subprocess.Popen[bytes]) -> str:
    """Let go of a process that has ended; the last line it wrote to its standard error."""
    process.wait()
    said = ""
    for pipe in (process.stderr, process.stdout):
        if pipe is not None:
            if pipe is process.stderr:
                said = pipe.read().decode(errors="replace").strip()
            pipe.close()
    return said.rpartition("\n")[2]


def _start(first: int, count: int, step: int, seed: int, size: int) -> subprocess.Popen[bytes]:
    code = (
        f"from assets.demo.draw.parallel import serve; serve(range({first}, {count}, {step}), {seed}, {size})"
    )
    path = os.pathsep.join(p for p in (str(_ROOT), os.environ.get("PYTHONPATH", "")) if p)
    env = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}  # one thread per process
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    )


def _receive(
    process: subprocess.Popen[bytes],
    first: int,
    step: int,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    done: list[int],
) -> None:
    assert process.stdout is not None
    for i in range(first, len(images), step):
        if not (_fill(process.stdout, images[i]) and _fill(process.stdout, labels[i])):
            return
        done[first] += 1
    process.wait()


def _fill(pipe: IO[bytes], row: NDArray[np.uint8]) -> bool:
    view = memoryview(row.data).cast("B")
    got = 0
    while got < len(view):
        read = pipe.readinto(view[got:])  # type: ignore[attr-defined]
        if not read:
            return False
        got += read
    return True


def serve(indices: range, seed: int, size: int) -> None:
    """The worker: write image and labels of each index to standard output as raw bytes."""
    from assets.demo.draw import draw  # the package imports this module

    for index in indices:
        image, labels = draw(index, seed, size)
        sys.stdout.buffer.write(image.tobytes() + labels.tobytes())
    sys.stdout.buffer.flush()
