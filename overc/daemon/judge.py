"""What a report or the passing of time makes of a service, and which alerts it raises. Pure."""

from __future__ import annotations

import json
from typing import NamedTuple

from overc.model import Alert, AlertReport, Channel, ServiceReport, ServiceStatus, State

ONLINE = Alert(Channel.PLUGIN, "online", "Monitoring plugin back online", State.OK)
OFFLINE = Alert(Channel.PLUGIN, "offline", "Monitoring plugin offline", State.FAIL)


class Verdict(NamedTuple):
    """The service as it is from now on, and the alerts to raise, in order."""

    service: ServiceStatus
    alerts: tuple[Alert, ...] = ()


def is_unchanged(service: ServiceStatus, report: ServiceReport) -> bool:
    """Say whether `on_report` would move the deadline by the promised period and do no more.

    Nearly every report is like this, and this costs a tenth of judging it.
    """
    return (
        report.state is service.state
        and report.period_s == service.period_s
        and not service.timed_out
    )


def on_report(service: ServiceStatus, report: ServiceReport, now_at: float) -> Verdict:
    """Judge a service that has just reported. `now_at` is on the steady clock.

    The report's own time is not looked at: who promises a period is held to our clock.
    """
    after = ServiceStatus(report.state, report.period_s, now_at + report.period_s)
    # A first report counts as coming from OK: a new service that is well is no news.
    if not service.timed_out and report.state is (service.state or State.OK):
        return Verdict(after)
    alerts = [ONLINE] if service.timed_out else []
    if report.state is not (service.state or State.OK):
        alerts.append(_state_changed(service.state, report.state))
    return Verdict(after, tuple(alerts))


def on_tick(service: ServiceStatus, now_at: float) -> Verdict:
    """Judge a service that has not reported. One that is late already raises no second alert."""
    if service.timed_out or service.deadline_at is None or service.deadline_at > now_at:
        return Verdict(service)
    return Verdict(service._replace(timed_out=True, deadline_at=None), (OFFLINE,))


def on_alert(report: AlertReport) -> Alert:
    """Return the alert that a host asked for."""
    return Alert(Channel.API, "alert", report.message, State.FAIL)


def _state_changed(before: State | None, after: State) -> Alert:
    shown = before.value if before else "(?)"
    message = f"State changed: {json.dumps(shown)} -> {json.dumps(after.value)}"
    return Alert(Channel.SERVICE_STATE, after.value, message, after)
