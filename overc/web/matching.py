"""What a silence would keep back: the services that its patterns match. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from overc.daemon.patterns import Patterns

NAMED = 12
"""So many of the services are named."""

Names = Mapping[str, Sequence[str]]
"""The services of each server, by their names."""


class Match(NamedTuple):
    n_services: int
    n_servers: int
    named: list[tuple[str, str]]
    """The first of them, server and service."""


def by_server(rows: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for server, service in rows:
        found.setdefault(server, []).append(service)
    return found


def match(names: Names, servers: Patterns, services: Patterns) -> Match:
    """Return what the patterns match, of all services that are known now."""
    # Many servers have services of the same names, so each name is matched once.
    known: dict[str, bool] = {}

    def is_meant(service: str) -> bool:
        if service not in known:
            known[service] = services.match(service)
        return known[service]

    n_services = n_servers = 0
    named: list[tuple[str, str]] = []
    for server, all_services in names.items():
        if not servers.match(server):
            continue
        meant = [service for service in all_services if is_meant(service)]
        if meant:
            n_servers += 1
            n_services += len(meant)
            named += [(server, service) for service in meant[: NAMED - len(named)]]
    return Match(n_services, n_servers, named)
