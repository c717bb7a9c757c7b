"""Create or upgrade the tables in MariaDB or MySQL, also those of the original OverC.

Note [Upgrades beside the old tables]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
MariaDB and MySQL commit before and after every statement that changes tables, so what fails in the
middle can't be rolled back. A new database is therefore made and filled under other names, and its
tables take their places by one RENAME TABLE, which happens whole or not at all. What a failed
attempt has left under the other names is dropped by the next one.

The original OverC 1 calls its tables servers, services, service_states and alerts. They are kept
under names that begin with overc1_.

Scripts after the first one also upgrade tables that are in use, in their places. They only add
tables, columns and keys, so an upgrade that failed leaves what the version before it works with;
the next attempt passes over what is there already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from typing import Any

import pymysql
from pymysql.constants import ER

from overc.daemon.store.errors import StorageRefused
from overc.daemon.store.migrations import refuse_newer, scripts
from overc.daemon.store.mysql_connection import is_mariadb
from overc.logging import get_logger

log = get_logger(__name__)

PREFIX = "overc_new_"
KEPT = "overc1_"
VERSION_TABLE = "overc_schema"
LOCK_S = 600

ORIGINAL: Mapping[str, frozenset[str]] = {
    "servers": frozenset(("id", "title", "name", "key", "ip")),
    "services": frozenset(("id", "server_id", "period", "timed_out", "name", "title")),
    "service_states": frozenset(("id", "service_id", "rtime", "state", "info")),
    "alerts": frozenset(
        [
            "id",
            "server_id",
            "service_id",
            "service_state_id",
            "ctime",
            "channel",
            "event",
            "message",
        ]
    ),
}
"""The tables of OverC 1.0, with the columns that are taken over."""

DONE = {
    ER.TABLE_EXISTS_ERROR, ER.DUP_FIELDNAME, ER.DUP_KEYNAME,
    ER.BAD_FIELD_ERROR, ER.CANT_DROP_FIELD_OR_KEY,
}  # fmt: skip
"""What a statement fails with that was run before, when an upgrade was interrupted."""

DeriveKey = Callable[[str], str]


def is_current(connection: Any, database: object) -> bool:
    """Say whether there is nothing to do. Raises StorageRefused, and pymysql's errors."""
    newest = max(scripts("mysql"))
    with connection.cursor() as cursor:
        version = _version(cursor)
    refuse_newer(database, version, newest)
    return version == newest


def migrate_mysql(connection: Any, database: object, derive_key: DeriveKey) -> None:
    """Create or upgrade the tables. Raises StorageRefused, and pymysql's errors.

    `derive_key` makes of a key that the original stored in the clear what we store. Several nodes
    may start at once: one of them does the work, the others wait for it.
    """
    with connection.cursor() as cursor:
        # The original's times are UTC without saying so.
        cursor.execute("set time_zone = '+00:00', foreign_key_checks = 0")
        # The names of locks are the whole server's, and 64 characters at most.
        cursor.execute("select concat('overc-', left(sha2(database(), 256), 32))")
        [lock] = cursor.fetchone()
        cursor.execute("select get_lock(%s, %s)", (lock, LOCK_S))
        if cursor.fetchone()[0] != 1:
            raise StorageRefused(f"{database} is being upgraded by another node, without an end")
        # The lock ends with the connection; where that is lost it could not be given back anyway.
        _migrate(cursor, database, derive_key)
        connection.commit()
        cursor.execute("select release_lock(%s)", (lock,))


def _migrate(cursor: Any, database: object, derive_key: DeriveKey) -> None:
    available = scripts("mysql")
    newest = max(available)
    version = _version(cursor)
    refuse_newer(database, version, newest)
    if version:
        if version < newest:
            log.info(
                "{database} is upgraded from schema version {old} to {new}",
                database=database, old=version, new=newest,
            )  # fmt: skip
        for number in range(version + 1, newest + 1):
            _run_script(cursor, available[number], "", passing_over=DONE)
            cursor.execute(f"update {VERSION_TABLE} set version = %s", (number,))
        return
    present = _tables(cursor)
    original = all(columns <= present.get(name, set()) for name, columns in ORIGINAL.items())
    tables = [name for script in available.values() for name in _created(script)]
    in_the_way = present.keys() & {*tables, VERSION_TABLE}
    if original:
        in_the_way -= ORIGINAL.keys()
    if in_the_way:
        raise StorageRefused(
            f"{database} has tables that are not OverC's: {', '.join(sorted(in_the_way))};"
            " give OverC a database of its own"
        )
    left = [name for name in present if name.startswith(PREFIX)]
    if left:
        cursor.execute(f"drop table {', '.join(left)}")
    for script in available.values():
        _run_script(cursor, script, PREFIX)
    cursor.execute(f"create table {PREFIX}{VERSION_TABLE} (version int not null) engine=InnoDB")
    cursor.execute(f"insert into {PREFIX}{VERSION_TABLE} values (%s)", (newest,))
    if original:
        _take_over(cursor, derive_key)
    renames = [f"{name} to {KEPT}{name}" for name in ORIGINAL if original]
    renames += [f"{PREFIX}{name} to {name}" for name in [*tables, VERSION_TABLE]]
    cursor.execute(f"rename table {', '.join(renames)}")


