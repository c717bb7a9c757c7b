"""A node of the server without its network: a store, a recorder, and clocks set by hand."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from support.mariadb import Schema
from support_daemon import STEADY_AT as STEADY_AT
from support_daemon import WALL_AT as WALL_AT
from support_daemon import a_report as a_report
from support_daemon import a_state as a_state
from twisted.internet import reactor

from overc.daemon.alerting.raising import Raiser
from overc.daemon.alerting.routing import Route
from overc.daemon.recording import Recorded, Recorder, Submission, Times
from overc.daemon.snapshot import Selection, Snapshot
from overc.daemon.store.engine import Store
from overc.daemon.store.mysql import MysqlStore
from overc.daemon.store.sqlite import SqliteStore
from overc.model import Report

Rows = list[tuple[Any, ...]]


class Database(Protocol):
    """A fresh database on one of the engines, seen beside every store."""

    shared: bool
    """Whether several nodes may use it at once."""

    def store(self) -> Store: ...

    def rows(self, sql: str, *values: object) -> Rows:
        """Run a statement on a connection of its own and commit it. Parameters are `?`."""
        ...


@dataclass
class SqliteDatabase:
    path: Path
    shared = False

    def store(self) -> Store:
        return SqliteStore(str(self.path), pytest.fail)

    def rows(self, sql: str, *values: object) -> Rows:
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(sql, values).fetchall()


@dataclass
class MariaDatabase:
    schema: Schema
    shared = True

    def store(self) -> Store:
        return MysqlStore(reactor, self.schema.address, derive)

    def rows(self, sql: str, *values: object) -> Rows:
        return self.schema.rows(sql.replace("?", "%s"), *values)


def derive(key: str) -> str:
    """Stand in for the slow derivation."""
    return f"derived${key}"


class Clock:
    """The two clocks, set by hand."""

    def __init__(self) -> None:
        self.wall_at = WALL_AT
        self.steady_at = STEADY_AT

    def wall(self) -> float:
        return self.wall_at

    def steady(self) -> float:
        return self.steady_at

    def advance(self, span_s: float) -> None:
        self.wall_at += span_s
        self.steady_at += span_s


class Node:
    def __init__(self, store: Store, plugins: Sequence[str] = ("mail", "log")) -> None:
        self.store = store
        self.clock = Clock()
        self.recorder = Recorder(Raiser([Route(plugin) for plugin in plugins]))
        self.snapshot = Snapshot(store, self.clock)

    def times(self) -> Times:
        return Times(self.clock.wall(), self.clock.steady())

    async def record(self, *reports: Report) -> Recorded:
        """Store reports in one transaction, with keys that were proved."""
        submissions = [Submission(one, derive(one.server.key)) for one in reports]
        return await self.store.write(
            "store a report", self.recorder.record, submissions, self.times()
        )

    async def mark_late(self, *ids: int) -> int:
        return await self.store.write(
            "mark services late", self.recorder.mark_late, ids, self.times()
        )

    async def present(self) -> dict[str, str | None]:
        """Return what the snapshot says after a refresh: the state of each service."""
        await self.snapshot.refresh()
        return {
            f"{server.row.name}/{service.row.name}": service.row.state
            for server, services in self.snapshot.servers(Selection()) or []
            for service in services
        }
