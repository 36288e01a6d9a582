"""`python -m core.training RUN_FOLDER`: train one run here; exit code 0 only if it finished.

With the variables that torchrun sets (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT) it is one of
the processes that train the run together, on one machine or on several that share the folder.
"""

import sys
from pathlib import Path

from core.errors import MaclError
from core.runs import Run
from core.training import group, loop
from core.training.rank import follow


def main() -> int:
    """Train the run folder given as the only argument; exit code 0 only if it finished."""
    if len(sys.argv) != 2:
        print("usage: python -m core.training RUN_FOLDER", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    try:
        together = group.of_environment()
        if together.first:
            Run(folder).unmark("stop")  # left over from a run that was killed while it stopped
        loop.stop_on_signal(folder)
        if not together.first:
            return follow(folder, together)
        state = loop.run(folder, together=together)
    except (MaclError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(state if state != "failed" else f"failed: {Run(folder).error}", file=sys.stderr)
    together.leave()
    return 0 if state == "finished" else 1


if __name__ == "__main__":
    sys.exit(main())
