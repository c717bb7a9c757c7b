"""Bring a SQLite database to the newest version of the schema.

`schema/<engine>/NNNN.sql` leads from version NNNN - 1 to NNNN. The version stands in the database.
"""

from __future__ import annotations

import sqlite3
from importlib.resources import files

from overc.daemon.store.errors import StorageRefused
from overc.logging import get_logger

log = get_logger(__name__)


def scripts(engine: str) -> dict[int, str]:
    """Return the text of each numbered script for an engine, by version."""
    folder = files("overc.daemon.store") / "schema" / engine
    found = {
        int(entry.name.removesuffix(".sql")): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    }
    return dict(sorted(found.items()))


def refuse_newer(database: object, version: int, newest: int) -> None:
    """Raise StorageRefused for a database that a newer OverC has upgraded."""
    if version > newest:
        raise StorageRefused(
            f"{database} is of schema version {version}, this OverC knows {newest} at most: "
            "install the newer OverC again, or give it another database"
        )


def migrate_sqlite(connection: sqlite3.Connection, path: str) -> None:
    """Create or upgrade the tables, each version in a transaction of its own.

    Keeps a copy of an older database beside it, as `PATH.vN`, before it is changed. Raises
    StorageRefused for a database of a newer OverC, and sqlite3.Error, with the last complete
    version in place.
    """
    available = scripts("sqlite")
    newest = max(available)
    version: int = connection.execute("pragma user_version").fetchone()[0]
    refuse_newer(path, version, newest)
    if 0 < version < newest:
        with sqlite3.connect(f"{path}.v{version}") as copy:
            connection.backup(copy)
        copy.close()
        log.info(
            "{path} is upgraded from schema version {old} to {new}; as it was it is kept in"
            " {path}.v{old}",
            path=path,
            old=version,
            new=newest,
        )
    for number in range(version + 1, newest + 1):
        # executescript commits whatever is open, so the transaction has to be in the script.
        script = f"begin immediate;\n{available[number]}\npragma user_version = {number};\ncommit;"
        try:
            connection.executescript(script)
        except sqlite3.Error:
            if connection.in_transaction:
                connection.rollback()
            raise
