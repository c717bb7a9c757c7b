"""When something is expected, and when not to disturb: calendars with their time zones.

Pure, but for `local_timezone`, which asks this machine once.
Times are epoch seconds of the wall clock. What a time zone does twice a year is decided here and
nowhere else: a time that a zone skips is expected right after the gap, or the next day; one that it
has twice is expected once, unless the calendar asks for every hour anyway.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from oncalendar import OnCalendarError, TzIterator

LOCALTIME = "/etc/localtime"

CRON = "cron"
ON_CALENDAR = "calendar"

NEVER_AT = 253402300800.0
"""Stands for a time that never comes: the end of the year 9999. No infinity: MariaDB has none."""

_CRON_FIELDS = 5
# What the libraries let through when an expression is strange enough.
_REFUSALS = (CronSimError, OnCalendarError, ValueError, LookupError, ArithmeticError, OSError)
_SOME_DAY = datetime(2024, 1, 1, tzinfo=timezone.utc)


def parse_timezone(text: str) -> tzinfo:
    """Return a zone by its name. Raises ValueError with a sentence."""
    try:
        return ZoneInfo(text.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise ValueError(f"expected a time zone such as Europe/Berlin or UTC, got {text!r}")


def local_timezone(environ_tz: str | None = None, path: str = LOCALTIME) -> tzinfo:
    """Return this machine's zone: by the variable TZ, else by /etc/localtime, else UTC."""
    name = (os.environ.get("TZ", "") if environ_tz is None else environ_tz).lstrip(":")
    if name:
        try:
            return parse_timezone(name)
        except ValueError:
            # A path or a POSIX rule, which zoneinfo does not read.
            pass
    try:
        with open(path, "rb") as file:
            return ZoneInfo.from_file(file, os.path.realpath(path).partition("zoneinfo/")[2])
    except (OSError, ValueError):
        return timezone.utc


class Calendar:
    """A cron or systemd OnCalendar expression: times that come again and again."""

    __slots__ = ("_known", "_zone", "kind", "text")

    def __init__(self, kind: str, text: str, zone: tzinfo) -> None:
        """`kind`: CRON or ON_CALENDAR. Raises ValueError with a sentence."""
        self.kind = kind
        self.text = " ".join(text.split())
        self._zone = zone
        # Between a time and the next one after it every answer is the same. Those who ask are many
        # services at nearly one time.
        self._known = (NEVER_AT, NEVER_AT)
        try:
            if kind == CRON and len(self.text.split()) != _CRON_FIELDS:
                raise CronSimError("it needs five fields")
            self._times(_SOME_DAY)
        except _REFUSALS as e:
            # Of a zone that is a folder of zones the system says where that folder lies.
            reason = "bad time zone" if isinstance(e, OSError) else str(e)
            like = "0 3 * * 1-5" if kind == CRON else "Mon..Fri 03:00"
            name = "a cron expression" if kind == CRON else "an OnCalendar expression"
            raise ValueError(
                f"expected {name} such as {like}, got {text!r}: {reason[:1].lower()}{reason[1:]}"
            ) from None

    @classmethod
    def parse(cls, text: str, zone: tzinfo) -> Calendar:
        """Read an expression of either kind: cron's has five fields, OnCalendar's never so many."""
        kind = CRON if len(text.split()) >= _CRON_FIELDS else ON_CALENDAR
        return cls(kind, text, zone)

    def next_after(self, at: float) -> float:
        """Return the first time after this one; NEVER_AT when there is none any more."""
        known_at, next_at = self._known
        if not known_at <= at < next_at:
            next_at = self._find(at)
            self._known = (at, next_at)
        return next_at

    def _find(self, at: float) -> float:
        try:
            for time in self._times(datetime.fromtimestamp(math.floor(at), self._zone)):
                # Where the zone has an hour twice, the libraries count from the first of the two.
                if time.timestamp() > at:
                    return time.timestamp()
        except (OverflowError, ValueError):
            # Past the year 9999.
            pass
        return NEVER_AT

    def _times(self, start: datetime) -> Iterator[datetime]:
        if self.kind == CRON:
            return iter(CronSim(self.text, start))
        return iter(TzIterator(self.text, start))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Calendar) and other._identity() == self._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return f"Calendar({self.kind!r}, {self.text!r}, {self._zone})"

    def _identity(self) -> tuple[str, str, str]:
        return self.kind, self.text, str(self._zone)


