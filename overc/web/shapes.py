"""The dashboard API's JSON shapes, made of the store's views. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from overc.daemon.store.status import AlertView, Overview, ServerView, ServiceView, StateView

Json = dict[str, Any]


def utc(at: float) -> str:
    """Return `YYYY-MM-DD HH:MM:SS.ffffff`, UTC."""
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def status(overview: Overview, now_at: float, lag_s: float) -> Json:
    """`now_at` is on the wall clock, like the stamps that it is compared with."""
    return {
        "stats": {
            "n_alerts": overview.n_alerts,
            "last_state_id": overview.last_state_id,
            "supervisor_lag": lag_s,
        },
        "servers": [_server(server, now_at) for server in overview.servers],
    }


def _server(server: ServerView, now_at: float) -> Json:
    return {
        "id": server.id,
        "name": server.name,
        "title": server.title,
        "ip": server.ip,
        "n_alerts": server.n_alerts,
        "services": [_service(service, now_at) for service in server.services],
    }


def _service(service: ServiceView, now_at: float) -> Json:
    shape: Json = {
        "id": service.id,
        "period": service.period_s,
        "name": service.name,
        "title": service.title,
        "n_alerts": service.n_alerts,
        "since": service.since_at,
        "state": None,
    }
    if service.received_at is not None:
        # The wall clock may have been set back since the report.
        ago_s = max(0, int(now_at - service.received_at))
        shape["state"] = {
            "rtime": utc(service.received_at),
            "timed_out": bool(service.timed_out),
            "seen_ago": str(timedelta(seconds=ago_s)),
            "state": service.state,
            "info": service.info,
        }
    return shape


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
            "rtime": utc(state.received_at),
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


def alerts(views: Iterable[AlertView]) -> Json:
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
            }
            for alert in views
        ]
    }
