"""What the make-believe hosts send, and when: the first reports, the past, the present. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from dev.demo_fleet import (
    DEAD_HOST,
    DEAD_S,
    FLAP_S,
    FLAPPING,
    PROBLEMS,
    Service,
    reading,
)
from dev.demo_moment import DAY_S, HOUR_S, MINUTE_S, Moment

STATES_MAX = 1000
"""In one request of the past."""

SHOWN_LONG = "web-1", "db-1", "db-2", "storage-1", "backup-1"
"""Servers of which all that is not reported often goes back for 90 days."""
PUBLIC = "http, http api, certificate, smtp, imap, dns"
PUBLIC_SERVERS = "web-1", "web-2", "app-1", "mail-1", "edge-fra"
"""What the status page shows, with 90 days too."""

TURN_STEPS_MAX = 24 * 9
"""How far back is looked for the time when a service was well."""

OFTEN_S = 30, 60
"""Between two reports of what moves quickly; all others report less often."""
SELDOM_S = 420, 600

State = dict[str, Any]


class Request(NamedTuple):
    """The states that one server sends at once."""

    server: str
    states: Sequence[State]

    def body(self) -> dict[str, Any]:
        identity = {"name": self.server, "key": key_of(self.server)}
        return {"server": identity, "period": HOUR_S, "services": list(self.states)}


def key_of(server: str) -> str:
    return f"demo key of {server}"


def first_reports(services: Iterable[Service], began_at: float) -> Iterator[Request]:
    """Yield how things are now, and since when: problems begin before their present word."""
    for server, of_server in _by_server(services):
        states = []
        for service in of_server:
            times = [at for at in _first_times(service, began_at) if at < began_at]
            states += [_state(service, at, began_at, in_past=True) for at in times]
            if server != DEAD_HOST:
                states.append(_state(service, began_at, began_at))
        yield Request(server, states)


def _first_times(service: Service, began_at: float) -> list[float]:
    if service.server == DEAD_HOST:
        return [began_at - DEAD_S]
    if (service.server, service.name) == FLAPPING:
        return [began_at - n * FLAP_S for n in range(9, 0, -1)]
    if reading(service, began_at, began_at).state == "OK":
        return []
    well_at, bad_at = _turn(service, began_at)
    return [well_at, bad_at]


def _turn(service: Service, began_at: float) -> tuple[float, float]:
    """Return when a service that is bad was well the last time, and when it was bad since."""
    problem = PROBLEMS.get((service.server, service.name))
    if problem is not None:
        return began_at - problem.lasts_s - MINUTE_S, began_at - problem.lasts_s
    step_s = min(service.period_s, HOUR_S)
    bad_at = began_at
    for number in range(1, TURN_STEPS_MAX):
        at = began_at - number * step_s
        if reading(service, at, began_at).state == "OK":
            return at, bad_at
        bad_at = at
    return bad_at - step_s, bad_at


def past(services: Sequence[Service], began_at: float) -> Iterator[Request]:
    """Yield what was, the newest day of all first, then the week, then the 90 days of some."""
    spans = ((1, 0), (7, 1), (90, 7))
    for older, newer in spans:
        for server, of_server in _by_server(services):
            states: list[State] = []
            for service in of_server:
                if older <= 7 or service.period_s == DAY_S or _is_shown_long(service):
                    states += _span(service, older * DAY_S, newer * DAY_S, began_at)
            for start in range(0, len(states), STATES_MAX):
                yield Request(server, states[start : start + STATES_MAX])


def _is_shown_long(service: Service) -> bool:
    if service.server in PUBLIC_SERVERS and service.name in PUBLIC.split(", "):
        return True
    return service.server in SHOWN_LONG and service.period_s >= HOUR_S


def _span(service: Service, from_s: float, to_s: float, began_at: float) -> Iterator[State]:
    """Yield the states of a span before the beginning, oldest first, a period apart at most."""
    end_at = began_at - (max(to_s, DEAD_S) if service.server == DEAD_HOST else to_s)
    at = began_at - from_s
    if service.server == DEAD_HOST:
        # It reports often, and one day of that is enough.
        at = max(at, began_at - DAY_S)
    while at < end_at:
        yield _state(service, at, began_at, in_past=True)
        at += 0.97 * service.period_s


def _state(service: Service, at: float, began_at: float, in_past: bool = False) -> State:
    state, info = reading(service, at, began_at)
    sent: State = {
        "name": service.name, "state": state, "info": info, "period": service.period_s
    }  # fmt: skip
    return {**sent, "time": at} if in_past else sent


class Present:
    """Says which services report at a time, asked again and again as time goes on."""

    def __init__(self, services: Sequence[Service], began_at: float, now_at: float) -> None:
        self._services = [one for one in services if one.server != DEAD_HOST]
        self._began_at = began_at
        self._due_at = {one: now_at + _pause_s(one, now_at) for one in self._services}

    def due(self, now_at: float) -> list[Request]:
        """Return what is sent now; it is not due any more then."""
        due = [one for one in self._services if self._due_at[one] <= now_at]
        for one in due:
            self._due_at[one] = now_at + _pause_s(one, now_at)
        return [
            Request(server, [_state(one, now_at, self._began_at) for one in of_server])
            for server, of_server in _by_server(due)
        ]


def _pause_s(service: Service, at: float) -> float:
    if (service.server, service.name) == FLAPPING:
        return FLAP_S
    span = OFTEN_S if service.period_s < HOUR_S else SELDOM_S
    # Those of one server together, as an agent sends them.
    return Moment(service.server, at).between(*span, span, int(at))


def _by_server(services: Iterable[Service]) -> list[tuple[str, list[Service]]]:
    found: dict[str, list[Service]] = {}
    for one in services:
        found.setdefault(one.server, []).append(one)
    return list(found.items())