class Windows:
    """Spans of time that begin by a calendar and all last equally long."""

    __slots__ = ("calendar", "duration_s")

    def __init__(self, calendar: Calendar, duration_s: float) -> None:
        """Raises ValueError with a sentence for windows that last no time."""
        if not 0 < duration_s < NEVER_AT:
            raise ValueError(f"expected a duration above 0, got {duration_s:g} s")
        self.calendar = calendar
        self.duration_s = duration_s

    def begun_at(self, now_at: float) -> float | None:
        """Return when the window began that is open now, of several the first; None: none is."""
        begun_at = self.calendar.next_after(now_at - self.duration_s)
        return begun_at if begun_at <= now_at else None

    def until(self, now_at: float) -> float | None:
        """Return when the window closes that is open now; None: none is.

        Where another one opens before it closes, the last of them counts, as far as can be seen.
        """
        begun_at = self.begun_at(now_at)
        if begun_at is None:
            return None
        for _ in range(_WINDOWS_AHEAD):
            next_at = self.calendar.next_after(begun_at)
            if next_at > begun_at + self.duration_s:
                break
            begun_at = next_at
        return begun_at + self.duration_s


_WINDOWS_AHEAD = 100
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY_MIN = 24 * 60
_WEEK_MIN = 7 * _DAY_MIN
_SPAN = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})", re.ASCII)
_HOURS_LIKE = "22:00-07:00, Sat, Sun or Mon-Fri 18:00-08:00"


class Hours:
    """Hours of the week, such as `22:00-07:00, Sat, Sun`.

    A span alone is one of every day, a day alone is the whole day. A span that ends before it
    begins ends on the day after.
    """

    __slots__ = ("_spans", "_zone", "text")

    def __init__(self, text: str, zone: tzinfo) -> None:
        """Raises ValueError with a sentence."""
        self.text = text.strip()
        self._zone = zone
        covered = bytearray(_WEEK_MIN)
        for part in self.text.split(","):
            for begin, length in _part(part.strip(), text):
                for minute in range(begin, begin + length):
                    covered[minute % _WEEK_MIN] = 1
        if all(covered):
            raise ValueError(f"expected hours that end some time, got the whole week: {text!r}")
        # Minutes of the week, from Monday; the last one may end in the week after.
        self._spans = _joined(covered)

    @classmethod
    def parse(cls, text: str, zone: tzinfo) -> Hours:
        return cls(text, zone)

    def until(self, now_at: float) -> float | None:
        """Return when the hours end that are now; None: they are not now."""
        now = datetime.fromtimestamp(now_at, self._zone)
        minute = now.weekday() * _DAY_MIN + now.hour * 60 + now.minute
        for begin, end in self._spans:
            for at in (minute, minute + _WEEK_MIN):
                if begin <= at < end:
                    return self._after(now, end - at)
        return None

    def _after(self, now: datetime, minutes: int) -> float:
        # By the clock on the wall, whatever the zone does in between.
        naive = now.replace(second=0, microsecond=0, tzinfo=None) + timedelta(minutes=minutes)
        ends_at = naive.replace(tzinfo=self._zone).timestamp()
        if ends_at <= now.timestamp():
            ends_at = naive.replace(tzinfo=self._zone, fold=1).timestamp()
        return ends_at

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hours) and (other.text, str(other._zone)) == (
            self.text,
            str(self._zone),
        )

    def __hash__(self) -> int:
        return hash((self.text, str(self._zone)))

    def __repr__(self) -> str:
        return f"Hours({self.text!r}, {self._zone})"


def _part(part: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield the beginnings and the lengths of one part, in minutes."""
    span = _SPAN.search(part)
    days = part[: span.start()] if span else part
    if not part or (span and span.end() != len(part)):
        raise ValueError(f"expected hours such as {_HOURS_LIKE}, got {text!r}")
    begin, length = 0, _DAY_MIN
    if span:
        begin = _minute(span[1], span[2], text)
        end = _minute(span[3], span[4], text)
        if begin in (end, _DAY_MIN):
            raise ValueError(f"expected hours that begin before they end, got {text!r}")
        length = end - begin if end > begin else end + _DAY_MIN - begin
    for day in _days(days, text) if days.strip() else range(7):
        yield day * _DAY_MIN + begin, length


def _days(text: str, whole: str) -> Iterator[int]:
    for word in re.sub(r"\s*-\s*", "-", text).split():
        first, dash, last = word.partition("-")
        low, high = _day(first, whole), _day(last if dash else first, whole)
        while low != high:
            yield low
            low = (low + 1) % 7
        yield high


def _day(word: str, whole: str) -> int:
    for number, name in enumerate(_DAYS):
        if word.lower() in (name, name[:3]):
            return number
    raise ValueError(f"expected hours such as {_HOURS_LIKE}, got {whole!r}: no day: {word!r}")


def _minute(hours: str, minutes: str, text: str) -> int:
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > _DAY_MIN:
        raise ValueError(f"expected hours from 00:00 to 24:00, got {text!r}")
    return minute


def _joined(covered: bytearray) -> tuple[tuple[int, int], ...]:
    """Return the runs of covered minutes; one that goes over the end of the week is one run."""
    first = covered.index(0)
    spans: list[tuple[int, int]] = []
    for minute in range(first, first + _WEEK_MIN):
        if not covered[minute % _WEEK_MIN]:
            continue
        if spans and spans[-1][1] == minute:
            spans[-1] = (spans[-1][0], minute + 1)
        else:
            spans.append((minute, minute + 1))
    return tuple(spans)
