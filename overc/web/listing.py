"""What the overview and the table of services list: all services in, a page of them out. Pure.

Pages of a list are cut here, so a page costs what it shows and one pass over all services. The
order is that of the live lists in the browser: first the problems of which nobody takes care, then
those of which somebody does; equal ones by the labels of servers and services.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, TypeVar
from urllib.parse import urlencode

from overc.daemon.alerting.explaining import KeepsBack
from overc.daemon.snapshot import ServerEntry, ServiceEntry
from overc.daemon.store.explain import AckFacts
from overc.web.rows import (
    CONDITIONS,
    Reply,
    ServiceRow,
    condition,
    is_problem,
    service_row,
    weight,
)
from overc.web.shapes import utc
from overc.web.words import headline, title_words, undirected

T = TypeVar("T")

ROWS = 100
"""Services on one page."""

WELL = 12
"""Servers where all is well that the overview shows at first."""

SERVERS = 50
"""Servers on one page of the overview."""

MARKS = 100
"""Services of one server that the overview shows."""

PROBLEM = "problem"
ATTENTION, CARED = "attention", "cared"
"""Problems of which nobody takes care, and the others."""

STATES = (PROBLEM, ATTENTION, CARED, *CONDITIONS)

_DIGITS = re.compile(r"\d+")

Pair = tuple[ServerEntry, ServiceEntry]


@dataclass(frozen=True, slots=True)
class Look:
    """All that there is, at one moment. Nobody changes the lists."""

    servers: Sequence[ServerEntry] = ()
    """In their order."""
    services: Sequence[Pair] = ()
    """In the order of their labels, server by server."""
    acks: Mapping[int, AckFacts] = field(default_factory=dict)
    silences: Mapping[int, KeepsBack] = field(default_factory=dict)
    told: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """The alert plugins that were told of a service's problem."""
    n_alerts: int = 0
    """Of the last 24 hours."""
    counted: Mapping[str, int] | None = None
    """How many services there are in each condition; None: nobody has counted them."""
    n_attention: int | None = None
    """How many problems there are of which nobody takes care; None: nobody has counted them."""


class Filter(NamedTuple):
    """Which services are wanted, as the page's address says it; empty: any."""

    q: str = ""
    state: str = ""
    server: str = ""
    acknowledged: str = ""
    silenced: str = ""


class Page(NamedTuple):
    """Where a list is cut."""

    number: int
    n_pages: int
    newer: str | None
    """The address of the page before this one."""
    older: str | None

    def cut(self, items: Sequence[T], size: int) -> Sequence[T]:
        return items[(self.number - 1) * size : self.number * size]


class Care(NamedTuple):
    """How many problems there are of which nobody takes care, and how many others."""

    n_attention: int
    n_cared: int


class Mark(NamedTuple):
    """A service as one mark of its server's row."""

    id: int
    title: str
    condition: str
    says: str
    """Its condition, and who takes care."""
    tip: str
    """All of it on one line that no name can turn around."""
    is_acknowledged: bool
    is_silenced: bool


class ServerLine(NamedTuple):
    """A server as a row of the overview."""

    server: Reply
    marks: Sequence[Mark]
    more: int
    """So many services are left out."""
    n_alerts: int


def natural(text: str) -> str:
    """Return a key by which web2 comes before web10."""
    return _DIGITS.sub(lambda digits: digits[0].zfill(10), text.lower())


def server_order(server: ServerEntry) -> tuple[str, int]:
    return natural(label_of(server)), server.row.id


def label_of(entry: ServerEntry | ServiceEntry) -> str:
    return title_words(entry.row.title, entry.row.name)


def counts(look: Look) -> list[tuple[str, int]]:
    """Return how many services there are in each condition, in the order of the page."""
    found = look.counted
    if found is None:
        found = Counter(condition_of(service) for _, service in look.services)
        found = {name: found[name] for name in CONDITIONS}
    return [(name, number) for name, number in found.items() if name != "none" or number]


def find(look: Look, wanted: Filter) -> list[Pair]:
    """Return the services that are wanted, trouble first."""
    matches = _matcher(look, wanted)
    # Services come in the order of their labels, so only trouble has to be sorted.
    by_weight: list[list[Pair]] = [[] for _ in range(2 * len(CONDITIONS))]
    for pair in look.services:
        is_in = condition_of(pair[1])
        if matches is None or matches(pair, is_in):
            by_weight[_weight(look, pair[1])].append(pair)
    return list(chain.from_iterable(by_weight))


def care(look: Look) -> Care:
    n_problems = sum(number for name, number in counts(look) if is_problem(name))
    n_attention = look.n_attention
    if n_attention is None:
        n_attention = len(find(look, Filter(state=ATTENTION)))
    return Care(n_attention, n_problems - n_attention)


def is_cared(look: Look, service: ServiceEntry) -> bool:
    return service.row.id in look.acks or service.row.id in look.silences


