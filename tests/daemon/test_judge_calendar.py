"""How services are judged that a calendar awaits."""

from __future__ import annotations

import pytest

from overc.daemon.calendars import Calendar, parse_timezone
from overc.daemon.expectations import DEFAULT, Expectation, Grace
from overc.daemon.judge import RECHECK_S, Times, Verdict, on_report, on_step, on_tick
from overc.model import ServiceReport, ServiceStatus, State

OK = State.OK
NEW = ServiceStatus()
WALL_AT = 1_772_359_200.0  # 2026-03-01 10:00:00 UTC, a Sunday
NOW = Times(WALL_AT, 1000.0)
UTC = parse_timezone("UTC")

NIGHTLY = Expectation(Grace(600.0), calendar=Calendar.parse("0 3 * * *", UTC))
HOUR_S = 3600.0
DUE_AT = WALL_AT + 17 * HOUR_S


def nightly() -> ServiceStatus:
    return on_report(NEW, ServiceReport("backup", OK, "", 60), NOW, NIGHTLY).service


def later(span_s: float, step_s: float = 0.0) -> Times:
    """A time after NOW; the wall clock was set by `step_s` meanwhile."""
    return Times(NOW.wall_at + span_s + step_s, NOW.steady_at + span_s)


def test_a_calendar_says_when_the_next_report_is_due() -> None:
    service = nightly()
    assert service.due_at == DUE_AT
    assert service.deadline_at == 1000 + 17 * HOUR_S + 600
    assert on_tick(service, later(17 * HOUR_S + 599)) == Verdict(service)
    late = on_tick(service, later(17 * HOUR_S + 600))
    assert [alert.event for alert in late.alerts] == ["offline"]
    assert late.alerts[0].since_at == DUE_AT + 600
    back = on_report(
        late.service, ServiceReport("backup", OK, "", 60), later(18 * HOUR_S), NIGHTLY
    ).service
    assert back.due_at == DUE_AT + 24 * HOUR_S


def test_a_report_within_the_grace_is_the_one_that_was_due() -> None:
    report = ServiceReport("backup", OK, "", 60)
    after = on_report(nightly(), report, later(17 * HOUR_S + 300), NIGHTLY).service
    assert after.due_at == DUE_AT + 24 * HOUR_S


def test_a_calendar_without_another_time_awaits_nothing() -> None:
    once = Expectation(calendar=Calendar.parse("2020-01-01 03:00", UTC))
    service = on_report(NEW, ServiceReport("backup", OK, "", 60), NOW, once).service
    assert on_tick(service, later(100 * 365 * 86400)).alerts == ()


def test_a_clock_that_was_set_back_makes_nobody_late() -> None:
    service = nightly()
    # By the steady clock the deadline passes three hours before its time.
    now = later(17 * HOUR_S + 600, step_s=-3 * HOUR_S)
    verdict = on_tick(service, now)
    assert verdict.alerts == ()
    assert verdict.service.deadline_at == now.steady_at + RECHECK_S
    now = later(20 * HOUR_S + 590, step_s=-3 * HOUR_S)
    soon = on_tick(verdict.service, now).service
    assert soon.deadline_at == now.steady_at + 10
    now = later(20 * HOUR_S + 600, step_s=-3 * HOUR_S)
    assert on_tick(soon, now).service.timed_out


@pytest.mark.parametrize(
    "after_s, step_s, due_at, left_s",
    [
        # Not reached yet: as far away as the wall clock says now.
        (0.0, 2 * HOUR_S, DUE_AT, 15 * HOUR_S + 600),
        (0.0, -2 * HOUR_S, DUE_AT, 19 * HOUR_S + 600),
        # Stepped over: the next one counts.
        (16 * HOUR_S, 2 * HOUR_S, DUE_AT + 24 * HOUR_S, 23 * HOUR_S + 600),
        (16 * HOUR_S, 48 * HOUR_S, DUE_AT + 48 * HOUR_S, 1 * HOUR_S + 600),
        # Passed before: the grace that is left goes on.
        (17 * HOUR_S + 100, 2 * HOUR_S, DUE_AT, 500),
        # Back before it.
        (17 * HOUR_S + 100, -2 * HOUR_S, DUE_AT, 2 * HOUR_S + 500),
    ],
)
def test_a_step_of_the_wall_clock(
    after_s: float, step_s: float, due_at: float, left_s: float
) -> None:
    now = later(after_s, step_s)
    after = on_step(nightly(), WALL_AT + after_s, now, NIGHTLY)
    assert after.due_at == due_at
    assert after.deadline_at == pytest.approx(now.steady_at + left_s)


def test_a_step_is_nothing_to_others() -> None:
    late = ServiceStatus(OK, 60, None, timed_out=True, due_at=WALL_AT)
    for service in (ServiceStatus(OK, 60, 100.0), late, NEW):
        assert on_step(service, WALL_AT, later(0, HOUR_S), DEFAULT) == service
    # Its rule is gone: it is held to its period.
    after = on_step(nightly(), WALL_AT, later(0, 20 * HOUR_S), DEFAULT)
    assert (after.due_at, after.deadline_at) == (None, 1000 + 60 + 600)
