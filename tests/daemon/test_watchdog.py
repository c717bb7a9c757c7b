from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import (
    STEADY_AT,
    WALL_AT,
    a_database,
    a_report,
    a_state,
    change,
    our_log,
    record,
    result_of,
    rows,
)
from support_watchdog import GRANT, LOOK, MARK, Kennel
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

from overc.daemon import watchdog as watchdog_module
from overc.daemon.recording import Times
from overc.daemon.store.errors import StorageError
from overc.daemon.watchdog import GAP_S, SETTLE_S, TELL_S, TICK_S, TICK_TIMEOUT_S


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


def test_ticks_go_on_after_a_failure(kennel: Kennel) -> None:
    kennel.start()
    kennel.report(10)

    def fail(description: str) -> None:
        raise StorageError("Unable to look: gone") if kennel.count(LOOK) % 2 else KeyError("bug")

    kennel.store.fault = fail
    with our_log() as lines:
        kennel.pass_time(2)
    # One line for a series of eight failures.
    assert lines == ["critical: the watchdog's tick failed, the next one follows"]
    kennel.store.fault = lambda description: None
    with our_log() as lines:
        kennel.pass_time(7.75)
    assert lines == ["info: the watchdog works again"]
    assert kennel.late() == []
    kennel.pass_time(0.25)
    assert kennel.late() == [1]


def test_each_series_of_failures_is_logged(kennel: Kennel) -> None:
    def fail(description: str) -> None:
        raise StorageError("gone")

    kennel.start()
    with our_log() as lines:
        for fault in (fail, lambda description: None) * 2:
            kennel.store.fault = fault
            kennel.pass_time(1)
    assert [line.partition(":")[0] for line in lines] == ["critical", "info"] * 2


def test_a_store_that_was_away_makes_nobody_late(kennel: Kennel) -> None:
    kennel.start()
    kennel.report(10)
    kennel.pass_time(1)

    def fail(description: str) -> None:
        raise StorageError("gone")

    kennel.store.fault = fail
    kennel.pass_time(20)
    kennel.store.fault = lambda description: None
    kennel.pass_time(9.75)
    assert kennel.late() == []
    kennel.pass_time(1)
    assert kennel.late() == [1]


def test_ticks_go_on_after_one_that_never_ends(kennel: Kennel) -> None:
    kennel.start()
    kennel.report(3600)
    kennel.pass_time(1)
    looks = kennel.count(LOOK)
    cancelled: list[object] = []
    for_ever: Deferred[None] = Deferred(cancelled.append)
    kennel.store.fault = lambda description: for_ever
    kennel.pass_time(TICK_TIMEOUT_S)
    assert kennel.count(LOOK) == looks + 1
    assert cancelled == []
    kennel.store.fault = lambda description: None
    with our_log() as lines:
        kennel.pass_time(1)
    assert cancelled == [for_ever]
    assert [line.partition(":")[0] for line in lines] == ["critical", "warn", "info"]
    assert kennel.count(LOOK) > looks + 2
    assert kennel.dog.lag_s() == 0


def test_a_store_that_stalled_within_a_tick_makes_nobody_late(kennel: Kennel) -> None:
    """What reported meanwhile waits in the intake, and this tick took up all of the gap."""
    kennel.start()
    kennel.report(1, 20)
    kennel.pass_time(0.75)
    stalled: Deferred[None] = Deferred()
    kennel.store.fault = lambda description: stalled if description == MARK else None
    kennel.pass_time(0.25)
    kennel.jump(30)
    kennel.store.fault = lambda description: None
    stalled.callback(None)
    assert kennel.late() == [1]
    kennel.pass_time(1)
    assert kennel.late() == [1]
    kennel.pass_time(20)
    assert kennel.late() == [1, 2]


def test_a_slow_grace_does_not_call_for_another(kennel: Kennel) -> None:
    slow: Deferred[None] = Deferred()
    kennel.store.fault = lambda description: slow if description == GRANT else None
    kennel.start()
    kennel.jump(30)
    slow.callback(None)
    kennel.pass_time(1)
    assert kennel.count(GRANT) == 1


def test_many_late_services_are_judged_in_chunks(
    kennel: Kennel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_module, "CHUNK", 3)
    kennel.start()
    kennel.report(*[2] * 8)
    kennel.pass_time(1.75)
    kennel.store.arguments.clear()
    kennel.store.calls.clear()
    kennel.pass_time(0.25)
    assert kennel.late() == list(range(1, 9))
    calls = zip(kennel.store.calls, kennel.store.arguments, strict=True)
    assert [len(args[0]) for call, args in calls if call == MARK] == [3, 3, 2]
    assert kennel.store.calls.count(LOOK) == 1
    # So that those of one server go in one message.
    assert kennel.nudges == 1


def test_between_the_chunks_others_have_the_database(
    kennel: Kennel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_module, "CHUNK", 3)
    monkeypatch.setattr(watchdog_module, "YIELD_S", 0.0625)
    kennel.start()
    kennel.report(*[2] * 12)
    kennel.pass_time(1.75)
    kennel.store.fault = lambda description: (
        kennel.clock.advance(0.03125) if description == MARK else None
    )
    kennel.pass_time(0.25)
    assert len(kennel.late()) == 3
    kennel.reactor.advance(0.03)
    assert len(kennel.late()) == 3
    kennel.reactor.advance(0.00125)
    assert len(kennel.late()) == 6
    # Then it has waited for long enough, and does the rest in larger chunks.
    marks = kennel.count(MARK)
    kennel.reactor.advance(0.03125)
    assert len(kennel.late()) == 12
    assert kennel.count(MARK) == marks + 1
    assert kennel.nudges == 1


