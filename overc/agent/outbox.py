"""What the server has not confirmed yet: the newest report of each service, and alerts.

Kept in memory. The times are seconds on the reactor's clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from overc.model import AlertReport, ServiceReport

ALERTS_MOST = 100
"""How many alerts are kept; beyond that the oldest is dropped."""


class Outbox:
    """Holds reports until they are delivered. Nothing is taken out before that.

    What the server refuses is set aside, so that it does not keep the rest from being sent. A
    newer report takes the place of an older one, but does not end the time for which its service
    is set aside.
    """

    def __init__(self) -> None:
        self._states: dict[str, ServiceReport] = {}
        self._alerts: list[AlertReport] = []
        self._aside_until: dict[str, float] = {}
        self._alerts_aside_until: float | None = None

    def __len__(self) -> int:
        return len(self._states) + len(self._alerts)

    def put_state(self, report: ServiceReport) -> None:
        """Keep a state, in place of an older one of the same service."""
        self._states.pop(report.name, None)
        self._states[report.name] = report

    def put_alert(self, alert: AlertReport) -> None:
        """Keep an alert."""
        self._alerts = [*self._alerts, alert][-ALERTS_MOST:]

    def states(self, now: float) -> list[ServiceReport]:
        """Return the states that may be sent, the oldest first."""
        return [r for name, r in self._states.items() if self._aside_until.get(name, now) <= now]

    def alerts(self, now: float) -> list[AlertReport]:
        """Return the alerts that may be sent, the oldest first."""
        until = self._alerts_aside_until
        return list(self._alerts) if until is None or until <= now else []

    def ready_at(self, now: float) -> float | None:
        """Return when something may be sent: now, or later; None when there is nothing."""
        times = [self._aside_until.get(name, now) for name in self._states]
        if self._alerts:
            times.append(now if self._alerts_aside_until is None else self._alerts_aside_until)
        return max(now, min(times)) if times else None

    def states_delivered(self, reports: Iterable[ServiceReport]) -> None:
        """Forget states that the server has confirmed, unless newer ones have come since."""
        for report in reports:
            if self._states.get(report.name) is report:
                del self._states[report.name]
            self._aside_until.pop(report.name, None)

    def alerts_delivered(self, alerts: Iterable[AlertReport]) -> None:
        """Forget alerts that the server has confirmed."""
        confirmed = {id(alert) for alert in alerts}
        self._alerts = [alert for alert in self._alerts if id(alert) not in confirmed]
        self._alerts_aside_until = None

    def set_state_aside(self, name: str, until: float) -> None:
        """Don't send a service's state before a time."""
        self._aside_until[name] = until

    def set_alerts_aside(self, until: float) -> None:
        """Don't send alerts before a time."""
        self._alerts_aside_until = until
