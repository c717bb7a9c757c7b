"""Folds the history into hours and days: seconds in each state, and what was measured. Pure.

Note [Known time]
~~~~~~~~~~~~~~~~~
A report says how a service is and promises the next one within a period, or by the calendar that
awaits it. So a state holds from when it was seen until the next one was, and no longer than its
promise, nor than HOLD_MAX_S. What lies between the end of the promise and the next state is unknown
and counts for no state; an hour of which less than 3,600 s are counted was not known entirely. The
time of the newest state counts as soon as the next one is there. As the history does not hold
promises, the service's present one is taken when the state is folded. A service without a period
has promised nothing: its states have no duration.

To a calendar's time belongs its grace: a job that starts then reports when it is done. To a period
it does not, since a backlog takes its place in time that is unknown (Note [Late arrivals]), and a
long grace would leave it none.

Note [Late arrivals]
~~~~~~~~~~~~~~~~~~~~
States are folded in the order in which they were stored, but an agent that could not reach the
server sends its backlog after its present state. Each service therefore has a timeline of gaps:
pairs of states with unknown time in between. A state that falls into a gap takes its place there:
it gets its time, and what the state before it had got beyond that moment is taken back. The sums
come out the same in whatever order a backlog comes, if its states lie more than half a period apart
and never leave more than GAPS_MAX gaps. A state that falls into no gap, because all time there is
known or because the gap is forgotten, counts for its perfdata only.

Times are whole milliseconds here, so that what is taken back is exactly what was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from overc.daemon import perfdata
from overc.daemon.calendars import Calendar

HOUR_S = 3600
DAY_S = 86400

HOLD_MAX_S = 93 * DAY_S
"""No state holds longer, whatever is promised: a quarter, and a day for a grace."""

GAP_KEPT_S = 31 * DAY_S
"""A gap is forgotten when the newest state is so much younger than its end."""

GAPS_MAX = 16
"""For each service. The oldest are forgotten first."""

STATES = ("OK", "WARN", "FAIL", "UNK")


class StateRow(NamedTuple):
    """A row of the history."""

    id: int
    service_id: int
    seen_at: float
    state: str
    info: str


class Hold(NamedTuple):
    """What is promised with each state of a service, and so for how long one is known to hold."""

    period_s: int | None
    """None: nothing is promised."""
    grace_s: float = 0.0
    calendar: Calendar | None = None
    """In place of the period."""

    def ends_at(self, seen_at: float) -> float:
        """Return when a state holds no longer if no other one follows: the service is late then."""
        if self.period_s is None:
            return seen_at
        return self._promised_at(seen_at, self.period_s) + self.grace_s

    def counts_until(self, seen_at: float) -> float:
        """Return the same as roll-ups count it: see Note [Known time]."""
        if self.period_s is None:
            return seen_at
        promised_at = self._promised_at(seen_at, self.period_s)
        if self.calendar is not None:
            promised_at += self.grace_s
        return min(promised_at, seen_at + HOLD_MAX_S)

    def _promised_at(self, seen_at: float, period_s: int) -> float:
        return seen_at + period_s if self.calendar is None else self.calendar.next_after(seen_at)


class Durations(NamedTuple):
    """How long a service was in each state."""

    ok_ms: int = 0
    warn_ms: int = 0
    fail_ms: int = 0
    unk_ms: int = 0

    def plus(self, other: Durations) -> Durations:
        return Durations(*(one + another for one, another in zip(self, other, strict=True)))


class Values(NamedTuple):
    """What was measured of one thing. The average is `total / n`."""

    n: int
    total: float
    low: float
    high: float

    def plus(self, other: Values) -> Values:
        return Values(
            self.n + other.n,
            self.total + other.total,
            min(self.low, other.low),
            max(self.high, other.high),
        )


_NONE = Durations()

S = TypeVar("S", Durations, Values)
K = TypeVar("K")


def total(parts: Iterable[tuple[K, S]]) -> dict[K, S]:
    """Add up all parts of each key, such as the hours of a day."""
    sums: dict[K, S] = {}
    for key, part in parts:
        sums[key] = sums[key].plus(part) if key in sums else part
    return sums


class ValueKey(NamedTuple):
    starts_at: int
    """Epoch seconds, UTC: when the hour begins."""
    service_id: int
    label: str
    uom: str


class Point(NamedTuple):
    """A state on the timeline of its service, and the one seen next."""

    state: str
    """Empty: the time before the first state."""
    seen_ms: int
    expires_ms: int
    """It has or had time until here, if the next one was not seen before."""
    next_ms: int | None
    """When the next one was seen; None: it is the newest."""


Timeline = tuple[Point, ...]
"""In the order of time: the points that gaps begin at, and the newest point. See Note [Late
arrivals]."""


class Folded(NamedTuple):
    """What states add to the buckets, and the timelines as they are then."""

    up_to_id: int
    """The last state that is in it."""
    durations: Mapping[tuple[int, int], Durations]
    """By hour and service. May be negative: time that is taken back."""
    values: Mapping[ValueKey, Values]
    """By hour."""
    timelines: Mapping[int, Timeline]
    """Of the services that these states belong to."""


def fold(
    states: Iterable[StateRow],
    holds: Mapping[int, Hold],
    timelines: Mapping[int, Timeline],
    up_to_id: int,
    buckets_max: int,
) -> Folded:
    """Fold states, in the order of their ids.

    States of services that are not in `holds` are passed over: the service is gone.
    `up_to_id` is returned where there are no states. Stops early, after the state with which the
    buckets get to be `buckets_max` or more.
    """
    durations: dict[tuple[int, int], Durations] = {}
    values: dict[ValueKey, Values] = {}
    changed: dict[int, Timeline] = {}
    for row in states:
        up_to_id = row.id
        service_id = row.service_id
        if service_id not in holds:
            continue
        seen_ms = round(row.seen_at * 1000)
        expires_ms = round(holds[service_id].counts_until(seen_ms / 1000) * 1000)
        before = changed.get(service_id, timelines.get(service_id, ()))
        changed[service_id], spans = place(before, row.state, seen_ms, expires_ms)
        for state, start_ms, end_ms, sign in spans:
            for starts_at, part_ms in _by_hour(start_ms, end_ms):
                known = durations.get((starts_at, service_id), _NONE)
                durations[starts_at, service_id] = known.plus(_duration(state, sign * part_ms))
        hour_at = int(row.seen_at) // HOUR_S * HOUR_S
        for item in perfdata.parse(row.info):
            key = ValueKey(hour_at, service_id, item.label, item.uom)
            one = Values(1, item.value, item.value, item.value)
            values[key] = values[key].plus(one) if key in values else one
        if len(durations) + len(values) >= buckets_max:
            break
    return Folded(up_to_id, durations, values, changed)


Span = tuple[str, int, int, int]
"""A state, from when to when in ms, and 1 where this is given or -1 where it is taken back."""


def place(
    timeline: Timeline, state: str, seen_ms: int, expires_ms: int
) -> tuple[Timeline, list[Span]]:
    """Put a state on the timeline of its service; return the new one, and the time it changes."""
    if not timeline:
        # All that came before is a gap as well: the first state to arrive may be the last one seen.
        timeline = (Point("", 0, 0, seen_ms), Point("", seen_ms, seen_ms, None))
    at = _find(timeline, seen_ms)
    if at is None:
        return timeline, []
    before = timeline[at]
    spans: list[Span] = []
    if before.next_ms is None:
        spans.append((before.state, before.seen_ms, min(before.expires_ms, seen_ms), 1))
    else:
        spans.append((before.state, seen_ms, min(before.expires_ms, before.next_ms), -1))
        spans.append((state, seen_ms, min(expires_ms, before.next_ms), 1))
    points = (
        *timeline[:at],
        before._replace(next_ms=seen_ms),
        Point(state, seen_ms, expires_ms, before.next_ms),
        *timeline[at + 1 :],
    )
    return _kept(points), [
        span for span in spans if span[0] and span[1] < span[2]
    ]  # empty ones change nothing


def _find(timeline: Timeline, seen_ms: int) -> int | None:
    """Return which point a state follows, None where there is no gap for it."""
    for at in reversed(range(len(timeline))):
        point = timeline[at]
        if point.seen_ms <= seen_ms:
            return at if point.next_ms is None or seen_ms < point.next_ms else None
    return None


def _kept(points: Timeline) -> Timeline:
    newest = points[-1]
    forgotten_ms = newest.seen_ms - GAP_KEPT_S * 1000
    gaps = [
        point
        for point in points[:-1]
        if point.next_ms is not None and max(point.expires_ms, forgotten_ms) < point.next_ms
    ]
    return (*gaps[-GAPS_MAX:], newest)


def _by_hour(start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    """Yield each hour that a span touches, in epoch seconds, and how many ms of it."""
    while start_ms < end_ms:
        starts_at = start_ms // (HOUR_S * 1000) * HOUR_S
        stop_ms = min(end_ms, (starts_at + HOUR_S) * 1000)
        yield starts_at, stop_ms - start_ms
        start_ms = stop_ms


def _duration(state: str, span_ms: int) -> Durations:
    return Durations(*(span_ms if state == one else 0 for one in STATES))


def day_of(starts_at: int) -> int:
    """Return when the day of an hour begins."""
    return starts_at // DAY_S * DAY_S


def show_timeline(timeline: Timeline) -> str:
    """Return a timeline as a short text for `parse_timeline`."""
    return ",".join(
        f"{state} {seen_ms} {expires_ms} {'' if next_ms is None else next_ms}"
        for state, seen_ms, expires_ms, next_ms in timeline
    )


def parse_timeline(text: str) -> Timeline:
    """Read what `show_timeline` wrote. Raises ValueError for anything else."""
    points = []
    for part in filter(None, text.split(",")):
        state, seen, expires, following = part.split(" ")
        points.append(Point(state, int(seen), int(expires), int(following) if following else None))
    return tuple(points)
