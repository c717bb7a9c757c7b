from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import STEADY_AT, WALL_AT, a_database, our_log, result_of
from support_watchdog import GRANT, LOOK, MARK, Kennel
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

from overc.daemon.recording import Times
from overc.daemon.store.errors import StorageError
from overc.daemon.watchdog import TICK_S, TICK_TIMEOUT_S


@pytest.fixture
def kennel(tmp_path: Path) -> Kennel:
    return Kennel(a_database(tmp_path))


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
