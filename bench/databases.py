"""The databases under the server: made anew for each row, and counted in from outside."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pymysql

from bench.mariadb import MariadbServer, private_server


class Database(Protocol):
    @property
    def url(self) -> str: ...

    def ask(self, sql: str) -> Any:
        """Return the first value of a query's first row."""
        ...


@dataclass(frozen=True, slots=True)
class SqliteFile:
    path: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def ask(self, sql: str) -> Any:
        connection = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, timeout=10)
        with contextlib.closing(connection):
            return connection.execute(sql).fetchone()[0]


@dataclass(frozen=True, slots=True)
class MariadbSchema:
    server: MariadbServer

    @property
    def url(self) -> str:
        return self.server.url

    def ask(self, sql: str) -> Any:
        with contextlib.closing(self.server.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            row = cursor.fetchone()
            assert row is not None
            return row[0]


FAILURES = (sqlite3.Error, pymysql.Error)


@contextlib.contextmanager
def empty_database(engine: str, folder: Path) -> Iterator[Database]:
    """Give a database without tables: the server makes them. Raises StartError."""
    if engine == "sqlite":
        yield SqliteFile(folder / "overc.db")
        return
    with private_server(folder / "mariadb") as server:
        yield MariadbSchema(server)
