"""The store in MariaDB or MySQL, through PyMySQL.

Note [Lost connections]
~~~~~~~~~~~~~~~~~~~~~~~
A server that was restarted, or a network that was cut, leaves connections that fail at their next
use; a server that hangs lets them wait until a time-out. Neither is the caller's business: the
connection is dropped and the interaction runs again on a new one. An interaction that was rolled
back for a deadlock runs again too, after a short random pause. When the connection breaks in the
middle of a commit nobody can know whether it was one; the interaction then runs again as well, and
a report that carries its number in a spool is still stored once.

All of it ends: what has waited for WAIT_S, for its turn or for others' locks, is not begun any
more, and what has begun ends by one of the time-outs. So nobody waits for longer than WAIT_S and
IO_S together, and a server that hung finds no queue of old questions when it goes on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate

import pymysql
from pymysql.constants import CR, ER
from twisted.enterprise import adbapi
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from overc.daemon.store import mysql_connection
from overc.daemon.store.engine import P, T, Transaction
from overc.daemon.store.errors import Stale, StorageError, StorageRefused
from overc.daemon.store.mysql_migrations import DeriveKey, is_current, migrate_mysql
from overc.daemon.store.mysql_transaction import MysqlTransaction
from overc.daemon.store.succession import Succession, TooLate
from overc.daemon.store.urls import MysqlDatabase
from overc.logging import get_logger

CONNECT_S = 5
IO_S = 8
"""A server that says nothing for so long is taken for hung. A Galera cluster that has lost a node
is silent for up to 7 s."""

LOCK_S = 3
"""How long others' locks are waited for: less than IO_S, so that the server is not taken for hung.
Its own default is 50 s."""

WAIT_S = 5.0
"""After so long an interaction is not begun, or begun again, any more. It is less than IO_S: what
ran into that is not tried twice."""

HUNG_S = 1.0
"""A server that took longer to refuse a connection is not asked for another one for so long."""

RETRIES = 5
"""How often an interaction runs again that met another one's locks."""

RETRIES_LOST = 2
"""How often after its connection was lost; the caller is told before it gives up by itself."""

RETRY_S = 0.05
"""The pause before an interaction runs again: so much times its number, and a random half."""

UPGRADE_S = 3600
"""An upgrade of the tables may take its time."""

READERS = 2

WRITERS = 2
"""See Note [Overlapping transactions]. The rules of locks hold for two; more would need others."""

SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"
"""Whatever the server's own is: what does not fit is refused, never cut."""

REFUSED = {
    ER.ACCESS_DENIED_ERROR,
    ER.DBACCESS_DENIED_ERROR,
    ER.TABLEACCESS_DENIED_ERROR,
    ER.COLUMNACCESS_DENIED_ERROR,
    ER.SPECIFIC_ACCESS_DENIED_ERROR,
    ER.BAD_DB_ERROR,
    ER.NOT_SUPPORTED_AUTH_MODE,
    CR.CR_AUTH_PLUGIN_CANNOT_LOAD,
}

AGAIN = {
    ER.LOCK_DEADLOCK,
    ER.LOCK_WAIT_TIMEOUT,
    ER.DUP_ENTRY,  # another node was first to register the same name
    ER.NO_REFERENCED_ROW_2,  # another node has just deleted the server
}
LOST = {
    CR.CR_CONN_HOST_ERROR,
    CR.CR_SERVER_GONE_ERROR,
    CR.CR_SERVER_LOST,
    1047,  # Galera: this node is not part of the cluster now
    1180,  # Galera: it was not at the commit
    1927,  # MariaDB: the connection was killed
    ER.SERVER_SHUTDOWN,
}

log = get_logger(__name__)


class _Connection(adbapi.Connection):
    """A pooled connection that is dropped when it can't roll back.

    adbapi's own writes two tracebacks for each and then hides what had gone wrong in the first
    place behind a ConnectionLost.
    """

    def commit(self) -> None:
        connection: Any = self._connection
        try:
            connection.commit()
        finally:
            self._end()

    def rollback(self) -> None:
        connection: Any = self._connection
        try:
            connection.rollback()
        except pymysql.err.MySQLError:
            self._pool.disconnect(connection)
        finally:
            self._end()

    def _end(self) -> None:
        if self._pool.succession is not None:
            self._pool.succession.end()


class _Pool(adbapi.ConnectionPool):
    """One connection for each thread. A server that hangs is not tried by all who wait in turn."""

    connectionFactory = _Connection
    succession: Succession | None = None
    _hung: tuple[Any, ...] = ()
    _hung_until = 0.0

    def connect(self) -> Any:
        begun_at = time.monotonic()
        connected = self.connections.get(self.threadID()) is not None
        if begun_at < self._hung_until and not connected:
            raise pymysql.err.OperationalError(*self._hung)
        try:
            return super().connect()
        except pymysql.err.MySQLError as e:
            if time.monotonic() - begun_at > HUNG_S:
                self._hung, self._hung_until = e.args, time.monotonic() + HUNG_S
            raise