def page_of(number: int, n_items: int, size: int, query: Mapping[str, str]) -> Page:
    """Return where a list is cut; a number beyond the last page is that one's."""
    n_pages = max(1, -(-n_items // size))
    number = min(max(number, 1), n_pages)

    def href(other: int) -> str:
        asked = {name: value for name, value in query.items() if value}
        return "?" + urlencode({**asked, "page": str(other)})

    return Page(
        number,
        n_pages,
        href(number - 1) if number > 1 else None,
        href(number + 1) if number < n_pages else None,
    )


def rows(look: Look, pairs: Iterable[Pair], now_at: float) -> list[ServiceRow]:
    """Return services in the words that the tables print."""
    return [
        service_row(
            server_reply(server),
            _service_reply(service),
            look.acks.get(service.row.id),
            look.silences.get(service.row.id),
            now_at,
            look.told.get(service.row.id, ()),
        )
        for server, service in pairs
    ]


def listed_servers(look: Look) -> list[ServerEntry]:
    """Return the servers in their order, of those where all is well only the first ones."""
    shown, n_well = [], 0
    for server in look.servers:
        is_well = not any(is_problem(condition_of(one)) for one in server.services.values())
        n_well += is_well
        if not is_well or n_well <= WELL:
            shown.append(server)
    # A line for one of them would save nothing.
    return shown if len(shown) < len(look.servers) - 1 else list(look.servers)


def server_lines(look: Look, servers: Sequence[ServerEntry], page: Page) -> list[ServerLine]:
    shown = page.cut(servers, SERVERS)
    services: dict[int, list[ServiceEntry]] = {server.row.id: [] for server in shown}
    for server, service in look.services:
        if server.row.id in services:
            services[server.row.id].append(service)
    return [_server_line(look, server, services[server.row.id]) for server in shown]


def _server_line(look: Look, server: ServerEntry, services: list[ServiceEntry]) -> ServerLine:
    shown = services
    if len(services) > MARKS:
        # The worst of them; sorting keeps the order of equal ones.
        shown = sorted(services, key=lambda one: _weight(look, one))[:MARKS]
    marks = [_mark(look, one) for one in shown]
    n_alerts = server.n_alerts + sum(one.n_alerts for one in services)
    return ServerLine(server_reply(server), marks, len(services) - len(shown), n_alerts)


def _mark(look: Look, service: ServiceEntry) -> Mark:
    id_, title, is_in = service.row.id, label_of(service), condition_of(service)
    is_acknowledged, is_silenced = id_ in look.acks, id_ in look.silences
    says = "no state" if is_in == "none" else is_in
    if is_acknowledged:
        says += ", acknowledged"
    if is_silenced:
        says += ", silenced"
    info = headline(service.row.info or "")
    tip = undirected(f"{title}: {says}: {info}" if info else f"{title}: {says}")
    return Mark(id_, title, is_in, says, tip, is_acknowledged, is_silenced)


def server_reply(server: ServerEntry) -> Reply:
    row = server.row
    return {"id": row.id, "name": row.name, "title": row.title, "n_alerts": server.n_alerts}


def _service_reply(service: ServiceEntry) -> Reply:
    row, state = service.row, None
    if row.received_at is not None:
        state = {
            "rtime": utc(row.received_at),
            "timed_out": bool(row.timed_out),
            "state": row.state,
            "info": row.info,
        }
    return {
        "id": row.id,
        "name": row.name,
        "title": row.title,
        "period": row.period_s,
        "n_alerts": service.n_alerts,
        "since": row.since_at,
        "state": state,
    }


def condition_of(service: ServiceEntry) -> str:
    return condition(service.row.state, late=bool(service.row.timed_out))


def _weight(look: Look, service: ServiceEntry) -> int:
    return weight(condition_of(service), is_cared=is_cared(look, service))


def _found_by(service: ServiceEntry) -> str:
    text = service.found_by
    if text is None:
        row = service.row
        text = f"{label_of(service)}\n{row.name}\n{headline(row.info or '')}".lower()
        # Should it change just now, it is forgotten again with the next change at the latest.
        service.found_by = text
    return text


def _matcher(look: Look, wanted: Filter) -> Callable[[Pair, str], bool] | None:
    """Return what says whether a service is wanted; None: all are."""
    if wanted == Filter():
        return None
    words, server_word = wanted.q.lower().split(), wanted.server.strip().lower()
    homes: dict[int, str] = {}

    def home(server: ServerEntry) -> str:
        text = homes.get(server.row.id)
        if text is None:
            text = homes[server.row.id] = f"{label_of(server)}\n{server.row.name}".lower()
        return text

    def matches(pair: Pair, is_in: str) -> bool:
        server, service = pair
        id_ = service.row.id
        if wanted.state in (PROBLEM, ATTENTION, CARED):
            if not is_problem(is_in):
                return False
            if wanted.state != PROBLEM and (wanted.state == CARED) is not is_cared(look, service):
                return False
        elif wanted.state not in ("", is_in):
            return False
        if wanted.acknowledged and (wanted.acknowledged == "yes") is not (id_ in look.acks):
            return False
        if wanted.silenced and (wanted.silenced == "yes") is not (id_ in look.silences):
            return False
        if server_word and server_word not in home(server):
            return False
        if not words:
            return True
        low = _found_by(service)
        return all(word in low or word in home(server) for word in words)

    return matches
