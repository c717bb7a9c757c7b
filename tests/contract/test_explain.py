"""What is read to say why: a service, its alerts and deliveries; silences; the outbox."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any

import pytest_twisted
from contract.nodes import WALL_AT, Node, a_report, a_state

from overc.daemon.recording import Times
from overc.daemon.store import explain, kept_back
from overc.daemon.store.engine import Store, Transaction
from overc.daemon.store.explain import ALERTS_MAX, AckFacts, AttemptFacts, StandingFacts
from overc.daemon.store.kept_back import Backlog
from overc.model import State


async def insert(store: Store, table: str, *rows: dict[str, Any]) -> list[int]:
    def write(tx: Transaction) -> list[int]:
        return tx.insert(table, tuple(rows[0]), [tuple(row.values()) for row in rows])

    return await store.write(f"fill {table}", write)


def a_row(alert_id: int, plugin: str = "mail", status: str = "pending", **more: Any) -> Any:
    usual = {"due_at": WALL_AT, "tries": 0, "reminder": 0, "silence_id": None}
    return {"alert_id": alert_id, "plugin": plugin, "status": status, **usual, **more}


def a_silence(starts_at: float, ends_at: float, servers: str = "*") -> Any:
    return {
        "servers": servers, "services": "*", "author": "ann", "reason": "ß",
        "created_at": WALL_AT, "starts_at": starts_at, "ends_at": ends_at,
    }  # fmt: skip


@pytest_twisted.ensureDeferred
async def test_nothing_is_known_of_what_is_not_there(node: Node) -> None:
    store = node.store
    assert await store.read("explain", explain.facts, 1) is None
    assert await store.read("find", explain.find_service, "web1", "disk") is None
    assert await store.read("name", explain.names, 1) is None
    assert await store.read("find", kept_back.silence, 1) is None
    assert await store.read("list", kept_back.silences, 0.0) == []
    assert await store.read("count", kept_back.count_alerts, []) == {}
    assert await store.read("look", kept_back.backlog, WALL_AT) == Backlog(0, None)


@pytest_twisted.ensureDeferred
async def test_a_service_is_found_by_its_names(node: Node) -> None:
    await node.record(a_report(a_state("größe"), name="Web1"), a_report(a_state("größe")))
    found = await node.store.read("find", explain.find_service, "Web1", "größe")
    assert found == 1
    assert await node.store.read("name", explain.names, 1) == ("Web1", "größe")
    for server, service in (("web1", "GRÖSSE"), ("WEB1", "größe"), ("Web1", "grosse")):
        assert await node.store.read("find", explain.find_service, server, service) is None


@pytest_twisted.ensureDeferred
async def test_facts(node: Node) -> None:
    await node.record(a_report(a_state("disk", State.FAIL, "full")), a_report(a_state("load")))
    store = node.store
    await store.write("clear", lambda tx: tx.execute("delete from outbox"))
    [first, second] = await insert(
        store, "outbox", a_row(1, tries=2, tried_at=WALL_AT, outcome="no"),
        a_row(1, "chat", "sent", reminder=1, silence_id=3, tried_at=None, outcome=None),
    )  # fmt: skip
    for at, words in ((WALL_AT + 1, "first ☃"), (WALL_AT, "the clock was set back")):
        await insert(
            store, "attempts",
            {"outbox_id": first, "tried_at": at, "took_s": 0.5, "delivered": 0, "words": words},
        )  # fmt: skip
    await insert(
        store, "attempts",
        {"outbox_id": second, "tried_at": WALL_AT, "took_s": 1.5, "delivered": 1, "words": ""},
    )  # fmt: skip

    def mark(tx: Transaction) -> None:
        tx.execute("delete from standing")
        tx.execute(
            "insert into standing (plugin, service_id, topic, alert_id, told_at, remind_at)"
            " values ('mail', 1, 'state', 1, ?, null)", WALL_AT,
        )  # fmt: skip
        tx.execute(
            "insert into acks (service_id, author, reason, acked_at) values (1, 'ann', 'ß', ?)",
            WALL_AT,
        )

    await store.write("mark", mark)
    facts = await store.read("explain", explain.facts, 1)
    assert facts is not None
    service = facts.service
    assert (service.server, service.name, service.state) == ("web1", "disk", "FAIL")
    assert (service.info, service.received_at) == ("full", WALL_AT)
    assert (service.period_s, service.grace_s, service.timed_out) == (60, 0.0, False)
    assert facts.ack == AckFacts("ann", "ß", WALL_AT)
    assert facts.standing == (StandingFacts("mail", "state", 1, WALL_AT, None),)
    [alert] = facts.alerts
    assert (alert.id, alert.channel, alert.event) == (1, "service:state", "FAIL")
    rows = {row.plugin: row for row in alert.deliveries}
    assert rows["mail"].attempts == (
        AttemptFacts(WALL_AT + 1, 0.5, False, "first ☃"),
        AttemptFacts(WALL_AT, 0.5, False, "the clock was set back"),
    )
    assert (rows["mail"].tries, rows["mail"].outcome, rows["mail"].reminder) == (2, "no", False)
    assert rows["chat"].attempts == (AttemptFacts(WALL_AT, 1.5, True, ""),)
    assert (rows["chat"].reminder, rows["chat"].silence_id) == (True, 3)


@pytest_twisted.ensureDeferred
async def test_a_service_that_is_late(node: Node) -> None:
    await node.record(a_report(a_state("disk")))
    node.clock.advance(60)
    now = Times(node.clock.wall(), node.clock.steady())
    await node.store.write("judge", node.recorder.mark_late, [1], now)
    facts = await node.store.read("explain", explain.facts, 1)
    assert facts is not None
    assert facts.service.timed_out is True
    assert facts.service.deadline_at is None
    assert facts.service.memory is not None
    assert facts.service.memory.late_at == WALL_AT + 60


@pytest_twisted.ensureDeferred
async def test_the_newest_alerts_are_told_of_and_those_that_stand(node: Node) -> None:
    states = [State.FAIL, State.OK] * ALERTS_MAX
    for state in states:
        await node.record(a_report(a_state("disk", state)))
    await node.store.write(
        "stand",
        lambda tx: tx.execute(
            "insert into standing (plugin, service_id, topic, alert_id) values ('x', 1, 'late', 1)"
        ),
    )
    facts = await node.store.read("explain", explain.facts, 1)
    assert facts is not None
    newest = range(len(states), len(states) - ALERTS_MAX, -1)
    assert [alert.id for alert in facts.alerts] == [*newest, 1]


@pytest_twisted.ensureDeferred
async def test_silences_and_what_they_keep_back(node: Node) -> None:
    await node.record(a_report(a_state("disk", State.FAIL)), a_report(a_state("load", State.FAIL)))
    store = node.store
    spans = [(-60, 60), (-60, -30), (30, 60), (0, 30), (-30, 0)]
    ids = await insert(
        store, "silences", *(a_silence(WALL_AT + starts, WALL_AT + ends) for starts, ends in spans)
    )
    listed = await store.read("list", kept_back.silences, WALL_AT)
    assert [one.id for one in listed] == [ids[4], ids[3], ids[2], ids[0]]
    running = await store.read("list", kept_back.running, WALL_AT)
    assert [one.id for one in running] == [ids[0], ids[3]]
    found = await store.read("find", kept_back.silence, ids[1])
    assert found is not None
    assert (found.author, found.reason, found.ends_at) == ("ann", "ß", WALL_AT - 30)

    kept = [
        a_row(1, "mail", "silenced", silence_id=ids[0]),
        a_row(1, "chat", "silenced", silence_id=ids[0]),
        a_row(2, "mail", "silenced", silence_id=ids[0]),
        a_row(2, "chat", "sent"),
    ]
    await insert(store, "outbox", *kept)
    assert await store.read("count", kept_back.count_alerts, ids) == {ids[0]: 2}
    alerts = await store.read("read", kept_back.alerts, ids[0])
    assert [(one.alert_id, one.server, one.service) for one in alerts] == [
        (2, "web1", "load"),
        (1, "web1", "disk"),
    ]
    assert await store.read("read", kept_back.alerts, ids[1]) == []


@pytest_twisted.ensureDeferred
async def test_the_backlog(node: Node) -> None:
    await node.record(a_report(a_state("disk", State.FAIL)))
    store = node.store
    await store.write("clear", lambda tx: tx.execute("delete from outbox"))
    await insert(
        store, "outbox", a_row(1, due_at=WALL_AT + 1), a_row(1, "a", "sent"),
        a_row(1, "b", "silenced"), a_row(1, "c", "undelivered", tries=3),
    )  # fmt: skip
    assert await store.read("look", kept_back.backlog, WALL_AT) == Backlog(0, None)
    assert await store.read("look", kept_back.backlog, WALL_AT + 1) == Backlog(1, WALL_AT + 1)
    [tried] = await insert(store, "outbox", a_row(1, due_at=WALL_AT + 900, tries=2))
    for at in (WALL_AT - 50, WALL_AT - 20):
        await insert(
            store, "attempts",
            {"outbox_id": tried, "tried_at": at, "took_s": 0.0, "delivered": 0, "words": ""},
        )  # fmt: skip
    assert await store.read("look", kept_back.backlog, WALL_AT + 2) == Backlog(2, WALL_AT - 50)
