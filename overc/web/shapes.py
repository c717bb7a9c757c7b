"""The dashboard API's JSON shapes, made of the store's views. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any

from overc.daemon.store.status import AlertView, StateView
from overc.daemon.store.told import Told

Json = dict[str, Any]


def utc(at: float) -> str:
    """Return `YYYY-MM-DD HH:MM:SS.ffffff`, UTC."""
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def optional_utc(at: float | None) -> str | None:
    return None if at is None else utc(at)


def states(
    history: Iterable[StateView],
    raised: Mapping[int | None, Sequence[AlertView]],
    service_id: int,
    service_name: str,
) -> list[Json]:
    """`raised`: the alerts of each state, by its id."""
    return [
        {
            "id": state.id,
            "rtime": utc(state.seen_at),
            "received": utc(state.received_at),
            "state": state.state,
            "info": state.info,
            "service": service_name,
            "service_id": service_id,
            "alerts": [
                {
                    "id": alert.id,
                    "channel": alert.channel,
                    "event": alert.event,
                    "message": alert.message,
                    "severity": alert.severity,
                }
                for alert in raised.get(state.id, ())
            ],
        }
        for state in history
    ]


def alerts(
    views: Iterable[AlertView], deliveries: Mapping[int, Sequence[Told]] = MappingProxyType({})
) -> Json:
    """`deliveries`: where each alert went, by its id."""
    return {
        "alerts": [
            {
                "id": alert.id,
                "server": alert.server,
                "server_id": alert.server_id,
                "service": alert.service,
                "service_id": alert.service_id,
                "ctime": utc(alert.raised_at),
                "channel": alert.channel,
                "event": alert.event,
                "severity": alert.severity,
                "message": alert.message,
                "state_info": alert.info,
                "deliveries": [_delivery(one) for one in deliveries.get(alert.id, ())],
            }
            for alert in views
        ]
    }


def _delivery(one: Told) -> Json:
    return {
        "plugin": one.plugin,
        "status": one.status,
        "due_at": utc(one.due_at),
        "tries": one.tries,
        "tried_at": optional_utc(one.tried_at),
        "outcome": one.outcome,
        "reminder": one.reminder,
        "silence_id": one.silence_id,
        "reminders": one.reminders,
        "reminded_at": optional_utc(one.reminded_at),
    }
