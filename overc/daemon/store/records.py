"""The SQL of recording reports: who reported, what it reported, what follows from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from overc.daemon.store.engine import Row, Transaction
from overc.daemon.store.errors import Stale
from overc.model import Alert, Memory, ServiceStatus, State

_STATES = {state.value: state for state in State} | {None: None}


class ServerRow(NamedTuple):
    id: int
    name: str
    key_derivation: str
    ip: str


class ServiceRow(NamedTuple):
    id: int
    server_id: int
    name: str
    status: ServiceStatus
    state_id: int | None
    since_at: float | None
    seen_at: float | None
    last_state_id: int | None


class RaisedAlert(NamedTuple):
    """An alert with what it is about."""

    alert: Alert
    server_id: int | None
    service_id: int | None
    state_id: int | None


def find_servers(tx: Transaction, names: Iterable[str]) -> list[ServerRow]:
    sql = "select id, name, key_derivation, ip from servers where name in (:keys)"
    return [ServerRow(*row) for row in tx.fetch_in(sql, names)]


def add_server(
    tx: Transaction, name: str, key_derivation: str, ip: str, now_at: float
) -> ServerRow:
    columns = ("name", "title", "key_derivation", "ip", "registered_at")
    [id_] = tx.insert("servers", columns, [(name, name, key_derivation, ip, now_at)])
    return ServerRow(id_, name, key_derivation, ip)


def set_ip(tx: Transaction, server_id: int, ip: str) -> None:
    tx.execute("update servers set ip = ? where id = ?", ip, server_id)


_SERVICE = (
    "select services.id, server_id, name, state, period_s, deadline_at, timed_out, state_id,"
    " since_at, seen_at, last_state_id, grace_s, due_at, memory"
    " from services join latest on latest.service_id = services.id "
)


def find_services(tx: Transaction, server_id: int, names: Iterable[str]) -> list[ServiceRow]:
    """Return services by name, to be changed by this transaction."""
    sql = f"{_SERVICE} where server_id = ? and name in (:keys) {tx.for_update}"
    return [_service(row) for row in tx.fetch_in(sql, names, server_id)]


def find_services_by_id(tx: Transaction, ids: Iterable[int]) -> list[ServiceRow]:
    """Return services by id, to be changed by this transaction."""
    sql = f"{_SERVICE} where services.id in (:keys) order by services.id {tx.for_update}"
    return [_service(row) for row in tx.fetch_in(sql, ids)]


def _service(row: Row) -> ServiceRow:
    id_, server_id, name, state, period_s, deadline_at, timed_out, *rest = row
    *rest, grace_s, due_at, memory = rest
    status = ServiceStatus(
        _STATES[state], period_s, deadline_at, timed_out == 1,
        grace_s, due_at, None if memory is None else load_memory(memory),
    )  # fmt: skip
    return ServiceRow(id_, server_id, name, status, *rest)


_NOTHING = Memory()


def dump_memory(memory: Memory) -> str:
    """Write down what a memory has that an empty one has not."""
    kept = {
        name: value
        for name, value, usual in zip(Memory._fields, memory, _NOTHING, strict=True)
        if value != usual
    }
    return json.dumps(kept, ensure_ascii=False)


def load_memory(text: str) -> Memory | None:
    """Read what `dump_memory` wrote; None for anything else, so that it stops nobody's reports."""
    try:
        kept = {name: value for name, value in json.loads(text).items() if name in Memory._fields}
        if "told" in kept:
            kept["told"] = _STATES[kept["told"]]
        if "changes" in kept:
            kept["changes"] = tuple(map(float, kept["changes"]))
        return Memory(**kept)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def add_services(tx: Transaction, server_id: int, names: Sequence[str]) -> list[ServiceRow]:
    """Create services that nothing is known of yet."""
    rows = [(server_id, name, name) for name in names]
    ids = tx.insert("services", ("server_id", "name", "title"), rows)
    tx.execute_in(
        "insert into latest (service_id) select id from services where id in (:keys)", ids
    )
    return [
        ServiceRow(id_, server_id, name, ServiceStatus(), None, None, None, None)
        for id_, name in zip(ids, names, strict=True)
    ]


