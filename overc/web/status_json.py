"""The status as JSON, put together from pieces that are kept until their service changes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import msgspec

from overc.daemon.snapshot import Selection, ServerEntry, ServiceEntry, Snapshot
from overc.web.shapes import utc

DAY_S = 86400


def status(snapshot: Snapshot, selected: Selection, now_at: float, lag_s: float) -> bytes | None:
    """Return the reply of /ui/api/status; None where there is no such server or service.

    `now_at` is on the wall clock, like the stamps that it is compared with.
    """
    servers = snapshot.servers(selected)
    if servers is None:
        return None
    ids = (service.row.state_id or 0 for _, services in servers for service in services)
    stats = {
        "n_alerts": snapshot.n_alerts(selected),
        "last_state_id": max(ids, default=0),
        "supervisor_lag": lag_s,
        "version": snapshot.version,
    }
    return b'{"stats":%b,"servers":[%b]}' % (
        msgspec.json.encode(stats),
        b",".join(_server(server, services, now_at) for server, services in servers),
    )


def changes(snapshot: Snapshot, since: int, now_at: float) -> bytes:
    """Return the services that changed after a version; `"full": true` where that is not known."""
    full = since < snapshot.complete_since or since > snapshot.version
    services = [] if full else list(snapshot.changed_since(since))
    return b'{"version":%d,"full":%b,"services":[%b]}' % (
        snapshot.version,
        b"true" if full else b"false",
        b",".join(_service(service, now_at) for service in services),
    )


def _server(server: ServerEntry, services: Iterable[ServiceEntry], now_at: float) -> bytes:
    row = server.row
    shape = {
        "id": row.id,
        "name": row.name,
        "title": row.title,
        "ip": row.ip,
        "n_alerts": server.n_alerts,
    }
    return b'%b,"services":[%b]}' % (
        msgspec.json.encode(shape)[:-1],
        b",".join([_service(service, now_at) for service in services]),
    )


def _service(service: ServiceEntry, now_at: float) -> bytes:
    rendered = service.rendered
    if rendered is None:
        rendered = service.rendered = _render(service)
    assert isinstance(rendered, bytes)
    received_at = service.row.received_at
    if received_at is None:
        return rendered
    # The wall clock may have been set back since the report.
    ago_s = int(now_at - received_at) if now_at > received_at else 0
    return b'%b"%b"}}' % (rendered, _ago(ago_s))


def _render(service: ServiceEntry) -> bytes:
    """Return a service whole, or up to the value of `seen_ago`, which is another one each time."""
    row = service.row
    shape = {
        "id": row.id,
        "server_id": row.server_id,
        "period": row.period_s,
        "name": row.name,
        "title": row.title,
        "n_alerts": service.n_alerts,
        "since": row.since_at,
        "state": None,
    }
    if row.received_at is None:
        return msgspec.json.encode(shape)
    del shape["state"]
    state = {
        "rtime": utc(row.received_at),
        "timed_out": bool(row.timed_out),
        "state": row.state,
        "info": row.info,
    }
    head, tail = msgspec.json.encode(shape)[:-1], msgspec.json.encode(state)[:-1]
    return b'%b,"state":%b,"seen_ago":' % (head, tail)


def _ago(ago_s: int) -> bytes:
    if ago_s >= DAY_S:
        return str(timedelta(seconds=ago_s)).encode()
    return b"%d:%02d:%02d" % (ago_s // 3600, ago_s // 60 % 60, ago_s % 60)
