from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event, get_ident
from typing import Any

import pytest
import pytest_twisted
from support_daemon import rows
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from overc.daemon.store.engine import CHUNKS, Transaction
from overc.daemon.store.errors import StorageError, StorageRefused
from overc.daemon.store.records import STATE_COLUMNS
from overc.daemon.store.sqlite import SqliteStore, prepare

WAIT_S = 30.0
"""Only a test that fails waits for so long."""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "overc.db")


def fatal(sentence: str) -> None:
    raise AssertionError(sentence)


@pytest.fixture
def opened(path: str) -> Iterator[SqliteStore]:
    store = SqliteStore(path, fatal)
    pytest_twisted.blockon(ensureDeferred(store.open()))
    yield store
    store.close()


def add(tx: Transaction, name: str) -> int:
    columns = ("name", "title", "key_derivation", "ip", "registered_at")
    [id_] = tx.insert("servers", columns, [(name, name, "k", "ip", 1.0)])
    return id_


def names(tx: Transaction) -> list[str]:
    return [name for (name,) in tx.fetch("select name from servers order by id")]


@pytest_twisted.ensureDeferred
async def test_what_was_written_is_in_the_file(opened: SqliteStore, path: str) -> None:
    assert await opened.write("add", add, "web1") == 1
    assert rows(path, "select name from servers") == [("web1",)]
    assert await opened.read("list", names) == ["web1"]


@pytest_twisted.ensureDeferred
async def test_arguments_by_name(opened: SqliteStore) -> None:
    assert await opened.write("add", add, name="web1") == 1


@pytest_twisted.ensureDeferred
async def test_every_commit_is_durable(opened: SqliteStore) -> None:
    def look(tx: Transaction) -> list[Any]:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        return [tx.fetch(f"pragma {name}")[0][0] for name in pragmas]

    full = 2
    assert await opened.write("look", look) == ["wal", full, 1]


@pytest_twisted.ensureDeferred
async def test_a_function_that_raises_leaves_nothing(opened: SqliteStore) -> None:
    def spoil(tx: Transaction) -> None:
        add(tx, "web1")
        raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        await opened.write("spoil", spoil)
    assert await opened.read("list", names) == []
    await opened.write("add", add, "web2")
    assert await opened.read("list", names) == ["web2"]


@pytest_twisted.ensureDeferred
async def test_a_driver_error_says_what_could_not_be_done(opened: SqliteStore) -> None:
    def twice(tx: Transaction) -> None:
        add(tx, "web1")
        add(tx, "web1")

    with pytest.raises(StorageError) as raised:
        await opened.write("add it twice", twice)
    assert str(raised.value) == "Unable to add it twice: UNIQUE constraint failed: servers.name"
    assert await opened.read("list", names) == []
    with pytest.raises(StorageError, match=r"^Unable to guess: no such table: nonsense$"):
        await opened.read("guess", Transaction.fetch, "select * from nonsense")


@pytest_twisted.ensureDeferred
async def test_readers_only_read(opened: SqliteStore) -> None:
    with pytest.raises(StorageError, match=r"^Unable to cheat: attempt to write a readonly"):
        await opened.read("cheat", add, "web1")
    assert await opened.write("list", names) == []


@pytest_twisted.ensureDeferred
async def test_a_reader_sees_one_snapshot_while_a_writer_writes(opened: SqliteStore) -> None:
    await opened.write("add", add, "web1")
    has_read, has_written = Event(), Event()

    def look_twice(tx: Transaction) -> list[list[str]]:
        first = names(tx)
        has_read.set()
        assert has_written.wait(WAIT_S)
        return [first, names(tx)]

    def add_between(tx: Transaction) -> None:
        assert has_read.wait(WAIT_S)
        add(tx, "web2")

    looking = ensureDeferred(opened.read("look twice", look_twice))
    await opened.write("add", add_between)
    has_written.set()
    assert await looking == [["web1"], ["web1"]]
    assert await opened.read("list", names) == ["web1", "web2"]


@pytest_twisted.ensureDeferred
async def test_a_reader_does_not_wait_for_a_writer(opened: SqliteStore) -> None:
    begun, may_end = Event(), Event()

    def slow(tx: Transaction) -> None:
        add(tx, "web1")
        begun.set()
        assert may_end.wait(WAIT_S)

    writing = ensureDeferred(opened.write("be slow", slow))

    def look(tx: Transaction) -> list[str]:
        assert begun.wait(WAIT_S)
        return names(tx)

    assert await opened.read("list", look) == []
    may_end.set()
    await writing
    assert await opened.read("list", names) == ["web1"]


