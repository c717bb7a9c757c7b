"""Each test that takes `database`, `store` or `node` runs on every engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from contract.nodes import Database, MariaDatabase, Node, SqliteDatabase
from support.mariadb import MariaDb, need_mariadb, running_mariadb
from twisted.internet.defer import ensureDeferred

from overc.daemon.store.engine import Store


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    need_mariadb()
    with running_mariadb() as server:
        yield server


@pytest.fixture
def maria(mariadb: MariaDb) -> MariaDatabase:
    """A fresh database for what only MariaDB promises."""
    return MariaDatabase(mariadb.schema())


@pytest.fixture(params=["sqlite", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "overc.db")
    found: MariaDatabase = request.getfixturevalue("maria")
    return found


class Stores:
    """Opens stores; those that a test leaves open are closed in the end."""

    def __init__(self) -> None:
        self._opened: list[Store] = []

    async def open(self, database: Database) -> Store:
        store = database.store()
        self._opened.append(store)
        await store.open()
        return store

    def close(self, store: Store) -> None:
        self._opened.remove(store)
        store.close()

    def close_all(self) -> None:
        for store in list(self._opened):
            self.close(store)


@pytest.fixture
def stores() -> Iterator[Stores]:
    opened = Stores()
    yield opened
    opened.close_all()


@pytest.fixture
def store(database: Database, stores: Stores) -> Store:
    opened: Store = pytest_twisted.blockon(ensureDeferred(stores.open(database)))
    return opened


@pytest.fixture
def node(store: Store) -> Node:
    return Node(store)