STATE_COLUMNS = ("service_id", "previous_id", "received_at", "seen_at", "state", "info")


def add_states(tx: Transaction, rows: Sequence[Row]) -> list[int]:
    """Add rows of STATE_COLUMNS to the history; return their ids."""
    return tx.insert("states", STATE_COLUMNS, rows)


_SAVED = (
    "id", "state", "period_s", "look_at", "timed_out", "since_at", "grace_s", "due_at", "memory",
)  # fmt: skip

_LATEST = ("service_id", "state_id", "last_state_id", "seen_at", "deadline_at", "lasts_s")


def save_services(tx: Transaction, rows: Sequence[ServiceRow]) -> None:
    # In the order of their ids: nodes that lock in one order do not lock each other out.
    ordered = sorted(rows)
    values = [
        (
            row.id, status.state and status.state.word, status.period_s, status.deadline_at,
            int(status.timed_out), row.since_at, status.grace_s, status.due_at,
            None if status.memory is None else dump_memory(status.memory),
        )
        for row in ordered
        for status in (row.status,)
    ]  # fmt: skip
    tx.update("services", _SAVED, values)
    latest = [
        (
            row.id, row.state_id, row.last_state_id, row.seen_at, row.status.deadline_at,
            (row.status.period_s or 0) + row.status.grace_s,
        )
        for row in ordered
    ]  # fmt: skip
    tx.update("latest", _LATEST, latest)


def renew(tx: Transaction, state_ids: Sequence[int], now_at: float) -> None:
    """Make new states, with ids that follow each other, the present ones of their services.

    For states that repeat the one before them: nothing else of the service changes but that the
    period begins anew. Raises Stale, having done some of it, for a service that is late or that
    another process has stored a state of: it is not as the caller thought.
    """
    sets = {
        "deadline_at": "? + latest.lasts_s",
        "state_id": "states.id",
        "seen_at": "states.seen_at",
        "last_state_id": "states.id",
    }
    changed = 0
    for condition, values in tx.conditions("states.id", state_ids):
        where = (
            f"{condition} and latest.service_id = states.service_id"
            " and latest.last_state_id = states.previous_id and latest.deadline_at is not null"
        )
        changed += tx.update_from("latest", "states", sets, where, now_at, *values)
    if changed != len(state_ids):
        raise Stale


def check(tx: Transaction, known: Mapping[int, tuple[int | None, bool]]) -> None:
    """Compare services with what is known of them, last_state_id and timed_out, and lock them.

    Raises Stale if anything differs.
    """
    sql = (
        "select services.id, last_state_id, timed_out from services"
        " join latest on latest.service_id = services.id"
        f" where services.id in (:keys) order by services.id {tx.for_update}"
    )
    found = {
        id_: (last, timed_out == 1) for id_, last, timed_out in tx.fetch_in(sql, sorted(known))
    }
    if found != known:
        raise Stale


def mark(tx: Transaction) -> object:
    """Return something that is another one after any report or alert was stored."""
    return tx.fetch("select name, seq from sqlite_sequence where name in ('states', 'alerts')")


def stored_seqs(tx: Transaction, server_id: int, spool: str) -> str | None:
    """Return which reports of a spool are stored, as `save_seqs` was given them; None: none yet."""
    rows = tx.fetch(
        f"select seqs from spools where server_id = ? and spool = ? {tx.for_update}",
        server_id,
        spool,
    )
    return rows[0][0] if rows else None


def save_seqs(
    tx: Transaction, server_id: int, spool: str, seqs: str, now_at: float, *, known: bool
) -> None:
    """Keep which reports of a spool are stored. `known`: `stored_seqs` found it."""
    if known:
        tx.execute(
            "update spools set seqs = ?, used_at = ? where server_id = ? and spool = ?",
            seqs, now_at, server_id, spool,
        )  # fmt: skip
    else:
        tx.execute(
            "insert into spools (server_id, spool, seqs, used_at) values (?, ?, ?, ?)",
            server_id, spool, seqs, now_at,
        )  # fmt: skip


