"""A MariaDB server that tests may stop, hang and kill: it is well again for the next one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon import Daemon
from support.mariadb import MariaDb, Schema, need_mariadb, running_mariadb


@pytest.fixture(scope="session")
def one_mariadb() -> Iterator[MariaDb]:
    need_mariadb()
    with running_mariadb() as server:
        yield server


@pytest.fixture
def mariadb(one_mariadb: MariaDb) -> Iterator[MariaDb]:
    yield one_mariadb
    one_mariadb.heal()


@pytest.fixture
def schema(mariadb: MariaDb) -> Schema:
    return mariadb.schema()


@pytest.fixture
def daemon(schema: Schema, tmp_path: Path) -> Iterator[Daemon]:
    """A server on the database, not started yet."""
    daemon = schema.serve(Daemon(tmp_path))
    yield daemon
    daemon.kill()
