"""The overview's problems: as few rows as can be, the first ones those that need somebody. Pure.

A host that is dead, or nearly so, would be as many rows as it has services: where several services
of one server are late, they are one row. What somebody takes care of comes last, below a row that
says how much it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple
from urllib.parse import urlencode

from overc.daemon.snapshot import ServerEntry
from overc.web.listing import (
    PROBLEM,
    Filter,
    Look,
    Pair,
    condition_of,
    find,
    is_cared,
    label_of,
    rows,
    server_reply,
)
from overc.web.rows import Reply, ServiceRow
from overc.web.words import span_words, utc_text

HOST_MIN = 3
"""So many late services of one server are one row."""

SHOWN = 25
"""Rows of problems of which nobody takes care that the overview shows at first."""

CARED_SHOWN = 5
"""More rows of what somebody takes care of wait behind their number."""


class Host(NamedTuple):
    """The late services of one server."""

    server: Reply
    words: str
    """How many they are: `all 10 services`; a phone leaves the last word out."""
    href: str
    """The query of the page that lists them."""
    seen_at: str | None
    """The UTC text of when the server last reported anything."""
    seen: str | None
    late_by: str | None
    """The longest."""
    n_alerts: int
    is_cared: bool


class Problems(NamedTuple):
    attention: Sequence[Host | ServiceRow]
    """Of which nobody takes care."""
    n_attention: int
    """Services, those that are not shown included."""
    is_cut: bool
    cared: Sequence[Host | ServiceRow]
    """Of which somebody does; empty where they are too many to show."""
    n_cared: int


def problems(look: Look, now_at: float) -> Problems:
    found = find(look, Filter(state=PROBLEM))
    # What nobody takes care of comes first.
    n_cared = sum(is_cared(look, service) for _, service in found)
    attention, cared = found[: len(found) - n_cared], found[len(found) - n_cared :]
    folded, folded_cared = _folded(attention), _folded(cared)
    is_cared_shown = len(folded_cared) <= CARED_SHOWN
    return Problems(
        _items(look, folded[:SHOWN], now_at),
        len(attention),
        len(folded) > SHOWN,
        _items(look, folded_cared, now_at) if is_cared_shown else (),
        n_cared,
    )


def _folded(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Put what is one row together. Equal conditions of a server follow each other."""
    found: list[list[Pair]] = []
    for (_, is_in), group in groupby(pairs, key=_server_and_condition):
        them = list(group)
        found += [them] if is_in == "late" and len(them) >= HOST_MIN else [[one] for one in them]
    return found


def _server_and_condition(pair: Pair) -> tuple[int, str]:
    server, service = pair
    return server.row.id, condition_of(service)


def _items(look: Look, folded: Iterable[list[Pair]], now_at: float) -> list[Host | ServiceRow]:
    return [
        rows(look, pairs, now_at)[0] if len(pairs) == 1 else _host(look, pairs, now_at)
        for pairs in folded
    ]


def _host(look: Look, pairs: list[Pair], now_at: float) -> Host:
    server = pairs[0][0]
    services = [service for _, service in pairs]
    due = [
        one.row.received_at + one.row.period_s
        for one in services
        if one.row.received_at is not None and one.row.period_s
    ]
    seen_at = _seen_at(server)
    query = {"server": label_of(server), "state": "late"}
    return Host(
        server_reply(server),
        host_words(len(pairs), len(server.services)),
        urlencode(query),
        None if seen_at is None else utc_text(seen_at),
        None if seen_at is None else span_words(now_at - seen_at),
        span_words(now_at - min(due)) if due else None,
        sum(one.n_alerts for one in services),
        is_cared(look, services[0]),
    )


def host_words(n_late: int, n_services: int) -> str:
    if n_late == n_services:
        return f"all {n_late:,} services"
    return f"{n_late:,} of {n_services:,} services"


def _seen_at(server: ServerEntry) -> float | None:
    times = (one.row.received_at for one in server.services.values())
    return max((at for at in times if at is not None), default=None)
