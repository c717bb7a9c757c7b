"""The store in MariaDB or MySQL, through PyMySQL.

Note [Lost connections]
~~~~~~~~~~~~~~~~~~~~~~~
A server that was restarted, or a network that was cut, leaves connections that fail at their next
use; a server that hangs lets them wait until a time-out. Neither is the caller's business: the
connection is dropped and the interaction runs again on a new one. An interaction that was rolled
back for a deadlock runs again too, after a short random pause. When the connection breaks in the
middle of a commit nobody can know whether it was one; the interaction then runs again as well, and
a report that carries its number in a spool is still stored once.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Concatenate

import pymysql
from pymysql.constants import CR, ER
from twisted.enterprise import adbapi
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from overc.daemon.store.engine import P, T, Transaction
from overc.daemon.store.errors import StorageError, StorageRefused
from overc.daemon.store.mysql_migrations import DeriveKey, migrate_mysql
from overc.daemon.store.urls import MysqlDatabase

CONNECT_S = 5
IO_S = 10
"""A server that says nothing for so long is taken for hung."""

RETRIES = 5
"""How often an interaction runs again that met another one's locks."""

RETRIES_LOST = 2
"""How often after its connection was lost; the caller is told before it gives up by itself."""

RETRY_S = 0.05
"""The pause before an interaction runs again: so much times its number, and a random half."""

UPGRADE_S = 3600
"""An upgrade of the tables may take its time."""

READERS = 2

REFUSED = {
    ER.ACCESS_DENIED_ERROR,
    ER.DBACCESS_DENIED_ERROR,
    ER.BAD_DB_ERROR,
}

AGAIN = {
    ER.LOCK_DEADLOCK,
    ER.LOCK_WAIT_TIMEOUT,
    ER.DUP_ENTRY,  # another node was first to register the same name
}
LOST = {
    CR.CR_SERVER_GONE_ERROR,
    CR.CR_SERVER_LOST,
    1047,  # Galera: this node is not part of the cluster now
    1180,  # Galera: it was not at the commit
    1927,  # MariaDB: the connection was killed
    ER.SERVER_SHUTDOWN,
}


class MysqlTransaction(Transaction):
    """SQL as MariaDB and MySQL say it."""

    for_update = "for update"
    sole_writer = False

    def _run(self, sql: str, values: Sequence[Any]) -> None:
        self._cursor.execute(_marked(sql), values)

    def _inserted_ids(self, count: int) -> Iterable[int]:
        # The first one is told. In a Galera cluster each node leaves room for the others' ids.
        first = int(self._cursor.lastrowid)
        step = 1
        if count > 1:
            [(step,)] = self.fetch("select @@auto_increment_increment")
        return range(first, first + count * step, step)

    def _update_sql(self, table: str, columns: Sequence[str], marks: str) -> str:
        # The rows exist, so each of them meets its own id and nothing is inserted.
        sets = ",".join(f"{name} = values({name})" for name in columns[1:])
        return (
            f"insert into {table} ({','.join(columns)}) values {marks}"
            f" on duplicate key update {sets}"
        )


@functools.lru_cache(maxsize=256)
def _marked(sql: str) -> str:
    return sql.replace("?", "%s")


class MysqlStore:
    """A database on a MariaDB or MySQL server, or on a Galera cluster of them."""

    may_be_away = True

    def __init__(self, reactor: Any, database: MysqlDatabase, derive_key: DeriveKey) -> None:
        self._reactor = reactor
        self._database = database
        self._derive_key = derive_key
        self._writer = self._pool("overc-writer", 1, "read committed")
        self._readers = self._pool("overc-readers", READERS, "repeatable read")
        self._opened = False

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
        pool: adbapi.ConnectionPool,
        description: str,
        interaction: Callable[[Transaction], T],
    ) -> T:
        """Run an interaction, again if need be: see Note [Lost connections]."""
        if not self._opened:
            raise StorageError(f"Unable to {description}: there is no connection to the database")

        def begin(cursor: Any) -> T:
            return interaction(MysqlTransaction(cursor))

        attempt = 0
        while True:
            try:
                result: T = await pool.runInteraction(begin)
            except (pymysql.err.MySQLError, adbapi.ConnectionLost) as e:
                attempt += 1
                if attempt > _retries(e):
                    raise StorageError(f"Unable to {description}: {_reason(e)}") from e
                pause_s = RETRY_S * attempt * (0.5 + random.random())  # noqa: S311 - no secret
                await deferLater(self._reactor, pause_s)
            else:
                return result

    def _pool(self, name: str, size: int, isolation: str) -> adbapi.ConnectionPool:
        return adbapi.ConnectionPool(
            "pymysql",
            **connect_arguments(self._database),
            cp_name=name,
            cp_min=size,
            cp_max=size,
            cp_reconnect=True,
            cp_good_sql="select 1",
            cp_openfun=partial(_opened, isolation),
            cp_noisy=False,
        )


def _opened(isolation: str, connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"set session transaction isolation level {isolation}")
        # A history is a chain; by default it would end after a thousand states, without a word.
        if "MariaDB" in connection.get_server_info():
            cursor.execute("set session max_recursive_iterations = 4294967295")
        else:
            cursor.execute("set session cte_max_recursion_depth = 4294967295")


def connect_arguments(database: MysqlDatabase) -> dict[str, Any]:
    """Return what `pymysql.connect` takes."""
    return {
        "host": database.host,
        "port": database.port,
        "user": database.user,
        "password": database.password,
        "database": database.name,
        "charset": "utf8mb4",
        "connect_timeout": CONNECT_S,
        "read_timeout": IO_S,
        "write_timeout": IO_S,
    }


def prepare(database: MysqlDatabase, derive_key: DeriveKey) -> None:
    """Create or upgrade the tables. Blocks. Raises StorageError with a sentence."""
    try:
        connection = pymysql.connect(**connect_arguments(database) | {"read_timeout": UPGRADE_S})
        try:
            migrate_mysql(connection, database, derive_key)
        finally:
            connection.close()
    except pymysql.err.MySQLError as e:
        sentence = f"the database {database} can't be opened: {_reason(e)}"
        refused = e.args and e.args[0] in REFUSED
        raise (StorageRefused if refused else StorageError)(sentence) from e


def _retries(error: Exception) -> int:
    """Return how often an interaction may run again after an error."""
    code = error.args[0] if error.args else None
    if isinstance(error, adbapi.ConnectionLost) or code in LOST:
        return RETRIES_LOST
    return RETRIES if code in AGAIN else 0


def _reason(error: Exception) -> str:
    """Return the driver's sentence without its number."""
    return str(error.args[-1] if error.args else error)