class Looked(NamedTuple):
    """Services that had to be looked at by now: see Note [Looks]."""

    overdue: list[int]
    """Those whose deadline has passed."""
    renewed: list[int]
    """Those that have reported since it was said when to look."""


def look(tx: Transaction, now_at: float, limit: int) -> Looked:
    """Return the ids of at most `limit` services that have to be looked at, the oldest first.

    Note [Looks]
    ~~~~~~~~~~~~
    To know who is late there is an index of deadlines. But nearly every report moves a deadline
    and nearly no deadline passes, and to move it in the index costs as much as all else that a
    report changes. So the index holds when to look at a service, which is never later than its
    deadline, and reports leave it alone. Whoever looks then moves it to the deadline of that time:
    once in a period, and many at once.
    """
    sql = (
        "select id, deadline_at from services join latest on latest.service_id = services.id"
        " where look_at is not null and look_at <= ? order by look_at limit ?"
    )
    found = tx.fetch(sql, now_at, limit)
    overdue = [(at, id_) for id_, at in found if at is not None and at <= now_at]
    return Looked(
        [id_ for _, id_ in sorted(overdue)],
        [id_ for id_, at in found if at is None or at > now_at],
    )


def put_looks_off(tx: Transaction, ids: Iterable[int]) -> None:
    """Move when to look at services to their deadlines, also where these have moved meanwhile."""
    tx.execute_in(
        "update services set look_at = (select deadline_at from latest"
        " where latest.service_id = services.id) where id in (:keys)",
        sorted(ids),
    )


LEFT_MIN_S = 60.0
"""What is left at least of the time until a service is due, before its grace, when it is granted
anew: what was due while nobody could report may come now."""


def grant_periods(tx: Transaction, wall_at: float, steady_at: float) -> None:
    """Give every service that is awaited its whole period again, from now on.

    What a calendar awaits is due when it was due; where that has passed, in a moment.
    """
    left_s = "case when due_at is null then period_s when due_at > ? then due_at - ? else ? end"
    tx.update_from(
        "latest", "services", {"deadline_at": f"? + grace_s + {left_s}"},
        "services.id = latest.service_id and latest.deadline_at is not null",
        steady_at, wall_at + LEFT_MIN_S, wall_at, LEFT_MIN_S,
    )  # fmt: skip
    tx.update_from(
        "services", "latest", {"look_at": "latest.deadline_at"},
        "latest.service_id = services.id and latest.deadline_at is not null",
    )  # fmt: skip


class NamedService(NamedTuple):
    """A service with the name of its server, which the rules ask for."""

    server: str
    service: ServiceRow


_NAMED = _SERVICE.replace(
    "select", "select (select name from servers where servers.id = server_id),", 1
)


def awaited_by_calendar(tx: Transaction) -> list[NamedService]:
    """Return all services whose deadlines follow the wall clock, to be changed."""
    sql = f"{_NAMED} where due_at is not null and deadline_at is not null order by services.id"
    return [NamedService(row[0], _service(row[1:])) for row in tx.fetch(f"{sql} {tx.for_update}")]


def silent_services(
    tx: Transaction, seen_before_at: float, after_id: int, limit: int
) -> list[NamedService]:
    """Return late services that were not heard of since then, by their ids."""
    sql = (
        f"{_NAMED} where services.id > ? and timed_out = 1 and seen_at <= ?"
        " order by services.id limit ?"
    )
    return [
        NamedService(row[0], _service(row[1:]))
        for row in tx.fetch(sql, after_id, seen_before_at, limit)
    ]


def find_named_service(tx: Transaction, service_id: int) -> NamedService | None:
    """Return a service, to be changed."""
    rows = tx.fetch(f"{_NAMED} where services.id = ? {tx.for_update}", service_id)
    return NamedService(rows[0][0], _service(rows[0][1:])) if rows else None
