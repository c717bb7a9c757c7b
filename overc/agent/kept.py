"""A report as it is kept, and how it stands in a row of the spool."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from overc.agent.spool_errors import SpoolCorrupt
from overc.model import AlertReport, ServiceReport, Spooled, State


class Kept(NamedTuple):
    """A report as it was made: states, or alerts. See Note [Names of reports]."""

    id: int
    spooled: Spooled
    kept_at: float
    """On the steady clock."""
    services: tuple[ServiceReport, ...] = ()
    alerts: tuple[AlertReport, ...] = ()

    def size(self) -> int:
        """Return how many states and alerts it has."""
        return len(self.services) + len(self.alerts)


class Mark(NamedTuple):
    """The newest state of a service that the server has confirmed."""

    id: int
    """That of its report."""
    at: float
    """The server has no later time for it."""


def body_of(report: Kept) -> str:
    """Return the services, or null and the alerts, as a list in ASCII."""
    if report.alerts:
        return json.dumps([None, *report.alerts], separators=(",", ":"))
    return json.dumps(report.services, separators=(",", ":"))


def report_of(row: Sequence[Any]) -> Kept:
    id_, spool, seq, kept_at, _, body = row
    spooled = Spooled(spool, seq)
    try:
        items = json.loads(body)
        if items[0] is None:
            return Kept(id_, spooled, kept_at, (), tuple([AlertReport(*one) for one in items[1:]]))
        services = tuple([ServiceReport(name, State(state), *rest) for name, state, *rest in items])
    except (ValueError, TypeError, IndexError) as e:
        raise SpoolCorrupt(f"report {id_} of the spool can't be read: {e}") from None
    return Kept(id_, spooled, kept_at, services)
