"""What raising alerts asks of the database. What it does is in tests/contract/test_routing.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support_daemon import a_database, in_transaction

from overc.daemon.alerting.raising import Raiser
from overc.daemon.alerting.routing import Maintenance, Route
from overc.daemon.patterns import Patterns
from overc.daemon.store import records
from overc.daemon.store.engine import Transaction
from overc.daemon.store.records import RaisedAlert
from overc.model import Alert, Channel, Phase, State, Topic

OFFLINE = Alert(Channel.PLUGIN, "offline", "", State.FAIL, Phase.PROBLEM, Topic.LATE)
ONLINE = Alert(Channel.PLUGIN, "online", "", State.OK, Phase.RECOVERY, Topic.LATE)
ASKED = Alert(Channel.API, "alert", "as sent", State.FAIL)
OWN = Alert(Channel.OVERC, "silence-ending", "", State.WARN)

NOW_AT = 1_000_000.0


class Noted(Transaction):
    """Keeps the statements that it runs."""

    def __init__(self, cursor: Any) -> None:
        super().__init__(cursor)
        self.statements: list[str] = []

    def _run(self, sql: str, values: Any) -> None:
        self.statements.append(" ".join(sql.split()[:6]))
        super()._run(sql, values)


@pytest.fixture
def tx(tmp_path: Path) -> Iterator[Noted]:
    path = a_database(tmp_path)

    def populate(tx: Transaction) -> None:
        server = records.add_server(tx, "web1", "", "", 0.0)
        records.add_services(tx, server.id, [f"s{n}" for n in range(500)])

    in_transaction(path, populate)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield Noted(connection.cursor())


def everywhere(alert: Alert) -> list[RaisedAlert]:
    return [RaisedAlert(alert, 1, n + 1, None) for n in range(500)]


def test_by_default_a_chunk_of_late_services_takes_few_statements(tx: Noted) -> None:
    raiser = Raiser([Route("mail"), Route("chat")])
    raiser.raise_alerts(tx, everywhere(OFFLINE), NOW_AT)
    # Nothing depends on names, so none is read.
    assert not [one for one in tx.statements if "name" in one]
    reads = [one for one in tx.statements if one.startswith("select")]
    assert len(reads) == 2
    # Rows go in statements of 512, 64, 8 and 1.
    assert len(tx.statements) <= 2 + 3 * (7 + 6 + 4)
    tx.statements.clear()
    raiser.raise_alerts(tx, everywhere(ONLINE), NOW_AT)
    assert not [one for one in tx.statements if "name" in one]
    assert len([one for one in tx.statements if one.startswith(("select", "delete"))]) == 4
    assert tx.fetch("select * from standing") == []


def test_a_note_asks_for_no_problems(tx: Noted) -> None:
    Raiser([Route("mail")]).raise_alerts(tx, [RaisedAlert(ASKED, 1, None, None)], NOW_AT)
    assert [one.split()[0] for one in tx.statements] == ["insert", "select", "insert"]


def test_an_alert_of_overc_itself_asks_for_no_silences(tx: Noted) -> None:
    Raiser([Route("mail")]).raise_alerts(tx, [RaisedAlert(OWN, None, None, None)], NOW_AT)
    assert [one.split()[0] for one in tx.statements] == ["insert", "insert"]


def test_without_plugins_alerts_are_recorded(tx: Noted) -> None:
    assert Raiser([]).raise_alerts(tx, everywhere(OFFLINE), NOW_AT) == 500
    assert {one.split()[0] for one in tx.statements} == {"insert"}
    assert tx.fetch("select count(*) from alerts") == [(500,)]


def test_names_are_read_when_a_rule_asks_for_them(tx: Noted) -> None:
    Raiser([Route("mail", services=Patterns("s1"))]).raise_alerts(tx, everywhere(OFFLINE), NOW_AT)
    assert len([one for one in tx.statements if one.startswith("select id, name from")]) == 2
    assert tx.fetch("select count(*) from outbox") == [(1,)]


class Counted:
    """Windows that are never open, and count how often that is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def until(self, now_at: float) -> float | None:
        self.asked += 1
        return None

    def begun_at(self, now_at: float) -> float | None:
        return None


def test_windows_are_looked_at_once_a_second(tx: Noted) -> None:
    windows = Counted()
    raiser = Raiser([Route("mail")], [Maintenance("nightly", windows)])
    for tenth in range(25):
        raiser.raise_alerts(tx, [RaisedAlert(ASKED, 1, None, None)], NOW_AT + tenth / 10)
    assert windows.asked == 3
