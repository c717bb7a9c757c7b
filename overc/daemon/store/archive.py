"""The SQL of what is kept for long and of what is forgotten.

Whoever writes roll-ups reads first, on a snapshot, what they add to; so whole rows are replaced,
which is one text for all engines. `same_progress` tells whether the snapshot still holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from overc.daemon.store.engine import CHUNKS, Row, Transaction


class Buckets(NamedTuple):
    """Two tables of one kind. Their rows have a key (when it starts, whose it is) and sums."""

    hours: str
    days: str
    id_column: str
    sums: tuple[str, str, str, str]


STATE_BUCKETS = Buckets(
    "state_hours", "state_days", "service_id", ("ok_ms", "warn_ms", "fail_ms", "unk_ms")
)
PERF_BUCKETS = Buckets("perf_hours", "perf_days", "series_id", ("n", "total", "low", "high"))

Sums = Sequence[Any]
"""A value for each of a kind's sums."""

Key = tuple[int, int]
"""When a bucket starts, and the id of the service or the series that it is about."""


class Progress(NamedTuple):
    """How far the work has come; see rollup_progress in the schema."""

    up_to: int
    position: int


class Series(NamedTuple):
    """One thing that a service measures."""

    id: int
    service_id: int
    label: str
    uom: str
    used_at: int


def read_progress(tx: Transaction) -> dict[str, Progress]:
    """Return the progress of `states` and of the days of each kind, by their table."""
    rows = tx.fetch("select name, up_to, position from rollup_progress")
    return {name: Progress(up_to, position) for name, up_to, position in rows}


def same_progress(tx: Transaction, expected: Mapping[str, Progress]) -> bool:
    """Tell whether nobody made progress since, and keep others from it in this transaction."""
    rows = tx.fetch(f"select name, up_to, position from rollup_progress {tx.for_update}")
    return {name: Progress(up_to, position) for name, up_to, position in rows} == expected


def set_progress(tx: Transaction, name: str, progress: Progress) -> None:
    tx.execute("update rollup_progress set up_to = ?, position = ? where name = ?", *progress, name)


def newest_state_id(tx: Transaction) -> int:
    [(newest_id,)] = tx.fetch("select coalesce(max(id), 0) from states")
    return int(newest_id)


def states_after(tx: Transaction, after_id: int, to_id: int) -> list[Row]:
    """Return id, service_id, seen_at, state, info, by id. The info is empty without perfdata."""
    return tx.fetch(
        "select id, service_id, seen_at, state,"
        " case when instr(info, '|') > 0 then info else '' end"
        " from states where id > ? and id <= ? order by id",
        after_id, to_id,
    )  # fmt: skip


def state_sizes(tx: Transaction, after_id: int, to_id: int, limit: int) -> list[Row]:
    """Return id, received_at, and about how many bytes the info has, by id."""
    return tx.fetch(
        "select id, received_at, length(info) from states"
        " where id > ? and id <= ? order by id limit ?",
        after_id, to_id, limit,
    )  # fmt: skip


class Promise(NamedTuple):
    """What a service promises with a report, as far as that is stored, and whether it kept it."""

    id: int
    server: str
    name: str
    """Both names, by which rules say what else is expected."""
    period_s: int | None
    grace_s: float
    timed_out: bool


PROMISES = (
    "select services.id, servers.name, services.name, period_s, grace_s, timed_out"
    " from services join servers on servers.id = server_id where"
)


def promises(tx: Transaction, service_ids: Iterable[int]) -> dict[int, Promise]:
    """Return the present promise of each of these services that exists."""
    rows = tx.fetch_in(f"{PROMISES} services.id in (:keys)", service_ids)
    return {row[0]: as_promise(row) for row in rows}


def as_promise(row: Row) -> Promise:
    """Return a row of PROMISES."""
    return Promise(*row)._replace(timed_out=bool(row[-1]))


def timelines(tx: Transaction, service_ids: Iterable[int]) -> dict[int, str]:
    sql = "select service_id, points from timelines where service_id in (:keys)"
    return dict(tx.fetch_in(sql, service_ids))


def save_timelines(tx: Transaction, points: Mapping[int, str]) -> None:
    """Keep timelines of services that exist."""
    _replace(tx, "timelines", ("service_id", "points"), sorted(points.items()))


def series(tx: Transaction, service_ids: Iterable[int]) -> list[Series]:
    sql = "select id, service_id, label, uom, used_at from perf_series where service_id in (:keys)"
    return [Series(*row) for row in tx.fetch_in(sql, service_ids)]


def add_series(tx: Transaction, rows: Sequence[Row]) -> list[int]:
    """Add series, as service_id, label, uom, used_at, of services that exist; return their ids."""
    return tx.insert("perf_series", ("service_id", "label", "uom", "used_at"), rows)


def use_series(tx: Transaction, ids: Sequence[int], used_at: int) -> None:
    """Keep on which day series got their newest values."""
    for at in range(0, len(ids), CHUNKS[0]):
        chunk = ids[at : at + CHUNKS[0]]
        marks = ",".join("?" * len(chunk))
        tx.execute(f"update perf_series set used_at = ? where id in ({marks})", used_at, *chunk)


