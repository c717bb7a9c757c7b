"""Titles, what a deletion removes, and forgetting: on every database, seen by other nodes too."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import pytest
import pytest_twisted
from contract.conftest import Stores
from contract.nodes import Database, Node, a_report, a_state
from support_daemon import WALL_AT

from overc.daemon.snapshot import Selection
from overc.daemon.store import items, status
from overc.model import AlertReport, State

MISSING = 999_999


async def titles(node: Node) -> dict[str, str]:
    """Return the title of each server and service, by its name, as a page would show it now."""
    await node.snapshot.refresh()
    found = {}
    for server, services in node.snapshot.servers(Selection()) or []:
        found[server.row.name] = server.row.title
        found |= {f"{server.row.name}/{one.row.name}": one.row.title for one in services}
    return found


async def rename(node: Node, kind: str, id_: int, title: str) -> tuple[str, str] | None:
    change = items.rename_server if kind == "server" else items.rename_service
    return await node.store.write("rename", change, id_, title)


@pytest_twisted.ensureDeferred
async def test_a_title_is_changed_and_taken_back(node: Node) -> None:
    await node.record(a_report(a_state("disk"), a_state("cpu")))
    before = {"web1": "web1", "web1/disk": "disk", "web1/cpu": "cpu"}
    assert await titles(node) == before
    assert await rename(node, "service", 1, "The disk 💾") == ("The disk 💾", "disk")
    assert await titles(node) == {**before, "web1/disk": "The disk 💾"}
    assert await rename(node, "service", 1, "") == ("disk", "The disk 💾")
    assert await titles(node) == before
    assert await rename(node, "server", 1, "Web of Bern") == ("Web of Bern", "web1")
    node.snapshot.look_again()
    assert await titles(node) == {**before, "web1": "Web of Bern"}
    assert await rename(node, "server", MISSING, "x") is None
    assert await rename(node, "service", MISSING, "x") is None


@pytest_twisted.ensureDeferred
async def test_a_report_leaves_titles_alone(node: Node, database: Database) -> None:
    await node.record(a_report(a_state("disk"), a_state("cpu")))
    await rename(node, "server", 1, "Web of Bern")
    await rename(node, "service", 1, "The disk")
    for state in (State.OK, State.FAIL, State.OK):
        await node.record(a_report(a_state("disk", state), a_state("cpu"), ip="192.0.2.9"))
    assert database.rows("select name, title from servers") == [("web1", "Web of Bern")]
    found = database.rows("select name, title from services order by id")
    assert found == [("disk", "The disk"), ("cpu", "cpu")]


@pytest_twisted.ensureDeferred
async def test_other_nodes_hear_of_a_title(stores: Stores, database: Database) -> None:
    node, other = Node(await stores.open(database)), Node(await stores.open(database))
    await node.record(a_report(a_state("disk"), a_state("cpu")))
    await titles(other)
    await rename(node, "service", 2, "Heat")
    assert (await titles(other))["web1/cpu"] == "Heat"
    await rename(node, "server", 1, "Web of Bern")
    other.clock.advance(2)
    assert (await titles(other))["web1"] == "Web of Bern"
    # What it knows already is no news.
    version = other.snapshot.version
    await titles(other)
    assert other.snapshot.version == version


@pytest_twisted.ensureDeferred
async def test_renames_do_not_pile_up(node: Node, database: Database) -> None:
    await node.record(a_report(a_state("disk")))
    values = [(1,)] * (items.RENAMES_KEPT + 5)
    await node.store.write("rename often", lambda tx: tx.insert("renames", ("service_id",), values))
    await rename(node, "service", 1, "x")
    assert database.rows("select count(*) from renames")[0][0] <= items.RENAMES_KEPT


@pytest_twisted.ensureDeferred
async def test_a_title_from_before_the_renames_that_are_kept(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items, "RENAMES_KEPT", 3)
    await node.record(a_report(a_state("disk"), a_state("cpu")))
    await rename(node, "service", 1, "Old")
    await titles(node)
    # Nobody looks meanwhile.
    await rename(node, "service", 1, "New")
    for number in range(status.RENAMES_AGAIN + 5):
        await rename(node, "service", 2, f"Heat {number}")
    assert (await titles(node))["web1/disk"] == "New"
    version = node.snapshot.version
    await titles(node)
    assert node.snapshot.version == version


@pytest_twisted.ensureDeferred
async def test_what_a_deletion_removes(node: Node) -> None:
    alert = AlertReport("broken", "disk")
    await node.record(a_report(a_state("disk"), a_state("cpu")))
    node.clock.advance(30)
    await node.record(a_report(a_state("disk", State.FAIL), alerts=[alert]))
    read = node.store.read
    service = await read("count", items.extent_of_service, 1)
    assert service == items.Extent(
        1, "web1", "web1", "disk", "disk", "192.0.2.1", 1, 2, 2, 0, WALL_AT + 30, 1
    )
    server = await read("count", items.extent_of_server, 1)
    assert server == items.Extent(
        1, "web1", "web1", None, "web1", "192.0.2.1", 2, 3, 2, 0, WALL_AT + 30, 2
    )
    assert await node.mark_late(1, 2) == 0
    node.clock.advance(100)
    assert await node.mark_late(1, 2) == 2
    late = await read("count", items.extent_of_server, 1)
    assert late is not None
    assert late.awaited == 0
    assert await read("count", items.extent_of_server, MISSING) is None
    assert await read("count", items.extent_of_service, MISSING) is None


@pytest_twisted.ensureDeferred
async def test_silent_services_are_forgotten(node: Node, database: Database) -> None:
    await node.record(a_report(a_state("old"), a_state("older")))
    await node.record(a_report(a_state("old"), name="web2"))
    node.clock.advance(61)
    assert await node.mark_late(1, 2, 3) == 3
    now_at = node.clock.wall()
    read, write = node.store.read, node.store.write
    found = await read("look", items.silent, now_at - 60, 1)
    assert [(one.id, one.server, one.service, one.seen_at) for one in found] == [
        (1, "web1", "old", WALL_AT), (2, "web1", "older", WALL_AT),
    ]  # fmt: skip
    assert len(await read("look", items.silent, now_at - 60, None)) == 3
    assert await read("look", items.silent, WALL_AT - 1, None) == []
    # One of them reports between the question and the answer.
    await node.record(a_report(a_state("older")))
    ids = [1, 2, MISSING]
    forget = node.recorder.forget_services
    assert await write("forget", forget, ids, now_at - 60) == (1, 1)
    # What is not late stays, however long ago it was heard of.
    assert await write("forget", forget, [2], now_at + 600) == (0, 1)
    assert database.rows("select id from services order by id") == [(2,), (3,)]
    assert database.rows("select count(*) from states where service_id = 1") == [(0,)]
    assert await write("forget", forget, ids, None) == (1, 0)
    assert await node.present() == {"web2/old": "OK"}
    await node.record(a_report(a_state("old")))
    assert await node.present() == {"web1/old": "OK", "web2/old": "OK"}


@pytest_twisted.ensureDeferred
async def test_a_database_tells_of_itself(node: Node) -> None:
    found = await node.store.read("describe", lambda tx: tx.describe())
    kind, version = found.engine.split(" ")
    assert kind in ("SQLite", "MariaDB", "MySQL")
    assert version[0].isdigit()
    assert found.schema >= 5
    assert found.size_bytes > 10_000
