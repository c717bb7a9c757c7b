"""Runs functions in transactions, in database threads, through adbapi.

Note [Writer and readers]
~~~~~~~~~~~~~~~~~~~~~~~~~
SQLite takes one writer at a time. One pool of one connection writes, so writers queue here, in
order and without a time-out, instead of fighting for the file's lock; another pool reads beside it
on snapshots, so that a page never holds up a report.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from twisted.enterprise import adbapi
from twisted.internet.threads import deferToThread

from overc.daemon.store.errors import StorageError
from overc.daemon.store.migrations import migrate_sqlite

P = ParamSpec("P")
T = TypeVar("T")
Row = tuple[Any, ...]

READERS = 2
PARAMETERS_MAX = 900
"""At most so many values in one statement: the least that any supported SQLite takes is 999."""


class Transaction:
    """What a function in a database thread gets: SQL in, rows out. Parameters are `?`."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, sql: str, *values: Any) -> int:
        """Run one statement and return the number of rows that it changed."""
        self._cursor.execute(sql, values)
        return int(self._cursor.rowcount)

    def fetch(self, sql: str, *values: Any) -> list[Row]:
        self._cursor.execute(sql, values)
        rows: list[Row] = self._cursor.fetchall()
        return rows

    def fetch_in(self, sql: str, keys: Iterable[Any], *values: Any) -> list[Row]:
        """Run a query with `in (:keys)` for any number of keys, after its other values."""
        found: list[Row] = []
        for chunk in _chunks(list(keys), PARAMETERS_MAX - len(values)):
            marks = ",".join("?" * len(chunk))
            found += self.fetch(sql.replace(":keys", marks), *values, *chunk)
        return found

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> list[int]:
        """Insert rows by as few statements as can be; return their ids in order."""
        ids: list[int] = []
        for chunk in _chunks(rows, PARAMETERS_MAX // len(columns)):
            one = f"({','.join('?' * len(columns))})"
            sql = f"insert into {table} ({','.join(columns)}) values {','.join([one] * len(chunk))}"
            self._cursor.execute(sql, [value for row in chunk for value in row])
            # There is one writer, so the ids of one statement follow each other.
            last = int(self._cursor.lastrowid)
            ids += range(last - len(chunk) + 1, last + 1)
        return ids

    def execute_many(self, sql: str, rows: Sequence[Row]) -> None:
        if rows:
            self._cursor.executemany(sql, rows)


def _chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))


class Store(Protocol):
    """The port that everything above the store uses."""

    async def write(
        self,
        description: str,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a function in a transaction that may write, and return what it returned.

        It is durable when this returns. `description` completes "Unable to ..." in the StorageError
        that is raised when the database fails; nothing is stored then, nor when the function
        raises something of its own.
        """
        ...

    async def read(
        self,
        description: str,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The same on a snapshot that is only read."""
        ...


class SqliteStore:
    """A SQLite file in WAL mode; every commit is synced to the disk before it is answered."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._writer = self._pool("overc-writer", 1, _open_writer)
        self._readers = self._pool("overc-readers", READERS, _open_reader)

    async def open(self) -> None:
        """Create or upgrade the tables and start the threads. Raises StorageError."""
        try:
            await deferToThread(prepare_sqlite, self.path)
        except (sqlite3.Error, OSError) as e:
            raise StorageError(f"Unable to open the database {self.path}: {e}") from e
        self._writer.start()
        self._readers.start()

    def close(self) -> None:
        """End the threads after the transactions that they have begun."""
        self._writer.close()
        self._readers.close()

    async def write(
        self,
        description: str,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        def begin(cursor: Any) -> T:
            # A transaction that starts by reading fails at once if somebody writes meanwhile.
            cursor.execute("begin immediate")
            return interaction(Transaction(cursor), *args, **kwargs)

        return await self._run(self._writer, description, begin)

    async def read(
        self,
        description: str,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        def begin(cursor: Any) -> T:
            cursor.execute("begin")
            return interaction(Transaction(cursor), *args, **kwargs)

        return await self._run(self._readers, description, begin)

    async def _run(
        self, pool: adbapi.ConnectionPool, description: str, begin: Callable[[Any], T]
    ) -> T:
        try:
            result: T = await pool.runInteraction(begin)
        except sqlite3.Error as e:
            raise StorageError(f"Unable to {description}: {e}") from e
        return result

    def _pool(self, name: str, size: int, opened: Callable[[Any], None]) -> adbapi.ConnectionPool:
        return adbapi.ConnectionPool(
            "sqlite3",
            self.path,
            isolation_level=None,  # transactions begin where we say so
            check_same_thread=False,
            timeout=10,
            cp_name=name,
            cp_min=size,
            cp_max=size,
            cp_openfun=opened,
            cp_noisy=False,
        )


def prepare_sqlite(path: str) -> None:
    """Create or upgrade a database file. Blocks. Raises sqlite3.Error, OSError, StorageRefused."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        _open_writer(connection)
        migrate_sqlite(connection, path)
    finally:
        connection.close()


def _open_writer(connection: sqlite3.Connection) -> None:
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("pragma foreign_keys = on")


def _open_reader(connection: sqlite3.Connection) -> None:
    connection.execute("pragma query_only = on")
