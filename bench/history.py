"""Databases with many services and a long history, made once and kept for the next run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from bench.databases import SqliteFile
from bench.fleet import Fleet
from bench.processes import overc_server
from bench.run import Run, report_all

SERVICES_EACH = 100
SPAN_S = 24 * 3600
"""The history is so long, whatever its rows, so that no retention cuts it."""

KEPT_S = 10 * 24 * 3600


def fleet(run: Run) -> Fleet:
    return Fleet(max(1, run.services // SERVICES_EACH), SERVICES_EACH, run.perfdata)


@contextlib.contextmanager
def database(run: Run, fleet: Fleet, rows: int) -> Iterator[tuple[Path, SqliteFile]]:
    """Give a folder, and in it a copy of a database in which the fleet is known."""
    with run.folder() as folder:
        made = _cached(run, fleet, rows)
        path = folder / "overc.db"
        shutil.copyfile(made, path)
        # Or else the disk is busy with the copy while we measure.
        with path.open("rb") as copy:
            os.fsync(copy.fileno())
        yield folder, SqliteFile(path)


def _cached(run: Run, fleet: Fleet, rows: int) -> Path:
    with run.folder() as folder:
        path = folder / "overc.db"
        with overc_server(folder, SqliteFile(path).url):
            pass
        schema = _schema(path)
        name = f"{fleet.services}-services-{{rows}}-rows-{schema}{'-perfdata' * fleet.perfdata}.db"
        services, kept = run.cache / name.format(rows=0), run.cache / name.format(rows=rows)
        if not _is_fresh(services):
            with overc_server(folder, SqliteFile(path).url) as server:
                # One by one, so that ids which belong together are far apart.
                report_all(server.port, fleet.registration(1, Random(fleet.services)))
            path.replace(services)
        if rows and not _is_fresh(kept):
            shutil.copyfile(services, path)
            _add_history(path, rows)
            path.replace(kept)
    return kept


def _is_fresh(kept: Path) -> bool:
    return kept.exists() and time.time() - kept.stat().st_mtime < KEPT_S


def _schema(path: Path) -> str:
    """Return a short name for the tables as they are, so that a change makes the cache anew."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("select sql from sqlite_master order by name").fetchall()
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:10]


def _add_history(path: Path, rows: int) -> None:
    """Add rows in the order of time, which go round all services in random order."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma synchronous = off")
        connection.execute("pragma cache_size = -400000")
        connection.execute("pragma temp_store = memory")
        indexes = connection.execute(
            "select name, sql from sqlite_master"
            " where type = 'index' and tbl_name = 'states' and sql is not null"
        ).fetchall()
        connection.execute("create temp table turns (n integer primary key, service_id integer)")
        connection.execute(
            "insert into turns select row_number() over (order by random()) - 1, id from services"
        )
        connection.execute("begin immediate")
        for name, _ in indexes:
            connection.execute(f"drop index {name}")
        [(base,)] = connection.execute("select coalesce(max(id), 0) from states")
        [(turns,)] = connection.execute("select count(*) from turns")
        connection.execute(
            "with recursive counted (n) as"
            " (select 0 union all select n + 1 from counted where n + 1 < :rows)"
            " insert into states"
            " (id, service_id, previous_id, received_at, seen_at, state, info)"
            " select :base + 1 + counted.n, turns.service_id,"
            "  case when counted.n >= :turns then :base + 1 + counted.n - :turns else"
            "  (select last_state_id from latest where service_id = turns.service_id) end,"
            "  :began_at + counted.n * :span_s / :rows, :began_at + counted.n * :span_s / :rows,"
            "  'OK', printf('0.%02d of 1.00 in use', counted.n % 100)"
            " from counted join turns on turns.n = counted.n % :turns",
            {
                "base": base,
                "turns": turns,
                "rows": rows,
                "began_at": time.time() - SPAN_S,
                "span_s": float(SPAN_S),
            },
        )
        # The newest of them is where each service's chain begins now.
        connection.execute(
            "update latest set last_state_id = newest.id from"
            " (select service_id, max(id) as id from states where id > ? group by service_id)"
            " as newest where newest.service_id = latest.service_id",
            (base,),
        )
        # Sorted at once they are much faster than row by row.
        for _, sql in indexes:
            connection.execute(sql)
        connection.execute("commit")
        connection.execute("pragma wal_checkpoint(truncate)")
