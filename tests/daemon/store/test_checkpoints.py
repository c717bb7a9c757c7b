"""When the write-ahead log is copied into the database, on real files."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.enterprise import adbapi
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from overc.daemon.store import checkpoints
from overc.daemon.store.checkpoints import Checkpoints, Log

LIMIT_BYTES = 400_000
LITTLE_BYTES = 30_000


def log_bytes(path: str) -> int:
    log = Log(path)
    try:
        return log.length()
    finally:
        log.close()


def a_pool(path: Path) -> adbapi.ConnectionPool:
    pool = adbapi.ConnectionPool(
        "sqlite3",
        str(path),
        isolation_level=None,
        check_same_thread=False,
        timeout=0.01,
        cp_min=1,
        cp_max=1,
        cp_openfun=lambda connection: connection.execute("pragma wal_autocheckpoint = 0"),
    )
    pool.start()
    return pool


class Database:
    """A file, its one writer, and what copies its log. The log's limit is 400 kB."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checkpoints, "WAL_BYTES", LIMIT_BYTES)
        monkeypatch.setattr(checkpoints, "WAL_BYTES_MAX", 4 * LIMIT_BYTES)
        monkeypatch.setattr(checkpoints, "LITTLE_BYTES", LITTLE_BYTES)
        self._really_copy = checkpoints._checkpoint
        monkeypatch.setattr(checkpoints, "_checkpoint", self._copy)
        self.copied = ""
        """How the log was copied: b: beside the writer, w: in its turn."""
        self.before_copy: Callable[[], None] = lambda: None
        self.after_copy: Callable[[], None] = lambda: None
        self.path = path
        self.log_path = f"{path}-wal"
        with sqlite3.connect(path, isolation_level=None) as connection:
            connection.execute("pragma journal_mode = wal")
            connection.execute("create table texts (text text)")
        connection.close()
        self.failures: list[str] = []
        self.writer = a_pool(path)
        self.beside = a_pool(path)
        self.checkpoints = Checkpoints(
            str(path), self.writer, self.beside, lambda error: self.failures.append(str(error))
        )

    def _copy(self, connection: sqlite3.Connection) -> int:
        self.before_copy()
        copied_frames = self._really_copy(connection)
        self.copied += "w" if self.is_writer() else "b"
        self.after_copy()
        return copied_frames

    def is_writer(self) -> bool:
        """Whether this is the writer's thread."""
        return threading.current_thread() in self.writer.threadpool.threads

    async def write(self, kilobytes: int) -> None:
        def add(connection: sqlite3.Connection) -> None:
            texts = [("x" * 1000,) for _ in range(kilobytes)]
            connection.execute("begin immediate")
            connection.executemany("insert into texts values (?)", texts)
            connection.execute("commit")

        await self.writer.runWithConnection(add)

    async def commit(self, kilobytes: int) -> int:
        """Write, let it be copied, and return how long the log was."""
        await self.write(kilobytes)
        length = log_bytes(self.log_path)
        self.checkpoints.after_commit()
        while self.checkpoints.running:
            await deferToThread(int)
        return length

    async def log_begins_anew(self) -> bool:
        """With the next transaction: nothing in it is missing in the database."""
        before = self._log_header()
        await self.write(1)
        return self._log_header() != before

    def _log_header(self) -> bytes:
        with open(self.log_path, "rb") as file:
            return file.read(32)

    def close(self) -> None:
        self.checkpoints.close()
        self.beside.close()
        self.writer.close()


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    database = Database(tmp_path / "overc.db", monkeypatch)
    yield database
    database.close()


@pytest_twisted.ensureDeferred
async def test_a_log_that_has_become_long_is_copied_and_begins_anew(database: Database) -> None:
    assert await database.commit(100) < LIMIT_BYTES
    assert database.copied == ""
    assert await database.commit(400) > LIMIT_BYTES
    assert database.copied == "bw"
    for _ in range(5):
        # The file is as large as ever; what is in it is what came since.
        assert await database.commit(10) < LIMIT_BYTES < os.stat(database.log_path).st_size
    assert database.copied == "bw"
    assert await database.commit(400) > LIMIT_BYTES
    assert database.copied == "bwbw"
    assert await database.log_begins_anew()
    assert database.failures == []


