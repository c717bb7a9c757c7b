"""The SQL of the outbox: what is still to be sent, and how sending went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from overc.daemon.store.engine import Transaction
from overc.daemon.store.records import RaisedAlert, add_alerts
from overc.model import Alert


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of the outbox, with the alert that it is to carry."""

    id: int
    alert_id: int
    channel: str
    event: str
    message: str
    server_title: str | None
    service_title: str | None
    state: str | None
    info: str | None


def pending(tx: Transaction, plugin: str, limit: int) -> list[Delivery]:
    """Return what a plugin has still to send, the oldest first."""
    rows = tx.fetch(
        "select outbox.id, alerts.id, alerts.channel, alerts.event, alerts.message,"
        " servers.title, services.title, states.state, states.info"
        " from outbox join alerts on alerts.id = outbox.alert_id"
        " left join servers on servers.id = alerts.server_id"
        " left join services on services.id = alerts.service_id"
        " left join states on states.id = alerts.state_id"
        " where outbox.plugin = ? and outbox.status = 'pending' order by outbox.id limit ?",
        plugin,
        limit,
    )
    return [Delivery(*row) for row in rows]


def mark(tx: Transaction, outbox_id: int, status: str, outcome: str, now_at: float) -> None:
    """Keep how a delivery went: `sent` or `failed`, and the plugin's last words."""
    tx.execute(
        "update outbox set status = ?, outcome = ?, tried_at = ? where id = ?",
        status, outcome, now_at, outbox_id,
    )  # fmt: skip


def mark_failed(
    tx: Transaction,
    outbox_id: int,
    outcome: str,
    now_at: float,
    notice: Alert | None,
    plugins: Sequence[str],
) -> None:
    """Keep that a delivery failed, and have the other plugins say so."""
    mark(tx, outbox_id, "failed", outcome, now_at)
    if notice is not None:
        add_alerts(tx, [RaisedAlert(notice, None, None, None)], now_at, plugins)


def drop_unknown_plugins(tx: Transaction, plugins: Sequence[str]) -> int:
    """Fail what waits for plugins that are not configured any more; return how many rows."""
    dropped = 0
    for (plugin,) in tx.fetch("select distinct plugin from outbox where status = 'pending'"):
        if plugin not in plugins:
            dropped += tx.execute(
                "update outbox set status = 'failed', outcome = 'not configured any more'"
                " where plugin = ? and status = 'pending'",
                plugin,
            )
    return dropped
