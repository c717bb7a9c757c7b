"""The spool's file itself: made, opened, marked as ours, and set aside when it is corrupt."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator

from overc.agent.spool_errors import SpoolCorrupt, SpoolError, SpoolInUse

APPLICATION = 0x4F564353
"""Marks the file as ours."""
VERSION = 1

FORGOTTEN_S = 30 * 86400.0
"""How long a service is remembered that is not heard of any more."""

_SCHEMA = f"""
pragma auto_vacuum = incremental;
begin;
create table reports (
    id integer primary key,
    spool text not null,
    seq integer not null,
    kept_at real not null,
    size integer not null,
    body text not null
);
-- For each service the newest report, and the newest one that was confirmed with the time that the
-- server knows of it.
create table newest (
    service text primary key,
    id integer not null,
    kept_at real not null,
    confirmed_id integer,
    confirmed_at real
) without rowid;
create table facts (name text primary key, value text not null) without rowid;
pragma application_id = {APPLICATION};
pragma user_version = {VERSION};
commit;
"""


def connect(path: str | None, host: str) -> sqlite3.Connection:
    """Open a spool for ourselves alone, or make it. Call it within `as_spool_errors`.

    `host`: whose reports it holds. Without a path it is in memory.
    """
    if path is not None:
        _make(path)
    db = sqlite3.connect(
        path or ":memory:", timeout=0, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(db, path, host)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: str | None, host: str) -> None:
    # So that nobody else can have it open, which no file beside it could promise.
    db.execute("pragma locking_mode = exclusive")
    kind = pragma(db, "application_id"), pragma(db, "user_version")
    if kind == (0, 0) and not db.execute("select 1 from sqlite_master").fetchall():
        db.executescript(_SCHEMA)
    elif kind[0] != APPLICATION:
        raise SpoolError(f"{path} is a database of something else: name another file")
    elif kind[1] != VERSION:
        raise SpoolError(f"{path} was written by another version: name another file")
    elif db.execute("pragma quick_check(1)").fetchall() != [("ok",)]:
        raise SpoolCorrupt("its pages do not fit together")
    # With the WAL a death of the process loses nothing, a power cut at most the last seconds,
    # and neither harms the file.
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = normal")
    db.execute("pragma journal_size_limit = 1048576")
    with transaction(db):
        found = db.execute("select value from facts where name = 'host'").fetchone()
        if found is None or not db.execute("select 1 from reports limit 1").fetchone():
            db.execute("insert or replace into facts values ('host', ?)", [host])
            if found is not None and found[0] != host:
                db.execute("delete from newest")
            # The newest of all tells which ids were given.
            db.execute(
                "delete from newest where id < (select max(id) from newest)"
                " and kept_at < (select max(kept_at) from newest) - ?",
                [FORGOTTEN_S],
            )
        elif found[0] != host:
            raise SpoolError(f"{path} holds unsent reports of {found[0]!r:.200}: name another file")


def pragma(db: sqlite3.Connection, name: str) -> int:
    """Return the value of a pragma that is a number."""
    value: int = db.execute(f"pragma {name}").fetchone()[0]
    return value


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it, or nothing."""
    db.execute("begin immediate")
    try:
        yield
        db.execute("commit")
    except BaseException:
        # A full disk has ended the transaction already.
        if db.in_transaction:
            db.execute("rollback")
        raise


def set_corrupt_aside(path: str) -> str:
    """Rename a file that is not to be used any more; return the sentence about it."""
    aside = path + ".corrupt"
    with as_spool_errors(path):
        # One is kept: a disk that fails again and again is not to be filled with them.
        os.replace(path, aside)
        for beside in ("-wal", "-shm", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + beside)
    return f"the spool {path} was corrupt and has been set aside as {aside}"


def _make(path: str) -> None:
    """Make an empty file that only we can read, where there is none: plugins may tell secrets."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


@contextlib.contextmanager
def as_spool_errors(path: str | None) -> Iterator[None]:
    """Raise what goes wrong with the file as one of `overc.agent.spool_errors`."""
    try:
        yield
    except sqlite3.OperationalError as e:
        if "locked" in str(e):
            raise SpoolInUse(
                f"the spool {path} is in use by another agent: give each a `spool` of its own"
            ) from None
        if "decode" in str(e):
            raise SpoolCorrupt(f"the spool {path} is corrupt: {e}") from None
        raise SpoolError(f"the spool {path} can't be used: {e}") from None
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        # A fault of ours, not the file's.
        raise
    except sqlite3.DatabaseError as e:
        raise SpoolCorrupt(f"the spool {path} is corrupt: {e}") from None
    except OSError as e:
        about = "" if e.filename in (None, path) else f"{e.filename}: "
        raise SpoolError(f"the spool {path} can't be used: {about}{e.strerror}") from None
