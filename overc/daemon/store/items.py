"""The SQL of what people do with servers and services: new titles, what a deletion would remove."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from overc.daemon.store import status
from overc.daemon.store.engine import Row, Transaction

COUNTED_MAX = 20_000
"""States are counted up to here: most histories end before, and nobody waits for the others."""

RENAMES_KEPT = 1000
"""Other nodes look for them within seconds."""


class Extent(NamedTuple):
    """All that goes with a server or a service."""

    server_id: int
    server: str
    server_title: str
    service: str | None
    title: str
    """Of the service, or of the server alone."""
    ip: str
    services: int
    states: int
    """COUNTED_MAX: at least so many."""
    alerts: int
    series: int
    """Of measured values."""
    last_at: float | None
    """When the host last saw something that it has reported."""
    awaited: int
    """How many of the services have promised another report, and are not late."""


class Silent(NamedTuple):
    """A service that is late."""

    id: int
    server_id: int
    server: str
    server_title: str
    service: str
    title: str
    seen_at: float


def rename_server(tx: Transaction, server_id: int, title: str) -> tuple[str, str] | None:
    """Give a server a title, its name if that is empty; return the new one and the old one.

    None: there is no such server.
    """
    rows = tx.fetch(f"select name, title from servers where id = ? {tx.for_update}", server_id)
    if not rows:
        return None
    [(name, before)] = rows
    tx.execute("update servers set title = ? where id = ?", title or name, server_id)
    return title or name, before


def rename_service(tx: Transaction, service_id: int, title: str) -> tuple[str, str] | None:
    """The same for a service, and leave word for the other nodes."""
    rows = tx.fetch(f"select name, title from services where id = ? {tx.for_update}", service_id)
    if not rows:
        return None
    [(name, before)] = rows
    tx.execute("update services set title = ? where id = ?", title or name, service_id)
    [id_] = tx.insert("renames", ("service_id",), [(service_id,)])
    tx.execute("delete from renames where id <= ?", id_ - RENAMES_KEPT)
    return title or name, before


def extent_of_server(tx: Transaction, server_id: int) -> Extent | None:
    rows = tx.fetch("select id, name, title, ip from servers where id = ?", server_id)
    if not rows:
        return None
    [(_, name, title, ip)] = rows
    ids = [id_ for (id_,) in tx.fetch("select id from services where server_id = ?", server_id)]
    [(alerts,)] = tx.fetch("select count(*) from alerts where server_id = ?", server_id)
    counts = len(ids), _count_states(tx, ids), alerts
    lately = _lately(tx, "services.server_id = ?", server_id)
    return Extent._make((server_id, name, title, None, title, ip, *counts, *lately))


def extent_of_service(tx: Transaction, service_id: int) -> Extent | None:
    rows = tx.fetch(
        "select servers.id, servers.name, servers.title, services.name, services.title, ip"
        " from services join servers on servers.id = server_id where services.id = ?",
        service_id,
    )
    if not rows:
        return None
    [(alerts,)] = tx.fetch("select count(*) from alerts where service_id = ?", service_id)
    states = _count_states(tx, [service_id])
    return Extent._make((*rows[0], 1, states, alerts, *_lately(tx, "services.id = ?", service_id)))


def _lately(tx: Transaction, where: str, id_: int) -> Row:
    [(series,)] = tx.fetch(
        "select count(*) from perf_series join services on services.id = perf_series.service_id"
        f" where {where}",
        id_,
    )
    [(last_at, awaited)] = tx.fetch(
        "select max(seen_at), count(deadline_at)"
        f" from services join latest on latest.service_id = services.id where {where}",
        id_,
    )
    return series, last_at, awaited


def _count_states(tx: Transaction, service_ids: Iterable[int]) -> int:
    count = 0
    for id_ in service_ids:
        if tx.indexed_histories:
            sql = "select count(*) from (select id from states where service_id = ? limit ?) found"
        else:
            sql = f"{status.chain()}) select count(*) from (select id from chain limit ?)"
        [(found,)] = tx.fetch(sql, id_, COUNTED_MAX - count)
        count += found
        if count >= COUNTED_MAX:
            break
    return count


def silent(tx: Transaction, before_at: float, server_id: int | None = None) -> list[Silent]:
    """Return late services that were not heard of since then, the longest silent ones first."""
    where, values = "timed_out = 1 and seen_at <= ?", [before_at]
    if server_id is not None:
        where, values = f"server_id = ? and {where}", [server_id, before_at]
    sql = (
        "select services.id, server_id, servers.name, servers.title, services.name, services.title,"
        " seen_at from services join latest on latest.service_id = services.id"
        f" join servers on servers.id = server_id where {where} order by seen_at, services.id"
    )
    return [Silent._make(row) for row in tx.fetch(sql, *values)]


def still_silent(
    tx: Transaction, service_ids: Sequence[int], before_at: float | None
) -> list[tuple[int, bool]]:
    """Return which of these services there are, and which of them may be forgotten.

    `before_at`: those that are late and were not heard of since then; None: any.
    """
    sql = (
        "select id, timed_out, seen_at from services"
        " join latest on latest.service_id = services.id"
        f" where id in (:keys) order by id {tx.for_update}"
    )
    return [
        (id_, before_at is None or (timed_out == 1 and (seen_at or 0.0) <= before_at))
        for id_, timed_out, seen_at in tx.fetch_in(sql, service_ids)
    ]