def _version(cursor: Any) -> int:
    """Return the version of the tables, 0 where there are none of ours."""
    if "version" not in _tables(cursor).get(VERSION_TABLE, set()):
        return 0
    cursor.execute(f"select version from {VERSION_TABLE}")
    return int(cursor.fetchone()[0])


def _tables(cursor: Any) -> dict[str, set[str]]:
    """Return the names of the tables that there are, with those of their columns."""
    cursor.execute(
        "select table_name, column_name from information_schema.columns"
        " where table_schema = database()"
    )
    found: dict[str, set[str]] = {}
    for table, column in cursor.fetchall():
        found.setdefault(table, set()).add(column)
    return found


def _created(script: str) -> list[str]:
    """Return the names of the tables that a script makes, without its prefix."""
    return re.findall(r"create table (?:if not exists )?\{prefix\}(\w+)", script)


def _run_script(
    cursor: Any, script: str, prefix: str, passing_over: Set[int] = frozenset()
) -> None:
    text = script.format(prefix=prefix, collation=_collation(cursor))
    for statement in re.split(r";\s*\n", text):
        if not re.sub(r"--.*", "", statement).strip():
            continue
        try:
            cursor.execute(statement)
        except pymysql.err.MySQLError as e:
            if e.args[0] not in passing_over:
                raise


def _collation(cursor: Any) -> str:
    """Return the collation that tells all strings apart; the two servers name it differently."""
    return "utf8mb4_nopad_bin" if is_mariadb(cursor) else "utf8mb4_0900_bin"


def _take_over(cursor: Any, derive_key: DeriveKey) -> None:
    """Fill the new tables with what the original OverC 1.0 has stored."""
    cursor.execute("select id, name, title, `key`, ip from servers")
    cursor.executemany(
        f"insert into {PREFIX}servers (id, name, title, key_derivation, ip, registered_at)"
        " values (%s, %s, %s, %s, %s, unix_timestamp())",
        [
            (id_, name, title or name, derive_key(key or ""), ip or "")
            for id_, name, title, key, ip in cursor.fetchall()
        ],
    )
    # A deadline long past: the watchdog gives every service its period anew when it starts.
    cursor.execute(
        f"insert into {PREFIX}services"
        " (id, server_id, name, title, period_s, look_at, timed_out)"
        " select s.id, s.server_id, s.name, coalesce(nullif(s.title, ''), s.name), s.period,"
        " if(s.period is null or coalesce(s.timed_out, 0), null, 0), coalesce(s.timed_out, 0)"
        " from services s join servers on servers.id = s.server_id"
    )
    cursor.execute(
        f"insert into {PREFIX}states"
        " (id, service_id, previous_id, received_at, seen_at, state, info)"
        " select t.id, t.service_id, lag(t.id) over (partition by t.service_id order by t.id),"
        " coalesce(unix_timestamp(t.rtime), 0), coalesce(unix_timestamp(t.rtime), 0),"
        " coalesce(nullif(t.state, ''), 'UNK'), coalesce(t.info, '')"
        f" from service_states t join {PREFIX}services s on s.id = t.service_id"
    )
    cursor.execute(
        f"update {PREFIX}services s"
        f" join (select service_id, max(id) as id from {PREFIX}states group by service_id) newest"
        f" on newest.service_id = s.id join {PREFIX}states t on t.id = newest.id"
        # It has been in its state since the last one that was another one.
        " join (select service_id, max(seen_at) as seen_at from"
        " (select service_id, seen_at, state,"
        f" lag(state) over (partition by service_id order by id) as was from {PREFIX}states) t"
        " where was is null or was <> state group by service_id) turn"
        " on turn.service_id = s.id"
        " set s.state = t.state, s.since_at = turn.seen_at"
    )
    cursor.execute(
        f"insert into {PREFIX}latest"
        " (service_id, state_id, last_state_id, seen_at, deadline_at, lasts_s)"
        " select s.id, t.id, t.id, t.seen_at, s.look_at, coalesce(s.period_s, 0)"
        f" from {PREFIX}services s left join {PREFIX}states t on t.id ="
        f" (select max(id) from {PREFIX}states where service_id = s.id)"
    )
    cursor.execute(
        f"insert into {PREFIX}alerts"
        " (id, server_id, service_id, state_id, raised_at, channel, event, severity, message,"
        " phase, topic) select a.id, a.server_id, a.service_id, a.service_state_id,"
        " coalesce(unix_timestamp(a.ctime), 0), coalesce(a.channel, ''), coalesce(a.event, ''),"
        " case when a.channel = 'service:state' and a.event in ('OK', 'WARN', 'FAIL', 'UNK')"
        " then a.event when a.event = 'online' then 'OK' else 'FAIL' end,"
        " coalesce(a.message, ''),"
        " case when coalesce(a.channel, '') not in ('service:state', 'plugin') then 'note'"
        " when a.event in ('OK', 'online') then 'recovery' else 'problem' end,"
        " case a.channel when 'service:state' then 'state' when 'plugin' then 'late' else '' end"
        " from alerts a"
        f" left join {PREFIX}servers on {PREFIX}servers.id = a.server_id"
        f" left join {PREFIX}services on {PREFIX}services.id = a.service_id"
        f" where (a.server_id is null or {PREFIX}servers.id is not null)"
        f" and (a.service_id is null or {PREFIX}services.id is not null)"
    )
