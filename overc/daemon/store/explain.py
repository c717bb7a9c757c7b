"""The SQL of "why?": one service with its latest alerts, and what became of each of them."""

from __future__ import annotations

from typing import NamedTuple

from overc.daemon.store.engine import Transaction
from overc.daemon.store.records import load_memory
from overc.model import Memory

ALERTS_MAX = 10
"""How many alerts are told of, the newest ones."""

ATTEMPTS_MAX = 20
"""How many attempts to deliver one alert are told of, the newest ones."""


class ServiceFacts(NamedTuple):
    """A service as it is stored. `deadline_at` is on the steady clock, all others on the wall."""

    id: int
    name: str
    server_id: int
    server: str
    period_s: int | None
    grace_s: float
    due_at: float | None
    deadline_at: float | None
    timed_out: bool
    state: str | None
    since_at: float | None
    info: str | None
    received_at: float | None
    memory: Memory | None = None
    """What the judge keeps of it."""


class AttemptFacts(NamedTuple):
    tried_at: float
    took_s: float
    delivered: bool
    words: str


class DeliveryFacts(NamedTuple):
    """One alert on its way to one alert plugin: a row of the outbox."""

    id: int
    alert_id: int
    plugin: str
    status: str
    due_at: float
    tries: int
    reminder: bool
    silence_id: int | None
    tried_at: float | None
    outcome: str | None
    attempts: tuple[AttemptFacts, ...] = ()
    """The oldest first."""


class AlertFacts(NamedTuple):
    id: int
    raised_at: float
    channel: str
    event: str
    severity: str
    message: str
    phase: str
    topic: str
    since_at: float | None
    """Since when the problem lasts, or lasted."""
    deliveries: tuple[DeliveryFacts, ...] = ()
    """In the order in which they were to be sent."""


class StandingFacts(NamedTuple):
    """A problem that an alert plugin was told of, or is to be told of."""

    plugin: str
    topic: str
    alert_id: int
    told_at: float | None
    remind_at: float | None


class AckFacts(NamedTuple):
    author: str
    reason: str
    acked_at: float


class Facts(NamedTuple):
    service: ServiceFacts
    alerts: tuple[AlertFacts, ...]
    """The newest first, and those that stand."""
    standing: tuple[StandingFacts, ...]
    ack: AckFacts | None


def find_service(tx: Transaction, server: str, service: str) -> int | None:
    """Return the id of a service by its names."""
    rows = tx.fetch(
        "select services.id from services join servers on servers.id = server_id"
        " where servers.name = ? and services.name = ?",
        server,
        service,
    )
    return rows[0][0] if rows else None


def names(tx: Transaction, service_id: int) -> tuple[str, str] | None:
    """Return the names of a service's server and of the service itself."""
    rows = tx.fetch(
        "select servers.name, services.name from services join servers on servers.id = server_id"
        " where services.id = ?",
        service_id,
    )
    return (rows[0][0], rows[0][1]) if rows else None


def facts(tx: Transaction, service_id: int) -> Facts | None:
    """Return all that is stored of why a service is as it is; None where there is no such one."""
    found = tx.fetch(
        "select services.id, services.name, servers.id, servers.name, period_s, grace_s, due_at,"
        " deadline_at, timed_out, services.state, since_at, states.info, states.received_at,"
        " memory from services join servers on servers.id = services.server_id"
        " join latest on latest.service_id = services.id"
        " left join states on states.id = state_id where services.id = ?",
        service_id,
    )
    if not found:
        return None
    service = ServiceFacts(*found[0])
    if found[0][-1] is not None:
        service = service._replace(memory=load_memory(found[0][-1]))
    acks = tx.fetch("select author, reason, acked_at from acks where service_id = ?", service_id)
    standing = tx.fetch(
        "select plugin, topic, alert_id, told_at, remind_at from standing where service_id = ?"
        " order by topic, plugin",
        service_id,
    )
    return Facts(
        service._replace(timed_out=bool(service.timed_out)),
        tuple(_alerts(tx, service_id, {row[2] for row in standing})),
        tuple(StandingFacts(*row) for row in standing),
        AckFacts(*acks[0]) if acks else None,
    )


_ALERTS = (
    "select id, raised_at, channel, event, severity, message, phase, topic, since_at from alerts"
)


def _alerts(tx: Transaction, service_id: int, standing: set[int]) -> list[AlertFacts]:
    newest = f"{_ALERTS} where service_id = ? order by raised_at desc, id desc limit ?"
    rows = tx.fetch(newest, service_id, ALERTS_MAX)
    # A problem may stand for longer than that.
    rows += tx.fetch_in(
        f"{_ALERTS} where id in (:keys)", sorted(standing - {row[0] for row in rows})
    )
    alerts = sorted((AlertFacts(*row) for row in rows), key=lambda one: one.id, reverse=True)
    deliveries: dict[int, list[DeliveryFacts]] = {}
    for one in _deliveries(tx, [alert.id for alert in alerts]):
        deliveries.setdefault(one.alert_id, []).append(one)
    return [alert._replace(deliveries=tuple(deliveries.get(alert.id, ()))) for alert in alerts]


def _deliveries(tx: Transaction, alert_ids: list[int]) -> list[DeliveryFacts]:
    rows = tx.fetch_in(
        "select id, alert_id, plugin, status, due_at, tries, reminder, silence_id, tried_at,"
        " outcome from outbox where alert_id in (:keys)",
        alert_ids,
    )
    found = sorted(DeliveryFacts(*row) for row in set(rows))
    attempts: dict[int, list[AttemptFacts]] = {}
    # By id, which stands for the time: the wall clock may have been set back.
    for _, outbox_id, *rest in sorted(
        set(
            tx.fetch_in(
                "select id, outbox_id, tried_at, took_s, delivered, words from attempts"
                " where outbox_id in (:keys)",
                [one.id for one in found],
            )
        )
    ):
        attempts.setdefault(outbox_id, []).append(AttemptFacts(*rest))
    return [
        one._replace(
            reminder=bool(one.reminder),
            attempts=tuple(
                tried._replace(delivered=bool(tried.delivered))
                for tried in attempts.get(one.id, ())[-ATTEMPTS_MAX:]
            ),
        )
        for one in found
    ]