def test_a_storm_is_told_of_while_it_goes_on(
    kennel: Kennel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_module, "CHUNK_MOST", 1)
    monkeypatch.setattr(watchdog_module, "YIELD_S", 0.0)
    kennel.start()
    kennel.report(*[2] * 8)
    kennel.pass_time(1.75)
    nudged_after = []
    kennel.store.fault = lambda description: (
        kennel.clock.advance(TELL_S / 2) if description == MARK else None
    )
    monkeypatch.setattr(
        kennel.dog, "_alerts_raised", lambda: nudged_after.append(len(kennel.late()))
    )
    kennel.pass_time(0.25)
    assert nudged_after == [3, 6, 8]


def test_a_stop_does_not_wait_for_the_end_of_a_storm(
    kennel: Kennel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_module, "CHUNK", 3)
    kennel.start()
    kennel.report(*[2] * 9)
    kennel.pass_time(1.75)
    kennel.store.held = True
    kennel.pass_time(0.25)
    stopped = ensureDeferred(kennel.dog.stopService())
    kennel.store.held = False
    kennel.store.step()
    result_of(stopped)
    assert len(kennel.late()) <= 3


@pytest.mark.parametrize("count, looks", [(2, 1), (3, 2), (6, 3), (7, 3)])
def test_a_tick_ends_with_the_last_of_them(
    kennel: Kennel, monkeypatch: pytest.MonkeyPatch, count: int, looks: int
) -> None:
    monkeypatch.setattr(watchdog_module, "CHUNK", 2)
    monkeypatch.setattr(watchdog_module, "FOUND", 3)
    kennel.start()
    kennel.report(*[1] * count)
    kennel.pass_time(0.75)
    before = kennel.count(LOOK)
    kennel.pass_time(0.25)
    assert kennel.count(LOOK) == before + looks
    assert len(kennel.late()) == count


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


def test_lag(kennel: Kennel) -> None:
    assert kennel.dog.lag_s() == 0
    kennel.start()
    assert kennel.dog.lag_s() == 0
    kennel.clock.advance(1.25)
    assert kennel.dog.lag_s() == 0
    kennel.clock.advance(0.25)
    assert kennel.dog.lag_s() == 1.2
    kennel.clock.advance(60)
    assert kennel.dog.lag_s() == 61.2
    kennel.pass_time(0.25)
    assert kennel.dog.lag_s() == 0


def test_lag_when_no_tick_ever_succeeded(kennel: Kennel) -> None:
    def fail(description: str) -> None:
        raise StorageError("gone")

    kennel.store.fault = fail
    kennel.start()
    kennel.pass_time(10)
    assert kennel.dog.lag_s() == 9.8
    kennel.store.fault = lambda description: None
    kennel.pass_time(0.25)
    assert kennel.dog.lag_s() == 0


def test_the_age_of_the_last_tick(kennel: Kennel) -> None:
    assert kennel.dog.tick_age_s() is None
    kennel.start()
    assert kennel.dog.tick_age_s() == 0
    kennel.clock.advance(1.25)
    assert kennel.dog.tick_age_s() == 1.25

    def fail(description: str) -> None:
        raise StorageError("gone")

    kennel.store.fault = fail
    kennel.pass_time(1)
    assert kennel.dog.tick_age_s() == 2.25
    kennel.store.fault = lambda description: None
    kennel.pass_time(0.25)
    assert kennel.dog.tick_age_s() == 0


def test_stop_ends_the_ticks(kennel: Kennel) -> None:
    kennel.start()
    kennel.pass_time(1)
    looks = kennel.count(LOOK)
    result_of(kennel.dog.stopService())
    kennel.pass_time(10)
    assert kennel.count(LOOK) == looks
    assert kennel.reactor.getDelayedCalls() == []


def test_stop_waits_for_a_tick_under_way(kennel: Kennel) -> None:
    kennel.start()
    under_way: Deferred[None] = Deferred()
    kennel.store.fault = lambda description: under_way
    kennel.pass_time(TICK_S)
    stopped = ensureDeferred(kennel.dog.stopService())
    assert not stopped.called
    under_way.callback(None)
    result_of(stopped)
    assert kennel.reactor.getDelayedCalls() == []


def test_stop_waits_for_a_tick_that_fails(kennel: Kennel) -> None:
    kennel.start()
    under_way: Deferred[None] = Deferred()
    kennel.store.fault = lambda description: under_way
    kennel.pass_time(TICK_S)
    stopped = ensureDeferred(kennel.dog.stopService())
    under_way.errback(CancelledError())
    result_of(stopped)


def test_stop_without_a_start(kennel: Kennel) -> None:
    result_of(kennel.dog.stopService())
    assert kennel.store.calls == []


def test_all_starts_at_once(kennel: Kennel) -> None:
    kennel.start()
    assert kennel.store.calls == [GRANT, LOOK]
    assert kennel.store.arguments[0] == (Times(WALL_AT, STEADY_AT),)