@pytest_twisted.ensureDeferred
async def test_writers_queue_in_order(opened: SqliteStore) -> None:
    def read_then_add(tx: Transaction, name: str) -> int:
        names(tx)
        add(tx, name)
        return get_ident()

    wanted = [f"web{number}" for number in range(20)]
    writing: list[Deferred[int]] = [
        ensureDeferred(opened.write("add", read_then_add, name)) for name in wanted
    ]
    threads = await gatherResults(writing)
    assert len(set(threads)) == 1
    assert await opened.read("list", names) == wanted


@pytest_twisted.ensureDeferred
async def test_another_process_that_writes_meanwhile(opened: SqliteStore, path: str) -> None:
    """A transaction that began by reading would fail here, whatever the time-out."""
    begun, may_go_on = Event(), Event()

    def read_then_write(tx: Transaction) -> None:
        names(tx)
        begun.set()
        assert may_go_on.wait(WAIT_S)
        add(tx, "web1")

    writing = ensureDeferred(opened.write("read, then write", read_then_write))

    def meddle(tx: Transaction) -> str:
        assert begun.wait(WAIT_S)
        other = sqlite3.connect(path, timeout=0)
        try:
            other.execute("update servers set ip = 'x'")
            other.commit()
        except sqlite3.OperationalError as e:
            return str(e)
        else:
            return "got in"
        finally:
            other.close()

    refused = await opened.read("meddle", meddle)
    may_go_on.set()
    await writing
    assert refused == "database is locked"


@pytest_twisted.ensureDeferred
async def test_close_waits_for_what_has_begun(path: str) -> None:
    store = SqliteStore(path, fatal)
    await store.open()
    begun = Event()

    def slow(tx: Transaction) -> None:
        begun.set()
        add(tx, "web1")

    writing = ensureDeferred(store.write("add", slow))
    assert begun.wait(WAIT_S)
    store.close()
    assert rows(path, "select name from servers") == [("web1",)]
    await writing


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b"not a database" * 100), "file is not a database"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_file_that_is_no_database(
    path: str, spoil: Callable[[Path], object], reason: str
) -> None:
    spoil(Path(path))
    with pytest.raises(StorageError) as raised:
        await SqliteStore(path, fatal).open()
    assert str(raised.value) == f"the database {path} can't be opened: {reason}"


@pytest_twisted.ensureDeferred
async def test_a_newer_database_is_refused(path: str) -> None:
    prepare(path)
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version = 999")
    connection.close()
    with pytest.raises(StorageRefused, match="is of schema version 999, this OverC knows "):
        await SqliteStore(path, fatal).open()


@pytest_twisted.ensureDeferred
async def test_before_and_after_it_is_open_it_says_so(path: str) -> None:
    store = SqliteStore(path, fatal)

    async def refused() -> None:
        with pytest.raises(StorageError, match=r"^Unable to add: the database is not open$"):
            await store.write("add", add, "web1")
        with pytest.raises(StorageError, match=r"^Unable to list: the database is not open$"):
            await store.read("list", names)

    await refused()
    await store.open()
    store.close()
    await refused()


class SyncError(sqlite3.OperationalError):
    sqlite_errorname = "SQLITE_IOERR_FSYNC"


@pytest_twisted.ensureDeferred
async def test_a_sync_that_failed_is_the_end(path: str) -> None:
    """The kernel forgets it, and what is written afterwards only seems to be durable."""
    said: list[str] = []
    store = SqliteStore(path, said.append)
    await store.open()

    def fail(tx: Transaction, error: type[Exception]) -> None:
        raise error("disk I/O error")

    with pytest.raises(StorageError):
        await store.write("add", fail, sqlite3.OperationalError)
    assert said == []
    with pytest.raises(StorageError, match=r"^Unable to add: disk I/O error$"):
        await store.write("add", fail, SyncError)
    assert said == [f"the disk failed under the database {path}: disk I/O error"]
    store.close()


def test_the_file_is_for_its_owner_alone(path: str) -> None:
    prepare(path)
    assert Path(path).stat().st_mode & 0o777 == 0o600


