"""Messages for the tests of what is sent, and how."""

from __future__ import annotations

from typing import Any

from overc.daemon.alerting.messages import Kind, Message
from overc.model import Notice

RAISED_AT = 1_772_359_200.0  # 2026-03-01 10:00:00
SINCE_AT = RAISED_AT - 7500.0

_CHANGED = Notice(
    alert_id=7,
    channel="service:state",
    event="WARN",
    severity="WARN",
    message='State changed: "OK" -> "WARN"',
    raised_at=RAISED_AT,
    phase="problem",
    topic="state",
    server="localhost",
    server_id=3,
    service="a",
    service_id=4,
    server_name="localhost",
    service_name="a",
    state="WARN",
    info="hey3",
    previous="OK",
    since_at=RAISED_AT,
)


def a_notice(server: str | None = "localhost", service: str | None = "a", **more: Any) -> Notice:
    """Return a change from OK to WARN, of a service whose title is its name."""
    named = {"server": server, "server_name": server, "service": service, "service_name": service}
    if server is None:
        named |= {"server_id": None, "service_id": None}
    elif service is None:
        named |= {"service_id": None}
    if service is None:
        named |= {"state": None, "info": None, "previous": None}
    return _CHANGED._replace(**{**named, **more})


def recovered(service: str = "a", **more: Any) -> Notice:
    usual = {
        "event": "OK",
        "severity": "OK",
        "message": 'State changed: "FAIL" -> "OK"',
        "state": "OK",
        "info": "fine",
        "previous": "FAIL",
        "phase": "recovery",
        "since_at": SINCE_AT,
    }
    return a_notice(**{**usual, "service": service, **more})


def late(service: str = "a", **more: Any) -> Notice:
    usual = {
        "channel": "plugin",
        "event": "offline",
        "message": "Monitoring plugin offline",
        "severity": "FAIL",
        "topic": "late",
        "state": "OK",
        "previous": None,
    }
    return a_notice(**{**usual, "service": service, **more})


def back(service: str = "a", **more: Any) -> Notice:
    usual = {
        "channel": "plugin",
        "event": "online",
        "message": "Monitoring plugin back online",
        "severity": "OK",
        "topic": "late",
        "phase": "recovery",
        "since_at": SINCE_AT,
    }
    return a_notice(**{**usual, "service": service, **more})


def a_note(message: str = "hello", **more: Any) -> Notice:
    usual = {
        "channel": "api",
        "event": "alert",
        "severity": "FAIL",
        "phase": "note",
        "topic": "",
        "since_at": None,
        "service": None,
    }
    return a_notice(**{**usual, "message": message, **more})


def single(notice: Notice) -> Message:
    return Message(Kind.SINGLE, (notice,))


def several(kind: Kind, *notices: Notice, since_at: float | None = None) -> Message:
    return Message(kind, notices, since_at)
