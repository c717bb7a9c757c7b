"""The store in a SQLite file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any, Concatenate

from twisted.enterprise import adbapi
from twisted.internet.threads import deferToThread

from overc.daemon.store.checkpoints import Checkpoints
from overc.daemon.store.engine import P, T, Transaction
from overc.daemon.store.errors import StorageError
from overc.daemon.store.migrations import migrate_sqlite
from overc.logging import get_logger

log = get_logger(__name__)

READERS = 2


class SqliteStore:
    """A SQLite file in WAL mode; every commit is synced to the disk before it is answered."""

    may_be_away = False

    def __init__(self, path: str, fatal: Callable[[str], None]) -> None:
        """`fatal` is called with a sentence when the database must not be written to any more."""
        self.path = path
        self._fatal = fatal
        self._opened = False
        self._writer = self._pool("overc-writer", 1, _open_writer)
        self._readers = self._pool("overc-readers", READERS, _open_reader)
        self._checkpointer = self._pool("overc-checkpointer", 1, _open_checkpointer)
        self._checkpoints = Checkpoints(
            path, self._writer, self._checkpointer, self._on_failed_checkpoint
        )

    async def open(self) -> None:
        await deferToThread(prepare, self.path)
        self._writer.start()
        self._readers.start()
        self._checkpointer.start()
        self._opened = True

    def close(self) -> None:
        self._opened = False
        self._checkpoints.close()
        self._writer.close()
        self._readers.close()
        self._checkpointer.close()

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

        result = await self._run(self._writer, description, begin)
        self._checkpoints.after_commit()
        return result

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

    def _on_failed_checkpoint(self, error: sqlite3.Error) -> None:
        self._end_on_failed_sync(error)
        log.warn("the write-ahead log of {path} grows: {error}", path=self.path, error=error)

    def _end_on_failed_sync(self, error: sqlite3.Error) -> None:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_FSYNC":
            # The kernel reports a failed sync once and forgets it: what comes after would seem
            # to be durable, on top of pages that never reached the disk.
            self._fatal(f"the disk failed under the database {self.path}: {error}")

    async def _run(
        self, pool: adbapi.ConnectionPool, description: str, begin: Callable[[Any], T]
    ) -> T:
        if not self._opened:
            raise StorageError(f"Unable to {description}: the database is not open")
        try:
            result: T = await pool.runInteraction(begin)
        except sqlite3.Error as e:
            self._end_on_failed_sync(e)
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


def prepare(path: str) -> None:
    """Create or upgrade a database file. Blocks. Raises StorageError with a sentence."""
    try:
        # For its owner alone: it holds what keys can be guessed from.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            _open_writer(connection)
            migrate_sqlite(connection, path)
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as e:
        reason = e.strerror if isinstance(e, OSError) else e
        raise StorageError(f"the database {path} can't be opened: {reason}") from e


def _open_writer(connection: sqlite3.Connection) -> None:
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma wal_autocheckpoint = 0")
    connection.execute("pragma cache_size = -65536")


def _open_checkpointer(connection: sqlite3.Connection) -> None:
    connection.execute("pragma synchronous = full")


def _open_reader(connection: sqlite3.Connection) -> None:
    connection.execute("pragma query_only = on")
