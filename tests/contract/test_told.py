"""What the dashboard reads of the outbox: where alerts went, what was lost, who takes care."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any

import pytest_twisted
from contract.nodes import WALL_AT, Node, a_report, a_state
from contract.test_explain import a_row, insert

from overc.daemon.store import told
from overc.daemon.store.engine import CHUNKS, Transaction
from overc.daemon.store.explain import AckFacts
from overc.daemon.store.told import UNTRIED_S, Told
from overc.model import State


async def add_alerts(node: Node, count: int) -> list[int]:
    """Add alerts of web1/disk (1) that went nowhere."""
    await node.record(a_report(a_state("disk", State.FAIL)))
    usual: dict[str, Any] = {
        "server_id": 1, "service_id": 1, "raised_at": WALL_AT, "channel": "api",
        "event": "alert", "severity": "FAIL", "message": "ß",
    }  # fmt: skip
    return await insert(node.store, "alerts", *[usual] * count)


@pytest_twisted.ensureDeferred
async def test_where_alerts_went(node: Node) -> None:
    one, two, three = await add_alerts(node, 3)
    await insert(
        node.store,
        "outbox",
        *[
            {"tried_at": None, "outcome": None, **row}
            for row in (
                a_row(one, "mail", "sent", tries=2, tried_at=WALL_AT + 1, outcome="größe"),
                a_row(one, "chat", "silenced", silence_id=7),
                a_row(two, "mail", "undelivered", tries=9, tried_at=WALL_AT, outcome="no"),
                a_row(one, "mail", "sent", reminder=1, tried_at=WALL_AT + 60),
                a_row(one, "mail", "sent", reminder=1, tried_at=WALL_AT + 120),
                a_row(one, "mail", "pending", reminder=1, due_at=WALL_AT + 180),
            )
        ],
    )
    found = await node.store.read("look", told.deliveries, [one, two, three])
    assert found == {
        one: [
            Told(
                one, "mail", "sent", WALL_AT, 2, WALL_AT + 1, "größe", False, None,
                2, WALL_AT + 120,
            ),
            Told(one, "chat", "silenced", WALL_AT, 0, None, None, False, 7),
            Told(one, "mail", "pending", WALL_AT + 180, 0, None, None, True, None),
        ],
        two: [Told(two, "mail", "undelivered", WALL_AT, 9, WALL_AT, "no", False, None)],
    }  # fmt: skip
    assert all(type(row.reminder) is bool for rows in found.values() for row in rows)
    assert await node.store.read("look", told.deliveries, [two]) == {two: found[two]}
    assert await node.store.read("look", told.deliveries, []) == {}


@pytest_twisted.ensureDeferred
async def test_each_delivery_is_found_once(node: Node) -> None:
    # No number of keys that a statement takes, so that some stand in it twice.
    ids = await add_alerts(node, CHUNKS[0] + 3)
    await insert(node.store, "outbox", *[a_row(id_, "mail") for id_ in ids])
    await insert(node.store, "outbox", *[a_row(ids[-1], "mail", "sent", reminder=1)] * 2)
    found = await node.store.read("look", told.deliveries, ids)
    assert sorted(found) == ids
    assert {len(rows) for rows in found.values()} == {1}
    assert [rows[0].reminders for rows in found.values() if rows[0].reminders] == [2]


@pytest_twisted.ensureDeferred
async def test_what_was_lost(node: Node) -> None:
    assert await node.store.read("count", told.undelivered, WALL_AT) == []
    one, two = await add_alerts(node, 2)
    lost = {"status": "undelivered", "tried_at": None}
    untried = {**lost, "due_at": WALL_AT - UNTRIED_S}
    await insert(
        node.store,
        "outbox",
        *[
            {"tried_at": WALL_AT, **row}
            for row in (
                {**a_row(one, "mail"), **lost, "tried_at": WALL_AT},
                # The same alert, once more.
                {**a_row(one, "mail", reminder=1), **lost, "tried_at": WALL_AT + 60},
                {**a_row(two, "mail"), **lost, "tried_at": WALL_AT - 0.5},
                {**a_row(two, "chat"), **untried},
                {**a_row(one, "chat"), **untried, "due_at": WALL_AT - UNTRIED_S - 0.5},
                a_row(one, "sms", "sent"),
                a_row(two, "sms", "cancelled"),
            )
        ],
    )
    assert await node.store.read("count", told.undelivered, WALL_AT) == [("chat", 1), ("mail", 1)]
    assert await node.store.read("count", told.undelivered, WALL_AT - 1) == [
        ("chat", 2), ("mail", 2),
    ]  # fmt: skip
    assert await node.store.read("count", told.undelivered, WALL_AT + 61) == []


@pytest_twisted.ensureDeferred
async def test_who_takes_care(node: Node) -> None:
    assert await node.store.read("look", told.acks) == {}
    await node.record(a_report(a_state("disk", State.FAIL), a_state("cpu", State.FAIL)))
    ack = {"service_id": 2, "author": "ann", "reason": "größe", "acked_at": WALL_AT}
    await insert(node.store, "acks", ack)
    assert await node.store.read("look", told.acks) == {2: AckFacts("ann", "größe", WALL_AT)}


@pytest_twisted.ensureDeferred
async def test_who_was_told_of_what_stands(node: Node) -> None:
    await node.record(a_report(a_state("disk", State.FAIL), a_state("cpu", State.FAIL)))
    alert_id = (await add_alerts(node, 1))[0]

    def stand(tx: Transaction) -> None:
        tx.execute("delete from standing")
        for plugin, service_id, topic, told_at in (
            ("mail", 1, "state", WALL_AT),
            ("mail", 1, "late", WALL_AT),
            ("chat", 1, "late", WALL_AT),
            ("sms", 1, "state", None),
            ("sms", 2, "state", None),
        ):
            tx.execute(
                "insert into standing (plugin, service_id, topic, alert_id, told_at)"
                " values (?, ?, ?, ?, ?)", plugin, service_id, topic, alert_id, told_at,
            )  # fmt: skip

    await node.store.write("stand", stand)
    assert await node.store.read("look", told.plugins_told) == {1: ("chat", "mail")}
