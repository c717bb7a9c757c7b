"""The SQL of how the alert plugins do: what was delivered last, what failed, what waits."""

from __future__ import annotations

from typing import NamedTuple

from overc.daemon.store.engine import Transaction

LOOKED_AT = 500
"""The newest attempts that are looked at: there is no index by plugin, and old ones say little."""


class Tried(NamedTuple):
    """An attempt to send something."""

    at: float
    words: str


class Doing(NamedTuple):
    """How an alert plugin does."""

    delivered: Tried | None = None
    """The newest of the attempts that were looked at."""
    failed: Tried | None = None
    waiting: int = 0


def doing(tx: Transaction) -> dict[str, Doing]:
    """Return how the alert plugins do, but for those of which there is nothing to say."""
    rows = tx.fetch(
        "select plugin, attempts.tried_at, delivered, words from attempts"
        " join outbox on outbox.id = outbox_id"
        " where attempts.id > (select coalesce(max(id), 0) - ? from attempts)"
        " order by attempts.id",
        LOOKED_AT,
    )
    found: dict[str, Doing] = {}
    for plugin, at, delivered, words in rows:
        doing = found.get(plugin, Doing())
        tried = Tried(at, words)
        found[plugin] = (
            doing._replace(delivered=tried) if delivered else doing._replace(failed=tried)
        )
    sql = "select plugin, count(*) from outbox where status = 'pending' group by plugin"
    for plugin, count in tx.fetch(sql):
        found[plugin] = found.get(plugin, Doing())._replace(waiting=count)
    return found
