from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overc.daemon.calendars import (
    CRON,
    NEVER_AT,
    ON_CALENDAR,
    Calendar,
    Hours,
    Windows,
    local_timezone,
    parse_timezone,
)

BERLIN = parse_timezone("Europe/Berlin")


def at(text: str, fold: int = 0, zone: tzinfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def shown(time_at: float | None) -> str | None:
    if time_at is None:
        return None
    return datetime.fromtimestamp(time_at, BERLIN).strftime("%m-%d %H:%M %Z")


@pytest.mark.parametrize(
    "text, now, fold, expected",
    [
        ("0 3 * * *", "2026-03-01T02:59:59", 0, "03-01 03:00 CET"),
        ("0 3 * * *", "2026-03-01T03:00:00", 0, "03-02 03:00 CET"),
        ("0 3 * * 1-5", "2026-03-06T03:00:01", 0, "03-09 03:00 CET"),
        ("*/30 * * * *", "2026-03-01T03:10:00", 0, "03-01 03:30 CET"),
        ("Mon..Fri 03:00", "2026-03-06T03:00:01", 0, "03-09 03:00 CET"),
        ("daily", "2026-03-06T03:00:01", 0, "03-07 00:00 CET"),
        ("*-*-01 06:00", "2026-03-06T03:00:01", 0, "04-01 06:00 CEST"),
        ("03:00 Asia/Tokyo", "2026-03-01T00:00:00", 0, "03-01 19:00 CET"),
        # Over the changes of the clocks it stays at three.
        ("0 3 * * *", "2026-03-28T03:00:00", 0, "03-29 03:00 CEST"),
        ("0 3 * * *", "2026-10-24T03:00:00", 0, "10-25 03:00 CET"),
        # A time that the zone skips: right after the gap, or the next day.
        ("30 2 * * *", "2026-03-28T03:00:00", 0, "03-29 03:00 CEST"),
        ("02:30", "2026-03-28T03:00:00", 0, "03-30 02:30 CEST"),
        # A time that it has twice: once.
        ("30 2 * * *", "2026-10-25T01:00:00", 0, "10-25 02:30 CEST"),
        ("30 2 * * *", "2026-10-25T02:30:00", 0, "10-26 02:30 CET"),
        ("30 2 * * *", "2026-10-25T02:15:00", 1, "10-26 02:30 CET"),
        ("02:30", "2026-10-25T01:00:00", 0, "10-25 02:30 CEST"),
        ("02:30", "2026-10-25T02:15:00", 1, "10-26 02:30 CET"),
        # But every half hour is every half hour.
        ("*/30 * * * *", "2026-10-25T02:30:00", 0, "10-25 02:00 CET"),
        ("*/30 * * * *", "2026-10-25T02:00:00", 1, "10-25 02:30 CET"),
    ],
)
def test_the_next_time(text: str, now: str, fold: int, expected: str) -> None:
    calendar = Calendar.parse(text, BERLIN)
    assert shown(calendar.next_after(at(now, fold))) == expected


def test_what_is_remembered_is_what_would_be_found() -> None:
    calendar = Calendar.parse("0 3 * * *", BERLIN)
    for now in ("03-02T04:00", "03-01T04:00", "03-01T02:00", "03-01T02:30", "03-02T02:00"):
        fresh = Calendar.parse("0 3 * * *", BERLIN)
        assert calendar.next_after(at(f"2026-{now}")) == fresh.next_after(at(f"2026-{now}"))


def test_there_may_be_no_next_time() -> None:
    calendar = Calendar.parse("2020-01-01 03:00", BERLIN)
    assert calendar.next_after(at("2019-12-31T00:00")) == at("2020-01-01T03:00")
    assert calendar.next_after(at("2026-03-01T00:00")) == NEVER_AT
    assert Calendar.parse("0 3 * * *", BERLIN).next_after(1e15) == NEVER_AT


@given(st.floats(0, 4e9), st.sampled_from(["0 3 * * *", "*/7 * * * *", "Sat *:00/20", "daily"]))
def test_it_is_always_later(now_at: float, text: str) -> None:
    assert Calendar.parse(text, BERLIN).next_after(now_at) > now_at


LIKE_CRON = "expected a cron expression such as 0 3 * * 1-5, got"
LIKE_ON_CALENDAR = "expected an OnCalendar expression such as Mon..Fri 03:00, got"


@pytest.mark.parametrize(
    "kind, text, sentence",
    [
        (CRON, "61 * * * *", f"{LIKE_CRON} '61 * * * *': bad minute"),
        (CRON, "0 0 30 2 *", f"{LIKE_CRON} '0 0 30 2 *': bad day-of-month"),
        (CRON, "daily", f"{LIKE_CRON} 'daily': it needs five fields"),
        (CRON, "0 * * * * *", f"{LIKE_CRON} '0 * * * * *': it needs five fields"),
        (CRON, "", f"{LIKE_CRON} '': it needs five fields"),
        (ON_CALENDAR, "", f"{LIKE_ON_CALENDAR} '': wrong number of fields"),
        (ON_CALENDAR, "Foo", f"{LIKE_ON_CALENDAR} 'Foo': bad day-of-week"),
        (ON_CALENDAR, "25:00", f"{LIKE_ON_CALENDAR} '25:00': bad hour"),
        (ON_CALENDAR, "0 3 * * *", f"{LIKE_ON_CALENDAR} '0 3 * * *': bad day-of-week"),
        (ON_CALENDAR, "03:00 Europe", f"{LIKE_ON_CALENDAR} '03:00 Europe': bad time zone"),
    ],
)
def test_no_calendar(kind: str, text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="expected") as raised:
        Calendar(kind, text, BERLIN)
    assert str(raised.value) == sentence


@given(st.text(max_size=20) | st.text("0123456789*,-/L#~.: MonFrisat", max_size=20))
def test_whatever_is_no_calendar_is_a_value_error(text: str) -> None:
    with suppress(ValueError):
        Calendar.parse(text, BERLIN).next_after(at("2026-03-01T00:00"))


def test_equal_calendars() -> None:
    one = Calendar.parse("0  3 * * *", BERLIN)
    assert one == Calendar.parse("0 3 * * *", BERLIN)
    assert hash(one) == hash(Calendar.parse("0 3 * * *", BERLIN))
    assert one != Calendar.parse("0 3 * * *", timezone.utc)
    assert repr(one) == "Calendar('cron', '0 3 * * *', Europe/Berlin)"


SUNDAY_NIGHT = Calendar.parse("0 2 * * 0", BERLIN)


@pytest.mark.parametrize(
    "duration_s, now, begun, until",
    [
        (7200, "2026-03-01T01:59:59", None, None),
        (7200, "2026-03-01T02:00:00", "03-01 02:00 CET", "03-01 04:00 CET"),
        (7200, "2026-03-01T03:59:59", "03-01 02:00 CET", "03-01 04:00 CET"),
        (7200, "2026-03-01T04:00:00", None, None),
        # Through the night in which the clocks change it is as long as ever.
        (7200, "2026-03-29T04:30:00", "03-29 03:00 CEST", "03-29 05:00 CEST"),
    ],
)
def test_windows(duration_s: float, now: str, begun: str | None, until: str | None) -> None:
    windows = Windows(SUNDAY_NIGHT, duration_s)
    assert shown(windows.begun_at(at(now))) == begun
    assert shown(windows.until(at(now))) == until


def test_windows_that_touch_are_one() -> None:
    windows = Windows(Calendar.parse("0 2,3,4,7 * * *", BERLIN), 3600)
    assert shown(windows.until(at("2026-03-01T02:10"))) == "03-01 05:00 CET"
    always = Windows(Calendar.parse("0 * * * *", BERLIN), 7200)
    until_at = always.until(at("2026-03-01T02:10"))
    assert until_at is not None
    assert until_at > at("2026-03-04T00:00")


@pytest.mark.parametrize("duration_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_window_lasts_some_time(duration_s: float) -> None:
    with pytest.raises(ValueError, match="expected a duration above 0"):
        Windows(SUNDAY_NIGHT, duration_s)


# The first of March 2026 is a Sunday.
@pytest.mark.parametrize(
    "text, now, until",
    [
        ("22:00-07:00", "2026-03-02T21:59:59", None),
        ("22:00-07:00", "2026-03-02T22:00:00", "03-03 07:00 CET"),
        ("22:00-07:00", "2026-03-03T06:59:59", "03-03 07:00 CET"),
        ("22:00-07:00", "2026-03-03T07:00:00", None),
        ("09:00-17:30", "2026-03-03T12:00:00", "03-03 17:30 CET"),
        ("Sat, Sun", "2026-03-07T12:00:00", "03-09 00:00 CET"),
        ("Sat, Sun", "2026-03-06T23:59:59", None),
        ("saturday", "2026-03-07T12:00:00", "03-08 00:00 CET"),
        ("22:00-07:00, Sat, Sun 00:00-24:00", "2026-03-06T23:00:00", "03-09 07:00 CET"),
        ("Fri 22:00-07:00", "2026-03-07T06:00:00", "03-07 07:00 CET"),
        ("Fri 22:00-07:00", "2026-03-08T06:00:00", None),
        ("Sun 22:00-07:00", "2026-03-02T06:00:00", "03-02 07:00 CET"),
        ("Mon-Fri 18:00-08:00", "2026-03-03T19:00:00", "03-04 08:00 CET"),
        ("Fri-Mon", "2026-03-01T12:00:00", "03-03 00:00 CET"),
        ("Mon - Tue Thu 10:00 - 11:00", "2026-03-05T10:30:00", "03-05 11:00 CET"),
        # By the clock on the wall, through both changes of it.
        ("22:00-07:00", "2026-03-28T23:00:00", "03-29 07:00 CEST"),
        ("22:00-07:00", "2026-10-24T23:00:00", "10-25 07:00 CET"),
    ],
)
def test_hours(text: str, now: str, until: str | None) -> None:
    assert shown(Hours.parse(text, BERLIN).until(at(now))) == until


def test_hours_that_end_where_the_zone_has_an_hour_twice() -> None:
    hours = Hours.parse("22:00-02:30", BERLIN)
    assert shown(hours.until(at("2026-10-25T02:10", 0))) == "10-25 02:30 CEST"
    assert shown(hours.until(at("2026-10-25T02:10", 1))) == "10-25 02:30 CET"


@given(st.integers(1_700_000_000, 1_900_000_000))
def test_hours_end_after_now_and_then_they_are_over(now_at: int) -> None:
    hours = Hours.parse("22:00-07:00, Sat, Wed 12:00-13:00", BERLIN)
    until_at = hours.until(now_at)
    if until_at is not None:
        assert now_at < until_at <= now_at + 3 * 86400
        assert hours.until(until_at) is None


LIKE_HOURS = "expected hours such as 22:00-07:00, Sat, Sun or Mon-Fri 18:00-08:00, got"


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", f"{LIKE_HOURS} ''"),
        ("Mon,,Tue", f"{LIKE_HOURS} 'Mon,,Tue'"),
        ("22:00", f"{LIKE_HOURS} '22:00': no day: '22:00'"),
        ("Monster", f"{LIKE_HOURS} 'Monster': no day: 'Monster'"),
        ("Mon 10:00-11:00 x", f"{LIKE_HOURS} 'Mon 10:00-11:00 x'"),
        ("25:00-26:00", "expected hours from 00:00 to 24:00, got '25:00-26:00'"),
        ("10:60-11:00", "expected hours from 00:00 to 24:00, got '10:60-11:00'"),
        ("10:00-10:00", "expected hours that begin before they end, got '10:00-10:00'"),
        ("24:00-07:00", "expected hours that begin before they end, got '24:00-07:00'"),
        ("00:00-24:00", "expected hours that end some time, got the whole week: '00:00-24:00'"),
        ("Mon-Sun", "expected hours that end some time, got the whole week: 'Mon-Sun'"),
    ],
)
def test_no_hours(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="expected") as raised:
        Hours.parse(text, BERLIN)
    assert str(raised.value) == sentence


