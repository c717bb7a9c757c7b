"""What the store makes of locks and lost connections, with real ones."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from pymysql.connections import Connection
from support.mariadb import MariaDb, Schema
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from overc.daemon.store import mysql
from overc.daemon.store.engine import Transaction
from overc.daemon.store.errors import StorageError
from overc.daemon.store.mysql import MysqlStore
from overc.daemon.store.mysql_connection import SharedTlsConnection

COLUMNS = ("id", "name", "title", "key_derivation", "ip", "registered_at")
ADD = "update servers set registered_at = registered_at + 1 where id = %s"


@pytest.fixture
def store(schema: Schema) -> Iterator[MysqlStore]:
    store = MysqlStore(reactor, schema.address, str)
    pytest_twisted.blockon(ensureDeferred(store.open()))
    yield store
    store.close()


def add_two(tx: Transaction) -> None:
    tx.insert("servers", COLUMNS, [(n, f"web{n}", "", "", "", 0.0) for n in (1, 2)])


class Rival:
    """A transaction of somebody else's that holds row 2 and then wants row 1."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.holds, self.wants = threading.Event(), threading.Event()
        self.weight = 50

    def run(self) -> None:
        with self._schema.connected() as connection, connection.cursor() as cursor:
            # The server ends the lighter of two transactions that lock each other out.
            for n in range(self.weight):
                cursor.execute("insert into states (service_id, received_at, seen_at, state, info)"
                               " values (1, 0, 0, 'OK', %s)", (str(n),))  # fmt: skip
            cursor.execute(ADD, (2,))
            self.holds.set()
            assert self.wants.wait(30)
            cursor.execute(ADD, (1,))
            connection.commit()


@pytest_twisted.ensureDeferred
async def test_after_a_deadlock_all_of_it_runs_again(schema: Schema, store: MysqlStore) -> None:
    await store.write("add", add_two)
    rival = Rival(schema)
    rivalry = deferToThread(rival.run)
    await deferToThread(rival.holds.wait, 30)
    runs: list[str] = []

    def interaction(tx: Transaction) -> str:
        runs.append("begun")
        tx.execute(ADD.replace("%s", "?"), 1)
        rival.wants.set()
        tx.execute(ADD.replace("%s", "?"), 2)
        runs.append("ended")
        return "done"

    assert await store.write("count", interaction) == "done"
    await rivalry
    assert runs == ["begun", "begun", "ended"]
    assert schema.rows("select registered_at from servers order by id") == [(2.0,), (2.0,)]


@pytest_twisted.ensureDeferred
async def test_it_runs_again_five_times_at_most(
    schema: Schema, store: MysqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql, "RETRY_S", 0.001)
    runs: list[int] = []

    def interaction(tx: Transaction) -> None:
        runs.append(1)
        tx.insert("servers", COLUMNS, [(n, "same", "", "", "", 0.0) for n in (1, 2)])

    with pytest.raises(StorageError, match="Unable to add: Duplicate entry"):
        await store.write("add", interaction)
    assert len(runs) == 6
    assert schema.rows("select * from servers") == []


@pytest_twisted.ensureDeferred
async def test_locks_are_not_waited_for_without_end(
    schema: Schema, store: MysqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write("add", add_two)
    monkeypatch.setattr(mysql, "WAIT_S", 1.0)
    with schema.connected() as connection, connection.cursor() as cursor:
        cursor.execute(ADD, (1,))
        with pytest.raises(StorageError, match="Lock wait timeout exceeded"):
            await store.write("count", lambda tx: tx.execute(ADD.replace("%s", "?"), 1))
    assert schema.rows("select registered_at from servers order by id") == [(0.0,), (0.0,)]
    await store.write("count", lambda tx: tx.execute(ADD.replace("%s", "?"), 1))


@pytest_twisted.ensureDeferred
async def test_what_comes_too_late_is_not_begun(
    store: MysqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql, "WAIT_S", -1.0)
    runs: list[int] = []
    with pytest.raises(StorageError, match="Unable to add: the database did not answer in time"):
        await store.write("add", lambda tx: runs.append(1))
    assert runs == []


@pytest.mark.parametrize("use", ["write", "read"])
@pytest_twisted.ensureDeferred
async def test_a_killed_connection_is_answered_by_another(
    mariadb: MariaDb, schema: Schema, store: MysqlStore, use: str
) -> None:
    run: Any = getattr(store, use)

    def connection_id(tx: Transaction) -> int:
        [(id_,)] = tx.fetch("select connection_id()")
        return int(id_)

    runs: list[int] = []

    def interaction(tx: Transaction) -> int:
        runs.append(connection_id(tx))
        if len(runs) == 1:
            mariadb.admin(f"kill {runs[0]}")
        return connection_id(tx)

    # Idle, in the middle, and twice.
    mariadb.admin(f"kill {await run('look', connection_id)}")
    found = await run("look", interaction)
    assert found == runs[1] != runs[0]
    assert len(runs) == 2


@pytest_twisted.ensureDeferred
async def test_a_server_that_dies_in_a_transaction(
    mariadb: MariaDb, schema: Schema, store: MysqlStore
) -> None:
    runs: list[int] = []

    def interaction(tx: Transaction) -> None:
        add_two(tx)
        runs.append(1)
        if len(runs) == 1:
            mariadb.kill()
            mariadb.start()

    await store.write("add", interaction)
    assert len(runs) == 2
    assert schema.rows("select name from servers order by id") == [("web1",), ("web2",)]


def nothing(tx: Transaction) -> None:
    tx.fetch("select 1")


@pytest_twisted.ensureDeferred
async def test_attempts_to_connect_read_the_certificates_once(
    mariadb: MariaDb, store: MysqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ssl.SSLContext] = []
    attempts: list[int] = []
    make, connect = ssl.create_default_context, Connection.connect

    def make_context(*args: Any, **named: Any) -> ssl.SSLContext:
        made.append(make(*args, **named))
        return made[-1]

    def try_to_connect(self: Connection, *args: Any) -> None:
        attempts.append(1)
        connect(self, *args)

    monkeypatch.setattr(ssl, "create_default_context", make_context)
    monkeypatch.setattr(Connection, "connect", try_to_connect)
    monkeypatch.setattr(SharedTlsConnection, "_context", None)
    mariadb.kill()
    for _ in range(2):
        with pytest.raises(StorageError, match="Connection refused"):
            await store.read("ask", nothing)
    assert len(attempts) == 2 * (1 + mysql.RETRIES_LOST)
    assert len(made) == 1
