"""The SQL that is asked once a second while somebody looks: what became of alerts and silences."""

from __future__ import annotations

from typing import NamedTuple

from overc.daemon.store.engine import Transaction

ATTEMPTS_MAX = 1000
"""So many attempts are told one by one; more mean that anything may have changed."""


class Attempted(NamedTuple):
    """An attempt to send an alert."""

    id: int
    server_id: int | None
    service_id: int | None


class SilenceTimes(NamedTuple):
    id: int
    starts_at: float
    ends_at: float


class Watched(NamedTuple):
    attempts: list[Attempted] | None
    """Those that came, the oldest first; None: too many, or nobody knows."""
    last_attempt_id: int
    silences: list[SilenceTimes]


def watch(tx: Transaction, after_attempt_id: int | None, ended_since_at: float) -> Watched:
    """Return what came after an attempt, and the silences but for those that ended before a time.

    `after_attempt_id`: None: it is not known which one was the last.
    """
    silences = [
        SilenceTimes(*row)
        for row in tx.fetch(
            "select id, starts_at, ends_at from silences where ends_at >= ? order by id",
            ended_since_at,
        )
    ]
    if after_attempt_id is not None:
        rows = tx.fetch(
            "select attempts.id, outbox.server_id, outbox.service_id from attempts"
            " join outbox on outbox.id = attempts.outbox_id"
            " where attempts.id > ? order by attempts.id limit ?",
            after_attempt_id,
            ATTEMPTS_MAX + 1,
        )
        if len(rows) <= ATTEMPTS_MAX:
            attempts = [Attempted(*row) for row in rows]
            last_id = attempts[-1].id if attempts else after_attempt_id
            return Watched(attempts, last_id, silences)
    [(last_id,)] = tx.fetch("select coalesce(max(id), 0) from attempts")
    return Watched(None, last_id, silences)
