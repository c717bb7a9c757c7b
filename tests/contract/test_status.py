"""What the dashboard reads: what is, what was; and deleting."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import threading

import pytest_twisted
from contract.conftest import Stores
from contract.nodes import WALL_AT, Database, MariaDatabase, Node, a_report, a_state
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from overc.daemon.recording import Submission
from overc.daemon.snapshot import COMPARE_S, Selection
from overc.daemon.store import status
from overc.daemon.store.engine import Store, Transaction
from overc.model import AlertReport, State

LONG = 2600
"""More states than MariaDB follows a chain by default."""


@pytest_twisted.ensureDeferred
async def test_a_long_history_is_whole(node: Node) -> None:
    for at in range(0, LONG, 100):
        node.clock.advance(60)
        await node.record(
            *(a_report(a_state("disk", info=str(n)), a_state("load")) for n in range(at, at + 100))
        )
    [disk] = await ids(node.store, "disk")
    found = await node.store.read("read", status.history, disk, 0.0)
    assert [state.info for state in found] == [str(n) for n in reversed(range(LONG))]
    part = await node.store.read("read", status.history, disk, node.clock.wall() - 61)
    assert [state.info for state in part] == [str(n) for n in reversed(range(LONG - 200, LONG))]
    # And it goes as a whole, but nobody else's.
    await node.store.write("delete", node.recorder.delete_service, disk)
    assert await node.store.read("count", _count, "states") == LONG


def _count(tx: Transaction, table: str) -> int:
    [(n,)] = tx.fetch(f"select count(*) from {table}")
    return int(n)


async def ids(store: Store, *names: str) -> list[int]:
    def find(tx: Transaction) -> list[int]:
        found = {name: id_ for id_, name in tx.fetch("select id, name from services")}
        return [found[name] for name in names]

    return await store.read("find", find)


@pytest_twisted.ensureDeferred
async def test_a_deleted_server_is_gone_with_all_that_is_known(
    database: Database, node: Node
) -> None:
    alert = [AlertReport("hot"), AlertReport("hot", "disk")]
    for name in ("web1", "web2"):
        for _ in range(3):
            await node.record(
                a_report(a_state("disk", State.FAIL), name=name, alerts=alert, spooled=(name, 1)),
                a_report(a_state("disk", State.OK), name=name, spooled=(name, 2)),
            )
    [(gone,)] = database.rows("select id from servers where name = 'web1'")
    assert await node.store.write("delete", node.recorder.delete_server, gone) == "web1"
    assert await node.store.write("delete", node.recorder.delete_server, gone) is None
    assert database.rows("select name from servers") == [("web2",)]
    [(server,)] = database.rows("select id from servers")
    [(service,)] = database.rows("select id from services")
    assert database.rows("select distinct service_id from states") == [(service,)]
    assert database.rows("select distinct server_id from alerts") == [(server,)]
    assert database.rows("select spool from spools") == [("web2",)]
    assert database.rows(
        "select count(*) from outbox where alert_id not in (select id from alerts)"
    ) == [(0,)]
    # Its name is free again, for another key.
    recorded = await node.record(a_report(a_state("disk"), key="another"))
    assert recorded.outcomes == ("derived$another",)


@pytest_twisted.ensureDeferred
async def test_alerts_are_found_by_what_they_are_about(database: Database, node: Node) -> None:
    await node.record(
        a_report(a_state("disk", State.FAIL), alerts=[AlertReport("of the server")]),
        a_report(a_state("load", State.WARN), name="web2"),
    )
    [disk, load] = await ids(node.store, "disk", "load")
    [(web1,)] = database.rows("select id from servers where name = 'web1'")

    async def messages(server_id: int | None, service_id: int | None, since: float) -> object:
        found = await node.store.read("read", status.alerts, server_id, service_id, since)
        return found and [(one.server, one.service, one.event) for one in found]

    everything = [("web2", "load", "WARN"), ("web1", None, "alert"), ("web1", "disk", "FAIL")]
    found = await messages(None, None, WALL_AT)
    assert isinstance(found, list)
    assert sorted(map(str, found)) == sorted(map(str, everything))
    assert await messages(web1, disk, WALL_AT) == [("web1", "disk", "FAIL")]
    assert await messages(None, load, WALL_AT) == [("web2", "load", "WARN")]
    assert await messages(None, None, WALL_AT + 1) == []
    assert await messages(web1 + 99, None, WALL_AT) is None
    assert await messages(None, disk + 99, WALL_AT) is None


@pytest_twisted.ensureDeferred
async def test_the_snapshot_follows(node: Node) -> None:
    assert await node.present() == {}
    await node.record(a_report(a_state("disk"), a_state("load")))
    assert await node.present() == {"web1/disk": "OK", "web1/load": "OK"}
    version = node.snapshot.version
    await node.record(a_report(a_state("load", State.FAIL), alerts=[AlertReport("x", "cpu")]))
    assert await node.present() == {"web1/cpu": None, "web1/disk": "OK", "web1/load": "FAIL"}
    assert node.snapshot.n_alerts(Selection()) == 2
    # A service that came makes all of it new; one that reports or is late does not.
    version = node.snapshot.version
    await node.record(a_report(a_state("load", State.OK)))
    await node.present()
    assert [entry.row.name for entry in node.snapshot.changed_since(version)] == ["load"]
    version = node.snapshot.version
    await node.mark_late(*await ids(node.store, "disk", "load"))
    assert list(node.snapshot.changed_since(version)) == []
    node.clock.advance(61)
    await node.mark_late(*await ids(node.store, "disk"))
    await node.present()
    changed = list(node.snapshot.changed_since(version))
    assert [(entry.row.name, entry.row.timed_out) for entry in changed] == [("disk", 1)]
    assert node.snapshot.n_alerts(Selection()) == 4


@pytest_twisted.ensureDeferred
async def test_the_snapshot_follows_another_node(
    database: Database, node: Node, stores: Stores
) -> None:
    """On SQLite it is another process, such as a test of ours or a maintenance command."""
    other = Node(await stores.open(database))
    await other.record(a_report(a_state("disk")))
    assert await node.present() == {"web1/disk": "OK"}
    version = node.snapshot.version
    await other.record(a_report(a_state("disk", State.WARN)))
    assert await node.present() == {"web1/disk": "WARN"}
    assert [entry.row.state for entry in node.snapshot.changed_since(version)] == ["WARN"]
    other.clock.advance(61)
    await other.mark_late(*await ids(node.store, "disk"))
    await node.present()
    [entry] = node.snapshot.changed_since(version)
    assert entry.row.timed_out == 1
    await other.record(a_report(a_state("new"), name="web2"))
    assert await node.present() == {"web1/disk": "WARN", "web2/new": "OK"}
    [(server,)] = database.rows("select id from servers where name = 'web1'")
    await other.store.write("delete", other.recorder.delete_server, server)
    node.clock.advance(COMPARE_S)
    assert await node.present() == {"web2/new": "OK"}


@pytest_twisted.ensureDeferred
async def test_the_snapshot_sees_what_was_committed_late(
    maria: MariaDatabase, stores: Stores
) -> None:
    """Ids are given when a row is made, not at the commit: a lower one may be seen later."""
    node, other = Node(await stores.open(maria)), Node(await stores.open(maria))
    await node.record(
        a_report(a_state("disk"), name="slow"), a_report(a_state("disk"), name="fast")
    )
    assert await node.present() == {"fast/disk": "OK", "slow/disk": "OK"}

    made, commit = threading.Event(), threading.Event()

    def slowly(tx: Transaction) -> None:
        report = a_report(a_state("disk", State.FAIL), name="slow")
        node.recorder.record(tx, [Submission(report, "derived$secret")], node.times())
        made.set()
        assert commit.wait(8)

    recording = ensureDeferred(node.store.write("store a report", slowly))
    await deferToThread(made.wait, 8)
    await other.record(a_report(a_state("disk", State.WARN), name="fast"))
    assert await node.present() == {"fast/disk": "WARN", "slow/disk": "OK"}
    commit.set()
    await recording
    alerts = node.snapshot.n_alerts(Selection())
    assert await node.present() == {"fast/disk": "WARN", "slow/disk": "FAIL"}
    # Nothing counts twice, however often it is looked at.
    assert node.snapshot.n_alerts(Selection()) == alerts + 1
    version = node.snapshot.version
    await node.present()
    assert node.snapshot.version == version
