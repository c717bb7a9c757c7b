"""How the watchdog follows the wall clock, for services that a calendar awaits."""

from __future__ import annotations

from datetime import timezone
from pathlib import Path

import pytest
from support_daemon import a_database, a_recorder, our_log, result_of
from support_watchdog import FOLLOW, Kennel

from overc.daemon.calendars import Calendar
from overc.daemon.expectations import Grace, Rule
from overc.daemon.patterns import EVERYTHING
from overc.daemon.store.errors import StorageError


@pytest.fixture
def kennel(tmp_path: Path) -> Kennel:
    return Kennel(a_database(tmp_path))


def nightly(kennel: Kennel, cron: str = "0 3 * * *", grace_s: float = 600.0) -> None:
    """Let the one service be due at three at night, in 17 hours."""
    rule = Rule(
        "nightly",
        EVERYTHING,
        EVERYTHING,
        {"calendar": Calendar.parse(cron, timezone.utc), "grace": Grace(grace_s)},
    )
    kennel.recorder = a_recorder("mail", rules=[rule])
    kennel.dog = kennel.make_dog()
    kennel.start()
    kennel.report(60)


HOUR_S = 3600.0


def test_a_calendar_and_its_grace(kennel: Kennel) -> None:
    nightly(kennel, "1 10 * * *", 10.0)
    kennel.pass_time(69.75)
    assert kennel.late() == []
    kennel.pass_time(0.25)
    assert kennel.late() == [1]
    kennel.report(60)
    assert kennel.deadline_in_s() == 24 * HOUR_S


@pytest.mark.parametrize(
    "away_s, left_s",
    [
        # It is due when it was due.
        (HOUR_S, 16 * HOUR_S + 600),
        # Its time passed while nobody could report: it may do so now, and if not is late.
        (17 * HOUR_S + 300, 660),
        (100 * HOUR_S, 660),
    ],
)
def test_a_time_that_passed_while_the_server_was_away_is_not_lost(
    kennel: Kennel, away_s: float, left_s: float
) -> None:
    nightly(kennel)
    result_of(kennel.dog.stopService())
    kennel.jump(away_s)
    kennel.start()
    assert kennel.deadline_in_s() == left_s


def test_a_step_forward_over_the_time_makes_nobody_late(kennel: Kennel) -> None:
    nightly(kennel)
    kennel.clock.wall_at += 18 * HOUR_S
    with our_log() as lines:
        kennel.pass_time(0.5)
    assert lines == ["warn: the wall clock was set by +64800.0 s"]
    assert kennel.deadline_in_s() == pytest.approx(23 * HOUR_S + 600, abs=1)
    assert kennel.count(FOLLOW) == 1


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_a_deadline_follows_the_wall_clock(kennel: Kennel, step_s: float) -> None:
    nightly(kennel)
    kennel.clock.wall_at += step_s
    kennel.pass_time(0.25)
    assert kennel.deadline_in_s() == pytest.approx(17 * HOUR_S + 600 - step_s, abs=1)


def test_the_pace_of_the_wall_clock_is_no_step(kennel: Kennel) -> None:
    nightly(kennel)
    kennel.clock.wall_at += 1.0
    kennel.pass_time(1)
    assert kennel.count(FOLLOW) == 0
    # But many small ones are one.
    kennel.clock.wall_at += 1.5
    kennel.pass_time(1)
    assert kennel.count(FOLLOW) == 1


def test_a_step_that_could_not_be_followed_is_tried_again(kennel: Kennel) -> None:
    nightly(kennel)

    def fail(description: str) -> None:
        if description == FOLLOW:
            raise StorageError("disk full")

    kennel.store.fault = fail
    kennel.clock.wall_at -= HOUR_S
    kennel.pass_time(1)
    kennel.store.fault = lambda description: None
    kennel.pass_time(0.25)
    assert kennel.deadline_in_s() == pytest.approx(18 * HOUR_S + 600, abs=2)
