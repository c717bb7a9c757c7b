"""When the write-ahead log is copied into the database, on a real file."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from overc.daemon.store import sqlite
from overc.daemon.store.engine import Transaction
from overc.daemon.store.sqlite import SqliteStore

LIMIT_BYTES = 400_000


class Checkpoints:
    """The modes of those that were made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.modes: list[str] = []
        self._real = sqlite._checkpoint
        monkeypatch.setattr(sqlite, "_checkpoint", self._checkpoint)

    def _checkpoint(self, connection: sqlite3.Connection, mode: str) -> None:
        self.modes.append(mode)
        self._real(connection, mode)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Checkpoints:
    monkeypatch.setattr(sqlite, "WAL_BYTES", LIMIT_BYTES)
    return Checkpoints(monkeypatch)


@pytest.fixture
def store(tmp_path: Path, made: Checkpoints) -> Iterator[SqliteStore]:
    store = SqliteStore(str(tmp_path / "overc.db"), pytest.fail)
    pytest_twisted.blockon(ensureDeferred(store.open()))
    yield store
    store.close()


async def write(store: SqliteStore, count: int) -> None:
    """Store so many kilobytes, and wait for the checkpoint that they cause."""

    def add(tx: Transaction) -> None:
        columns = ("service_id", "received_at", "seen_at", "state", "info")
        tx.insert("states", columns, [(1, 1.0, 1.0, "OK", "x" * 1000)] * count)

    await store.write("add", add)
    while store._checkpointing:
        await deferToThread(int)


def file_bytes(store: SqliteStore) -> int:
    return os.stat(f"{store.path}-wal").st_size


@pytest_twisted.ensureDeferred
async def test_a_long_log_is_copied_once_and_begins_anew(
    store: SqliteStore, made: Checkpoints
) -> None:
    await write(store, 100)
    assert made.modes == []
    await write(store, 400)
    assert made.modes == ["passive"]
    for _ in range(5):
        await write(store, 10)
        # The file is as large as ever; what is in it is what came since.
        assert file_bytes(store) > LIMIT_BYTES
        assert store._wal_bytes() < LIMIT_BYTES
    assert made.modes == ["passive"]
    await write(store, 400)
    assert made.modes == ["passive"] * 2


@pytest_twisted.ensureDeferred
async def test_a_log_that_never_comes_to_its_end_is_waited_for(
    store: SqliteStore, made: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "WAL_BYTES_MAX", 2 * LIMIT_BYTES)
    await write(store, 1000)
    assert made.modes == ["restart"]


@pytest_twisted.ensureDeferred
async def test_an_index_of_another_version_is_not_read(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(store, 500)
    await write(store, 10)
    assert store._wal_bytes() < file_bytes(store)
    monkeypatch.setattr(sqlite, "_INDEX_VERSION", 1)
    assert store._wal_bytes() == file_bytes(store)


def test_without_a_log_there_is_nothing_to_copy(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "overc.db"), pytest.fail)
    assert store._wal_bytes() == 0
    (tmp_path / "overc.db-shm").write_bytes(b"short")
    assert store._wal_bytes() == 0
