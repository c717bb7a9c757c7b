from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import a_database, a_report, a_state, change, our_log, record, result_of, rows
from support_watchdog import GRANT, LOOK, MARK, Kennel

from overc.daemon.store.errors import StorageError
from overc.daemon.watchdog import GAP_S, SETTLE_S, TICK_S


@pytest.fixture
def kennel(tmp_path: Path) -> Kennel:
    return Kennel(a_database(tmp_path))


def test_a_service_is_late_when_its_period_is_over(kennel: Kennel) -> None:
    kennel.start()
    kennel.report(10)
    kennel.pass_time(9.75)
    assert kennel.late() == []
    assert kennel.nudges == 0
    kennel.pass_time(0.25)
    assert kennel.late() == [1]
    assert kennel.nudges == 1
    assert rows(kennel.path, "select channel, event from alerts") == [("plugin", "offline")]
    assert rows(kennel.path, "select plugin from outbox") == [("mail",)]


def test_it_is_said_once(kennel: Kennel) -> None:
    kennel.start()
    kennel.report(1)
    kennel.pass_time(60)
    assert rows(kennel.path, "select count(*) from alerts") == [(1,)]
    assert kennel.nudges == 1


def test_a_report_that_comes_between_the_look_and_the_verdict(kennel: Kennel) -> None:
    kennel.start()
    kennel.report(10)
    kennel.pass_time(9.75)
    kennel.store.held = True
    kennel.pass_time(0.25)
    kennel.report(10)
    kennel.store.step()
    assert kennel.late() == []
    assert kennel.nudges == 0


def test_a_service_that_keeps_its_promise_is_never_late(kennel: Kennel) -> None:
    kennel.start()
    for _ in range(10):
        kennel.report(10)
        kennel.pass_time(9.75)
    assert rows(kennel.path, "select count(*) from alerts") == [(0,)]


def test_an_idle_watchdog_writes_nothing(kennel: Kennel) -> None:
    kennel.start()
    kennel.pass_time(10)
    assert kennel.count(LOOK) == 41
    assert kennel.count(GRANT) == 1
    assert kennel.count(MARK) == 0


def test_grace_at_the_start(kennel: Kennel) -> None:
    kennel.report(10)
    kennel.jump(3600)
    kennel.start()
    assert kennel.deadline_in_s() == 10
    kennel.pass_time(9.75)
    assert kennel.late() == []
    kennel.pass_time(0.25)
    assert kennel.late() == [1]


def test_at_the_start_a_late_service_stays_late(kennel: Kennel) -> None:
    kennel.report(10)
    change(kennel.path, "update services set timed_out = 1, look_at = null")
    change(kennel.path, "update latest set deadline_at = null")
    kennel.start()
    kennel.pass_time(60)
    assert kennel.late() == [1]
    assert rows(kennel.path, "select count(*) from alerts") == [(0,)]


@pytest.mark.parametrize("gap_s, graced", [(GAP_S, False), (GAP_S + TICK_S, True), (3600, True)])
def test_grace_after_a_gap(kennel: Kennel, gap_s: float, graced: bool) -> None:
    kennel.start()
    kennel.report(3600)
    kennel.pass_time(5)
    with our_log() as lines:
        kennel.jump(gap_s)
    assert kennel.count(GRANT) == 1 + graced
    assert kennel.deadline_in_s() == (3600 if graced else 3595 - gap_s)
    said = f"warn: the watchdog paused for {gap_s:.1f} s: all periods start anew"
    assert lines == ([said] if graced else [])
    kennel.pass_time(60)
    assert kennel.count(GRANT) == 1 + graced


@pytest.mark.parametrize(
    "period_s, pause_s, late_after_s",
    [
        (10, 2 * TICK_S, 0.0),
        # The time that was left to it before the pause is left to it after it,
        (10, 2 * TICK_S + 0.125, 0.25),
        (10, 2.0, 0.25),
        (10, GAP_S, 0.25),
        # but no more than that the reports in the sockets have had their turn.
        (11, 2.0, SETTLE_S),
        (12, GAP_S, SETTLE_S),
    ],
)
def test_a_short_pause_is_taken_off(
    kennel: Kennel, period_s: int, pause_s: float, late_after_s: float
) -> None:
    kennel.start()
    kennel.report(period_s)
    kennel.pass_time(9.75)
    kennel.jump(pause_s)
    for passed_s in (0.0, 0.25, 0.5, 0.75, 1.0):
        assert kennel.late() == ([1] if passed_s >= late_after_s else [])
        kennel.pass_time(TICK_S)


