"""What alert plugins are told: a message, and how it reads as text. Pure.

A message of one alert reads as the contract has it. One that joins several has a first line of the
same form, which says what joins them, and then one line for each of them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple

from overc.daemon.alerting.plaintext import clean, stamp
from overc.model import Notice, Phase, Topic
from overc.wording import span

OWN_TITLE = "OverC"
"""Stands for the server in alerts that are about OverC itself."""

LISTED = 20
"""How many alerts a text lists; of the others it gives the number."""

LISTED_BYTES = 200


class Kind(str, enum.Enum):
    """What joins the notices of one message."""

    SINGLE = "single"
    LATE = "late"
    """Several services of one server are late."""
    SILENT = "silent"
    """Nothing comes from the server any more."""
    BACK = "back"
    """Several services of one server report again."""
    RETURNED = "returned"
    """The whole server reports again."""
    DIGEST = "digest"
    """A storm, gathered by server."""
    SUMMARY = "summary"
    """What a silence kept back and is a problem still."""
    TEST = "test"

    def __str__(self) -> str:
        return self.value


class Message(NamedTuple):
    """What one run of an alert plugin delivers. Its id is the first notice's."""

    kind: Kind
    notices: tuple[Notice, ...]
    """One or more, in the order in which they were raised."""
    since_at: float | None = None
    """Of SILENT and RETURNED: the server's last sign of life before its silence."""

    @property
    def alert_id(self) -> int:
        return self.notices[0].alert_id


class Headline(NamedTuple):
    """What a message says first: of whom, and what."""

    who: str
    channel: str
    event: str
    said: str

    def __str__(self) -> str:
        return f"{self.who}: [{self.channel}/{self.event}] {self.said}"


def render_text(message: Message, now_at: float) -> str:
    """Return what a plugin reads: lines, the first of which stands for the whole."""
    lines = [str(headline(message))]
    first, begun_at = message.notices[0], since_at(message)
    if is_single(message):
        if first.state is not None:
            lines.append(f"Current: {first.state}: {first.info or ''}")
    else:
        lines += _listed(_told(message), _WORDS[message.kind], now_at)
    over = is_single(message) or message.kind is Kind.RETURNED
    if begun_at is not None and over and ended_at(message) is not None:
        lines.append(f"Lasted: {span(duration_s(message, now_at))}")
    elif all(notice.reminder for notice in message.notices):
        since = "it lasts still" if begun_at is None else f"since {span(now_at - begun_at)}"
        lines.append(f"Reminder: {since}")
    return "\n".join(lines) + "\n"


def headline(message: Message) -> Headline:
    """Return the first line's parts. A message that joins alerts speaks for all of them."""
    first = message.notices[0]
    who, said = _who(message), first.message
    many = f"{len(message.notices)} services"
    if message.kind is Kind.LATE:
        said = f"{many} are late"
    elif message.kind is Kind.SILENT:
        since = "" if message.since_at is None else f" since {stamp(message.since_at)}"
        said = f"Server silent{since}: {many} are late"
    elif message.kind is Kind.BACK:
        said = f"{many} report again"
    elif message.kind is Kind.RETURNED:
        said = f"Server back: {many} report again"
    elif message.kind is Kind.DIGEST:
        return Headline(who, "overc", "digest", f"{len(message.notices)} alerts in one message")
    elif message.kind is Kind.SUMMARY:
        said = "A silence has ended, what it kept back lasts still"
        return Headline(who, "overc", "silence-ended", said)
    return Headline(who, first.channel, first.event, said)


def is_single(message: Message) -> bool:
    """The message is about the one alert that it holds."""
    return message.kind in (Kind.SINGLE, Kind.TEST)


def since_at(message: Message) -> float | None:
    """Return since when the oldest of a message's problems lasts, or lasted."""
    if message.since_at is not None:
        return message.since_at
    return min((n.since_at for n in message.notices if n.since_at is not None), default=None)


def ended_at(message: Message) -> float | None:
    """Return when the problems were over that a message is about; None: not all of them are."""
    if any(notice.phase != Phase.RECOVERY for notice in message.notices):
        return None
    return max(notice.raised_at for notice in message.notices)


def duration_s(message: Message, now_at: float) -> float:
    """Return for how long the problem had lasted when the message was raised, or is repeated."""
    begun_at = since_at(message)
    if begun_at is None:
        return 0.0
    reminder = any(notice.reminder for notice in message.notices)
    last_at = now_at if reminder else max(notice.raised_at for notice in message.notices)
    return max(0.0, last_at - begun_at)


def last_of_each(notices: Sequence[Notice]) -> list[Notice]:
    """Return the last notice of each service's topic, in order; notes stand for themselves."""
    last: dict[object, Notice] = {}
    for notice in notices:
        lone = notice.service_id is None or notice.phase == Phase.NOTE
        key = notice.alert_id if lone else (notice.service_id, notice.topic)
        last.pop(key, None)
        last[key] = notice
    return list(last.values())


def title_of(notice: Notice) -> str:
    """Return who a notice is about."""
    return " ".join(filter(None, (notice.server or OWN_TITLE, notice.service)))


def _who(message: Message) -> str:
    if is_single(message):
        return title_of(message.notices[0])
    servers = {notice.server for notice in message.notices if notice.server is not None}
    return servers.pop() if len(servers) == 1 else OWN_TITLE


def _told(message: Message) -> Sequence[Notice]:
    """Return the notices that are listed."""
    if message.kind is Kind.DIGEST:
        return last_of_each(message.notices)
    return message.notices


def _listed(
    notices: Sequence[Notice], words: Callable[[Notice, float], str], now_at: float
) -> list[str]:
    several = len({notice.server for notice in notices}) > 1
    lines = []
    for notice in notices[:LISTED]:
        who = title_of(notice) if several else notice.service or title_of(notice)
        lines.append("- " + clean(who + words(notice, now_at), LISTED_BYTES))
    if len(notices) > LISTED:
        lines.append(f"and {len(notices) - LISTED} more")
    return lines


def _last_state(notice: Notice, now_at: float) -> str:
    return "" if notice.state is None else f" (last state {notice.state})"


def _state(notice: Notice, now_at: float) -> str:
    if notice.state is None:
        return ""
    return f": {notice.state}" + (f": {notice.info}" if notice.info else "")


def _late_for(notice: Notice, now_at: float) -> str:
    late_s = None if notice.since_at is None else notice.raised_at - notice.since_at
    return ("" if late_s is None else f" (late for {span(late_s)})") + _state(notice, now_at)


def _said(notice: Notice, now_at: float) -> str:
    return _state(notice, now_at) if notice.topic == Topic.STATE else f": {notice.message}"


def _lasting(notice: Notice, now_at: float) -> str:
    lasts = "" if notice.since_at is None else f" (for {span(now_at - notice.since_at)})"
    return lasts + _said(notice, now_at)


_WORDS: dict[Kind, Callable[[Notice, float], str]] = {
    Kind.LATE: _last_state,
    Kind.SILENT: _last_state,
    Kind.BACK: _late_for,
    Kind.RETURNED: _state,
    Kind.DIGEST: _said,
    Kind.SUMMARY: _lasting,
}
