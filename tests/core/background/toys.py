"""Processes that do what a test wants."""

import sys
import time
from pathlib import Path

from core.background.process import Running


def main(running: Running, what: str, *arguments: str) -> dict[str, object] | None:
    print(f"this one does {what}", flush=True)
    if what == "fail":
        raise ValueError("two is not three")
    if what == "count":
        for done in range(int(arguments[0])):
            running.tell(done, int(arguments[0]), "counting")
            time.sleep(0.001)
        return {"skipped": True}
    if what == "note":
        with Path(arguments[0]).open("a") as file:
            file.write("begun\n")
        running.serve(lambda: False, 60.0, 0.01)
    if what == "serve":
        running.progressed()
        running.say(ready=True)
        running.serve(lambda: False, float(arguments[0]), 0.01)
    return None


def refuse(why: str) -> None:
    print(f"refused: {why}", file=sys.stderr)
