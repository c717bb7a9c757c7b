"""The file in which reports wait for a server: SQLite, for use in one thread at a time.

Note [Names of reports]
~~~~~~~~~~~~~~~~~~~~~~~
The server knows a report again by the name of a spool and a number in it, so no number may ever be
given twice. A file can't promise that: a power cut takes the last commits back, and a restored
backup many more. So each run of the agent is a spool of its own to the server, with a new UUID and
numbers from 1 up, and the file only keeps them beside the reports. The ids order the reports of all
runs in one file.

Note [Newest states]
~~~~~~~~~~~~~~~~~~~~
A report is urgent as long as it has the newest state of some service, or an alert: it is sent
before all others and dropped after all others. The rest is the backlog, which only fills a
history. For each service the file also remembers the newest state that the server has confirmed.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from overc.agent import spool_file
from overc.agent.kept import Kept, Mark, body_of, report_of
from overc.agent.spool_errors import SpoolCorrupt
from overc.agent.spool_file import as_spool_errors, transaction

ALERTS_MOST = 100
"""How many reports with alerts are kept; beyond that the oldest is dropped."""

DROPPED_AT_ONCE = 16
"""Reports that are dropped before it is looked again whether that is enough."""

FREE_PAGES = 256
"""So much of an empty file goes back to the file system."""


class Waiting(NamedTuple):
    """A report that is to be sent, and what the server knows already of its services."""

    report: Kept
    urgent: bool
    marks: Mapping[str, Mark]


class Figures(NamedTuple):
    """What a spool holds."""

    reports: int = 0
    states: int = 0
    """And alerts."""
    urgent_at: float | None = None
    """From when on an urgent report may be sent; None without one."""
    backlog: int = 0
    """Reports that are not urgent."""
    oldest_at: float | None = None
    bytes: int = 0
    last_id: int = 0


class Limits(NamedTuple):
    """What is kept at most, but for the newest state of each service."""

    age_s: float
    bytes: int


class Spool:
    """An open file, or memory where there is no path. Nothing else has it open.

    Methods raise SpoolError, and leave things as they were then.
    """

    def __init__(self, path: str | None, host: str, limits: Limits) -> None:
        """Open it, or make it. `host`: whose reports these are."""
        self.path = path
        self._limits = limits
        self._newest: dict[str, int] = {}
        """Of each service, the report with its newest state, while that waits."""
        self._urgent: collections.Counter[int] = collections.Counter()
        """How many newest states each of them has."""
        self._alerts: list[int] = []
        self._aside: dict[int, float] = {}
        self._reports = 0
        self._states = 0
        with as_spool_errors(path):
            self._db = spool_file.connect(path, host)
            self._load()

    def _load(self) -> None:
        """Read again what is in memory of the file."""
        rows = self._db.execute(
            "select service, newest.id from newest join reports on reports.id = newest.id"
            " where confirmed_id is null or confirmed_id < newest.id"
        )
        self._newest = dict(rows)
        self._urgent = collections.Counter(self._newest.values())
        alerts = self._db.execute("select id from reports where body like '[null,%' order by id")
        self._alerts = [id_ for (id_,) in alerts]
        counts = "select count(*), coalesce(sum(size), 0) from reports"
        self._reports, self._states = self._db.execute(counts).fetchone()
        self._aside = {id_: at for id_, at in self._aside.items() if self._is_urgent(id_)}

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def add(self, reports: Sequence[Kept], now: float) -> int:
        """Keep reports, with ids above all others; return how many states were dropped for it."""
        with self._change():
            self._insert(reports)
            return self._drop_what_is_too_much(now)

    def absorb(self, other: Spool) -> None:
        """Keep all of another spool too, whose reports are newer than those here."""
        with self._change():
            rows = other._db.execute(
                "select id, spool, seq, kept_at, size, body from reports order by id"
            )
            # What was given up as not written may have been written after all.
            here = {id_ for (id_,) in self._db.execute("select id from reports")}
            self._insert([report_of(row) for row in rows if row[0] not in here])
            newest = other._db.execute(
                "select service, id, kept_at, confirmed_id, confirmed_at from newest"
            )
            self._db.executemany(
                "insert into newest values (?, ?, ?, ?, ?) on conflict (service) do update set"
                " id = excluded.id, kept_at = excluded.kept_at,"
                " confirmed_id = coalesce(excluded.confirmed_id, confirmed_id),"
                " confirmed_at = coalesce(excluded.confirmed_at, confirmed_at)",
                newest,
            )
            self._load()

    def next_urgent(self, now: float) -> Waiting | None:
        """Return the urgent report to send next: states before alerts.

        The newest states go first. A report may have older ones of other services beside them, and
        when those arrive the server is to know the newer ones already.
        """
        for id_ in (*sorted(self._urgent, reverse=True), *self._alerts):
            if self._aside.get(id_, now) <= now:
                return self._waiting(id_, urgent=True)
        return None

    def next_of_backlog(self) -> Waiting | None:
        """Return the oldest report that is not urgent."""
        with as_spool_errors(self.path):
            id_ = next(self._backlog(), None)
        return None if id_ is None else self._waiting(id_, urgent=False)

    def confirm(self, id_: int, known_at: Mapping[str, float]) -> None:
        """Forget a report that the server has. `known_at`: its services, see `Mark.at`."""
        with self._change():
            self._delete([id_])
            self._db.executemany(
                "update newest set confirmed_id = ?, confirmed_at = ? where service = ?"
                " and (confirmed_id is null or confirmed_id < ?)",
                [(id_, at, service, id_) for service, at in known_at.items()],
            )

    def split(self, id_: int, known_at: Mapping[str, float], rest: Sequence[Kept]) -> int:
        """Forget a report of which the server has a part, and keep the rest in its place.

        Of the rest only the newest states of services are kept, with ids above all others; return
        how many states were dropped.
        """
        kept = [one for one in rest if self._newest.get(one.services[0].name) == id_]
        with self._change():
            self.confirm(id_, known_at)
            self._insert(kept)
        return len(rest) - len(kept)

    def set_aside(self, id_: int, until: float) -> int:
        """Don't send an urgent report before a time; drop one that is not urgent.

        Return how many states were dropped.
        """
        if self._is_urgent(id_):
            self._aside[id_] = until
            return 0
        with self._change():
            return self._delete([id_])

    def last_seq(self, spool: str) -> int:
        """Return the highest number of a spool among its reports that wait."""
        found = self._run("select max(seq) from reports where spool = ?", spool)
        return int(found[0][0] or 0)

    def figures(self) -> Figures:
        """Return what is kept now."""
        ((last_id, oldest_at),) = self._run(
            "select max(coalesce((select max(id) from reports), 0),"
            " coalesce((select max(id) from newest), 0)),"
            " (select kept_at from reports order by id limit 1)"
        )
        urgent = [*self._urgent, *self._alerts]
        ready = [self._aside.get(id_, 0.0) for id_ in urgent] if self._aside else [0.0]
        with as_spool_errors(self.path):
            used = self._bytes()
        return Figures(
            self._reports,
            self._states,
            min(ready) if urgent else None,
            self._reports - len(urgent),
            oldest_at,
            used,
            last_id,
        )

    def _waiting(self, id_: int, *, urgent: bool) -> Waiting:
        row = "select id, spool, seq, kept_at, size, body from reports where id = ?"
        report = report_of(self._run(row, id_)[0])
        marks = {}
        for service in report.services:
            for found in self._run(
                "select confirmed_id, confirmed_at from newest where service = ?"
                " and confirmed_id is not null",
                service.name,
            ):
                marks[service.name] = Mark(*found)
        return Waiting(report, urgent, marks)

    def _insert(self, reports: Iterable[Kept]) -> None:
        for report in reports:
            self._db.execute(
                "insert into reports (id, spool, seq, kept_at, size, body)"
                " values (?, ?, ?, ?, ?, ?)",
                (report.id, *report.spooled, report.kept_at, report.size(), body_of(report)),
            )
            self._reports += 1
            self._states += report.size()
            if report.alerts:
                self._alerts.append(report.id)
                continue
            names = [service.name for service in report.services]
            self._db.executemany(
                "insert into newest (service, id, kept_at) values (?, ?, ?)"
                " on conflict (service) do update set id = excluded.id, kept_at = excluded.kept_at",
                [(name, report.id, report.kept_at) for name in names],
            )
            for name in names:
                self._outdate(name)
                self._newest[name] = report.id
            self._urgent[report.id] = len(names)

    def _outdate(self, name: str) -> None:
        """Take the newest state of a service as one that is not the newest any more."""
        id_ = self._newest.pop(name, None)
        if id_ is None:
            return
        self._urgent[id_] -= 1
        if not self._urgent[id_]:
            del self._urgent[id_]
            self._aside.pop(id_, None)

    def _delete(self, ids: Iterable[int]) -> int:
        dropped = 0
        for id_ in ids:
            found = self._db.execute("select size from reports where id = ?", [id_]).fetchone()
            if found is None:
                continue
            self._db.execute("delete from reports where id = ?", [id_])
            self._reports -= 1
            self._states -= found[0]
            dropped += found[0]
            if id_ in self._alerts:
                self._alerts.remove(id_)
            if self._urgent.pop(id_, 0):
                self._newest = {name: one for name, one in self._newest.items() if one != id_}
            self._aside.pop(id_, None)
        return dropped

    def _drop_what_is_too_much(self, now: float) -> int:
        dropped = self._delete(self._alerts[:-ALERTS_MOST])
        dropped += self._delete(list(self._too_old(now - self._limits.age_s)))
        while self._bytes() > self._limits.bytes:
            oldest = _first(self._backlog()) or _first(iter(sorted(self._urgent)[:-1]))
            if not oldest:
                break
            dropped += self._delete(oldest)
        return dropped

    def _too_old(self, before_at: float) -> Iterator[int]:
        for id_, kept_at in self._db.execute("select id, kept_at from reports order by id"):
            if kept_at >= before_at:
                return
            if id_ not in self._urgent:
                yield id_

    def _backlog(self) -> Iterator[int]:
        """Yield the reports that are not urgent, the oldest first."""
        for (id_,) in self._db.execute("select id from reports order by id"):
            if not self._is_urgent(id_):
                yield id_

    def _is_urgent(self, id_: int) -> bool:
        return id_ in self._urgent or id_ in self._alerts

    def _bytes(self) -> int:
        pages: int = self._pragma("page_count") - self._pragma("freelist_count")
        return pages * self._pragma("page_size")

    def _pragma(self, name: str) -> int:
        return spool_file.pragma(self._db, name)

    def _run(self, sql: str, *values: object) -> list[Any]:
        with as_spool_errors(self.path):
            return self._db.execute(sql, values).fetchall()

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """One transaction; what is in memory follows the file, whatever happens."""
        if self._db.in_transaction:
            yield
            return
        with as_spool_errors(self.path):
            try:
                with transaction(self._db):
                    yield
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._load()
                raise
            if not self._urgent and self._pragma("freelist_count") > FREE_PAGES:
                self._db.execute("pragma incremental_vacuum").fetchall()


def open_spool(path: str | None, host: str, limits: Limits) -> tuple[Spool, str | None]:
    """Open a spool; set a corrupt one aside and make a new one, and say so. Raises SpoolError."""
    try:
        return Spool(path, host, limits), None
    except SpoolCorrupt:
        assert path is not None
        incident = spool_file.set_corrupt_aside(path)
        return Spool(path, host, limits), incident


def _first(ids: Iterator[int]) -> list[int]:
    return list(itertools.islice(ids, DROPPED_AT_ONCE))