class SpyCursor:
    """Counts the values of each statement and passes it on."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self.counts: list[int] = []
        self.texts: set[str] = set()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        self.counts.append(len(values))
        self.texts.add(sql)
        self._cursor.execute(sql, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@pytest.fixture
def spy() -> Iterator[SpyCursor]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("create table t (id integer primary key autoincrement, a, b, c)")
    yield SpyCursor(connection.cursor())
    connection.close()


SIZES = [0, 1, 2, 7, 8, 9, 64, 65, 511, 512, 513, 1024, 1999]


def statements_to_insert(count: int) -> int:
    """Return how many statements take so many rows, the largest ones first."""
    statements = 0
    for size in CHUNKS:
        statements += count // size
        count %= size
    return statements


@pytest.mark.parametrize("count", SIZES)
def test_insert_in_chunks_with_ids_in_order(spy: SpyCursor, count: int) -> None:
    tx = Transaction(spy)
    [first] = tx.insert("t", ("a",), [("before",)])
    spy.counts.clear()
    ids = tx.insert("t", ("a", "b", "c"), [(number, "x", None) for number in range(count)])
    assert len(spy.counts) == statements_to_insert(count)
    assert ids == list(range(first + 1, first + 1 + count))
    stored = tx.fetch("select id, a from t where id > ? order by id", first)
    assert stored == list(zip(ids, range(count), strict=True))


@pytest.mark.parametrize("count", SIZES)
def test_a_query_for_many_keys_in_chunks(spy: SpyCursor, count: int) -> None:
    tx = Transaction(spy)
    tx.insert("t", ("a", "b"), [(number, number % 2) for number in range(count + 5)])
    spy.counts.clear()
    wanted = range(1, count + 1)
    found = tx.fetch_in("select a from t where b >= ? and a in (:keys)", iter(wanted), 0)
    # The last chunk is filled up, and still no row is found twice.
    assert sorted(found) == [(number,) for number in wanted]
    assert len(spy.counts) == -(-count // CHUNKS[0])
    assert {one - 1 for one in spy.counts} <= {*CHUNKS}
    odd = tx.fetch_in("select a from t where b = ? and a in (:keys)", wanted, 1)
    assert len(odd) == len([number for number in wanted if number % 2])


@pytest.mark.parametrize("count", SIZES)
def test_update_in_chunks(spy: SpyCursor, count: int) -> None:
    tx = Transaction(spy)
    ids = tx.insert("t", ("a", "b", "c"), [(number, "b", "c") for number in range(count + 3)])
    spy.counts.clear()
    tx.update("t", ("id", "a", "c"), [(id_, -id_, None) for id_ in ids[:count]])
    assert len(spy.counts) == -(-count // CHUNKS[0])
    assert {one / 3 for one in spy.counts} <= {*CHUNKS}
    stored = tx.fetch("select id, a, b, c from t order by id")
    assert stored[:count] == [(id_, -id_, "b", None) for id_ in ids[:count]]
    assert stored[count:] == [(id_, number, "b", "c") for number, id_ in enumerate(ids)][count:]


@pytest.mark.parametrize("count", SIZES)
def test_delete_in_chunks(spy: SpyCursor, count: int) -> None:
    tx = Transaction(spy)
    ids = tx.insert("t", ("a",), [(number,) for number in range(count + 3)])
    spy.counts.clear()
    tx.delete("t", ids[:count])
    assert len(spy.counts) == -(-count // CHUNKS[0])
    assert {*spy.counts} <= {*CHUNKS}
    assert tx.fetch("select id from t order by id") == [(id_,) for id_ in ids[count:]]


def test_the_texts_of_statements_are_few(spy: SpyCursor) -> None:
    """SQLite keeps compiled what it was asked before."""
    tx = Transaction(spy)
    for count in range(1, 600, 7):
        ids = tx.insert("t", ("a",), [(number,) for number in range(count)])
        tx.update("t", ("id", "b"), [(id_, 1) for id_ in ids])
        tx.fetch_in("select a from t where id in (:keys)", ids)
        tx.delete("t", ids)
    assert len(spy.texts) <= 4 * len(CHUNKS)


def test_no_statement_is_too_large_for_an_old_sqlite() -> None:
    # Its limit is 32,766 since 3.32; the widest row is one of the history or of a service.
    assert CHUNKS[0] * max(len(STATE_COLUMNS), 9) < 8192


def test_execute_counts_the_changed_rows(spy: SpyCursor) -> None:
    tx = Transaction(spy)
    tx.insert("t", ("a", "b"), [(number, number % 2) for number in range(10)])
    assert tx.execute("update t set c = ? where b = ?", "x", 1) == 5
    assert tx.execute("update t set c = ? where b = ?", "x", 7) == 0
