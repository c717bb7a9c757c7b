"""Looking for alerts among many."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any

import pytest_twisted
from contract.nodes import WALL_AT, Database, Node, a_report, a_state
from contract.test_explain import a_row, insert

from overc.daemon.store import alert_log, kept_back
from overc.daemon.store.alert_log import TOLD, Wanted

DAY_S = 86400.0
EVERYTHING: dict[str, Any] = {}

# What is looked for, and the alerts that are found by their messages, the newest first.
FOUND: list[tuple[dict[str, Any], str]] = [
    (EVERYTHING, "own part db full fifth back down"),
    ({"before_id": 4}, "fifth back down"),
    ({"server": "web"}, "part full fifth back down"),
    ({"server": "WEB1"}, "full fifth back down"),
    ({"server": "web*"}, "part full fifth back down"),
    ({"server": "eb*"}, ""),
    ({"server": "web?"}, "full fifth back down"),
    # Signs that mean something to the database mean themselves.
    ({"server": "%"}, "part"),
    ({"server": "_"}, ""),
    ({"server": "100%|*"}, ""),
    ({"server": "web 100%*"}, "part"),
    ({"server": "Größe"}, "db"),
    ({"server": "gr*e"}, "db"),
    ({"server": "[w]eb1"}, ""),
    ({"service": "disk"}, "db full fifth back down"),
    ({"server": "web1", "service": "d?sk"}, "full fifth back down"),
    ({"event": "FAIL"}, "full down"),
    ({"event": "problems"}, "full down"),
    ({"event": "recoveries"}, "back"),
    ({"event": "alert"}, "part db fifth"),
    ({"event": "nothing"}, ""),
    ({"plugin": "mail"}, "full back down"),
    ({"plugin": "chat"}, "down"),
    ({"plugin": "fax"}, ""),
    ({"told": "sent"}, "back down"),
    ({"told": "lost"}, "full down"),
    ({"told": "waits"}, "fifth"),
    ({"told": "silenced"}, "db"),
    ({"told": "nobody"}, "own part"),
    ({"plugin": "mail", "told": "lost"}, "full"),
    ({"plugin": "chat", "told": "lost"}, "down"),
    ({"plugin": "mail", "told": "sent"}, "back down"),
    ({"plugin": "mail", "told": "nobody"}, "own part db fifth"),
    ({"server_id": 3}, "part"),
    ({"service_id": 1, "event": "recoveries"}, "back"),
    ({"since_at": WALL_AT + 25}, "own part db full"),
    ({"since_at": WALL_AT + 10 * DAY_S}, ""),
    ({"server": "web1", "event": "FAIL", "plugin": "mail", "told": "sent"}, "down"),
]


async def populate(node: Node) -> None:
    """Add web1/disk (1), Größe/disk (2) and 'web 100%' (3), and seven alerts."""
    await node.record(a_report(a_state("disk")), a_report(a_state("disk"), name="db1"))
    await node.record(a_report(name="web 100%"))
    await node.store.write(
        "rename", lambda tx: tx.execute("update servers set title = ? where id = 2", "Größe")
    )
    usual: dict[str, Any] = {
        "server_id": 1, "service_id": 1, "channel": "service:state", "event": "FAIL",
        "severity": "FAIL", "phase": "problem",
    }  # fmt: skip
    api = {"channel": "api", "event": "alert", "phase": "note"}
    alerts = [
        {**usual, "message": "down"},
        {**usual, "message": "back", "event": "OK", "phase": "recovery"},
        {**usual, **api, "message": "fifth"},
        {**usual, "message": "full"},
        {**usual, **api, "message": "db", "server_id": 2, "service_id": 2},
        {**usual, **api, "message": "part", "server_id": 3, "service_id": None},
        {**usual, "message": "own", "server_id": None, "service_id": None, "event": "silence-ended",
         "channel": "overc", "phase": "note"},
    ]  # fmt: skip
    for place, alert in enumerate(alerts):
        alert["raised_at"] = WALL_AT + 10 * place
    ids = await insert(node.store, "alerts", *alerts)
    assert ids == list(range(1, 8))
    await insert(
        node.store,
        "outbox",
        a_row(1, "mail", "sent", tries=1),
        a_row(1, "chat", "undelivered", tries=3),
        a_row(2, "mail", "sent", tries=1),
        a_row(3, "log", "pending"),
        a_row(4, "mail", "pending", tries=2),
        a_row(5, "log", "silenced", silence_id=1),
    )


@pytest_twisted.ensureDeferred
async def test_what_is_looked_for(node: Node) -> None:
    await populate(node)
    for asked, messages in FOUND:
        wanted = Wanted(**{"since_at": WALL_AT, **asked})
        found = await node.store.read("look", alert_log.find, wanted, 100)
        assert " ".join(alert.message for alert in found) == messages, asked
        # How many there are does not depend on where a page begins.
        whole = Wanted(**{"since_at": WALL_AT, **asked, "before_id": None})
        n = await node.store.read("count", alert_log.count, wanted, 100)
        assert n == len(await node.store.read("look", alert_log.find, whole, 100)), asked
    assert {asked["told"] for asked, _ in FOUND if "told" in asked} == set(TOLD)


@pytest_twisted.ensureDeferred
async def test_so_many_and_no_more(node: Node) -> None:
    await populate(node)
    everything = Wanted(WALL_AT)
    found = await node.store.read("look", alert_log.find, everything, 2)
    assert [alert.message for alert in found] == ["own", "part"]
    assert await node.store.read("count", alert_log.count, everything, 3) == 3
    assert await node.store.read("count", alert_log.count, everything, 10_000) == 7


@pytest_twisted.ensureDeferred
async def test_the_clock_was_set_back(node: Node, database: Database) -> None:
    await populate(node)
    database.rows("update alerts set raised_at = ? where id = 5", WALL_AT - DAY_S)
    found = await node.store.read("look", alert_log.find, Wanted(WALL_AT + 25), 100)
    assert [alert.message for alert in found] == ["own", "part", "full"]


@pytest_twisted.ensureDeferred
async def test_the_names_of_all_services(node: Node) -> None:
    await populate(node)
    found = await node.store.read("look", kept_back.names)
    assert found == [("web1", "disk"), ("db1", "disk")]