def test_who_reports_right_after_a_short_pause_was_never_late(kennel: Kennel) -> None:
    kennel.start()
    kennel.report(10)
    kennel.pass_time(9.75)
    kennel.jump(2)
    kennel.report(10)
    kennel.pass_time(9.75)
    assert kennel.late() == []
    assert rows(kennel.path, "select count(*) from alerts") == [(0,)]


def test_reports_that_could_not_be_stored_make_nobody_late(kennel: Kennel) -> None:
    kennel.start()
    kennel.report(10)
    kennel.pass_time(9)
    kennel.dog.excuse()
    with our_log() as lines:
        kennel.pass_time(9.75)
    assert lines == ["warn: reports could not be stored: all periods start anew"]
    assert kennel.late() == []
    kennel.pass_time(0.5)
    assert kennel.late() == [1]
    assert kennel.count(GRANT) == 2


def test_an_excuse_holds_until_periods_can_be_granted(kennel: Kennel) -> None:
    kennel.start()
    kennel.report(10)
    kennel.pass_time(1)

    def fail(description: str) -> None:
        if description == GRANT:
            raise StorageError("disk full")

    kennel.store.fault = fail
    kennel.dog.excuse()
    with our_log() as lines:
        kennel.pass_time(20)
    # Tried four times a second, and said once.
    assert lines == ["critical: the watchdog's tick failed, the next one follows"]
    assert kennel.late() == []
    kennel.store.fault = lambda description: None
    with our_log() as lines:
        kennel.pass_time(9.75)
    assert lines == [
        "warn: reports could not be stored: all periods start anew",
        "info: the watchdog works again",
    ]
    assert kennel.late() == []
    kennel.pass_time(0.5)
    assert kennel.late() == [1]


def test_periods_that_were_granted_hold_for_who_reported_before(kennel: Kennel) -> None:
    """The recorder has kept their former deadlines in memory."""
    kennel.start()
    kennel.report(10)
    kennel.pass_time(9)
    kennel.jump(60)
    old = a_state("service 0", period_s=10, seen_at=kennel.clock.wall() - 500)
    record(kennel.path, kennel.recorder, kennel.clock, a_report(old))
    assert kennel.deadline_in_s() == 10
    kennel.pass_time(9.75)
    assert kennel.late() == []


def test_a_gap_makes_nobody_late(kennel: Kennel) -> None:
    kennel.start()
    kennel.report(10)
    kennel.pass_time(5)
    kennel.jump(60)
    assert kennel.late() == []
    kennel.pass_time(9.75)
    assert kennel.late() == []
    kennel.pass_time(0.25)
    assert kennel.late() == [1]


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 31_536_000.0, -31_536_000.0])
def test_a_step_of_the_wall_clock_changes_nothing(kennel: Kennel, step_s: float) -> None:
    kennel.start()
    kennel.report(10)
    kennel.pass_time(5)
    kennel.clock.wall_at += step_s
    kennel.pass_time(4.75)
    assert kennel.late() == []
    assert kennel.dog.lag_s() == 0
    kennel.pass_time(0.25)
    assert kennel.late() == [1]
    assert kennel.count(GRANT) == 1


def test_who_reports_is_looked_at_once_in_a_period(kennel: Kennel) -> None:
    kennel.start()
    kennel.report(10)
    for _ in range(5):
        kennel.pass_time(8)
        kennel.report(10)
    assert kennel.late() == []
    # Each look moved the next one to the deadline that held then.
    assert 0 < kennel.count("put looks off") <= 5
    kennel.pass_time(9.75)
    assert kennel.late() == []
    kennel.pass_time(0.25)
    assert kennel.late() == [1]


def test_who_is_ahead_of_another_node_judges_by_its_clock(kennel: Kennel) -> None:
    kennel.other.lead_s = 30
    kennel.start()
    kennel.report(10)
    kennel.pass_time(39.75)
    assert kennel.late() == []
    kennel.pass_time(0.25)
    assert kennel.late() == [1]


def test_a_node_that_was_behind_leaves_deadlines_that_nobody_trusts(kennel: Kennel) -> None:
    kennel.start()
    kennel.report(10)
    kennel.pass_time(9)
    kennel.other.lost = True
    with our_log() as lines:
        kennel.pass_time(10)
    assert lines == ["warn: a node whose clock was behind is gone: all periods start anew"]
    assert kennel.late() == []
    kennel.pass_time(0.25)
    assert kennel.late() == [1]


def test_it_leaves_the_other_nodes_when_it_ends(kennel: Kennel) -> None:
    kennel.start()
    kennel.pass_time(1)
    assert not kennel.other.left
    result_of(kennel.dog.stopService())
    assert kennel.other.left