class MysqlStore:
    """A database on a MariaDB or MySQL server, or on a Galera cluster of them."""

    may_be_away = True

    def __init__(self, reactor: Any, database: MysqlDatabase, derive_key: DeriveKey) -> None:
        self._reactor = reactor
        self._database = database
        self._derive_key = derive_key
        self._writer = self._pool("overc-writer", WRITERS, "isolation level read committed")
        self._writer.succession = Succession()
        self._readers = self._pool(
            "overc-readers", READERS, "isolation level repeatable read, read only"
        )
        self._opened = False
        self._lost = False

    async def open(self) -> None:
        """Raises StorageRefused where trying again is of no use, and StorageError else."""
        await deferToThread(prepare, self._database, self._derive_key)
        self._writer.start()
        self._readers.start()
        self._opened = True

    def close(self) -> None:
        self._opened = False
        self._writer.close()
        self._readers.close()

    async def write(
        self,
        description: str,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return await self._run(
            self._writer, description, lambda tx: interaction(tx, *args, **kwargs)
        )

    async def read(
        self,
        description: str,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return await self._run(
            self._readers, description, lambda tx: interaction(tx, *args, **kwargs)
        )

    async def _run(
        self,
        pool: _Pool,
        description: str,
        interaction: Callable[[Transaction], T],
    ) -> T:
        """Run an interaction, again if need be: see Note [Lost connections]."""
        if not self._opened:
            raise StorageError(f"Unable to {description}: there is no connection to the database")

        # Read in threads, and no part of what is: a real clock, whatever the reactor's is.
        end = time.monotonic() + WAIT_S

        def begin(cursor: Any) -> T:
            if pool.succession is not None:
                pool.succession.wait_for_turn(end)
            elif time.monotonic() > end:
                raise TooLate
            return interaction(MysqlTransaction(cursor, pool.succession, end))

        attempt = 0
        while True:
            try:
                result: T = await pool.runInteraction(begin)
            except Stale:
                if time.monotonic() > end:
                    raise StorageError(f"Unable to {description}: {TooLate()}") from None
            except (pymysql.err.MySQLError, TooLate) as e:
                if _code(e) in LOST:
                    self._note_lost(e)
                attempt += 1
                if attempt > _retries(e) or time.monotonic() > end:
                    raise StorageError(f"Unable to {description}: {_reason(e)}") from e
                pause_s = RETRY_S * attempt * (0.5 + random.random())  # noqa: S311 - no secret
                await deferLater(self._reactor, pause_s)
            else:
                self._note_answer()
                return result

    def _note_lost(self, error: Exception) -> None:
        """Say so once: whatever is under way finds the same."""
        if not self._lost:
            log.error(
                "no connection to the database {database}: {reason}",
                database=self._database,
                reason=_reason(error),
            )
        self._lost = True

    def _note_answer(self) -> None:
        if self._lost:
            log.info("the database {database} answers again", database=self._database)
        self._lost = False

    def _pool(self, name: str, size: int, transactions: str) -> _Pool:
        return _Pool(
            mysql_connection.__name__,
            **connect_arguments(self._database),
            cp_name=name,
            cp_min=size,
            cp_max=size,
            cp_reconnect=True,
            cp_openfun=partial(_opened, transactions),
            cp_noisy=False,
            cp_reactor=self._reactor,
        )


def _opened(transactions: str, connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"set session transaction {transactions}")
        cursor.execute(f"set lock_wait_timeout = {LOCK_S}, innodb_lock_wait_timeout = {LOCK_S}")
        # A history is a chain; by default it would end after a thousand states, without a word.
        if "MariaDB" in connection.get_server_info():
            cursor.execute("set max_recursive_iterations = 4294967295")
        else:
            cursor.execute("set cte_max_recursion_depth = 4294967295")


def connect_arguments(database: MysqlDatabase) -> dict[str, Any]:
    """Return what `pymysql.connect` takes."""
    return {
        "host": database.host,
        "port": database.port,
        "user": database.user,
        "password": database.password.encode(),  # PyMySQL would make Latin-1 of it
        "database": database.name,
        "charset": "utf8mb4",
        "sql_mode": SQL_MODE,
        "connect_timeout": CONNECT_S,
        "read_timeout": IO_S,
        "write_timeout": IO_S,
    }


def prepare(database: MysqlDatabase, derive_key: DeriveKey) -> None:
    """Create or upgrade the tables. Blocks. Raises StorageError with a sentence."""
    arguments = connect_arguments(database)
    try:
        # Only an upgrade has time: a server that hangs is noticed before.
        with mysql_connection.connect(**arguments) as connection:
            current = is_current(connection, database)
        if not current:
            with mysql_connection.connect(**arguments | {"read_timeout": UPGRADE_S}) as connection:
                migrate_mysql(connection, database, derive_key)
    except pymysql.err.MySQLError as e:
        sentence = f"the database {database} can't be opened: {_reason(e)}"
        raise (StorageRefused if _code(e) in REFUSED else StorageError)(sentence) from e
    except RuntimeError as e:
        # PyMySQL wants another package for some kinds of passwords.
        raise StorageRefused(f"the database {database} can't be opened: {e}") from e


def _code(error: Exception) -> object:
    return error.args[0] if error.args else None


def _retries(error: Exception) -> int:
    """Return how often an interaction may run again after an error."""
    code = _code(error)
    if code in LOST:
        return RETRIES_LOST
    return RETRIES if code in AGAIN else 0


def _reason(error: Exception) -> str:
    """Return the driver's sentence without its number."""
    return str(error.args[-1] if error.args else "") or "the connection is closed"
