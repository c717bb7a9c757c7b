"""The SQL of how services were: the newest part of the history, and the sums of the older one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from overc.daemon.store import archive
from overc.daemon.store.archive import Buckets, Progress, Promise, Series, Sums
from overc.daemon.store.engine import Row, Transaction
from overc.daemon.store.status import StateView, chain

UNFOLDED_MAX = 20_000
"""Housekeeping leaves so much for a moment only: after a stop, or when it can't keep up."""


CHARS_MAX = 2_000_000
"""Of the infos that one answer is made of: the oldest ones beyond that are not read."""

PARSED_MAX = 2000
"""The perfdata of so many states that are in no roll-up yet is read."""

BEFORE_MAX = 64
"""Among so many that came before a range the one seen last is sought: behind it came a backlog."""

SCANNED_MAX = 10_000
"""Of a history the newest states are sought among so many."""


class Sum(NamedTuple):
    starts_at: int
    id: int
    """Of the service or the series."""
    sums: Sums


def promises_of_service(tx: Transaction, service_id: int) -> list[Promise]:
    """Return one, or none where there is no such service."""
    return list(archive.promises(tx, [service_id]).values())


def promises_of_server(tx: Transaction, server_id: int) -> list[Promise]:
    rows = tx.fetch(f"{archive.PROMISES} server_id = ? order by services.id", server_id)
    return [archive.as_promise(row) for row in rows]


def seen(tx: Transaction, service_id: int, since_at: float, limit: int) -> list[Row]:
    """Return id, seen_at and state of what was received since then, and of the state before that.

    The newest ones, in no order that could be relied on. The state before is the one seen last, not
    the one that came last.
    """
    columns = "id, seen_at, state, received_at"
    if tx.indexed_histories:
        sql = f"select {columns} from states where service_id = ? and received_at"
        newest_first = "order by received_at desc, id desc limit ?"
        found = tx.fetch(f"{sql} >= ? {newest_first}", service_id, since_at, limit)
        if len(found) < limit:
            found += tx.fetch(f"{sql} < ? {newest_first}", service_id, since_at, BEFORE_MAX)
    else:
        names = ("seen_at", "received_at", "state")
        sql = f"{chain(*names)} where chain.received_at >= ? limit ?) select {columns} from chain"
        found = tx.fetch(sql, service_id, since_at, limit)
        if found and found[-1][-1] < since_at:
            found += _before(tx, found[-1][0])
    rows = [row[:3] for row in found if row[-1] >= since_at]
    before = [row[:3] for row in found if row[-1] < since_at]
    if before:
        present = tx.fetch(
            "select states.id, states.seen_at, states.state from latest"
            " join states on states.id = latest.state_id"
            " where latest.service_id = ? and states.received_at < ?",
            service_id,
            since_at,
        )
        rows.append(max(before + present, key=lambda row: (row[1], row[0])))
    return rows


def _before(tx: Transaction, state_id: int) -> list[Row]:
    """Return states that were stored before this one, where only the chain leads to them."""
    names = ("id", "previous_id", "seen_at", "state", "received_at")
    states = ", ".join(f"states.{name}" for name in names)
    return tx.fetch(
        f"with recursive chain ({', '.join(names)}) as (select {states} from states where id = ?"
        f" union all select {states} from chain join states on states.id = chain.previous_id"
        f" limit {BEFORE_MAX}) select id, seen_at, state, received_at from chain",
        state_id,
    )


_CHUNK = 64
"""Infos of 64 KiB each, at worst."""


def newest_perfdata(tx: Transaction, ids: Sequence[int], chars_max: int) -> dict[int, str]:
    """Return infos by the ids of states, in their order, up to the one that makes them too long.

    The info is empty where it has no perfdata. A state that was pruned is left out.
    """
    text = "case when instr(info, '|') > 0 then info else '' end"
    return dict(row for row in _cut(tx, f"id, {text}", ids, chars_max))


def _cut(tx: Transaction, columns: str, ids: Sequence[int], chars_max: int) -> Iterator[Row]:
    """Yield rows of states, in the order of these ids, until their last columns are so long."""
    n_chars = 0
    for place in range(0, len(ids), _CHUNK):
        chunk = ids[place : place + _CHUNK]
        found = tx.fetch_in(f"select {columns} from states where id in (:keys)", chunk)
        by_id = {row[0]: row for row in found}
        for id_ in chunk:
            if id_ in by_id:
                yield by_id[id_]
                n_chars += len(by_id[id_][-1])
                if n_chars >= chars_max:
                    return


def newest(tx: Transaction, service_id: int, since_at: float, limit: int) -> list[StateView]:
    """Return the newest states of a service since then, newest first.

    The last SCANNED_MAX that were stored are looked at: a backlog is stored late. There are fewer
    where their infos have CHARS_MAX.
    """
    seen_then = [
        (seen_at, id_)
        for id_, seen_at, _ in seen(tx, service_id, since_at, SCANNED_MAX)
        if seen_at >= since_at
    ]
    ids = [id_ for _, id_ in sorted(seen_then, reverse=True)[:limit]]
    columns = "id, seen_at, received_at, state, info"
    return [StateView(*row) for row in _cut(tx, columns, ids, CHARS_MAX)]


_FOLDED = "(select up_to from rollup_progress where name = 'states')"


def unfolded(tx: Transaction, service_ids: Sequence[int], *, perfdata: bool = True) -> list[Row]:
    """Return what is in no roll-up yet: id, service_id, seen_at, state, info, by id.

    UNFOLDED_MAX states at most for each 512 services. The info is empty where it has no perfdata,
    is not wanted, or is older than PARSED_MAX others or CHARS_MAX of their text.
    """
    columns = "id, service_id, seen_at, state"
    if tx.indexed_histories:
        sql = (
            f"select {columns} from states where id > {_FOLDED} and service_id in (:keys)"
            f" order by id desc limit {UNFOLDED_MAX}"
        )
    else:
        names = ("id", "previous_id", "service_id", "seen_at", "state")
        states = ", ".join(f"states.{name}" for name in names)
        sql = (
            f"with recursive chain ({', '.join(names)}) as (select {states} from latest"
            " join states on states.id = latest.last_state_id"
            f" where states.id > {_FOLDED} and latest.service_id in (:keys)"
            f" union all select {states} from chain join states on states.id = chain.previous_id"
            f" where states.id > {_FOLDED} limit {UNFOLDED_MAX}) select {columns} from chain"
        )
    rows = sorted(set(tx.fetch_in(sql, service_ids)))
    newest_ids = [row[0] for row in rows[: -PARSED_MAX - 1 : -1]] if perfdata else []
    infos = newest_perfdata(tx, newest_ids, CHARS_MAX)
    return [(*row, infos.get(row[0], "")) for row in rows]


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
