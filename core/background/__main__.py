"""`python -m core.background PATH HANDLE MODULE ARGUMENTS…`: what `Process.start` starts.

It takes its lock before it imports anything slow or likely to fail, then runs `main(running, *arguments)` of
the module, which may return more fields for its note. A module whose callers wait for something other than
the note also has a `refuse(why)`.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

from core.background.cache import tidy
from core.background.process import Running


def main() -> None:
    """Tell the caller how the start went, then work."""
    path, handle, module, *arguments = sys.argv[1:]
    running = Running(Path(path), module, arguments)
    try:
        word = "alive" if running.begin() else "another one lives"
    except OSError as error:
        word = f"!{error.strerror or error}"
    os.write(int(handle), word.encode())
    os.close(int(handle))
    if word != "alive":
        return
    tidy()
    running.run(
        lambda *given: import_module(module).main(*given),
        lambda why: getattr(sys.modules.get(module), "refuse", print)(why),
    )


if __name__ == "__main__":
    main()
