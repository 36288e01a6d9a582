"""The process that mirrors a run root; `core.tracking.start.ensure` starts it, training never waits for it.

It looks at the run folders every few seconds and sends what is new. While the server is down it tries again,
after a minute at most; when nothing has been left to send for some minutes, and no run is trained, it ends.
"""

import os
import time

from core.background.process import Running
from core.errors import MaclError
from core.tracking.address import VARIABLE, address, wants_files
from core.tracking.client import Unreachable, connect
from core.tracking.mirror import Mirror

POLL_SECONDS = 2.0
SHARE = 20  # a look at very many folders is followed by a pause of so many times as long
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # between two tries while the server is down
AGAIN_SECONDS = 60.0  # before what was not taken is tried once more
KEEP_SECONDS = 10.0  # between two notes of what has been sent
IDLE_SECONDS = 300.0
GIVE_UP_SECONDS = 7 * 86_400.0  # without an answer; the next training tries again
NICE = 10  # training comes first


def main(running: Running) -> None:
    """Mirror the root in which its lock lies, until there is nothing to do or it is asked to end."""
    os.nice(NICE)
    server = address()
    if server is None:
        raise MaclError(f"{VARIABLE} names no server")
    running.say(waiting=0, last="")
    process = running.process
    mirror = Mirror(connect(server), server, process.path.parent, process.file("sent"), files=wants_files())
    running.progressed()
    while True:
        Turns(mirror, running).take()
        mirror.keep()
        if running.ending:
            return
        running.release()
        # a run may have begun between the last look and the release, when this process seemed alive
        if not (mirror.changed() and running.begin()):
            return


class Turns:
    """The course of a mirror's life."""

    def __init__(self, mirror: Mirror, running: Running) -> None:
        self.mirror, self.running = mirror, running
        self.pause = FIRST_PAUSE
        self.busy = self.answered = self.tried = self.kept = time.monotonic()

    def take(self) -> None:
        """Look and send until it is idle or asked to end.

        Raises:
            Refused: The server lets nobody in with what we have.
            Unreachable: It has not answered for days.
        """
        while not self.running.ending and time.monotonic() - self.busy < IDLE_SECONDS:
            try:
                wait = max(POLL_SECONDS, min(SHARE * self._turn(), LONGEST_PAUSE))
                self.answered, self.pause = time.monotonic(), FIRST_PAUSE
            except Unreachable as error:
                if time.monotonic() - self.answered > GIVE_UP_SECONDS:
                    raise
                self._say(self.mirror.lacking(), str(error))
                self.busy = time.monotonic()  # it has something to do, though it cannot do it now
                wait, self.pause = self.pause, min(2 * self.pause, LONGEST_PAUSE)
            self._rest(wait)

    def _turn(self) -> float:
        """Send what has changed; returns the seconds that looking took."""
        mirror, now = self.mirror, time.monotonic()
        if now - self.tried > AGAIN_SECONDS:
            mirror.again()
            self.tried = now
        mirror.sent.clear()
        began = time.monotonic()
        changed = mirror.changed()
        took = time.monotonic() - began
        for run in changed:
            if self.running.ending:
                break
            mirror.send(run)
        if not self.running.ending:  # nor has the whole root gone, as when a disk is not there for a while
            mirror.mark_deleted()
        if mirror.sent and now - self.kept > KEEP_SECONDS:
            mirror.keep()
            self.kept = now
        if mirror.sent or mirror.busy():
            self.busy = time.monotonic()
        self._say(len(mirror.wrong), next(iter(mirror.wrong.values()), ""))
        return took

    def _say(self, waiting: int, last: str) -> None:
        before = self.running.about
        if (waiting, last) != (before["waiting"], before["last"]):
            self.running.say(waiting=waiting, last=last)

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.running.ending and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
