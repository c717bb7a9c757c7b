"""The `[alert:NAME]` sections of the server's INI file: where alerts go, which, and how."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import tzinfo
from importlib.util import find_spec

from overc.config import Section, parse_command, parse_duration
from overc.daemon.alerting.routing import Route, wrong_events
from overc.daemon.alerting.secret_urls import parse_apprise, parse_http
from overc.daemon.alerting.secret_values import Secrets
from overc.daemon.calendars import Hours, parse_timezone
from overc.daemon.patterns import EVERYTHING, Patterns
from overc.daemon.rule_settings import parse_positive_duration, read_names

ALERT_TIMEOUT_S = 30.0
RETRY_FOR_S = 86400.0
CONCURRENCY = 1
CONCURRENCY_MOST = 100
DIGEST_OVER = 50

APPRISE_MISSING = "needs Apprise: pip install 'overc[notify]'"


class Format(str, enum.Enum):
    """How a message is written down."""

    TEXT = "text"
    JSON = "json"
    ALERTMANAGER = "alertmanager"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class AlertPlugin:
    """Where alerts go, and which. Exactly one of `command`, `notify` and `webhook` is given."""

    name: str
    command: tuple[str, ...] = ()
    folder: str = "/"
    """An absolute path: where the command runs."""
    timeout_s: float = ALERT_TIMEOUT_S
    notify: str | None = field(default=None, repr=False)
    """An Apprise URL."""
    webhook: str | None = field(default=None, repr=False)
    """Where to POST to; may hold user:password."""
    format: Format = Format.TEXT
    route: Route = None  # type: ignore[assignment]
    """Which alerts, and when. Without one it is every alert, at once."""
    retry_for_s: float = RETRY_FOR_S
    concurrency: int = CONCURRENCY
    """How many messages may be on their way at once; those of one service stay in order."""
    digest_over: int = DIGEST_OVER
    """When more messages than this wait, they are gathered by server."""

    def __post_init__(self) -> None:
        if self.route is None:
            object.__setattr__(self, "route", Route(self.name))


def read_alert_plugin(
    name: str, section: Section, folder: str, secrets: Secrets, zone: tzinfo
) -> AlertPlugin:
    """Read one section. What is wrong becomes a mistake of the section's Config.

    `folder`: where commands run. `zone`: whose hours are meant, unless the section says.
    """
    way = _way(section)
    no_command: tuple[str, ...] = ()
    command = section.read("command", parse_command, no_command)
    notify = secrets.read(section, "notify", parse_apprise)
    webhook = secrets.read(section, "webhook", parse_http)
    if way == "notify" and find_spec("apprise") is None:
        section.mistake("notify", APPRISE_MISSING)
    return AlertPlugin(
        name,
        command,
        folder,
        section.read("timeout", parse_positive_duration, ALERT_TIMEOUT_S),
        notify=notify,
        webhook=webhook,
        format=_format(section, way),
        route=_route(name, section, zone),
        retry_for_s=section.read("retry-for", parse_positive_duration, RETRY_FOR_S),
        concurrency=section.read("concurrency", _whole(1, CONCURRENCY_MOST), CONCURRENCY),
        digest_over=section.read("digest-over", _whole(1, 10**9), DIGEST_OVER),
    )


def _way(section: Section) -> str:
    """Return the option that says where alerts go, and see that there is just one."""
    ways = ("command", "notify", "webhook")
    given = [way for way in ways if section.read(way, str, None) is not None]
    if not given:
        section.mistake("command", "is missing; or give notify or webhook in its place")
        return ways[0]
    for way in given[1:]:
        section.mistake(way, f"can't stand beside {given[0]}: give each a section of its own")
    return given[0]


def _format(section: Section, way: str) -> Format:
    usual = Format.JSON if way == "webhook" else Format.TEXT
    chosen = section.read("format", _parse_format, usual)
    if chosen is Format.ALERTMANAGER and way != "webhook":
        section.mistake("format", f"alertmanager is for webhook, not for {way}")
    elif chosen is not Format.TEXT and way == "notify":
        section.mistake("format", f"notify always sends text, not {chosen}: leave it out")
    return chosen


def _parse_format(text: str) -> Format:
    try:
        return Format(text.strip().lower())
    except ValueError:
        known = ", ".join(map(str, Format))
        raise ValueError(f"expected one of {known}, got {text!r}") from None


def _route(name: str, section: Section, zone: tzinfo) -> Route:
    own_zone = section.read("timezone", parse_timezone, None)
    if own_zone is not None and section.read("quiet-hours", str, None) is None:
        section.mistake("timezone", "is for quiet-hours, and there are none")
    return Route(
        name,
        servers=read_names(section, "servers"),
        services=read_names(section, "services"),
        events=_events(section),
        delay_s=section.read("delay", parse_duration, 0.0),
        remind_s=section.read("remind", parse_positive_duration, None),
        quiet=section.read("quiet-hours", lambda text: Hours.parse(text, own_zone or zone), None),
    )


def _events(section: Section) -> Patterns:
    patterns = section.read("events", Patterns, EVERYTHING)
    for sentence in wrong_events(patterns):
        section.warn("events", sentence)
    return patterns


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        digits = text.strip()
        if digits.isascii() and digits.isdigit() and least <= int(digits[:12]) <= most:
            return int(digits)
        raise ValueError(f"expected a whole number from {least} to {most}, got {text!r}")

    return parse
