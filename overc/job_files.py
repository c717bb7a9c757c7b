"""What `overcli run` keeps on the disk: how each job ended last, and reports still to be sent.

Standard library only. Nothing in these files is a secret, but they hold output of jobs, so only
their owner may read them. A file is written beside its place and moved there: it is whole, or it is
not there. What can't be read counts as not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

REPORTS_MOST = 100
"""Of those still to be sent; beyond that the oldest are dropped."""

REPORTS_AGE_S = 7 * 86400.0


class Last(NamedTuple):
    """How a job's last run ended."""

    state: str
    said: str


class Waiting(NamedTuple):
    """A report that is still to be sent."""

    path: str
    """Empty: it is not on the disk."""
    spool: str
    """With seq 1 it names the report, so that the server stores it once."""
    service: str
    state: str
    info: str
    period_s: int
    grace: float | str | None
    seen_at: float


def state_folder(environ: Mapping[str, str]) -> str:
    """Return where OverC keeps its state: the service's, the system's or the user's folder."""
    if folder := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return folder
    if os.geteuid() == 0:
        return "/var/lib/overc"
    home = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(home, "overc")


class JobFiles:
    """The files of the jobs that report under one name. Methods that write raise OSError.

    Whatever URL the server has: it is the same one when that changes.
    """

    def __init__(self, folder: str, host: str) -> None:
        self._folder = os.path.join(folder, "jobs", _digest(host))

    @property
    def folder(self) -> str:
        return self._folder

    def last(self, service: str) -> Last | None:
        """Return how the job ended last; None if it never ran here."""
        found = _read(self._last_path(service))
        try:
            return Last(str(found["state"]), str(found["said"]))
        except (KeyError, TypeError):
            return None

    def remember(self, service: str, last: Last) -> None:
        _write(self._last_path(service), {"service": service, **last._asdict()})

    def keep(self, report: Waiting) -> Waiting:
        """Write a report to the disk, before it is sent; return it with its path."""
        # The name sorts by time.
        name = f"report-{int(report.seen_at * 1000):015d}-{report.spool}.json"
        kept = report._replace(path=os.path.join(self._folder, name))
        content = kept._asdict()
        del content["path"]
        _write(kept.path, content)
        return kept

    def waiting(self) -> Iterator[Waiting]:
        """Yield what is still to be sent, the oldest first. What can't be read is deleted."""
        names = self._names()
        for name in names[:-REPORTS_MOST]:
            self._drop(name)
        for name in names[-REPORTS_MOST:]:
            path = os.path.join(self._folder, name)
            found = _read(path)
            try:
                waiting = Waiting(path=path, **found)
                recent = time.time() - waiting.seen_at < REPORTS_AGE_S
            except TypeError:
                recent = False
            if recent:
                yield waiting
            else:
                self._drop(name)

    def sent(self, waiting: Waiting) -> None:
        """Delete a report that the server has taken, or never will take."""
        with contextlib.suppress(OSError):
            os.unlink(waiting.path)

    def _names(self) -> list[str]:
        try:
            names = os.listdir(self._folder)
        except OSError:
            return []
        return sorted(name for name in names if name.startswith("report-"))

    def _drop(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._folder, name))

    def _last_path(self, service: str) -> str:
        return os.path.join(self._folder, f"last-{_digest(service)}.json")


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: str, content: Mapping[str, Any]) -> None:
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    # mkstemp: readable by its owner alone.
    descriptor, beside = tempfile.mkstemp(prefix=".", dir=folder)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
