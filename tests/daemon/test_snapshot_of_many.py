"""The snapshot beside other nodes: a lower id may be committed after a higher one was seen."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support_daemon import (
    WALL_AT,
    FakeClock,
    SteppedStore,
    a_database,
    a_recorder,
    a_report,
    a_state,
    record,
    result_of,
)

from overc.daemon.snapshot import SETTLE_S, Selection, Snapshot
from overc.daemon.store.engine import Transaction


class SharedTransaction(Transaction):
    sole_writer = False


class SharedStore(SteppedStore):
    """A database that other processes write to as well. SQLite here, so that it runs anywhere."""

    async def read(
        self, description: str, interaction: Callable[..., Any], *a: Any, **k: Any
    ) -> Any:
        def shared(tx: Transaction) -> Any:
            return interaction(SharedTransaction(tx._cursor), *a, **k)

        return await super().read(description, shared)


class Nodes:
    """web1 (1) with disk (1) and cpu (2); ids are given by hand, as if on several nodes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.clock = FakeClock()
        self.store = SharedStore(path)
        self.snapshot = Snapshot(self.store, self.clock)
        record(path, a_recorder(), self.clock, a_report(a_state("disk"), a_state("cpu")))
        self.refresh()

    def refresh(self) -> None:
        result_of(self.snapshot.refresh())

    def run(self, sql: str, *values: object) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(sql, values)

    def commit_state(self, id_: int, service_id: int, info: str) -> None:
        self.run(
            "insert into states values (?, ?, null, ?, ?, 'WARN', ?)",
            id_, service_id, WALL_AT, WALL_AT, info,
        )  # fmt: skip
        self.run("update services set state = 'WARN' where id = ?", service_id)
        self.run("update latest set state_id = ? where service_id = ?", id_, service_id)

    def commit_alert(self, id_: int) -> None:
        self.run(
            "insert into alerts (id, server_id, service_id, raised_at, channel, event, severity,"
            " message) values (?, 1, 1, ?, 'api', 'alert', 'FAIL', 'x')",
            id_, WALL_AT,
        )  # fmt: skip

    def infos(self) -> list[str | None]:
        self.refresh()
        [(_, services)] = self.snapshot.servers(Selection()) or []
        return [one.row.info for one in services]

    def n_alerts(self) -> int:
        self.refresh()
        return self.snapshot.n_alerts(Selection())


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(a_database(tmp_path))


@pytest.mark.parametrize("later_s", [0.0, 5.0, SETTLE_S - 1])
def test_a_state_that_is_committed_after_a_later_one(nodes: Nodes, later_s: float) -> None:
    nodes.commit_state(10, 1, "node b")
    assert nodes.infos() == ["fine", "node b"]
    version = nodes.snapshot.version
    for _ in range(int(later_s)):
        nodes.clock.advance(1)
        nodes.refresh()
    nodes.commit_state(9, 2, "node a")
    assert nodes.infos() == ["node a", "node b"]
    # Only what is another thing than before counts as a change.
    assert [one.row.id for one in nodes.snapshot.changed_since(version)] == [2]


@pytest.mark.parametrize("later_s", [0.0, 5.0, SETTLE_S - 1])
def test_an_alert_that_is_committed_after_a_later_one(nodes: Nodes, later_s: float) -> None:
    nodes.commit_alert(10)
    assert nodes.n_alerts() == 1
    for _ in range(int(later_s)):
        nodes.clock.advance(1)
        # It is read again each time, and counted once.
        assert nodes.n_alerts() == 1
    nodes.commit_alert(9)
    assert nodes.n_alerts() == 2
    for _ in range(int(3 * SETTLE_S)):
        nodes.clock.advance(1)
        assert nodes.n_alerts() == 2


def test_what_is_settled_is_not_read_again(nodes: Nodes) -> None:
    nodes.commit_state(20_000, 1, "x")
    nodes.refresh()
    for _ in range(int(SETTLE_S) + 2):
        nodes.clock.advance(1)
        nodes.refresh()
    version = nodes.snapshot.version
    nodes.commit_state(19_999, 2, "much too late")
    assert nodes.infos() == ["fine", "x"]
    assert list(nodes.snapshot.changed_since(version)) == []
