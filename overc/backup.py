"""A consistent copy of a SQLite database that is in use. Standard library only.

Note [One snapshot]
~~~~~~~~~~~~~~~~~~~
SQLite copies in steps, and begins anew when somebody else has written between two of them: beside
a busy server it would never end. So the copy is made inside one read transaction, which holds still
what it sees. Writers go on meanwhile, in the WAL file; it grows for as long as the copy takes.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

STEP_PAGES = 1000

BUSY_S = 10.0
"""How long a database that somebody has locked is waited for."""


class BackupError(Exception):
    """There is no copy; the sentence says why."""


def back_up(database: str, copy: str) -> None:
    """Copy a SQLite file while others may use it; the copy is checked and on the disk then.

    The copy is one file, readable by its owner only, and appears whole or not at all. Raises
    BackupError; a file that is there already is never touched.
    """
    if not os.path.isfile(database):
        raise BackupError(f"{database} is not a file")
    if os.path.lexists(copy):
        raise BackupError(f"{copy} exists already: give the copy another name")
    folder, name = os.path.split(os.path.abspath(copy))
    try:
        descriptor, partial = tempfile.mkstemp(prefix=f".{name}.", suffix=".partial", dir=folder)
    except OSError as e:
        raise BackupError(f"can't write to {folder}: {e.strerror}") from e
    os.close(descriptor)
    try:
        _copy(database, partial)
        _sync(partial)
        # Unlike a rename this never takes the place of another file.
        os.link(partial, copy)
        _sync(folder)
    except sqlite3.Error as e:
        raise BackupError(f"can't copy {database}: {e}") from e
    except OSError as e:
        raise BackupError(f"can't write {copy}: {e.strerror or e}") from e
    finally:
        os.unlink(partial)


def _copy(database: str, partial: str) -> None:
    # Opened for writing, since a reader alone can't take up what a crashed server left in the WAL.
    uri = f"{Path(database).absolute().as_uri()}?mode=rw"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)) as source,
        closing(sqlite3.connect(partial, isolation_level=None)) as target,
    ):
        # See Note [One snapshot]. It begins with the first query, not before.
        source.execute("begin")
        if source.execute("pragma user_version").fetchone()[0] == 0:
            raise BackupError(f"{database} is not a database of OverC")
        source.execute("select count(*) from sqlite_master").fetchone()
        source.backup(target, pages=STEP_PAGES)
        # One file, without a WAL beside it; the server changes that again.
        target.execute("pragma journal_mode = delete")
        [(found,), *_] = target.execute("pragma integrity_check(1)").fetchall()
        if found != "ok":
            raise BackupError(f"the copy of {database} is damaged: {found}")


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
