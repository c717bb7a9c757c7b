"""The SQL of silences, and of problems that somebody takes care of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from overc.daemon.store.engine import Transaction

WINDOW_AUTHOR = "maintenance "
"""With the name of a maintenance it is the author of its open windows, which are silences too."""


class SilenceRow(NamedTuple):
    id: int
    servers: str
    services: str
    author: str
    reason: str
    starts_at: float
    ends_at: float
    warned_at: float | None
    closed_at: float | None


_SILENCE = (
    "select id, servers, services, author, reason, starts_at, ends_at, warned_at, closed_at"
    " from silences"
)


def in_force(tx: Transaction, now_at: float) -> list[SilenceRow]:
    """Return the silences that keep alerts back now."""
    sql = f"{_SILENCE} where closed_at is null and starts_at <= ? and ends_at > ? order by id"
    return [SilenceRow(*row) for row in tx.fetch(sql, now_at, now_at)]


def ended(tx: Transaction, now_at: float) -> list[SilenceRow]:
    """Return the silences that are over and not closed, to be closed by this transaction."""
    sql = f"{_SILENCE} where closed_at is null and ends_at <= ? order by id {tx.for_update}"
    return [SilenceRow(*row) for row in tx.fetch(sql, now_at)]


def find(tx: Transaction, silence_id: int) -> SilenceRow | None:
    """Return a silence, to be changed by this transaction."""
    rows = tx.fetch(f"{_SILENCE} where id = ? {tx.for_update}", silence_id)
    return SilenceRow(*rows[0]) if rows else None


def has_window(tx: Transaction, name: str, begun_at: float) -> bool:
    """Tell whether a window of maintenance was opened, be it over by now."""
    sql = "select 1 from silences where starts_at = ? and author = ?"
    return bool(tx.fetch(sql, begun_at, WINDOW_AUTHOR + name))


def add(
    tx: Transaction,
    servers: str,
    services: str,
    author: str,
    reason: str,
    starts_at: float,
    ends_at: float,
    now_at: float,
) -> int:
    columns = (
        "servers", "services", "author", "reason", "starts_at", "ends_at", "created_at",
    )  # fmt: skip
    row = (servers, services, author, reason, starts_at, ends_at, now_at)
    [id_] = tx.insert("silences", columns, [row])
    return id_


def end(tx: Transaction, silence_id: int, starts_at: float, ends_at: float) -> None:
    tx.execute(
        "update silences set starts_at = ?, ends_at = ? where id = ?",
        starts_at, ends_at, silence_id,
    )  # fmt: skip


def change_end(tx: Transaction, silence_id: int, ends_at: float) -> None:
    """Let a silence end at another time; that it ends soon is said again then."""
    tx.execute(
        "update silences set ends_at = ?, warned_at = null where id = ?", ends_at, silence_id
    )


def set_warned(tx: Transaction, silence_id: int, now_at: float) -> bool:
    """Keep that it is said that a silence ends soon; tell whether nobody did so before."""
    sql = "update silences set warned_at = ? where id = ? and warned_at is null"
    return tx.execute(sql, now_at, silence_id) > 0


def close(tx: Transaction, ids: Iterable[int], now_at: float) -> None:
    """Keep that it was said what silences kept back."""
    tx.execute_in("update silences set closed_at = ? where id in (:keys)", ids, now_at)


class Troubled(NamedTuple):
    """A service, with what decides whether anything is wrong with it."""

    name: str
    state: str | None
    timed_out: bool


def find_service(tx: Transaction, service_id: int) -> Troubled | None:
    rows = tx.fetch("select name, state, timed_out from services where id = ?", service_id)
    return Troubled(rows[0][0], rows[0][1], rows[0][2] == 1) if rows else None


def acknowledge(tx: Transaction, service_id: int, author: str, reason: str, now_at: float) -> None:
    """Keep who takes care of a service's problems, in place of who did before."""
    tx.execute("delete from acks where service_id = ?", service_id)
    columns = ("service_id", "author", "reason", "acked_at")
    tx.insert("acks", columns, [(service_id, author, reason, now_at)])


def clear_acks(tx: Transaction, service_ids: Iterable[int]) -> None:
    # Nearly always there is none, and then nothing is written.
    found = tx.fetch_in("select service_id from acks where service_id in (:keys)", service_ids)
    tx.execute_in(
        "delete from acks where service_id in (:keys)", {service_id for (service_id,) in found}
    )
