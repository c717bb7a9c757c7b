"""Says in words why a service is as it is, who was told of it and what keeps alerts back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import tzinfo
from typing import NamedTuple

from overc.daemon import perfdata
from overc.daemon.store.explain import AlertFacts, DeliveryFacts, Facts, StandingFacts
from overc.model import Phase, State, Topic
from overc.wording import moment, span

INFO_MAX = 200
"""Characters of an info, and of a plugin's last words, that a sentence holds."""

BY_THE_SECOND_S = 300
"""Of services with a shorter period times are told with their seconds."""


_PRIVATE_USE = (0xF0000, 0xFFFFE)
"""Characters that mean nothing, more of them than an explanation is long."""


class KeepsBack(NamedTuple):
    """A silence or a maintenance window that keeps the service's alerts back now."""

    name: str
    """`silence 3`, or `maintenance backups`."""
    until_at: float
    author: str = ""
    reason: str = ""


class Explanation(NamedTuple):
    """All that there is to know."""

    facts: Facts
    deadline_at: float | None
    """By the wall clock: when the service is late unless it reports; None: nothing is awaited."""
    late_at: float | None
    """Since when it is late; None: it is not, or nobody knows any more."""
    keeps_back: tuple[KeepsBack, ...]


def explain(
    facts: Facts, now_at: float, steady_at: float, keeps_back: Sequence[KeepsBack]
) -> Explanation:
    """Put what is stored together. `now_at` and `steady_at`: now on both clocks."""
    service = facts.service
    deadline_at = late_at = None
    if service.deadline_at is not None:
        # What comes of two clocks is off by a part of a second: 03:59:59.9 is meant to be 04:00.
        deadline_at = round(now_at + service.deadline_at - steady_at)
    if service.timed_out and service.memory is not None:
        late_at = service.memory.late_at
    return Explanation(facts, deadline_at, late_at, tuple(keeps_back))


def sentences(why: Explanation, now_at: float, zone: tzinfo | None = None) -> list[str]:
    """Return the explanation as lines for people. `zone`: by whose clock they read times."""
    return list(_Speaker(why, now_at, zone).lines())


def pieces(why: Explanation, now_at: float) -> list[list[str | float]]:
    """Return the same with times as epoch seconds, for those who write them in a way of their own.

    In each line words and times take turns, and words are first.
    """
    # What stands around the times is in none of the words, whoever chose them.
    words = set("".join(sentences(why, now_at)))
    fence = next(chr(code) for code in range(*_PRIVATE_USE) if chr(code) not in words)
    speaker = _Speaker(why, now_at, None, lambda at: f"{fence}{at!r}{fence}")
    return [
        [float(piece) if place % 2 else piece for place, piece in enumerate(line.split(fence))]
        for line in speaker.lines()
    ]


