"""Run folders on one side, a tracking server on the other: send what the server lacks.

Everything is sent so that sending it again does no harm. A run is found at the server by its tag, points
carry the step and a time that follows from the folder, and how far the curve has come is itself a tag.
Nothing is ever deleted there: a run whose folder has gone gets a tag that says so, and one that a person has
deleted at the server is left alone.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.errors import MaclError
from core.runs import Run
from core.tracking import entry as entries
from core.tracking import memory
from core.tracking.address import Address
from core.tracking.client import NotTaken, Refused, Unreachable, asking
from core.tracking.entry import Entry, Point
from core.tracking.memory import Known

MOST_POINTS = 900  # of a request; with its tags it stays below MLflow's limit of 1,000
MOST_PARAMS = 100
PAGE = 1000
SETTLED_NS = 2 * 10**9  # a folder that changed less than this ago may change again within the clock's grain
ENDED = ("FINISHED", "FAILED", "KILLED")
GONE = "deleted there"  # in the place of a status


class Mirror:
    """One run root and one server.

    Attributes:
        known: What the server has, by run; None if it has to be asked.
        wrong: Why runs are not there whole, by run.
        created: Runs made at the server.
        sent: Runs of which something was sent.
    """

    def __init__(self, client: Any, address: Address, root: Path, note: Path, *, files: bool = False) -> None:
        self.client, self.address, self.root, self.note, self.files = client, address, root, note, files
        self.known = memory.load(note)
        self.wrong: dict[str, str] = {}
        self.created, self.sent = set[str](), set[str]()
        self._here: dict[str, int] = {}  # run folders at the last look
        self._passed: dict[str, int] = {}  # runs that are not to be sent as they are, with their time
        self._ids: dict[str, str] = {}  # of the experiments

    def recall(self) -> None:
        """Ask the server which runs of this root it has; needed where nothing is remembered."""
        wanted = f"tags.`{entries.ROOT}` = '{entries.root_key(self.root)}'"
        with asking(self.address):
            self._ids = {}
            found = [(run.data.tags.get(entries.RUN, ""), _known(run)) for run in self._search(wanted)]
        self.known = dict(reversed(found))  # of two with one name the older one counts

    def changed(self) -> list[Run]:
        """Look at the run folders: those of which the server may lack something, oldest first."""
        self._here = _look(self.root)
        self.wrong = {name: why for name, why in self.wrong.items() if name in self._here}
        known = self._of_server()
        found = (self.root / name for name, at in self._here.items() if self._may_lack(name, at, known))
        return [Run(path) for path in sorted(found) if (path / "config.json").exists()]

    def send(self, run: Run) -> None:
        """Send what the server lacks of a run; one that has never begun is left out until it does.

        Raises:
            Unreachable: The server cannot be asked now.
            Refused: It does not let us in. What else goes wrong is in `wrong`.
        """
        at = _changed_at(run)
        self.wrong.pop(run.id, None)
        try:
            with asking(self.address):
                self._send(run, at)
        except NotTaken as error:
            if error.code == "RESOURCE_DOES_NOT_EXIST":
                self.recall()  # another server than the one remembered
            elif not self._deleted_there(run):
                self._not_there(run, at, str(error))
        except Unreachable as error:
            with asking(self.address):
                self.client.search_experiments(max_results=1)
            # it answers all the same: the run itself is at fault, and must not hold up the others
            self._not_there(run, at, f"{self.address.shown} did not take it: {error.why}")
        except Refused:
            raise
        except MaclError as error:  # one of its files is damaged
            self._not_there(run, at, str(error))

    def mark_deleted(self) -> None:
        """Tag the runs at the server whose folders were gone at the last look; raises as `send` does."""
        known = self._of_server()
        for name in known.keys() - self._here.keys():
            run = known[name]
            if run.status == GONE or run.tags.get(entries.DELETED):
                continue
            try:
                with asking(self.address):
                    self._tag(run, {entries.DELETED: time.strftime("%Y-%m-%d %H:%M:%S")})
                    if run.status not in ENDED:
                        self._end(run, "KILLED", None)
            except NotTaken:
                run.status = GONE
            run.seen = 0

    def lacking(self) -> int:
        """How many runs that have begun are not there as they are now, as far as is remembered."""
        known = self.known or {}
        names = (name for name, at in self._here.items() if self._may_lack(name, at, known))
        return sum((self.root / name / "started").exists() for name in names)

    def again(self) -> None:
        """Try runs that were not taken once more."""
        for name in self.wrong:
            self._passed.pop(name, None)

    def busy(self) -> bool:
        """Whether a run is being trained, or waits for a worker."""
        known = self._of_server()
        alive = (run for run in known.values() if not run.tags.get(entries.DELETED))
        never_begun = (name for name in self._passed if name not in known)
        return any(run.status in ("RUNNING", "SCHEDULED") for run in alive) or any(
            (self.root / name / "submitted").exists() for name in never_begun
        )

    def keep(self) -> None:
        """Write down what is known."""
        if self.known is not None:
            memory.save(self.note, self.known)

    def _not_there(self, run: Run, at: int, why: str) -> None:
        self.wrong[run.id], self._passed[run.id] = why, at

    def _of_server(self) -> dict[str, Known]:
        if self.known is None:
            self.recall()
        assert self.known is not None
        return self.known

    def _may_lack(self, name: str, at: int, of_server: dict[str, Known]) -> bool:
        if self._passed.get(name) == at:
            return False
        known = of_server.get(name)
        return known is None or known.status == "RUNNING" or known.seen != at

    def _send(self, run: Run, at: int) -> None:
        known = self._of_server().get(run.id)
        try:
            entry = entries.read(run)
        except (MaclError, OSError):  # of another version, or it has just gone
            entry = None
        settled = time.time_ns() - at > SETTLED_NS
        nothing = entry is None or (known is None and entry.status == "SCHEDULED")
        if entry is None or nothing or (known is not None and known.status == GONE):
            if settled:
                self._passed[run.id] = at
            return
        if known is None:
            known = self._find(entry) or self._create(entry)
            self._of_server()[run.id] = known
        if known.tags.pop(entries.DELETED, ""):  # it has been brought back
            self.client.delete_tag(known.server, entries.DELETED)
        self._rename(known, entry.name)
        self._configure(known, entry)
        self._tag(known, entry.tags)
        self._curve(known, entry)
        self._scores(known, entry)
        if self.files:
            self._files(known, entry)
        if known.status != entry.status:
            self._end(known, entry.status, entry.ended)
        if settled and entry.status != "RUNNING":
            known.seen = at

    def _experiments(self) -> dict[str, str]:
        """Ids of the experiments by name."""
        if not self._ids:
            token = None
            while True:
                page = self.client.search_experiments(
                    filter_string=f"name LIKE '{entries.EXPERIMENT}%'", max_results=PAGE, page_token=token
                )
                self._ids |= {found.name: found.experiment_id for found in page}
                if not (token := page.token):
                    break
        return self._ids

    def _search(self, condition: str) -> Iterator[Any]:
        """The runs that meet a condition, newest first; those deleted at the server too."""
        from mlflow.entities import ViewType

        ids, token = [*self._experiments().values()], None
        while ids:
            page = self.client.search_runs(
                ids, condition, run_view_type=ViewType.ALL, max_results=PAGE, page_token=token
            )
            yield from page
            if not (token := page.token):
                break

    def _find(self, entry: Entry) -> Known | None:
        """A run that was made before, from another machine too, or by a mirror that died just then."""
        quote = '"' if "'" in entry.run.id else "'"
        found = [*self._search(f"tags.`{entries.RUN}` = {quote}{entry.run.id}{quote}")]
        return _known(found[-1]) if found else None

    def _create(self, entry: Entry) -> Known:
        ids = self._experiments()
        if entry.experiment not in ids:
            try:
                ids[entry.experiment] = self.client.create_experiment(entry.experiment)
            except Exception:  # somebody else has made it, or has deleted it
                there = self.client.get_experiment_by_name(entry.experiment)
                if there is None:
                    raise
                ids[entry.experiment] = there.experiment_id
        tags = {name: entry.tags[name] for name in (entries.RUN, entries.ROOT)}
        made = self.client.create_run(
            ids[entry.experiment], entry.began, {**tags, **entries.source()}, run_name=entry.name
        )
        self.created.add(made.info.run_id)
        return _known(made)

    def _deleted_there(self, run: Run) -> bool:
        """Whether a person has deleted the run at the server, so that it takes nothing for it."""
        known = self._of_server().get(run.id)
        if known is None:
            return False
        with asking(self.address):
            known.status = _known(self.client.get_run(known.server)).status
        return known.status == GONE

    def _rename(self, known: Known, name: str) -> None:
        if known.name != name:
            self._tag(known, {entries.RENAMED: known.name})
            self.client.update_run(known.server, name=name)
            known.name = name

    def _configure(self, known: Known, entry: Entry) -> None:
        """Send the parameters that the server lacks; those that it has with another value become tags."""
        if known.tags.get(entries.CONFIG) == entry.config:
            return
        from mlflow.entities import Param

        there = self.client.get_run(known.server).data.params
        new = [Param(name, value) for name, value in entry.params.items() if name not in there]
        for start in range(0, len(new), MOST_PARAMS):
            self._log(known, params=new[start : start + MOST_PARAMS])
        tags = {f"{entries.NOW}{name}": (name, value) for name, value in entry.params.items()}
        changed = {
            tag: value
            for tag, (name, value) in tags.items()
            if tag in known.tags or there.get(name, value) != value
        }
        self._tag(known, changed | {entries.CONFIG: entry.config})

    def _curve(self, known: Known, entry: Entry) -> None:
        """Send the rows beyond the step that was sent last; a row is never parted."""
        batch: list[Point] = []
        for row in entry.curve(_step(known.tags.get(entries.STEPS))):
            if batch and len(batch) + len(row) > MOST_POINTS:
                self._points(known, batch, {entries.STEPS: str(batch[-1][2])})
                batch = []
            batch += row
        if batch:
            self._points(known, batch, {entries.STEPS: str(batch[-1][2])})

    def _scores(self, known: Known, entry: Entry) -> None:
        points = entry.scores()
        if points and known.tags.get(entries.SCORES) != (digest := entries.digest(points)):
            self._points(known, points, {entries.SCORES: digest})

    def _files(self, known: Known, entry: Entry) -> None:
        files = entry.files()
        if files and known.tags.get(entries.FILES) != (digest := entries.digest_of(files)):
            for path in files:
                self.client.log_artifact(known.server, str(path))
            self._tag(known, {entries.FILES: digest})

    def _points(self, known: Known, points: list[Point], tags: dict[str, str]) -> None:
        from mlflow.entities import Metric

        dated = [
            Metric(name, value, known.began + round(1000 * seconds), step)
            for name, value, step, seconds in points
        ]
        self._log(known, metrics=dated, tags=tags)

    def _tag(self, known: Known, tags: dict[str, str]) -> None:
        self._log(known, tags={name: text for name, text in tags.items() if known.tags.get(name, "") != text})

    def _log(self, known: Known, tags: dict[str, str] | None = None, **what: Any) -> None:
        from mlflow.entities import RunTag

        if not tags and not what:
            return
        written = [RunTag(name, text) for name, text in (tags or {}).items()]
        self.client.log_batch(known.server, tags=written, synchronous=True, **what)
        known.tags |= tags or {}
        self.sent.add(known.server)

    def _end(self, known: Known, status: str, ended: int | None) -> None:
        """Set the status, and the time at which it was reached if it is an end."""
        if status in ENDED:
            self.client.set_terminated(known.server, status, ended)
        else:
            self.client.update_run(known.server, status=status)
        known.status = status
        self.sent.add(known.server)


def _known(found: Any) -> Known:
    """A run as MLflow's client gives it."""
    info, tags = found.info, found.data.tags
    kept = {name: text for name, text in tags.items() if name.startswith("macl.")}
    status = info.status if info.lifecycle_stage == "active" else GONE
    return Known(info.run_id, info.run_name or "", status, kept, info.start_time or 0)


def _step(text: str | None) -> int:
    """The step in a tag; −1, before any, if there is none or a person has changed it."""
    return int(text) if text and text.isdecimal() else -1


def _look(root: Path) -> dict[str, int]:
    """Folders in a run root, each with the time when something was last made, replaced or removed in it."""
    here = {}
    with suppress(FileNotFoundError), os.scandir(root) as found:
        for folder in found:
            with suppress(OSError):  # it has just gone
                if not folder.name.startswith(".") and folder.is_dir():
                    here[folder.name] = folder.stat().st_mtime_ns
    return here


def _changed_at(run: Run) -> int:
    """When something was last made, replaced or removed in a run folder; 0 if it has gone."""
    try:
        return run.path.stat().st_mtime_ns
    except OSError:
        return 0
