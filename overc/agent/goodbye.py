"""The last reports of an agent that is stopped in order, where people want them. Pure.

An agent that is stopped breaks its promises, and the server says so. With `goodbye=2h` it makes
other ones first: each service keeps the state it had, and is not missed for two hours. A machine
that reboots in that time wakes nobody; one that does not come back is noticed after it.
"""

from __future__ import annotations

from collections.abc import Collection

from overc.model import ServiceReport
from overc.wording import span


class Goodbye:
    """Remembers what was reported last of each service."""

    def __init__(self) -> None:
        self._last: dict[str, ServiceReport] = {}

    def heard(self, report: ServiceReport) -> None:
        """Remember a report."""
        self._last[report.name] = report

    def keep(self, names: Collection[str]) -> None:
        """Forget all services but these."""
        self._last = {name: self._last[name] for name in names if name in self._last}

    def reports(self, period_s: int) -> list[ServiceReport]:
        """Return the last reports. What nothing is known of is not among them."""
        words = f"(the agent was stopped; nothing is expected of it for {span(period_s)})"
        return [
            report._replace(
                info=f"{report.info}\n{words}" if report.info else words,
                period_s=period_s,
                seen_at=None,
                grace_s=None,
            )
            for report in self._last.values()
        ]