class _Speaker:
    def __init__(
        self,
        why: Explanation,
        now_at: float,
        zone: tzinfo | None,
        write: Callable[[float], str] | None = None,
    ) -> None:
        """`write`: what a time is written as."""
        self._write = write
        self._why = why
        self._facts = why.facts
        self._service = why.facts.service
        self._now_at = now_at
        self._zone = zone
        period_s = self._service.period_s
        self._by_the_second = period_s is not None and period_s < BY_THE_SECOND_S

    def lines(self) -> Iterator[str]:
        yield self._state()
        alerts = self._told_of()
        if not alerts:
            yield f"No alert was raised. {self._silenced()}"
            return
        for alert in alerts[:-1]:
            yield self._alerted(alert)
        yield f"{self._alerted(alerts[-1])} {self._silenced()}"

    def _at(self, at: float) -> str:
        if self._write is not None:
            return self._write(at)
        return moment(at, self._now_at, self._zone, seconds=self._by_the_second)

    def _state(self) -> str:
        service = self._service
        if service.state is None:
            return "No state was ever reported, only alerts: it can't be late."
        since = "" if service.since_at is None else f" since {self._at(service.since_at)}"
        state = f"{service.state}{since}{_colon(_said(service.info))}"
        last = "" if service.received_at is None else f"last report {self._at(service.received_at)}"
        promise = self._promise()
        if service.timed_out:
            late = "" if self._why.late_at is None else f" since {self._at(self._why.late_at)}"
            about = ", ".join(filter(None, (promise, last)))
            before = "" if service.state == State.OK else f" Before, {_stop(state)}"
            return f"LATE{late} ({about}).{before}"
        words = [_stop(state)]
        if self._why.deadline_at is None:
            words.append(f"{_capital(last)}; no further one is awaited." if last else "")
        else:
            due = f"the next one is awaited until {self._at(self._why.deadline_at)} ({promise})."
            words.append(f"{_capital(last)}; {due}" if last else _capital(due))
        words.append(self._untold())
        return " ".join(filter(None, words))

    def _untold(self) -> str:
        """Return why nobody was told of the state, where it is so."""
        service, memory = self._service, self._service.memory
        if memory is None:
            return ""
        if memory.flapping:
            return "It is flapping: its changes are not told one by one."
        if memory.bad:
            several = "reports in a row are" if memory.bad > 1 else "report is"
            return f"{memory.bad} bad {several} not told yet."
        if memory.told is State.OK and service.state not in (None, State.OK):
            return f"{service.state} is no problem by its rules."
        return ""

    def _promise(self) -> str:
        service = self._service
        grace = f"grace {span(service.grace_s)}" if service.grace_s else ""
        if service.due_at is not None:
            promise = f"due {self._at(service.due_at)} by its calendar"
        else:
            promise = "no period" if service.period_s is None else span(service.period_s)
        return " + ".join(filter(None, (promise, grace)))

    def _told_of(self) -> list[AlertFacts]:
        """Return the alerts to tell of, the oldest first.

        The problems that stand; without one, the newest alert.
        """
        alerts = {alert.id: alert for alert in self._facts.alerts}
        wanted = {one.alert_id for one in self._facts.standing if one.alert_id in alerts}
        topics = []
        if self._service.timed_out:
            topics.append(Topic.LATE)
        if self._service.state not in (None, State.OK):
            topics.append(Topic.STATE)
        for topic in topics:
            of_topic = [one for one in alerts.values() if _is(one, Phase.PROBLEM, topic)]
            wanted |= {one.id for one in of_topic[:1]}
        if not wanted:
            wanted = {one.id for one in self._facts.alerts[:1]}
        return [alerts[id_] for id_ in sorted(wanted)]

    def _alerted(self, alert: AlertFacts) -> str:
        first = [one for one in alert.deliveries if not one.reminder]
        told = [self._delivered(one) + self._reminders(alert, one.plugin) for one in first]
        several = len(self._told_of()) > 1
        about = f" of {alert.event} {self._at(alert.raised_at)}" if several else ""
        if not told:
            return f"Alert raised {self._at(alert.raised_at)}{about}: no channel takes it."
        return f"Alerted{about}: {'; '.join(told)}."

    def _delivered(self, one: DeliveryFacts) -> str:
        first_at = one.attempts[0].tried_at if one.attempts else one.tried_at
        last_at = one.attempts[-1].tried_at if one.attempts else one.tried_at
        words = one.attempts[-1].words if one.attempts else (one.outcome or "")
        if one.status == "sent":
            at = "" if last_at is None else f" {self._at(last_at)}"
            tries = f" at try {one.tries}" if one.tries > 1 else ""
            return f"{one.plugin}{at} sent{tries}"
        if one.status == "silenced":
            by = "by maintenance" if one.silence_id is None else f"by silence {one.silence_id}"
            standing = self._standing(one.alert_id, one.plugin)
            told_at = None if standing is None else standing.told_at
            later = "" if told_at is None else f", told {self._at(told_at)}"
            return f"{one.plugin} kept back {by}{later}"
        if one.status == "cancelled":
            return f"{one.plugin} not told: {one.outcome or 'not needed any more'}"
        since = "" if first_at is None else f" {self._at(first_at)}"
        reason = f" ({_short(words)})" if words.strip() else ""
        if one.status == "pending" and one.tries == 0:
            if one.due_at > self._now_at:
                return f"{one.plugin} at {self._at(one.due_at)}"
            return f"{one.plugin} waits for its turn"
        if one.status == "pending":
            next_try = f"try {one.tries + 1} at {self._at(max(one.due_at, self._now_at))}"
            return f"{one.plugin}{since} failed{reason}, {next_try}"
        given_up = f", given up after {one.tries} tries" if one.tries > 1 else ", given up"
        return f"{one.plugin}{since} failed{reason}{given_up}"

    def _reminders(self, alert: AlertFacts, plugin: str) -> str:
        """Return what is to be said of the reminders of an alert through a plugin."""
        sent = [
            one
            for one in alert.deliveries
            if one.reminder and one.plugin == plugin and one.status == "sent"
        ]
        words = ""
        if sent:
            at = sent[-1].attempts[-1].tried_at if sent[-1].attempts else sent[-1].tried_at
            words += ", reminded" if len(sent) == 1 else f", reminded {len(sent)} times, last"
            words += "" if at is None else f" {self._at(at)}"
        standing = self._standing(alert.id, plugin)
        if standing is not None and standing.remind_at is not None and self._facts.ack is None:
            words += f", reminder at {self._at(standing.remind_at)}"
        return words

    def _standing(self, alert_id: int, plugin: str) -> StandingFacts | None:
        for one in self._facts.standing:
            if one.alert_id == alert_id and one.plugin == plugin:
                return one
        return None

    def _silenced(self) -> str:
        words = []
        ack = self._facts.ack
        if ack is not None:
            said = f"by {ack.author}{_colon(ack.reason)}"
            words.append(f"Acknowledged {self._at(ack.acked_at)} {_stop(said)}")
        for one in self._why.keeps_back:
            by = f" by {one.author}" if one.author else ""
            said = f"{self._at(one.until_at)}{by} ({one.name}){_colon(one.reason)}"
            words.append(f"Silenced until {_stop(said)}")
        if not self._why.keeps_back:
            words.append("Not silenced.")
        return " ".join(words)


def _is(alert: AlertFacts, phase: Phase, topic: Topic) -> bool:
    return alert.phase == phase.value and alert.topic == topic.value


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= INFO_MAX else words[:INFO_MAX] + "..."


def _colon(text: str | None) -> str:
    return f": {_short(text)}" if text and text.strip() else ""


def _said(info: str | None) -> str | None:
    """Leave out the figures that are for graphs."""
    before, bar, _ = (info or "").partition("|")
    return before.rstrip() if bar and before.strip() and perfdata.parse(info or "") else info


def _stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
