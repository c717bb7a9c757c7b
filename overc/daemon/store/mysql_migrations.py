"""Create or upgrade the tables in MariaDB or MySQL, also those of the original OverC.

Note [Upgrades beside the old tables]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
MariaDB and MySQL commit before and after every statement that changes tables, so what fails in the
middle can't be rolled back. New tables are therefore made and filled under other names, and take
their places by one RENAME TABLE, which happens whole or not at all. What a failed attempt has left
under the other names is dropped by the next one.

The original OverC 1 calls its tables servers, services, service_states and alerts. They are kept
under names that begin with overc1_.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from overc.daemon.store.errors import StorageRefused
from overc.daemon.store.migrations import refuse_newer, scripts

PREFIX = "overc_new_"
KEPT = "overc1_"
ORIGINAL = ("servers", "services", "service_states", "alerts")
VERSION_TABLE = "overc_schema"
LOCK_S = 600

DeriveKey = Callable[[str], str]


def migrate_mysql(connection: Any, database: object, derive_key: DeriveKey) -> None:
    """Create or upgrade the tables. Raises StorageRefused, and pymysql's errors.

    `derive_key` makes of a key that the original stored in the clear what we store. Several nodes
    may start at once: one of them does the work, the others wait for it.
    """
    with connection.cursor() as cursor:
        # The original's times are UTC without saying so.
        cursor.execute("set time_zone = '+00:00', foreign_key_checks = 0")
        cursor.execute("select get_lock(concat('overc-', database()), %s)", (LOCK_S,))
        if cursor.fetchone()[0] != 1:
            raise StorageRefused(f"{database} is being upgraded by another node, without an end")
        try:
            _migrate(cursor, database, derive_key)
            connection.commit()
        finally:
            cursor.execute("select release_lock(concat('overc-', database()))")


def _migrate(cursor: Any, database: object, derive_key: DeriveKey) -> None:
    available = scripts("mysql")
    newest = max(available)
    cursor.execute("show tables")
    present = {row[0] for row in cursor.fetchall()}
    if VERSION_TABLE in present:
        cursor.execute(f"select version from {VERSION_TABLE}")
        refuse_newer(database, cursor.fetchone()[0], newest)
        return
    original = set(ORIGINAL) <= present
    tables = _create(cursor, available[newest], newest)
    in_the_way = present & {*tables, VERSION_TABLE}
    if original:
        _take_over(cursor, derive_key)
        in_the_way -= set(ORIGINAL)
    if in_the_way:
        raise StorageRefused(
            f"{database} has tables that are not OverC's: {', '.join(sorted(in_the_way))};"
            " give OverC a database of its own"
        )
    renames = [f"{name} to {KEPT}{name}" for name in ORIGINAL if original]
    renames += [f"{PREFIX}{name} to {name}" for name in [*tables, VERSION_TABLE]]
    cursor.execute(f"rename table {', '.join(renames)}")


def _create(cursor: Any, script: str, version: int) -> list[str]:
    """Make empty tables under their other names; return the names that they will have."""
    cursor.execute("show tables")
    left = [row[0] for row in cursor.fetchall() if row[0].startswith(PREFIX)]
    if left:
        cursor.execute(f"drop table {', '.join(left)}")
    text = script.format(prefix=PREFIX, collation=_collation(cursor))
    for statement in re.split(r";\s*\n", text):
        if re.sub(r"--.*", "", statement).strip():
            cursor.execute(statement)
    cursor.execute(f"create table {PREFIX}{VERSION_TABLE} (version int not null) engine=InnoDB")
    cursor.execute(f"insert into {PREFIX}{VERSION_TABLE} values (%s)", (version,))
    return re.findall(rf"create table {PREFIX}(\w+)", text)


def _collation(cursor: Any) -> str:
    """Return the collation that tells all strings apart; the two servers name it differently."""
    cursor.execute("select version()")
    return "utf8mb4_nopad_bin" if "MariaDB" in cursor.fetchone()[0] else "utf8mb4_0900_bin"


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
        " (id, server_id, name, title, period_s, deadline_at, timed_out)"
        " select s.id, s.server_id, s.name, coalesce(nullif(s.title, ''), s.name), s.period,"
        " if(s.period is null or s.timed_out, null, 0), coalesce(s.timed_out, 0)"
        " from services s join servers on servers.id = s.server_id"
    )
    cursor.execute(
        f"insert into {PREFIX}states"
        " (id, service_id, previous_id, received_at, seen_at, state, info)"
        " select t.id, t.service_id, lag(t.id) over (partition by t.service_id order by t.id),"
        " unix_timestamp(t.rtime), unix_timestamp(t.rtime), t.state,"
        f" coalesce(t.info, '') from service_states t"
        f" join {PREFIX}services s on s.id = t.service_id"
    )
    cursor.execute(
        f"update {PREFIX}services s"
        f" join (select service_id, max(id) as id from {PREFIX}states group by service_id) newest"
        f" on newest.service_id = s.id join {PREFIX}states t on t.id = newest.id"
        " set s.state = t.state, s.state_id = t.id, s.last_state_id = t.id, s.seen_at = t.seen_at"
    )
    cursor.execute(
        f"insert into {PREFIX}alerts"
        " (id, server_id, service_id, state_id, raised_at, channel, event, severity, message)"
        " select a.id, a.server_id, a.service_id, a.service_state_id, unix_timestamp(a.ctime),"
        " a.channel, a.event,"
        " case when a.channel = 'service:state' and a.event in ('OK', 'WARN', 'FAIL', 'UNK')"
        " then a.event when a.event = 'online' then 'OK' else 'FAIL' end,"
        " coalesce(a.message, '') from alerts a"
        f" left join {PREFIX}servers on {PREFIX}servers.id = a.server_id"
        f" left join {PREFIX}services on {PREFIX}services.id = a.service_id"
        f" where (a.server_id is null or {PREFIX}servers.id is not null)"
        f" and (a.service_id is null or {PREFIX}services.id is not null)"
    )
