"""When SQLite's write-ahead log is copied into the database.

Note [Checkpoints]
~~~~~~~~~~~~~~~~~~
Left to itself SQLite copies the write-ahead log into the database within some writer's commit, and
all who wait for that commit wait for the copy and its sync. Here another connection does it in a
thread of its own while the writer goes on. A log begins anew, in the same file, when a transaction
begins and all of the log is in the database. A busy writer never lets that come about: it has
always written something meanwhile. So the log is copied until little is left, and that is copied in
the writer's turn.

The file keeps its size when a log begins anew in it, so how long the log is has to be read from it:
each log has salts of its own, and its frames come before those that are left of older ones. To read
it does no harm. SQLite holds its locks on the database and on the log's index (`-shm`), and POSIX
drops a process's locks on a file when the process closes any descriptor of that file: neither of
these two may be opened here but by SQLite.
"""

from __future__ import annotations

import bisect
import os
import sqlite3
import struct
from collections.abc import Callable

from twisted.enterprise import adbapi
from twisted.internet.defer import ensureDeferred

WAL_BYTES = 64 * 1024 * 1024
"""So much of the log is left to be copied, about, when that begins. A page that was written many
times is copied once, so this is long."""

WAL_BYTES_MAX = 4 * WAL_BYTES
"""For a log that is longer the writer waits in any case."""

LITTLE_BYTES = 4 * 1024 * 1024
"""The writer may wait for so much, some ten milliseconds. Large commits write as much."""

ROUNDS_MAX = 6

_HEADER = struct.Struct(">8xI4x8s8x")
"""Of a log: the size of a page, the salts. https://www.sqlite.org/walformat.html, 1.1"""

_FRAME_HEADER_BYTES = 24
_SALTS_IN_FRAME = 8


class Checkpoints:
    """Copies a database's log into it: see Note [Checkpoints]."""

    def __init__(
        self,
        path: str,
        writer: adbapi.ConnectionPool,
        beside: adbapi.ConnectionPool,
        failed: Callable[[sqlite3.Error], None],
    ) -> None:
        """`writer` has the one connection that writes, `beside` one that nobody else uses."""
        self._log = Log(f"{path}-wal")
        self._writer = writer
        self._beside = beside
        self._failed = failed
        self._closed = False
        self.running = False

    def after_commit(self) -> None:
        """Begin to copy the log if it has become long; where that fails, `failed` is told."""
        if not self.running and self._log.is_longer(WAL_BYTES):
            self._log.note()
            self.running = True
            ensureDeferred(self._copy())

    def close(self) -> None:
        self._closed = True
        self._log.close()

    async def _copy(self) -> None:
        try:
            left_bytes = await self._copy_beside()
            if left_bytes <= LITTLE_BYTES or self._log.length() > WAL_BYTES_MAX:
                await self._copy_in(self._writer)
        except sqlite3.Error as e:
            self._failed(e)
        finally:
            self.running = False

    async def _copy_beside(self) -> int:
        """Copy while the writer goes on; return how many bytes of the log are left."""
        left_bytes = self._log.length()
        for _ in range(ROUNDS_MAX):
            before_bytes = left_bytes
            left_bytes = await self._copy_in(self._beside)
            # A reader that needs the database as it was keeps the rest from being copied.
            if left_bytes <= LITTLE_BYTES or left_bytes >= before_bytes:
                break
        return left_bytes

    async def _copy_in(self, pool: adbapi.ConnectionPool) -> int:
        if self._closed:
            return 0
        copied_frames = await pool.runWithConnection(_checkpoint)
        return self._log.length(copied_frames)


def _checkpoint(connection: sqlite3.Connection) -> int:
    """Copy what can be copied; return how many frames of the log have been."""
    [(_, _, copied_frames)] = connection.execute("pragma wal_checkpoint(passive)").fetchall()
    return int(copied_frames)


class Log:
    """How long a write-ahead log has become since it was looked at last."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._closed = False
        self._fd: int | None = None
        """The file stays the same while there are connections."""
        self._salts = b""
        """Those of the log that `_frames` is about."""
        self._frames = 0
        """Its length when `note` was called."""

    def is_longer(self, by_bytes: int) -> bool:
        """Say whether at least so much has come since `note`, or since it began if it is another.

        It costs two short reads. Where there is no file that can be read nothing has come.
        """
        frame_bytes = self._look()
        if not frame_bytes:
            return False
        return self._has(self._frames + max(by_bytes // frame_bytes, 1) - 1, frame_bytes)

    def note(self) -> None:
        """Take the log's present length for what `is_longer` compares with."""
        self._frames = self._count(self._look())

    def length(self, after_frames: int = 0) -> int:
        """Return how many bytes the log has, after so many frames."""
        frame_bytes = self._look()
        return max(self._count(frame_bytes) - after_frames, 0) * frame_bytes

    def _count(self, frame_bytes: int) -> int:
        if not frame_bytes:
            return 0
        file_frames = os.stat(self._path).st_size // frame_bytes
        return bisect.bisect_left(
            range(file_frames), True, key=lambda frame: not self._has(frame, frame_bytes)
        )

    def close(self) -> None:
        """From now on it has no length."""
        self._closed = True
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _look(self) -> int:
        """Find out which log it is; return how long its frames are, 0 where there is none."""
        header = self._read(0, _HEADER.size)
        if len(header) < _HEADER.size:
            return 0
        page_bytes, salts = _HEADER.unpack(header)
        if salts != self._salts:
            self._salts, self._frames = salts, 0
        return _FRAME_HEADER_BYTES + int(page_bytes)

    def _has(self, frame: int, frame_bytes: int) -> bool:
        at = _HEADER.size + frame * frame_bytes + _SALTS_IN_FRAME
        return self._read(at, len(self._salts)) == self._salts

    def _read(self, at: int, size: int) -> bytes:
        if self._closed:
            return b""
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDONLY)
            return os.pread(self._fd, size, at)
        except OSError:
            return b""
