"""The SQL of how services were: the newest part of the history, and the sums of the older one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from overc.daemon.store import archive
from overc.daemon.store.archive import Buckets, Progress, Series, Sums
from overc.daemon.store.engine import Row, Transaction
from overc.daemon.store.status import StateView, chain

UNFOLDED_MAX = 20_000
"""Housekeeping leaves so much for a moment only: after a stop, or when it can't keep up."""


SCANNED_MAX = 10_000
"""Of a history the newest states are sought among so many."""


class Promise(NamedTuple):
    """What is known of a service beside its history."""

    id: int
    period_s: int | None
    grace_s: float
    timed_out: bool


class Sum(NamedTuple):
    starts_at: int
    id: int
    """Of the service or the series."""
    sums: Sums


_PROMISES = "select id, period_s, grace_s, timed_out from services where"


def promises_of_service(tx: Transaction, service_id: int) -> list[Promise]:
    """Return one, or none where there is no such service."""
    return _promises(tx.fetch(f"{_PROMISES} id = ?", service_id))


def promises_of_server(tx: Transaction, server_id: int) -> list[Promise]:
    return _promises(tx.fetch(f"{_PROMISES} server_id = ? order by id", server_id))


def _promises(rows: Sequence[Row]) -> list[Promise]:
    return [Promise(*row)._replace(timed_out=bool(row[-1])) for row in rows]


def seen(
    tx: Transaction, service_id: int, since_at: float, limit: int, *, perfdata: bool = False
) -> list[Row]:
    """Return id, seen_at and state of what was received since then, and of the state before that.

    The newest ones, in no order that could be relied on. `perfdata`: with the info, which is empty
    where it has none.
    """
    columns = "id, seen_at, state"
    if perfdata:
        columns += ", case when instr(info, '|') > 0 then info else '' end"
    if tx.indexed_histories:
        sql = f"select {columns} from states where service_id = ? and received_at"
        newest_first = "order by received_at desc, id desc limit ?"
        rows = tx.fetch(f"{sql} >= ? {newest_first}", service_id, since_at, limit)
        if len(rows) < limit:
            rows += tx.fetch(f"{sql} < ? {newest_first}", service_id, since_at, 1)
        return rows
    names = ("seen_at", "received_at", "state", *(["info"] if perfdata else []))
    sql = f"{chain(*names)} where chain.received_at >= ? limit ?) select {columns} from chain"
    return tx.fetch(sql, service_id, since_at, limit)


def newest(tx: Transaction, service_id: int, since_at: float, limit: int) -> list[StateView]:
    """Return the newest states of a service since then, newest first.

    The last SCANNED_MAX that were stored are looked at: a backlog is stored late.
    """
    seen_then = [
        (seen_at, id_)
        for id_, seen_at, _ in seen(tx, service_id, since_at, SCANNED_MAX)
        if seen_at >= since_at
    ]
    ids = [id_ for _, id_ in sorted(seen_then, reverse=True)[:limit]]
    found = tx.fetch_in(
        "select id, seen_at, received_at, state, info from states where id in (:keys)", ids
    )
    found.sort(key=lambda row: (row[1], row[0]), reverse=True)
    return [StateView(*row) for row in found]


_FOLDED = "(select up_to from rollup_progress where name = 'states')"


def unfolded(tx: Transaction, service_ids: Sequence[int]) -> list[Row]:
    """Return what is in no roll-up yet: id, service_id, seen_at, state, info, by id.

    UNFOLDED_MAX states at most for each 512 services. The info is empty where it has no perfdata.
    """
    columns = "id, service_id, seen_at, state, case when instr(info, '|') > 0 then info else '' end"
    if tx.indexed_histories:
        sql = (
            f"select {columns} from states where id > {_FOLDED} and service_id in (:keys)"
            f" order by id desc limit {UNFOLDED_MAX}"
        )
    else:
        names = ("id", "previous_id", "service_id", "seen_at", "state", "info")
        states = ", ".join(f"states.{name}" for name in names)
        sql = (
            f"with recursive chain ({', '.join(names)}) as (select {states} from latest"
            " join states on states.id = latest.last_state_id"
            f" where states.id > {_FOLDED} and latest.service_id in (:keys)"
            f" union all select {states} from chain join states on states.id = chain.previous_id"
            f" where states.id > {_FOLDED} limit {UNFOLDED_MAX}) select {columns} from chain"
        )
    return sorted(set(tx.fetch_in(sql, service_ids)))


def sums(
    tx: Transaction, kind: Buckets, table: str, ids: Sequence[int], starts: Sequence[int]
) -> list[Sum]:
    """Return the roll-ups of these services or series that start then."""
    if not ids:
        return []
    # All keys begin with the time: each start is looked up, and each id within it.
    sql = (
        f"select starts_at, {kind.id_column}, {', '.join(kind.sums)} from {table}"
        f" where {kind.id_column} in ({','.join(map(str, ids))}) and starts_at in (:keys)"
    )
    return [Sum(start, id_, values) for start, id_, *values in tx.fetch_in(sql, starts)]


def days_done(tx: Transaction, kind: Buckets) -> Progress:
    """Return the day that is summed up next, and the last id whose day is summed up already."""
    return archive.read_progress(tx)[kind.days]


def series(tx: Transaction, service_ids: Sequence[int]) -> list[Series]:
    return sorted(archive.series(tx, service_ids))


def registered_at(tx: Transaction, server_id: int) -> float | None:
    """Return since when a server is known."""
    rows = tx.fetch("select registered_at from servers where id = ?", server_id)
    return rows[0][0] if rows else None


def newest_info(tx: Transaction, service_id: int) -> str:
    rows = tx.fetch(
        "select info from latest join states on states.id = state_id where latest.service_id = ?",
        service_id,
    )
    return rows[0][0] if rows else ""


def attempts(tx: Transaction, alert_ids: Sequence[int], limit: int) -> list[Row]:
    """Return alert_id, plugin, reminder, tried_at, took_s, delivered, words: the newest first."""
    rows = tx.fetch_in(
        "select attempts.id, alert_id, plugin, reminder, attempts.tried_at, took_s, delivered,"
        " words from outbox join attempts on outbox_id = outbox.id where alert_id in (:keys)",
        alert_ids,
    )
    return [row[1:] for row in sorted(set(rows), reverse=True)[:limit]]
