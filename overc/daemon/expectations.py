"""What is expected of which service: the rules of the `[expect:NAME]` sections. Pure.

Of several rules that match a service, the first one that gives an option decides that option. A
service that no rule matches is held to its own period, as every service is by default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from overc.config import parse_duration
from overc.daemon.calendars import Calendar
from overc.daemon.patterns import Patterns
from overc.model import ServiceReport, State


class Grace(NamedTuple):
    """How long after its period a report may still come: so long, and a share of the period."""

    seconds: float = 0.0
    share: float = 0.0

    def of(self, period_s: float) -> float:
        return self.seconds + self.share * period_s


NO_GRACE = Grace()

SHARE_MOST = 10_000
"""Of a grace, in per cent."""

_SHARE = re.compile(r"(\d{1,5}(?:\.\d{1,9})?)\s*%", re.ASCII)


def parse_grace(text: str) -> Grace:
    """Read a duration or a share of the period, `20%`. Raises ValueError with a sentence."""
    share = _SHARE.fullmatch(text.strip())
    if share and float(share[1]) <= SHARE_MOST:
        return Grace(share=float(share[1]) / 100)
    try:
        return Grace(parse_duration(text))
    except ValueError:
        raise ValueError(
            f"expected a duration such as 30, 5m or 1h30m, or a share of the period"
            f" such as 20%, got {text!r}"
        ) from None


class Flapping(NamedTuple):
    """So many changes of the state within so much time are too many to tell of each."""

    changes: int
    window_s: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """All that is expected of one service. Without anything it is the plain promise of a period."""

    grace: Grace = NO_GRACE
    after: int = 1
    """The how manyth bad report in a row is a problem."""
    quiet_states: frozenset[State] = frozenset()
    """States that are no problem."""
    flapping: Flapping | None = None
    calendar: Calendar | None = None
    """When reports are expected, in place of the period."""
    expire_after_s: float | None = None
    """Silent for so long the service is forgotten."""

    def grace_s(self, report: ServiceReport) -> float:
        """Return the grace that a report asks for or, where it does not, the rules grant."""
        return self.grace.of(report.period_s) if report.grace_s is None else report.grace_s

    def due_at(self, wall_at: float) -> float | None:
        """Return by the wall clock when the next report is due; None: a period after this one."""
        if self.calendar is None:
            return None
        return self.calendar.next_after(wall_at)

    def troubling(self, state: State) -> State:
        """Return the state as it counts for alerts: OK where it is to notify nobody."""
        return State.OK if state in self.quiet_states else state


DEFAULT = Expectation()
"""What a service is held to that no rule matches."""


class Rule(NamedTuple):
    """The options of one section, by the names of Expectation's attributes."""

    name: str
    servers: Patterns
    services: Patterns
    options: Mapping[str, Any]

    def matches(self, server: str, service: str) -> bool:
        return self.servers.match(server) and self.services.match(service)


class Expectations:
    """All rules, in their order."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self.rules = tuple(rules)
        # Services by the thousand have few different sets of rules: those share one value each.
        self._joined: dict[tuple[int, ...], Expectation] = {(): DEFAULT}

    def of(self, server: str, service: str) -> Expectation:
        """Return what is expected of a service, by the names that its reports give."""
        if not self.rules:
            return DEFAULT
        matching = tuple(
            [place for place, rule in enumerate(self.rules) if rule.matches(server, service)]
        )
        found = self._joined.get(matching)
        if found is None:
            options: dict[str, Any] = {}
            for place in reversed(matching):
                options.update(self.rules[place].options)
            found = self._joined[matching] = Expectation(**options)
        return found

    def deciding(self, server: str, service: str) -> dict[str, str]:
        """Return the name of the rule that decided each option that is not left to itself."""
        return {
            option: rule.name
            for rule in reversed(self.rules)
            if rule.matches(server, service)
            for option in rule.options
        }

    def shortest_expiry_s(self) -> float | None:
        """Return after which time the first service may be forgotten; None: none ever is."""
        spans = [rule.options.get("expire_after_s") for rule in self.rules]
        return min((span_s for span_s in spans if span_s is not None), default=None)
