"""What is told later: reminders, and what is still a problem when a silence ends. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from overc.daemon.alerting.routing import PENDING, Key, Route, Row, Silence, find_silence, open_at


class Due(NamedTuple):
    """A problem of which it is time to remind."""

    key: Key
    alert_id: int
    """The newest alert of it that its route got."""
    server_id: int
    server: str
    service: str
    acked: bool


class Reminders(NamedTuple):
    rows: tuple[Row, ...]
    remind_at: tuple[tuple[Key, float | None], ...]
    """When to think of each problem again; None: not before more of it was told."""


class Kept(NamedTuple):
    """A row of the outbox that a silence kept back, of a problem that is still there."""

    id: int
    key: Key
    alert_id: int
    server_id: int
    server: str
    service: str
    raised_at: float
    acked: bool


class Summary(NamedTuple):
    """What becomes of all that a silence kept back."""

    rows: tuple[Row, ...]
    began: tuple[tuple[Key, int], ...]
    again: tuple[Key, ...]
    """Problems that stood before, of which there is no need to remind."""
    moved: tuple[tuple[int, int], ...]
    """Rows of the outbox that another silence keeps back from now on, with its id."""


def remind(
    due: Iterable[Due], routes: Sequence[Route], silences: Sequence[Silence], now_at: float
) -> Reminders:
    """Say which reminders are sent. Others are thought of again when what holds them back ends."""
    by_name = {route.name: route for route in routes}
    rows, remind_at = [], []
    for one in due:
        route = by_name.get(one.key.plugin)
        next_at: float | None = None
        if route is not None and route.remind_s is not None:
            silence = find_silence(silences, one.server, one.service)
            quiet_until = open_at(route, now_at)
            if one.acked:
                next_at = now_at + route.remind_s
            elif silence is not None:
                # A silence may be ended before its time.
                next_at = min(silence.ends_at, now_at + route.remind_s)
            elif quiet_until > now_at:
                next_at = quiet_until
            else:
                rows.append(
                    Row(
                        one.alert_id, route.name, one.server_id, one.key.service_id,
                        PENDING, now_at, reminder=True,
                    )
                )  # fmt: skip
        remind_at.append((one.key, next_at))
    return Reminders(tuple(rows), tuple(remind_at))


def sum_up(
    silence_id: int,
    kept: Iterable[Kept],
    routes: Sequence[Route],
    silences: Sequence[Silence],
    standing: Container[Key],
    now_at: float,
) -> Summary:
    """Say what is told, at the end of a silence, of the problems that it kept back.

    `silences`: the others that are in force. Of several alerts of one problem the newest is told.
    What somebody takes care of is not told.
    """
    by_name = {route.name: route for route in routes}
    newest: dict[Key, Kept] = {}
    moved = []
    for one in kept:
        other = find_silence(silences, one.server, one.service)
        if other is not None:
            moved.append((one.id, other.id))
        elif one.key.plugin in by_name and not one.acked:
            before = newest.get(one.key)
            if before is None or before.alert_id < one.alert_id:
                newest[one.key] = one
    rows, began, again = [], [], []
    for one in sorted(newest.values(), key=lambda one: one.alert_id):
        route = by_name[one.key.plugin]
        due_at = open_at(route, max(now_at, one.raised_at + route.delay_s))
        rows.append(
            Row(
                one.alert_id, route.name, one.server_id, one.key.service_id,
                PENDING, due_at, silence_id,
            )
        )  # fmt: skip
        if one.key in standing:
            again.append(one.key)
        else:
            began.append((one.key, one.alert_id))
    return Summary(tuple(rows), tuple(began), tuple(again), tuple(moved))
