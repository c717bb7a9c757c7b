"""What a `Transaction` promises for many rows at once."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import pytest_twisted
from contract.conftest import Stores
from contract.nodes import Database, MariaDatabase
from support.mariadb import MariaDb

from overc.daemon.store.engine import Store, Transaction
from overc.daemon.store.errors import StorageError

COUNTS = [0, 1, 2, 7, 8, 9, 63, 64, 65, 73, 511, 512, 513, 1100]
STATES = ("service_id", "previous_id", "received_at", "seen_at", "state", "info")


def add(tx: Transaction, count: int) -> list[int]:
    rows = [(n, None, float(n), n + 0.25, "OK", f"info {n}") for n in range(count)]
    return tx.insert("states", STATES, rows)


@pytest.mark.parametrize("count", COUNTS)
@pytest_twisted.ensureDeferred
async def test_ids_belong_to_their_rows(database: Database, store: Store, count: int) -> None:
    await store.write("add", add, 3)
    ids = await store.write("add", add, count)
    assert len(set(ids)) == count
    assert ids == sorted(ids)
    assert dict(database.rows("select id, info from states where id > 3")) == {
        id_: f"info {n}" for n, id_ in enumerate(ids)
    }


@pytest.mark.parametrize("count", COUNTS)
@pytest_twisted.ensureDeferred
async def test_rows_are_found_by_keys(store: Store, count: int) -> None:
    await store.write("add", add, 1200)
    wanted = [f"info {n}" for n in random.Random(count).sample(range(1200), count)]

    def find(tx: Transaction) -> list[str]:
        sql = "select info from states where seen_at > ? and info in (:keys)"
        return [info for (info,) in tx.fetch_in(sql, wanted, -1.0)]

    # The last chunk is filled up with a key that stands there already: no row comes twice.
    assert sorted(await store.read("find", find)) == sorted(wanted)


@pytest.mark.parametrize("count", COUNTS)
@pytest_twisted.ensureDeferred
async def test_rows_are_updated_each_by_its_id(
    database: Database, store: Store, count: int
) -> None:
    ids = await store.write("add", add, 1200)
    chosen = random.Random(count).sample(ids, count)

    def update(tx: Transaction) -> None:
        rows = [(id_, "FAIL", f"new {id_}", None) for id_ in chosen]
        tx.update("services", ("id", "state", "title", "period_s"), rows)

    await store.write("add a server", _add_services, ids)
    await store.write("update", update)
    found = database.rows("select id, state, title, period_s, name from services")
    expected = {
        (id_, "FAIL", f"new {id_}", None, f"n{id_}")
        if id_ in set(chosen)
        else (id_, None, "old", 5, f"n{id_}")
        for id_ in ids
    }
    assert len(found) == len(ids)
    assert set(found) == expected


def _add_services(tx: Transaction, ids: list[int]) -> None:
    tx.insert("servers", ("id", "name", "title", "key_derivation", "ip", "registered_at"),
              [(1, "a", "a", "k", "", 1.0)])  # fmt: skip
    rows = [(id_, 1, f"n{id_}", "old", 5) for id_ in ids]
    tx.insert("services", ("id", "server_id", "name", "title", "period_s"), rows)


@pytest.mark.parametrize("count", COUNTS)
@pytest_twisted.ensureDeferred
async def test_rows_are_deleted_by_id(database: Database, store: Store, count: int) -> None:
    ids = await store.write("add", add, 1200)
    chosen = random.Random(count).sample(ids, count)

    def delete(tx: Transaction) -> None:
        tx.delete("states", chosen)

    await store.write("delete", delete)
    assert {id_ for (id_,) in database.rows("select id from states")} == set(ids) - set(chosen)


@pytest_twisted.ensureDeferred
async def test_ids_are_not_given_twice(store: Store) -> None:
    # Whoever asks for what came after an id must not miss a row that took a deleted one's place.
    def add_and_delete(tx: Transaction) -> list[int]:
        ids = add(tx, 5)
        tx.delete("states", ids)
        return ids

    gone = await store.write("add and delete", add_and_delete)
    assert min(await store.write("add", add, 1)) > max(gone)


@pytest_twisted.ensureDeferred
async def test_execute_tells_how_many_rows_it_changed(store: Store) -> None:
    def change(tx: Transaction) -> tuple[int, int]:
        add(tx, 10)
        some = tx.execute("update states set info = ? where seen_at < ?", "x", 5.0)
        return some, tx.execute("delete from states where id < ?", 0)

    assert await store.write("change", change) == (5, 0)


TEXTS = ["\\" * 65536, "'" * 65536, "\N{BUG}" * 16384, "%s ? :keys {0} \0 \x1a \r\n" * 3000]


@pytest.mark.parametrize("text", TEXTS, ids=["backslashes", "quotes", "bugs", "mixture"])
@pytest_twisted.ensureDeferred
async def test_the_longest_texts_go_in_any_number(
    database: Database, store: Store, text: str
) -> None:
    """One statement of all of them would be larger than a MariaDB server takes."""
    rows = [(n, None, 1.0, 1.0, "OK", text) for n in range(300)]

    def add_all(tx: Transaction) -> list[int]:
        return tx.insert("states", STATES, rows)

    ids = await store.write("add", add_all)
    assert len(ids) == 300
    assert database.rows("select service_id from states order by id") == [(n,) for n in range(300)]
    assert database.rows("select distinct info from states") == [(text,)]


@pytest.fixture
def steps_of_three(mariadb: MariaDb) -> Iterator[None]:
    """Give ids as a node of a Galera cluster does: it leaves room for the others'."""
    mariadb.admin("set global auto_increment_increment = 3")
    mariadb.admin("set global auto_increment_offset = 2")
    yield
    mariadb.admin("set global auto_increment_increment = 1")
    mariadb.admin("set global auto_increment_offset = 1")


@pytest.mark.parametrize("count", [1, 9, 600])
@pytest_twisted.ensureDeferred
async def test_ids_are_right_in_a_cluster(
    steps_of_three: None, maria: MariaDatabase, stores: Stores, count: int
) -> None:
    store = await stores.open(maria)
    ids = await store.write("add", add, count)
    assert dict(maria.rows("select id, info from states")) == {
        id_: f"info {n}" for n, id_ in enumerate(ids)
    }
    assert all(id_ % 3 == 2 for id_ in ids)


@pytest_twisted.ensureDeferred
async def test_what_does_not_fit_is_refused(
    maria: MariaDatabase, mariadb: MariaDb, stores: Stores
) -> None:
    """Also by a server that would cut it by itself."""
    mariadb.admin("set global sql_mode = ''")
    try:
        store = await stores.open(maria)

        def add_long(tx: Transaction) -> None:
            tx.insert("states", STATES, [(1, None, 1.0, 1.0, "TOO LONG", "")])

        with pytest.raises(StorageError, match="too long"):
            await store.write("add", add_long)
    finally:
        mariadb.admin("set global sql_mode = default")
    assert maria.rows("select * from states") == []
