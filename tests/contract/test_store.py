"""What `Store.write` and `Store.read` promise."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from contract.conftest import Stores
from contract.nodes import Database
from twisted.internet.defer import ensureDeferred, gatherResults

from overc.daemon.store.engine import Store, Transaction
from overc.daemon.store.errors import StorageError

NAMES = "select name from servers order by id"
COLUMNS = ("name", "title", "key_derivation", "ip", "registered_at")


def add(tx: Transaction, *names: str, ip: str = "") -> list[int]:
    return tx.insert("servers", COLUMNS, [(name, name, "k", ip, 1.5) for name in names])


def names(tx: Transaction) -> list[str]:
    return [name for (name,) in tx.fetch(NAMES)]


@pytest_twisted.ensureDeferred
async def test_what_was_written_is_seen_from_elsewhere(database: Database, store: Store) -> None:
    ids = await store.write("add servers", add, "a", "b", ip="192.0.2.7")
    assert database.rows("select id, name, ip, registered_at from servers order by id") == [
        (ids[0], "a", "192.0.2.7", 1.5),
        (ids[1], "b", "192.0.2.7", 1.5),
    ]


@pytest_twisted.ensureDeferred
async def test_a_read_sees_each_write_that_has_returned(store: Store) -> None:
    for n in range(20):
        await store.write("add a server", add, str(n))
        assert len(await store.read("read", names)) == n + 1


@pytest_twisted.ensureDeferred
async def test_a_read_sees_what_others_have_committed(database: Database, store: Store) -> None:
    await store.write("add a server", add, "a")
    assert await store.read("read", names) == ["a"]
    database.rows("update servers set name = 'b'")
    assert await store.read("read", names) == ["b"]


@pytest_twisted.ensureDeferred
async def test_a_read_sees_one_moment(database: Database, store: Store) -> None:
    await store.write("add a server", add, "a")

    def twice(tx: Transaction) -> list[list[str]]:
        before = names(tx)
        database.rows("update servers set name = 'b'")
        return [before, names(tx)]

    assert await store.read("read", twice) == [["a"], ["a"]]


@pytest_twisted.ensureDeferred
async def test_a_read_can_not_write(database: Database, store: Store) -> None:
    with pytest.raises(StorageError, match=r"^Unable to look: .*(readonly|READ ONLY)"):
        await store.read("look", add, "a")
    assert database.rows(NAMES) == []


@pytest_twisted.ensureDeferred
async def test_an_exception_leaves_nothing(database: Database, store: Store) -> None:
    def fail(tx: Transaction) -> None:
        add(tx, "a")
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        await store.write("add a server", fail)
    assert database.rows(NAMES) == []
    # And the connection is as good as before.
    await store.write("add a server", add, "b")
    assert database.rows(NAMES) == [("b",)]


@pytest_twisted.ensureDeferred
async def test_an_error_of_the_database_is_a_sentence(database: Database, store: Store) -> None:
    def fail(tx: Transaction) -> None:
        add(tx, "a")
        tx.execute("insert into nowhere values (1)")

    def look(tx: Transaction) -> None:
        tx.fetch("select * from nowhere")

    with pytest.raises(StorageError, match=r"^Unable to do this: .*nowhere"):
        await store.write("do this", fail)
    with pytest.raises(StorageError, match=r"^Unable to look: .*nowhere"):
        await store.read("look", look)
    assert database.rows(NAMES) == []
    await store.write("add a server", add, "b")


@pytest_twisted.ensureDeferred
async def test_a_reference_to_nothing_is_refused(database: Database, store: Store) -> None:
    def fail(tx: Transaction) -> None:
        tx.insert("services", ("server_id", "name", "title"), [(77, "a", "a")])

    with pytest.raises(StorageError, match="Unable to add a service"):
        await store.write("add a service", fail)
    assert database.rows("select * from services") == []


@pytest_twisted.ensureDeferred
async def test_writes_run_one_after_the_other(database: Database, store: Store) -> None:
    def count(tx: Transaction) -> None:
        [(n,)] = tx.fetch("select count(*) from servers")
        add(tx, str(n))

    await gatherResults([ensureDeferred(store.write("count", count)) for _ in range(30)])
    assert database.rows(NAMES) == [(str(n),) for n in range(30)]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
@pytest_twisted.ensureDeferred
async def test_half_characters_are_never_stored(
    database: Database, store: Store, text: str
) -> None:
    def write(tx: Transaction) -> Any:
        add(tx, "before")
        add(tx, text)

    with pytest.raises((StorageError, UnicodeEncodeError)):
        await store.write("add a server", write)
    assert database.rows(NAMES) == []
    await store.write("add a server", add, "good")
    assert database.rows(NAMES) == [("good",)]


@pytest_twisted.ensureDeferred
async def test_opening_again_keeps_everything(
    database: Database, store: Store, stores: Stores
) -> None:
    await store.write("add a server", add, "a")
    stores.close(store)
    again = await stores.open(database)
    assert await again.read("read", names) == ["a"]


@pytest_twisted.ensureDeferred
async def test_what_is_not_open_says_so(maria: Any) -> None:
    store = maria.store()
    for use in (store.write, store.read):
        with pytest.raises(StorageError, match="Unable to look: there is no connection"):
            await use("look", names)
