from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import a_database, change, in_transaction, rows

from overc.daemon.store import deliveries, records
from overc.daemon.store.deliveries import Delivery
from overc.daemon.store.engine import Transaction
from overc.daemon.store.records import RaisedAlert
from overc.model import Alert, Channel, State

WARNED = Alert(Channel.SERVICE_STATE, "WARN", "changed", State.WARN)
ASKED = Alert(Channel.API, "alert", "asked", State.FAIL)
NOTICE = Alert(Channel.ALERT_PLUGIN, "failed", "mail failed", State.FAIL)

OUTBOX = "select id, plugin, status, outcome, tried_at from outbox order by id"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Three alerts wait for mail and log: of a service, of its server, and of OverC itself."""
    path = a_database(tmp_path)
    in_transaction(path, populate)
    change(path, "update servers set title = 'Web server'")
    change(path, "update services set title = 'Disk'")
    return path


def populate(tx: Transaction) -> None:
    web1 = records.add_server(tx, "web1", "k", "ip", 1.0)
    [disk] = records.add_services(tx, web1.id, ["disk"])
    [state] = records.add_states(tx, [(disk.id, None, 5.0, 5.0, State.WARN, "90 %")])
    raised = [
        RaisedAlert(WARNED, web1.id, disk.id, state),
        RaisedAlert(ASKED, web1.id, None, None),
        RaisedAlert(NOTICE, None, None, None),
    ]
    records.add_alerts(tx, raised, 9.0, ["mail", "log"])


def test_what_waits_for_a_plugin_oldest_first(path: str) -> None:
    assert in_transaction(path, deliveries.pending, "log", 10) == [
        Delivery(
            2, 1, "service:state", "WARN", "changed", "Web server", "Disk", "WARN", "90 %"
        ),
        Delivery(4, 2, "api", "alert", "asked", "Web server", None, None, None),
        Delivery(6, 3, "alert-plugin", "failed", "mail failed", None, None, None, None),
    ]  # fmt: skip
    assert [one.id for one in in_transaction(path, deliveries.pending, "mail", 2)] == [1, 3]
    assert in_transaction(path, deliveries.pending, "nobody", 10) == []


@pytest.mark.parametrize("word", ["sent", "failed"])
def test_what_was_tried_does_not_wait_any_more(path: str, word: str) -> None:
    in_transaction(path, deliveries.mark, 1, word, "last words", 77.0)
    assert rows(path, OUTBOX)[0] == (1, "mail", word, "last words", 77.0)
    assert [one.id for one in in_transaction(path, deliveries.pending, "mail", 10)] == [3, 5]
    assert [one.id for one in in_transaction(path, deliveries.pending, "log", 10)] == [2, 4, 6]


def test_a_failure_is_said_by_the_others(path: str) -> None:
    in_transaction(path, deliveries.mark_failed, 1, "exit status 1", 77.0, NOTICE, ["log", "irc"])
    assert rows(path, OUTBOX)[0] == (1, "mail", "failed", "exit status 1", 77.0)
    assert rows(path, OUTBOX)[6:] == [
        (7, "log", "pending", None, None),
        (8, "irc", "pending", None, None),
    ]
    newest = "select server_id, service_id, raised_at, channel, message from alerts where id = 4"
    assert rows(path, newest) == [(None, None, 77.0, "alert-plugin", "mail failed")]


def test_a_failure_without_a_notice(path: str) -> None:
    in_transaction(path, deliveries.mark_failed, 1, "exit status 1", 77.0, None, ["log"])
    assert rows(path, OUTBOX)[0] == (1, "mail", "failed", "exit status 1", 77.0)
    assert rows(path, "select count(*) from alerts") == [(3,)]


def test_a_notice_that_nobody_can_say_is_kept(path: str) -> None:
    in_transaction(path, deliveries.mark_failed, 1, "exit status 1", 77.0, NOTICE, [])
    assert rows(path, "select count(*) from alerts") == [(4,)]
    assert rows(path, "select count(*) from outbox") == [(6,)]


def test_plugins_that_are_gone(path: str) -> None:
    in_transaction(path, deliveries.mark, 1, "sent", "", 77.0)
    assert in_transaction(path, deliveries.drop_unknown_plugins, ["log"]) == 2
    why = "not configured any more"
    assert [row for row in rows(path, OUTBOX) if row[1] == "mail"] == [
        (1, "mail", "sent", "", 77.0),
        (3, "mail", "failed", why, None),
        (5, "mail", "failed", why, None),
    ]
    assert [one.id for one in in_transaction(path, deliveries.pending, "log", 10)] == [2, 4, 6]
    assert in_transaction(path, deliveries.drop_unknown_plugins, ["log"]) == 0
    assert in_transaction(path, deliveries.drop_unknown_plugins, []) == 3


def test_pending_uses_its_index(path: str) -> None:
    sql = (
        "explain query plan select id from outbox"
        " where plugin = 'log' and status = 'pending' order by id limit 9"
    )
    plan = " ".join(row[3] for row in rows(path, sql))
    assert "outbox_pending" in plan
    assert "TEMP B-TREE" not in plan