def test_equal_hours() -> None:
    one = Hours.parse("22:00-07:00", BERLIN)
    assert one == Hours.parse(" 22:00-07:00", BERLIN)
    assert hash(one) == hash(Hours.parse("22:00-07:00", BERLIN))
    assert one != Hours.parse("22:00-07:00", timezone.utc)
    assert repr(one) == "Hours('22:00-07:00', Europe/Berlin)"


@pytest.mark.parametrize("text", ["", "Mars/Olympus", "../etc/passwd", "Europe", "x\0y"])
def test_no_zone(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time zone such as Europe/Berlin or UTC"):
        parse_timezone(text)


def test_the_zone_of_this_machine(tmp_path: Path) -> None:
    assert local_timezone("Asia/Tokyo") == ZoneInfo("Asia/Tokyo")
    assert local_timezone(":Asia/Tokyo") == ZoneInfo("Asia/Tokyo")
    assert local_timezone("", str(tmp_path / "none")) is timezone.utc
    broken = tmp_path / "broken"
    broken.write_bytes(b"no zone")
    # TZ may hold rules that only the C library reads.
    assert local_timezone("CET-1CEST,M3.5.0", str(broken)) is timezone.utc
    assert local_timezone().utcoffset(datetime(2026, 3, 1)) is not None