def buckets(tx: Transaction, kind: Buckets, table: str, keys: Iterable[Key]) -> dict[Key, Sums]:
    """Return the sums of those of these buckets that there are."""
    found: dict[Key, Sums] = {}
    sql = (
        f"select {kind.id_column}, {', '.join(kind.sums)} from {table}"
        f" where starts_at = ? and {kind.id_column} in (:keys)"
    )
    for starts_at, group in groupby(sorted(keys), lambda key: key[0]):
        for id_, *sums in tx.fetch_in(sql, [id_ for _, id_ in group], starts_at):
            found[starts_at, id_] = sums
    return found


def save_buckets(tx: Transaction, kind: Buckets, table: str, sums: Mapping[Key, Sums]) -> None:
    """Write whole buckets over those that there are."""
    columns = ("starts_at", kind.id_column, *kind.sums)
    _replace(tx, table, columns, [(*key, *sums[key]) for key in sorted(sums)])


def hours_of_day(
    tx: Transaction, kind: Buckets, starts: Iterable[int], after_id: int, limit: int
) -> list[tuple[int, Sums]]:
    """Return ids and sums of the buckets that start then: for each start the `limit` lowest ids."""
    found: list[tuple[int, Sums]] = []
    for starts_at in starts:
        rows = tx.fetch(
            f"select {kind.id_column}, {', '.join(kind.sums)} from {kind.hours}"
            f" where starts_at = ? and {kind.id_column} > ? order by {kind.id_column} limit ?",
            starts_at, after_id, limit,
        )  # fmt: skip
        found += [(id_, sums) for id_, *sums in rows]
    return found


def first_start(tx: Transaction, table: str, from_at: int) -> int | None:
    """Return when the first bucket of a table starts, from then on."""
    [(starts_at,)] = tx.fetch(f"select min(starts_at) from {table} where starts_at >= ?", from_at)
    return None if starts_at is None else int(starts_at)


def prune_states(tx: Transaction, after_id: int, to_id: int) -> int:
    """Delete a range of the history; return how many rows.

    What its services point at stays: their present states, and the rows their chains begin at.
    """
    return tx.execute(
        "delete from states where id > ? and id <= ? and not exists (select 1 from latest"
        " where latest.service_id = states.service_id and states.id in (state_id, last_state_id))",
        after_id, to_id,
    )  # fmt: skip


def old_alerts(tx: Transaction, before_at: float, limit: int) -> list[int]:
    """Return the ids of alerts of before then of which nothing is still to be sent.

    What an alert plugin was told and is a problem still has to be known when it is over.
    """
    rows = tx.fetch(
        "select id from alerts where raised_at < ? and not exists (select 1 from outbox"
        " where outbox.alert_id = alerts.id and outbox.status = 'pending')"
        " and not exists (select 1 from standing where standing.alert_id = alerts.id)"
        " order by raised_at limit ?",
        before_at, limit,
    )  # fmt: skip
    return [row[0] for row in rows]


def prune_alerts(tx: Transaction, ids: Sequence[int]) -> None:
    """Delete alerts, with their rows in the outbox."""
    tx.delete("alerts", ids)


def old_series(tx: Transaction, before_at: float, limit: int) -> list[int]:
    """Return the ids of series that got no value from then on."""
    rows = tx.fetch("select id from perf_series where used_at < ? limit ?", before_at, limit)
    return [row[0] for row in rows]


def prune_series(tx: Transaction, ids: Sequence[int]) -> None:
    tx.delete("perf_series", ids)


def old_spools(tx: Transaction, before_at: float, limit: int) -> list[Row]:
    """Return server_id and name of spools that were not used from then on."""
    sql = "select server_id, spool from spools where used_at < ? limit ?"
    return tx.fetch(sql, before_at, limit)


def prune_spools(tx: Transaction, before_at: float, keys: Iterable[Row]) -> int:
    """Delete spools that are still unused; return how many."""
    sql = "delete from spools where server_id = ? and spool = ? and used_at < ?"
    return sum(tx.execute(sql, *key, before_at) for key in keys)


def old_buckets(
    tx: Transaction, kind: Buckets, table: str, before_at: float, limit: int
) -> tuple[int, int, int] | None:
    """Return the oldest time that buckets start at, if it is before then, and a range of ids.

    The range holds `limit` buckets at most.
    """
    starts_at = first_start(tx, table, 0)
    if starts_at is None or starts_at >= before_at:
        return None
    ids = tx.fetch(
        f"select {kind.id_column} from {table} where starts_at = ?"
        f" order by {kind.id_column} limit ?",
        starts_at, limit,
    )  # fmt: skip
    return starts_at, ids[0][0], ids[-1][0]


def prune_buckets(
    tx: Transaction, kind: Buckets, table: str, starts_at: int, first_id: int, last_id: int
) -> int:
    """Delete the buckets of a range of ids that start then; return how many."""
    return tx.execute(
        f"delete from {table} where starts_at = ? and {kind.id_column} between ? and ?",
        starts_at, first_id, last_id,
    )  # fmt: skip


def _replace(tx: Transaction, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    one = f"({','.join('?' * len(columns))})"
    at = 0
    # See Note [Chunks of fixed sizes] in engine.py.
    for size in CHUNKS:
        while len(rows) - at >= size:
            values = [value for row in rows[at : at + size] for value in row]
            marks = ",".join([one] * size)
            tx.execute(f"replace into {table} ({','.join(columns)}) values {marks}", *values)
            at += size
