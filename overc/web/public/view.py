"""What a status page shows, and nothing beyond it: no ids, no keys, no addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from overc.daemon.alerting.keeping import OpenWindows
from overc.daemon.page_settings import StatusPage
from overc.daemon.snapshot import ServerEntry, ServiceEntry
from overc.daemon.store.status import ServerRow, ServiceRow
from overc.web import rows
from overc.web.listing import natural
from overc.web.public.strips import Strip
from overc.web.shapes import Json, utc
from overc.web.words import count_words, first_line, headline, title_words

LISTED_MAX = 1000
"""So many services are listed on a page, those in trouble before others."""

MAINTENANCE = "maintenance"
"""In place of a problem, while a window of maintenance is open."""

_RANKS = {
    name: place
    for place, name in enumerate(
        [*filter(rows.is_problem, rows.CONDITIONS), MAINTENANCE]
        + [one for one in rows.CONDITIONS if not rows.is_problem(one)]
    )
}
"""How a service can be, the worst first."""

WORDS = {
    "FAIL": "failing",
    "late": "not reporting",
    "WARN": "warning",
    "UNK": "unknown",
    MAINTENANCE: "maintenance",
    "OK": "OK",
    "none": "no data",
}
"""For people who know nothing of OverC."""


@dataclass(frozen=True, slots=True)
class PublicService:
    title: str
    name: str | None
    """What it is called behind its title, where that may be seen and is another thing."""
    condition: str
    since_at: float | None
    info: str | None
    """None: it may not be seen."""
    strip: Strip | None

    @property
    def word(self) -> str:
        return WORDS[self.condition]


@dataclass(frozen=True, slots=True)
class Group:
    """The services of a server; without a title those of all servers."""

    title: str | None
    name: str | None
    services: tuple[PublicService, ...]

    @property
    def condition(self) -> str:
        return worst(service.condition for service in self.services)

    @property
    def word(self) -> str:
        return WORDS[self.condition]


@dataclass(frozen=True, slots=True)
class View:
    name: str
    title: str
    groups: tuple[Group, ...]
    n_problems: int
    n_maintained: int
    """Services that would be problems but for a window of maintenance."""
    n_services: int
    left_out: int
    """Services that are in order, and too many to be listed."""
    condition: str
    now_at: float
    is_behind: bool
    """The server does not know for sure who is late."""

    @property
    def sentence(self) -> str:
        if self.n_problems:
            return count_words(self.n_problems, "problem")
        if self.n_maintained:
            return f"{count_words(self.n_maintained, 'service')} under maintenance"
        if self.condition == "none":
            return "No data yet"
        return "All systems work"

    @property
    def has_strips(self) -> bool:
        return any(service.strip is not None for group in self.groups for service in group.services)


def condition(server: ServerRow, row: ServiceRow, windows: OpenWindows) -> str:
    """Return one of WORDS. What is well is so in a window of maintenance too."""
    is_now = rows.condition(row.state, late=bool(row.timed_out))
    if rows.is_problem(is_now) and windows.since(server.name, row.name) is not None:
        return MAINTENANCE
    return is_now


def worst(conditions: Iterable[str]) -> str:
    """Return the worst one; what was never heard of is no trouble."""
    return min(conditions, key=_RANKS.__getitem__, default="none")


def chosen(
    page: StatusPage, servers: Iterable[tuple[ServerEntry, list[ServiceEntry]]]
) -> list[tuple[ServerRow, list[ServiceRow]]]:
    """Return what a page shows, with its servers and services in the order of their titles."""
    found = []
    for server, services in servers:
        if page.servers.match(server.row.name):
            meant = [one.row for one in services if page.services.match(one.row.name)]
            if meant:
                found.append((server.row, sorted(meant, key=_order)))
    return sorted(found, key=lambda one: _order(one[0]))


def view(
    page: StatusPage,
    found: list[tuple[ServerRow, list[ServiceRow]]],
    windows: OpenWindows,
    strips: Mapping[int, Strip],
    now_at: float,
    *,
    is_behind: bool = False,
) -> View:
    """`found`: what `chosen` returned. `strips`: by the id of the service."""
    conditions = {
        row.id: condition(server, row, windows) for server, services in found for row in services
    }
    listed = sorted(conditions, key=lambda id_: _RANKS[conditions[id_]])[:LISTED_MAX]
    kept = set(listed)
    groups = []
    for server, of_server in found:
        services = tuple(
            _service(
                page,
                row,
                conditions[row.id],
                windows.since(server.name, row.name),
                strips.get(row.id),
                now_at,
            )
            for row in of_server
            if row.id in kept
        )
        if services:
            groups.append(Group(label(server), _name(page, server), services))
    if not page.groups and groups:
        together = [service for group in groups for service in group.services]
        together.sort(key=lambda service: natural(service.title))
        groups = [Group(None, None, tuple(together))]
    return View(
        page.name,
        page.title,
        tuple(groups),
        sum(_RANKS[one] < _RANKS[MAINTENANCE] for one in conditions.values()),
        sum(one == MAINTENANCE for one in conditions.values()),
        len(conditions),
        len(conditions) - len(listed),
        worst(conditions.values()),
        now_at,
        is_behind,
    )


def as_json(shown: View) -> Json:
    return {
        "title": shown.title,
        "at": utc(shown.now_at),
        "state": shown.condition,
        "sentence": shown.sentence,
        "problems": shown.n_problems,
        "maintenance": shown.n_maintained,
        "services": shown.n_services,
        "groups": [
            {
                **_titles(group.title, group.name),
                "state": group.condition,
                "services": [_service_json(service) for service in group.services],
            }
            for group in shown.groups
        ],
    }


def label(row: ServerRow | ServiceRow) -> str:
    return title_words(row.title, row.name)


def _service(
    page: StatusPage,
    row: ServiceRow,
    is_now: str,
    window_at: float | None,
    strip: Strip | None,
    now_at: float,
) -> PublicService:
    """`window_at`: since when it is in a window of maintenance."""
    since_at = row.received_at if row.timed_out and is_now != "none" else row.since_at
    if is_now == MAINTENANCE and since_at is not None and window_at is not None:
        since_at = max(since_at, window_at)
    return PublicService(
        label(row),
        _name(page, row),
        is_now,
        None if since_at is None else min(since_at, now_at),
        headline(row.info or "") if page.infos else None,
        strip,
    )


def _name(page: StatusPage, row: ServerRow | ServiceRow) -> str | None:
    name = first_line(row.name)
    return name if page.full_names and name != label(row) else None


def _service_json(service: PublicService) -> Json:
    shape: Json = {**_titles(service.title, service.name), "state": service.condition}
    shape["since"] = None if service.since_at is None else utc(service.since_at)
    if service.info is not None:
        shape["info"] = service.info
    return shape


def _titles(title: str | None, name: str | None) -> Json:
    return {"title": title} if name is None else {"title": title, "name": name}


def _order(row: ServerRow | ServiceRow) -> tuple[str, str, int]:
    return (natural(label(row)), row.name, row.id)
