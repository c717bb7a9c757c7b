"""Keys that were refused, on every database."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from collections.abc import Sequence

import pytest
import pytest_twisted
from contract.nodes import WALL_AT, Database, Node, a_report, a_state, derive

from overc.daemon.store import rejected_keys
from overc.daemon.store.rejected_keys import KEPT_S, KEYS_MAX, Rejected, Tried, chosen

IP = "192.0.2.66"
KEYS = "select server_id, key_derivation, tries, dismissed from rejected_keys order by id"


def tried(
    derivation: str = "new", server_id: int = 1, at: float = WALL_AT, tries: int = 1
) -> Tried:
    return Tried(server_id, derivation, IP, at, at + tries - 1, tries)


async def note(node: Node, *found: Tried) -> None:
    await node.store.write("note", rejected_keys.note, found, node.clock.wall())


async def find(node: Node) -> Sequence[Rejected]:
    return await node.store.read("find", rejected_keys.find, node.clock.wall())


async def titles(node: Node) -> list[str]:
    return await node.store.read("find", rejected_keys.titles, node.clock.wall())


@pytest_twisted.ensureDeferred
async def test_a_key_is_noted_and_counted(node: Node) -> None:
    await node.record(a_report(a_state("disk")))
    assert await find(node) == []
    assert await titles(node) == []
    node.clock.advance(60)
    await note(node, tried(at=WALL_AT + 60))
    await note(node, tried(at=WALL_AT + 120, tries=7)._replace(ip="192.0.2.67"))
    [found] = await find(node)
    assert found._replace(id=0) == Rejected(
        0, 1, "web1", "web1", "192.0.2.67", WALL_AT + 60, WALL_AT + 126, 8,
        dismissed=False, known_ip="192.0.2.1", reported_at=WALL_AT,
    )  # fmt: skip
    assert await titles(node) == ["web1"]


@pytest_twisted.ensureDeferred
async def test_a_key_is_accepted(node: Node, database: Database) -> None:
    await node.record(a_report(a_state("disk")))
    await node.record(a_report(name="web2"))
    await note(node, tried(derive("new")), tried("another"), tried("new", server_id=2))
    [(id_,)] = database.rows("select id from rejected_keys where key_derivation = ?", derive("new"))
    accept = rejected_keys.accept
    assert await node.store.write("accept", accept, id_) == (1, "web1")
    assert [one.server for one in await find(node)] == ["web2"]
    assert await node.store.write("accept", accept, id_) is None
    [stored, _] = database.rows("select key_derivation from servers order by id")
    assert stored == (derive("new"),)
    # Another node had gathered the same refusals, and writes them down only now.
    await note(node, tried(derive("new")))
    assert [one.server for one in await find(node)] == ["web2"]
    recorded = await node.record(a_report(a_state("disk"), key="new"))
    assert recorded.outcomes == (derive("new"),)


@pytest_twisted.ensureDeferred
async def test_a_key_is_dismissed(node: Node) -> None:
    await node.record(a_report())
    await note(node, tried())
    [found] = await find(node)
    assert await node.store.write("dismiss", rejected_keys.dismiss, found.id) == "web1"
    assert await titles(node) == []
    await note(node, tried())
    [again] = await find(node)
    assert (again.id, again.dismissed, again.tries) == (found.id, True, 2)
    assert await titles(node) == []
    assert await node.store.write("dismiss", rejected_keys.dismiss, found.id) == "web1"
    assert await node.store.write("dismiss", rejected_keys.dismiss, 999) is None
    # Another key of the same host is news.
    await note(node, tried("newer"))
    assert await titles(node) == ["web1"]


@pytest_twisted.ensureDeferred
async def test_only_the_newest_keys_of_a_server_are_kept(node: Node, database: Database) -> None:
    await node.record(a_report())
    for number in range(KEYS_MAX + 3):
        await note(node, tried(f"key{number}", at=WALL_AT + number))
    kept = [row[1] for row in database.rows(KEYS)]
    assert kept == [f"key{number}" for number in range(3, KEYS_MAX + 3)]


@pytest_twisted.ensureDeferred
async def test_an_address_has_a_place_before_another_has_two(
    node: Node, database: Database
) -> None:
    await node.record(a_report())
    await note(node, tried("known")._replace(ip="192.0.2.1"), tried("other")._replace(ip="::1"))
    for number in range(1, 9):
        await note(node, tried(f"key{number}", at=WALL_AT + number))
    kept = [row[1] for row in database.rows(KEYS)]
    assert kept == ["known", "other", "key6", "key7", "key8"]
    for number in range(1, 9):
        one = tried(f"late{number}", at=WALL_AT + 10 + number)
        await note(node, one._replace(ip=f"198.51.100.{number}"))
    kept = [row[1] for row in database.rows(KEYS)]
    assert kept == ["known", "late5", "late6", "late7", "late8"]


@pytest.mark.parametrize(
    "ips, known_ip, places",
    [
        ([], "a", []),
        (["a"] * 7, "b", [0, 1, 2, 3, 4]),
        (["a", "a", "a", "a", "a", "b"], "c", [0, 1, 2, 3, 5]),
        (["a", "b", "c", "d", "e", "f"], "f", [0, 1, 2, 3, 5]),
        (["a", "a", "b", "b", "c", "c"], "x", [0, 1, 2, 3, 4]),
        (["a", "a", "b", "b", "c", "c"], "c", [0, 1, 2, 4, 5]),
        # All of a network of IPv6 is one; an address of IPv4 is what it is, however written.
        ([f"fd00::{n}" for n in range(5)] + ["fd00:0:0:1::1"], "x", [0, 1, 2, 3, 5]),
        ([f"::ffff:192.0.2.{n}" for n in range(6)], "192.0.2.5", [0, 1, 2, 3, 5]),
        (["fe80::1%eth0"] * 5 + [""], "x", [0, 1, 2, 3, 5]),
    ],
)
def test_which_keys_are_kept(ips: list[str], known_ip: str, places: list[int]) -> None:
    assert chosen(ips, known_ip) == places


@pytest_twisted.ensureDeferred
async def test_there_is_an_end_to_all_of_them(
    node: Node, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejected_keys, "ROWS_MAX", 4)
    await node.record(*(a_report(name=f"web{number}") for number in range(1, 7)))
    for server_id in range(1, 7):
        await note(node, tried(server_id=server_id, at=WALL_AT + server_id))
    assert [row[0] for row in database.rows(KEYS)] == [3, 4, 5, 6]


@pytest_twisted.ensureDeferred
async def test_old_ones_are_forgotten(node: Node, database: Database) -> None:
    await node.record(a_report(), a_report(name="web2"))
    await note(node, tried())
    node.clock.advance(KEPT_S + 1)
    assert await find(node) == []
    assert await titles(node) == []
    await note(node, tried(server_id=2, at=node.clock.wall()))
    assert [row[0] for row in database.rows(KEYS)] == [2]


@pytest_twisted.ensureDeferred
async def test_what_goes_with_its_server(node: Node, database: Database) -> None:
    await node.record(a_report())
    await note(node, tried())
    await node.store.write("delete", node.recorder.delete_server, 1)
    assert database.rows(KEYS) == []
    await note(node, tried())
    assert database.rows(KEYS) == []
