"""What the settings page and the pages that ask say, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from overc.daemon.patterns import EVERYTHING
from overc.daemon.store.items import Silent
from overc.web.rows import Reply
from overc.web.shapes import utc
from overc.web.words import count_words, epoch, period_words, span_words, title_words

YEAR_S = 365 * 86400

SILENT_FOR = {0: "any time", 3600: "1 hour", 86400: "1 day", 604800: "7 days", 2592000: "30 days"}
"""For how long services are silent that the pages offer to forget."""

_NAMED = 200
"""Services that are listed one by one before they are forgotten."""

KINDS = {"command": "command", "notify": "Apprise", "webhook": "webhook"}


class Fact(NamedTuple):
    """How one part of the server does."""

    name: str
    mark: str
    """`ok` or `fail`."""
    words: str


class Gets(NamedTuple):
    """Which alerts a channel gets: words, and a pattern behind them."""

    words: str
    pattern: str


class ChannelRow(NamedTuple):
    name: str
    kind: str
    where: str
    gets: list[Gets]
    """Empty: everything."""
    manners: str
    """When it speaks."""
    mark: str
    word: str
    at: str | None
    """The UTC text of the time that follows the word."""
    said: str
    waiting: int


class RejectedRow(NamedTuple):
    id: int
    server_id: int
    title: str
    name: str | None
    """Where it is another one than the title."""
    ip: str
    known_ip: str
    tries: str
    first: str
    last: str
    last_ago: str
    reported: str | None
    reported_ago: str | None
    both_report: bool
    dismissed: bool


class Settings(NamedTuple):
    health: list[Fact]
    channels: list[ChannelRow]
    rejected: list[RejectedRow]
    dismissed: list[RejectedRow]
    keep: list[tuple[str, str]]
    size: str


def settings(told: Reply, now_at: float) -> Settings:
    """Put the reply of /ui/api/settings into words."""
    rejected = [_rejected(one, now_at) for one in told["rejected_keys"]]
    return Settings(
        health(told["health"]),
        [_channel(one, now_at) for one in told["channels"]],
        [row for row in rejected if not row.dismissed],
        [row for row in rejected if row.dismissed],
        [
            ("states", span_exact(told["keep"]["history_s"])),
            ("alerts", span_exact(told["keep"]["alerts_s"])),
            ("hourly and daily sums", span_exact(told["keep"]["rollups_s"])),
        ],
        size_words(told["database"]["bytes"]),
    )


def health(told: Reply) -> list[Fact]:
    on_time, works = told["watchdog"] == "ok", told["database"] == "ok"
    age_s, outbox = told["watchdog_tick_age_s"], told["outbox"]
    looked = "has not looked yet" if age_s is None else f"looked {age_s:.1f} s ago"
    facts = [
        Fact("Watchdog", "ok", f"on time, {looked}")
        if on_time
        else Fact("Watchdog", "fail", f"{told['watchdog']}: look at the load of its machine"),
        Fact("Database", "ok", "answers") if works else Fact("Database", "fail", told["database"]),
    ]
    if outbox is not None and outbox["pending"]:
        waits = "waits" if outbox["pending"] == 1 else "wait"
        oldest = span_words(outbox["oldest_s"])
        words = f"{count_words(outbox['pending'], 'message')} {waits}, the oldest for {oldest}"
        facts.append(Fact("Outbox", "waits", words))
    elif outbox is not None:
        facts.append(Fact("Outbox", "ok", "nothing waits to be sent"))
    return facts


def _channel(one: Reply, now_at: float) -> ChannelRow:
    patterns = [("servers", one["servers"]), ("services", one["services"])]
    patterns.append(("events", one["events"]))
    gets = [Gets(words, text) for words, text in patterns if text != EVERYTHING.text]
    manners = []
    if one["delay_s"]:
        manners.append(f"after {span_exact(one['delay_s'])}")
    if one["remind_s"]:
        manners.append(f"again every {span_exact(one['remind_s'])}")
    if one["quiet_hours"]:
        manners.append(f"not at {one['quiet_hours']}")
    if one["failing_since"] is not None:
        lasts = span_words(now_at - epoch(one["failing_since"]))
        state = "undelivered", f"failing for {lasts}", None, one["failed_words"] or ""
    elif one["sent"] is not None:
        state = "sent", "works, last sent", one["sent"], ""
    else:
        state = "none", "nothing sent lately", None, ""
    kind = KINDS[one["kind"]]
    return ChannelRow(
        one["name"], kind, one["where"], gets, ", ".join(manners), *state, one["waiting"]
    )


def _rejected(one: Reply, now_at: float) -> RejectedRow:
    tries = "once" if one["tries"] == 1 else f"{one['tries']:,} times"
    reported = one["reported"]
    return RejectedRow(
        one["id"],
        one["server_id"],
        title_words(one["title"], one["server"]),
        None if one["title"] == one["server"] else one["server"],
        one["ip"],
        one["known_ip"],
        tries,
        one["first"],
        one["last"],
        span_words(now_at - epoch(one["last"])),
        reported,
        None if reported is None else span_words(now_at - epoch(reported)),
        one["both_report"],
        one["dismissed"],
    )


class Deletion(NamedTuple):
    """What is asked before a server or a service is deleted."""

    kind: str
    id: int
    label: str
    server: str | None
    """Of which a service is one."""
    server_id: int
    goes: list[str]
    """What is removed, each with its number."""
    reported: str | None
    reported_ago: str | None
    returns: bool
    """It reports, so it will be back."""


def deletion(extent: Reply, service_id: int | None, now_at: float) -> Deletion:
    """`extent`: the reply of `/ui/api/item/.../extent`."""
    states = count_words(extent["states"], "state")
    more = "more than " if extent["states_more"] else ""
    goes = [] if service_id is not None else [count_words(extent["services"], "service")]
    goes.append(f"{more}{states} of {'its' if service_id is not None else 'their'} history")
    whose = "its" if extent["alerts"] == 1 else "their"
    goes.append(f"{count_words(extent['alerts'], 'alert')} with {whose} delivery log")
    if extent["series"]:
        goes.append(f"{count_words(extent['series'], 'graph')} of what was measured")
    reported = extent["last_report"]
    return Deletion(
        "service" if service_id is not None else "server",
        extent["server_id"] if service_id is None else service_id,
        title_words(extent["title"]),
        None if service_id is None else extent["server"],
        extent["server_id"],
        goes,
        reported,
        None if reported is None else span_words(now_at - epoch(reported)),
        extent["awaited"] > 0,
    )


class Forgetting(NamedTuple):
    """What is asked before silent services are forgotten."""

    server_id: int | None
    span_s: int
    spans: list[tuple[int, str]]
    found: list[tuple[Silent, str, str]]
    """Each with the UTC text of when it was last heard of, and how long ago that is."""
    n_found: int
    n_servers: int
    more: int
    """Of those found, how many are not listed."""
    ids: str
    silent_since: str


def forgetting(
    found: Sequence[Silent], before_at: float, span_s: int, server_id: int | None, now_at: float
) -> Forgetting:
    listed_ones = [
        (one, utc(one.seen_at), span_words(now_at - one.seen_at)) for one in found[:_NAMED]
    ]
    return Forgetting(
        server_id,
        span_s,
        list(SILENT_FOR.items()),
        listed_ones,
        len(found),
        len({one.server_id for one in found}),
        max(0, len(found) - _NAMED),
        ",".join(str(one.id) for one in found),
        repr(before_at),
    )


def span_exact(span_s: float) -> str:
    years, rest_s = divmod(span_s, YEAR_S)
    if years and not rest_s:
        return count_words(int(years), "year")
    return period_words(int(span_s)) if span_s >= 1 else f"{span_s:g} s"


def size_words(size_bytes: int) -> str:
    """Return a size as people say it: `812 kB`, `1.4 GB`."""
    size, unit = float(size_bytes), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"
