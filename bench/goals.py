"""The first goals, out of reference measurements of peers and of Twisted on such a machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}"

    def is_met(self, value: float) -> bool:
        if self.at_least is not None:
            return value >= self.at_least
        assert self.at_most is not None
        return value <= self.at_most


GOALS: dict[tuple[str, str, str], Goal] = {
    # A lean request path with group commit was measured at 0.81 Y on this stack.
    ("sqlite", "post1", "requests/s over Y"): Goal(at_least=0.8),
    # Klein with group commit and multi-row statements.
    ("sqlite", "post50", "states/s over Y"): Goal(at_least=15),
    ("sqlite", "post1", "p99 at half the peak"): Goal(at_most=50),
    ("sqlite", "post50", "p99 at half the peak"): Goal(at_most=50),
    # No peer keeps so much history at all; Zabbix stores 14,000 to 30,000 values a second.
    ("sqlite", "history", "states/s"): Goal(at_least=30_000),
    ("sqlite", "history", "p99 at half the peak"): Goal(at_most=50),
    # Group commit with multi-row statements through PyMySQL.
    ("mariadb", "post50", "states/s over Y"): Goal(at_least=6.5),
    # Peers: healthchecks 1.3 s, Zabbix 30 s, Nagios 60 s, Xymon 98 s.
    ("sqlite", "watchdog", "deadline to plugin started"): Goal(at_most=1),
    ("sqlite", "late", "all alerts recorded"): Goal(at_most=5),
    # Rows to dicts to JSON took 31 ms.
    ("sqlite", "status10k", "full status"): Goal(at_most=30),
    ("sqlite", "status10k", "delta"): Goal(at_most=1),
    # What a user takes for at once; peers need seconds at a tenth of the services.
    ("sqlite", "dashboard10k", "overview: usable"): Goal(at_most=1000),
    ("sqlite", "dashboard10k", "services: usable"): Goal(at_most=1000),
    ("sqlite", "dashboard10k", "filter, key to painted"): Goal(at_most=100),
    ("sqlite", "dashboard10k", "delta of 100, event to painted"): Goal(at_most=50),
    ("sqlite", "memory", "resident, all reported"): Goal(at_most=300),
    # The agent is on every host: it must cost nothing.
    ("sqlite", "agent", "processor, of one core"): Goal(at_most=1),
    ("sqlite", "agent", "resident memory"): Goal(at_most=60),
    ("sqlite", "agent", "runs/s, reports sent"): Goal(at_least=1200),
}
"""By engine, row and figure."""


def goal_of(engine: str, row: str, figure: str) -> Goal | None:
    return GOALS.get((engine, row, figure))