class Rival:
    """Writes while the log is copied beside the writer, so that this never comes to its end."""

    def __init__(self, database: Database, *kilobytes: int) -> None:
        self._database = database
        self._left = list(kilobytes)
        self._connection = sqlite3.connect(
            database.path, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("pragma wal_autocheckpoint = 0")
        database.before_copy = self._begin
        database.after_copy = self._end

    def _begin(self) -> None:
        if self._left and not self._database.is_writer():
            self._connection.execute("begin immediate")

    def _end(self) -> None:
        if self._connection.in_transaction:
            texts = [("x" * 1000,)] * self._left.pop(0)
            self._connection.executemany("insert into texts values (?)", texts)
            self._connection.execute("commit")

    def close(self) -> None:
        self._connection.close()


@pytest.mark.parametrize(
    ("kilobytes", "rivals", "copied"),
    [
        pytest.param(500, [1], "bw", id="little"),
        pytest.param(500, [100, 1], "bbw", id="much-then-little"),
        pytest.param(500, [200, 100, 50, 1], "bbbbw", id="less-and-less"),
        pytest.param(500, [100, 200], "bb", id="more-than-before"),
        pytest.param(500, [120, 110, 100, 90, 80, 70], "bbbbbb", id="less-but-for-long"),
        pytest.param(1900, [100, 200], "bbw", id="a-very-long-log"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_writer_that_never_rests_waits_for_little_unless_the_log_is_very_long(
    database: Database, kilobytes: int, rivals: list[int], copied: str
) -> None:
    rival = Rival(database, *rivals)
    await database.commit(kilobytes)
    assert database.copied == copied
    assert await database.log_begins_anew() is copied.endswith("w")
    rival.close()


@pytest_twisted.ensureDeferred
async def test_a_log_that_a_reader_still_needs_is_copied_in_portions(database: Database) -> None:
    reader = sqlite3.connect(database.path, isolation_level=None)
    reader.execute("begin")
    reader.execute("select * from texts").fetchall()
    await database.commit(500)
    assert database.copied == "b"
    await database.commit(100)
    assert database.copied == "b", "what came since is not worth the effort"
    await database.commit(400)
    assert database.copied == "bb"
    assert not await database.log_begins_anew()
    reader.execute("commit")
    reader.close()
    await database.commit(500)
    assert database.copied == "bbbw"
    assert await database.log_begins_anew()


@pytest_twisted.ensureDeferred
async def test_a_checkpoint_that_fails_is_told_of_and_not_the_last(database: Database) -> None:
    def fail() -> None:
        raise sqlite3.OperationalError("disk I/O error")

    database.before_copy = fail
    await database.commit(500)
    assert database.failures == ["disk I/O error"]
    database.before_copy = lambda: None
    await database.commit(10)
    assert database.copied == ""
    await database.commit(500)
    assert database.copied == "bw"
    assert await database.log_begins_anew()


@pytest_twisted.ensureDeferred
async def test_one_log_is_copied_at_a_time_and_none_after_the_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Deferred[int]] = []

    def run(interaction: object) -> Deferred[int]:
        begun.append(Deferred())
        return begun[-1]

    monkeypatch.setattr(database.beside, "runWithConnection", run)
    for _ in range(3):
        await database.write(500)
        database.checkpoints.after_commit()
        assert len(begun) == 1
    begun[0].callback(300)
    assert len(begun) == 2
    database.checkpoints.close()
    begun[1].callback(350)
    assert not database.checkpoints.running
    await database.write(500)
    database.checkpoints.after_commit()
    assert len(begun) == 2
    assert database.checkpoints._log._fd is None


def elsewhere(path: Path, sql: str) -> str:
    """What another process gets from the database, which it closes then."""
    program = (
        "import sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)\n"
        "try: print(database.execute(sys.argv[2]).fetchone())\n"
        "except sqlite3.Error as e: print(e)\n"
        "database.close()"
    )
    command = [sys.executable, "-c", program, str(path), sql]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


@pytest_twisted.ensureDeferred
async def test_locks_outlive_a_look_at_the_log(database: Database) -> None:
    def look_elsewhere(connection: sqlite3.Connection) -> str:
        connection.execute("begin immediate")
        assert log_bytes(database.log_path) > 0
        return elsewhere(database.path, "begin immediate")

    await database.write(10)
    assert await database.writer.runWithConnection(look_elsewhere) == "database is locked"
    # Who takes his connection for the last one removes the log when he closes it.
    assert elsewhere(database.path, "select count(*) from texts") == "(10,)"
    assert os.stat(database.log_path).st_size > 0


@pytest.mark.parametrize("page_bytes", [512, 4096, 65536])
def test_a_log_is_as_long_as_its_frames(tmp_path: Path, page_bytes: int) -> None:
    path = tmp_path / "pages.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"pragma page_size = {page_bytes}")
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma wal_autocheckpoint = 0")
    connection.execute("create table numbers (number integer)")
    for number in range(40):
        connection.execute("insert into numbers values (?)", (number,))
        if number in {20, 25}:
            # It begins anew; behind its frames are then those of one, and of two, that were longer.
            connection.execute("pragma wal_checkpoint(passive)")
        frames = log_bytes(f"{path}-wal") / (page_bytes + 24)
        if number in {21, 26}:
            assert frames == 1
    _, frames_by_sqlite, _ = connection.execute("pragma wal_checkpoint(passive)").fetchone()
    assert frames == frames_by_sqlite == 14
    connection.close()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x37\x7f\x06\x82" + b"\x00" * 20, id="a-part-of-a-header"),
        pytest.param(
            b"\x37\x7f\x06\x82" + b"\x00\x2d\xe2\x18\x00\x00\x10\x00" + bytes(20), id="no-frame"
        ),
    ],
)
def test_a_log_without_a_whole_frame_has_no_length(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    assert log_bytes(str(tmp_path / "log")) == 0


def test_where_there_is_no_log_it_has_no_length(tmp_path: Path) -> None:
    assert log_bytes(str(tmp_path)) == 0
    log = Log(str(tmp_path / "log"))
    log.note()
    assert log.length() == 0
    assert not log.is_longer(0)
    database = sqlite3.connect(tmp_path / "it.db", isolation_level=None)
    database.execute("pragma journal_mode = wal")
    database.execute("create table texts (text text)")
    (tmp_path / "log").symlink_to(tmp_path / "it.db-wal")
    assert log.is_longer(0)
    log.close()
    database.close()


def test_a_log_is_longer_by_whole_frames(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "it.db", isolation_level=None)
    database.execute("pragma journal_mode = wal")
    database.execute("create table numbers (number integer)")
    log = Log(str(tmp_path / "it.db-wal"))
    log.note()
    before_bytes = log.length()
    assert not log.is_longer(1)
    for frames in (1, 2, 3):
        database.execute("insert into numbers values (1)")
        assert log.is_longer(frames * 4120)
        assert log.is_longer(frames * 4120 + 4119)
        assert not log.is_longer((frames + 1) * 4120)
    assert log.length() == before_bytes + 3 * 4120
    assert log.length(before_bytes // 4120 + 1) == 2 * 4120
    assert log.length(before_bytes // 4120 + 10) == 0
    log.note()
    assert not log.is_longer(4120)
    log.close()
    database.close()
