"""The SQL of where alerts went, for those who look at many of them; nothing is changed here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from overc.daemon.store.engine import Transaction
from overc.daemon.store.explain import AckFacts

UNTRIED_S = 86400.0
"""What was given up without a try was due so long before: `retry-for`, unless it is set."""


class Told(NamedTuple):
    """An alert, or its reminder, on its way to an alert plugin."""

    alert_id: int
    plugin: str
    status: str
    due_at: float
    tries: int
    tried_at: float | None
    outcome: str | None
    reminder: bool
    silence_id: int | None
    reminders: int = 0
    """How often the plugin was reminded of the alert."""
    reminded_at: float | None = None
    """When that was done last."""


def deliveries(tx: Transaction, alert_ids: Iterable[int]) -> dict[int, list[Told]]:
    """Return where alerts went, by the alert, in the order in which it was to be sent.

    Reminders that were sent, of which there may be very many, are counted with what they remind
    of; others stand for themselves.
    """
    ids = list(alert_ids)
    rows = tx.fetch_in(
        "select id, alert_id, plugin, status, due_at, tries, tried_at, outcome, reminder,"
        " silence_id from outbox where (reminder = 0 or status <> 'sent')"
        " and alert_id in (:keys)",
        ids,
    )
    reminded = {
        (alert_id, plugin): (count, at)
        for alert_id, plugin, count, at in tx.fetch_in(
            "select alert_id, plugin, count(*), max(tried_at) from outbox"
            " where reminder = 1 and status = 'sent' and alert_id in (:keys)"
            " group by alert_id, plugin",
            ids,
        )
    }
    found: dict[int, list[Told]] = {}
    for _, *row in sorted(rows, key=lambda row: int(row[0])):
        one = Told(*row)
        one = one._replace(reminder=one.reminder == 1)
        if not one.reminder:
            count, at = reminded.get((one.alert_id, one.plugin), (0, None))
            one = one._replace(reminders=count, reminded_at=at)
        found.setdefault(one.alert_id, []).append(one)
    return found


def plugins_told(tx: Transaction) -> dict[int, tuple[str, ...]]:
    """Return the alert plugins that were told of a problem that stands, by the service."""
    rows = tx.fetch(
        "select distinct service_id, plugin from standing where told_at is not null"
        " order by service_id, plugin"
    )
    found: dict[int, tuple[str, ...]] = {}
    for service_id, plugin in rows:
        found[service_id] = (*found.get(service_id, ()), plugin)
    return found


def undelivered(tx: Transaction, since_at: float) -> list[tuple[str, int]]:
    """Return how many alerts were given up since a time, for each alert plugin that lost any."""
    rows = tx.fetch(
        "select plugin, count(distinct alert_id) from outbox where status = 'undelivered'"
        " and (tried_at >= ? or tried_at is null and due_at >= ?)"
        " group by plugin order by plugin",
        since_at,
        since_at - UNTRIED_S,
    )
    return [(plugin, count) for plugin, count in rows]


def acks(tx: Transaction) -> dict[int, AckFacts]:
    """Return who takes care of which service's problems."""
    rows = tx.fetch("select service_id, author, reason, acked_at from acks")
    return {service_id: AckFacts(*rest) for service_id, *rest in rows}
