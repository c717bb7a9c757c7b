"""What the pages' tables list: replies of the dashboard API, put into words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from overc.daemon.alerting.explaining import KeepsBack
from overc.daemon.store.explain import AckFacts
from overc.web.glance import Glance
from overc.web.words import epoch, period_words, span_words, title_words, utc_text

Reply = Mapping[str, Any]
"""A decoded reply of the dashboard API."""

# The marks that the page has, in the order of the counts, and how far up each is listed.
_RANKS = {"FAIL": 0, "late": 1, "WARN": 2, "UNK": 3, "OK": 4, "none": 5}
_HEALTHY_RANK = _RANKS["OK"]
CONDITIONS = tuple(_RANKS)
_EVENT_MARKS = {"offline": "late", "online": "OK"}


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A service in the words that the pages print."""

    id: int
    name: str
    title: str
    server: Reply
    n_alerts: int
    period: str | None
    condition: str
    """One of `_RANKS`: each service is counted under one, and lateness hides the last state."""
    state: str | None
    info: str
    rtime: str | None
    seen: str | None
    late_by: str | None
    held_for: str | None
    since: str | None
    due_in: str | None
    ack: AckFacts | None
    silence: KeepsBack | None
    """What keeps its alerts back for the longest."""
    told: Sequence[str] = ()
    """The alert plugins that were told of its problem."""

    @property
    def word(self) -> str:
        return "no state" if self.condition == "none" else self.condition

    @property
    def is_problem(self) -> bool:
        return is_problem(self.condition)

    @property
    def care(self) -> str:
        """That somebody takes care, or nobody is told: for a list's tooltips."""
        words = ["acknowledged"] if self.ack else []
        return ", ".join(words + (["silenced"] if self.silence else []))


class Way(NamedTuple):
    """Where an alert went: `{plugin} {words} {at}{after}`."""

    mark: str
    plugin: str
    words: str
    at: str | None = None
    """The UTC text of a time."""
    after: str = ""
    silence_id: int | None = None
    """Stands in the place of the time."""
    said: str = ""
    """By the plugin, or why it was not sent."""
    reminded: str = ""
    reminded_at: str | None = None


def ways(deliveries: Iterable[Reply], now_at: float) -> list[Way]:
    """Return where an alert went, in words, in the order of the reply."""
    return [_way(one, now_at) for one in deliveries]


def _way(one: Reply, now_at: float) -> Way:
    way = _first_way(one, now_at)
    if one["reminder"]:
        return way._replace(words=f"reminder {way.words}")
    count = one["reminders"]
    if not count:
        return way
    reminded = "reminded, " if count == 1 else f"reminded {count:,} times, last "
    return way._replace(reminded=reminded, reminded_at=one["reminded_at"])


def _first_way(one: Reply, now_at: float) -> Way:
    plugin, status, tries, tried_at = one["plugin"], one["status"], one["tries"], one["tried_at"]
    due_at, said = one["due_at"], one["outcome"] or ""
    if status == "sent":
        after = f", try {tries}" if tries > 1 else ""
        return Way("sent", plugin, "sent", tried_at, after)
    if status == "pending":
        is_due = epoch(due_at) <= now_at
        if tries == 0 and is_due:
            return Way("waits", plugin, "waits for its turn")
        if tries == 0:
            return Way("waits", plugin, "waits until", due_at)
        if is_due:
            return Way("retry", plugin, f"failed, waits for try {tries + 1}", said=said)
        return Way("retry", plugin, f"failed, try {tries + 1} at", due_at, said=said)
    if status == "silenced":
        by = "kept back by maintenance" if one["silence_id"] is None else "kept back by"
        return Way("silenced", plugin, by, silence_id=one["silence_id"])
    if status == "cancelled":
        return Way("cancelled", plugin, "not sent", said=said or "not needed any more")
    after = f", given up after {tries} tries" if tries > 1 else ""
    if tries == 0:
        said = said or "its time was over before it was tried"
    return Way("undelivered", plugin, "undelivered", tried_at, after, said=said)


def service_rows(status: Reply, glance: Glance, now_at: float) -> Iterator[ServiceRow]:
    for server in status["servers"]:
        for service in server["services"]:
            ack = glance.acks.get(service["id"])
            silence = glance.silence_of(server["name"], service["name"])
            yield service_row(server, service, ack, silence, now_at)


def service_row(
    server: Reply,
    service: Reply,
    ack: AckFacts | None,
    silence: KeepsBack | None,
    now_at: float,
    told: Sequence[str] = (),
) -> ServiceRow:
    now: Reply = service["state"] or {}
    period_s: int | None = service["period"]
    age_s = now_at - epoch(now["rtime"]) if now else None
    since_at, deadline_at = service.get("since"), service.get("deadline_at")
    is_late = bool(now) and bool(now["timed_out"])
    overdue_s = None
    if is_late and age_s is not None and period_s:
        overdue_s = now_at - deadline_at if deadline_at else age_s - period_s
    return ServiceRow(
        id=service["id"],
        name=service["name"],
        title=label(service),
        server=server,
        n_alerts=service["n_alerts"],
        period=None if not period_s else period_words(period_s),
        condition="late" if is_late else _condition(now.get("state")),
        state=now.get("state"),
        info=now.get("info") or "",
        rtime=now.get("rtime"),
        seen=None if age_s is None else span_words(age_s),
        late_by=None if overdue_s is None else span_words(overdue_s),
        held_for=None if since_at is None else span_words(now_at - since_at),
        since=None if since_at is None else utc_text(since_at),
        due_in=None if is_late or not deadline_at else span_words(deadline_at - now_at),
        ack=ack,
        silence=silence,
        told=told,
    )


def condition(state: str | None, *, late: bool) -> str:
    """Return the one word under which a service is counted: lateness hides its last state."""
    return "late" if late and state is not None else _condition(state)


def weight(condition: str, *, is_cared: bool) -> int:
    """Return how far up services are listed; 0 is the top.

    First the problems of which nobody takes care, then those of which somebody does, then what is
    well.
    """
    rank = _RANKS[condition]
    return rank if is_problem(condition) and not is_cared else rank + _HEALTHY_RANK


def is_problem(condition: str) -> bool:
    return _RANKS[condition] < _HEALTHY_RANK


def _condition(state: str | None) -> str:
    if state is None:
        return "none"
    return state if state in _RANKS else "UNK"


def troubled_first(rows: Iterable[ServiceRow]) -> list[ServiceRow]:
    """Sort problems to the top, those of which nobody takes care before all others."""
    return sorted(rows, key=lambda row: weight(row.condition, is_cared=bool(row.care)))


def counts(rows: Sequence[ServiceRow]) -> list[tuple[str, int]]:
    """Return how many services there are in each condition, in the order of the page."""
    found = Counter(row.condition for row in rows)
    return [(mark, found[mark]) for mark in _RANKS if mark != "none" or found[mark]]


def label(item: Reply) -> str:
    return title_words(item["title"], item["name"])


def alert_mark(alert: Reply) -> str:
    event = alert["event"]
    return event if event in _RANKS else _EVENT_MARKS.get(event, "alert")
