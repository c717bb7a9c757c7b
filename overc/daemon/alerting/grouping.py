"""Which rows of the outbox travel in one message. Pure.

Note [One message]
~~~~~~~~~~~~~~~~~~
Services of one server that fall late together are one event to people: the host is gone. What is
due at the same time travels together; nothing waits for company. When all that would be sent makes
more messages than people can read, it goes in one message, gathered by server. What a silence has
kept back, and is a problem still when it ends, travels together as well.

A message that failed is tried again as it was, under the same id: whoever receives it can tell that
it is the same. Nothing joins it, and where the order of a service forbids that a row goes with it,
the row goes alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import NamedTuple

from overc.daemon.alerting.messages import Kind, Message
from overc.daemon.store.deliveries import Due, Liveness
from overc.model import Notice, Phase, Topic

ROWS_MAX = 500
"""In one message: what follows from it is written in one transaction."""

AGAIN, DIGEST, SUMMARY = "again", "digest", "summary"

Key = Callable[[Due], tuple[object, ...] | None]


class Parcel(NamedTuple):
    """The rows of one message."""

    kind: Kind
    rows: tuple[Due, ...]
    """At least one, in order."""
    last_sign_at: float | None = None
    """Of SILENT: the server's last sign of life."""

    @property
    def ids(self) -> list[int]:
        return [row.id for row in self.rows]

    @property
    def lanes(self) -> set[int]:
        return {row.lane for row in self.rows}

    @property
    def message_id(self) -> int:
        return self.rows[0].alert_id


def plan(
    rows: Sequence[Due],
    hosts: Mapping[int, Liveness],
    digest_over: int,
    now_at: float,
    in_flight: Collection[int] = (),
    servers: int = 0,
) -> list[Parcel]:
    """Return the messages to send, in the order in which they may be sent.

    `rows`: those that are due, the oldest first. `in_flight`: the ids of those that are being sent;
    nothing of their lanes is planned, nor of the lanes that another node sends something of. Of
    each lane the messages have a beginning without gaps, in order. `servers`: at least so many
    messages there would be, since more is due than `rows`.
    """
    free = _free(rows, in_flight, now_at)
    gathered = _gather(free, _together)
    if max(sum(group[0].tries == 0 for group in gathered), servers) > digest_over:
        gathered = _gather(free, _digested)
    return [_parcel(group, hosts) for group in gathered]


def _free(rows: Sequence[Due], in_flight: Collection[int], now_at: float) -> list[Due]:
    taken: set[int] = set()
    free = []
    for row in rows:
        claimed = row.claimed_until is not None and row.claimed_until > now_at
        if claimed or row.id in in_flight:
            taken.add(row.lane)
        elif row.lane not in taken:
            free.append(row)
    return free


def _together(row: Due) -> tuple[object, ...] | None:
    """Return what rows that travel together have in common; None: it goes alone."""
    if row.message_id is not None:
        return AGAIN, row.message_id
    if row.silence_id is not None:
        return SUMMARY, row.silence_id
    if row.server_id is not None and row.service_id is not None and row.topic == Topic.LATE:
        return row.phase, row.server_id, row.reminder
    return None


def _digested(row: Due) -> tuple[object, ...]:
    if row.message_id is None and row.silence_id is None:
        return (DIGEST,)
    return _together(row) or ()


def _gather(rows: Sequence[Due], key: Key) -> list[list[Due]]:
    """Put rows with one key together, as far as no row overtakes another one of its lane."""
    lanes: dict[int, deque[Due]] = {}
    alike: dict[Hashable, list[Due]] = {}
    for row in rows:
        lanes.setdefault(row.lane, deque()).append(row)
        alike.setdefault(key(row), []).append(row)
    groups = []
    done: set[int] = set()
    for first in rows:
        if first.id in done:
            continue
        common = key(first)
        group: list[Due] = []
        inside: set[int] = set()
        # A message that counts services has one row of each.
        once = common is not None and common[0] not in (AGAIN, DIGEST, SUMMARY)
        for row in [first] if common is None else alike[common]:
            if len(group) == ROWS_MAX:
                break
            if once and row.lane in inside:
                continue
            if row.id not in done and lanes[row.lane][0] is row:
                lanes[row.lane].popleft()
                inside.add(row.lane)
                group.append(row)
        done.update(row.id for row in group)
        if common is not None:
            alike[common] = [row for row in alike[common] if row.id not in done]
        groups.append(group)
    return groups


def _parcel(rows: Sequence[Due], hosts: Mapping[int, Liveness]) -> Parcel:
    kind, last_sign_at = Kind.SINGLE, None
    if rows[0].silence_id is not None:
        kind = Kind.SUMMARY
    elif len(rows) > 1:
        kind = Kind.DIGEST
        about = {(row.server_id, row.phase, row.topic) for row in rows}
        services = {row.service_id for row in rows}
        [(server_id, phase, topic), *others] = about
        if not others and topic == Topic.LATE and server_id is not None:
            host = hosts.get(server_id, Liveness(0, len(services) + 1, None))
            if phase == Phase.PROBLEM:
                kind = Kind.LATE
                if host.awaited == 0 and len(services) > 1:
                    kind, last_sign_at = Kind.SILENT, host.last_sign_at
            elif phase == Phase.RECOVERY:
                whole = host.late == 0 and host.awaited == len(services) > 1
                kind = Kind.RETURNED if whole else Kind.BACK
    if kind is Kind.DIGEST:
        rows = _by_server(rows)
    return Parcel(kind, tuple(rows), last_sign_at)


def _by_server(rows: Sequence[Due]) -> list[Due]:
    """Gather rows by server, in the order in which the servers come first."""
    places: dict[int | None, int] = {}
    for row in rows:
        places.setdefault(row.server_id, len(places))
    return sorted(rows, key=lambda row: places[row.server_id])


def message(parcel: Parcel, found: Mapping[int, Notice]) -> Message:
    """Return the message of a parcel; `found`: the rows that are still there, one or more."""
    notices = tuple(found[row.id] for row in parcel.rows if row.id in found)
    if len(notices) == 1:
        summary = parcel.kind is Kind.SUMMARY
        return Message(Kind.SUMMARY if summary else Kind.SINGLE, notices)
    since_at = parcel.last_sign_at
    if parcel.kind is Kind.RETURNED:
        known = [notice.since_at for notice in notices if notice.since_at is not None]
        since_at = max(known, default=None)
    return Message(parcel.kind, notices, since_at)
