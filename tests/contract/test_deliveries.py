"""The outbox: what is still to be sent, and how sending went."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import pytest_twisted
from contract.nodes import WALL_AT, Database, Node, a_report, a_state

from overc.daemon.store import deliveries
from overc.daemon.store.deliveries import Delivery
from overc.model import Alert, AlertReport, Channel, State

OUTBOX = "select plugin, status, outcome, tried_at from outbox order by id"


async def pending(node: Node, plugin: str, limit: int = 100) -> list[Delivery]:
    return await node.store.read("read the outbox", deliveries.pending, plugin, limit)


@pytest_twisted.ensureDeferred
async def test_each_plugin_gets_each_alert_in_order(node: Node) -> None:
    await node.record(
        a_report(alerts=[AlertReport("first"), AlertReport("sécond \N{BUG}")]),
        a_report(a_state("disk", State.FAIL, "full")),
    )
    for plugin in ("mail", "log"):
        found = await pending(node, plugin)
        assert [(one.message, one.server_title, one.service_title) for one in found] == [
            ("first", "web1", None),
            ("sécond \N{BUG}", "web1", None),
            ('State changed: "(?)" -> "FAIL"', "web1", "disk"),
        ]
        assert (found[2].state, found[2].info) == ("FAIL", "full")
        assert await pending(node, plugin, 2) == found[:2]
    assert await pending(node, "unknown") == []


@pytest_twisted.ensureDeferred
async def test_what_was_tried_is_not_pending(database: Database, node: Node) -> None:
    await node.record(a_report(alerts=[AlertReport("first"), AlertReport("second")]))
    first, second = await pending(node, "mail")
    await node.store.write("mark", deliveries.mark, first.id, "sent", "250 OK", WALL_AT + 1)
    assert await pending(node, "mail") == [second]
    notice = Alert(Channel.ALERT_PLUGIN, "failed", "mail failed", State.FAIL)
    await node.store.write(
        "mark", deliveries.mark_failed, second.id, "boom", WALL_AT + 2, notice, ["log"]
    )
    assert await pending(node, "mail") == []
    assert database.rows(OUTBOX) == [
        ("mail", "sent", "250 OK", WALL_AT + 1),
        ("log", "pending", None, None),
        ("mail", "failed", "boom", WALL_AT + 2),
        ("log", "pending", None, None),
        ("log", "pending", None, None),
    ]
    [*_, own] = await pending(node, "log")
    assert (own.message, own.server_title, own.channel) == ("mail failed", None, "alert-plugin")


@pytest_twisted.ensureDeferred
async def test_what_waits_for_nobody_is_dropped(database: Database, node: Node) -> None:
    await node.record(a_report(alerts=[AlertReport("first"), AlertReport("second")]))
    assert await node.store.write("clear", deliveries.drop_unknown_plugins, ["mail"]) == 2
    assert len(await pending(node, "mail")) == 2
    assert await pending(node, "log") == []
    assert await node.store.write("clear", deliveries.drop_unknown_plugins, []) == 2
    assert {row[1] for row in database.rows(OUTBOX)} == {"failed"}


@pytest_twisted.ensureDeferred
async def test_without_plugins_there_is_no_outbox(database: Database, node: Node) -> None:
    alone = Node(node.store, plugins=())
    await alone.record(a_report(a_state("disk", State.FAIL)))
    assert database.rows("select count(*) from alerts") == [(1,)]
    assert database.rows(OUTBOX) == []
