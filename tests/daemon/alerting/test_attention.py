from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import (
    FakeClock,
    SteppedStore,
    a_database,
    a_report,
    a_state,
    change,
    our_log,
    record,
    result_of,
    rows,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from overc.daemon.alerting import attention as attention_module
from overc.daemon.alerting.attention import ROUND_S, ROUND_TIMEOUT_S, Attention
from overc.daemon.alerting.raising import Raiser
from overc.daemon.alerting.routing import Route
from overc.daemon.recording import Recorder
from overc.daemon.store.errors import StorageError
from overc.model import State

REMIND_S = 600.0


class Desk:
    """Attention over a real database and clocks set by hand."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.store = SteppedStore(path)
        self.clock = FakeClock()
        self.reactor = Clock()
        routes = [Route("mail", remind_s=REMIND_S), Route("chat")]
        raiser = Raiser(routes)
        self.recorder = Recorder(raiser)
        self.nudges = 0
        self.attention = Attention(
            self.reactor, self.store, self.clock, raiser, routes, self._nudge
        )

    def _nudge(self) -> None:
        self.nudges += 1

    def tell(self, *services: str) -> None:
        """Let services fail, and mail be told of it."""
        states = [a_state(name, State.FAIL) for name in services]
        record(self.path, self.recorder, self.clock, a_report(*states))
        change(self.path, "update outbox set status = 'sent'")
        change(
            self.path,
            "update standing set told_at = ?, remind_at = ? where plugin = 'mail'",
            self.clock.wall(),
            self.clock.wall() + REMIND_S,
        )

    def pass_time(self, span_s: float) -> None:
        self.clock.advance(span_s)
        self.reactor.advance(span_s)

    def pending(self) -> int:
        [(count,)] = rows(self.path, "select count(*) from outbox where status = 'pending'")
        return int(count)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(a_database(tmp_path))


def test_a_reminder_is_written_when_it_is_due(desk: Desk) -> None:
    desk.tell("disk")
    desk.attention.startService()
    desk.pass_time(REMIND_S - ROUND_S)
    assert (desk.pending(), desk.nudges) == (0, 0)
    desk.pass_time(ROUND_S)
    assert (desk.pending(), desk.nudges) == (1, 1)
    result_of(desk.attention.stopService())
    desk.pass_time(10 * REMIND_S)
    assert desk.nudges == 1


def test_many_reminders_are_written_in_parts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_module, "CHUNK", 2)
    desk.tell("a", "b", "c", "d", "e")
    # As after a stop of the server: what fell due meanwhile is said once.
    desk.clock.advance(10 * REMIND_S)
    desk.attention.startService()
    assert (desk.pending(), desk.nudges) == (5, 3)
    assert desk.store.calls.count("write reminders") == 3
    desk.pass_time(ROUND_S)
    assert (desk.pending(), desk.nudges) == (5, 3)


def test_reminders_are_taken_up_once(desk: Desk) -> None:
    desk.tell("disk")
    change(desk.path, "update standing set remind_at = null")
    desk.attention.startService()
    desk.pass_time(ROUND_S)
    assert desk.store.calls.count("take up reminders") == 1
    assert rows(desk.path, "select plugin from standing where remind_at is not null") == [("mail",)]


def test_a_round_that_fails_is_told_once_and_the_next_one_runs(desk: Desk) -> None:
    desk.tell("disk")

    def fault(description: str) -> None:
        raise StorageError("no database")

    with our_log() as logged:
        desk.store.fault = fault
        desk.attention.startService()
        desk.pass_time(ROUND_S)
        desk.pass_time(ROUND_S)
        desk.store.fault = lambda description: None
        desk.pass_time(REMIND_S)
        desk.pass_time(ROUND_S)
    assert len([line for line in logged if "were not looked at" in line]) == 1
    assert len([line for line in logged if "are looked at again" in line]) == 1
    assert desk.pending() == 1


def test_a_round_that_hangs_is_given_up(desk: Desk) -> None:
    desk.tell("disk")
    held: list[Deferred[None]] = []

    def hold(description: str) -> Deferred[None]:
        held.append(Deferred())
        return held[-1]

    with our_log() as logged:
        desk.store.fault = hold
        desk.attention.startService()
        assert len(held) == 1
        desk.store.fault = lambda description: None
        desk.pass_time(REMIND_S + ROUND_TIMEOUT_S)
        desk.pass_time(ROUND_S)
    assert any("were not looked at" in line for line in logged)
    assert desk.pending() == 1


def test_stopping_waits_for_the_round(desk: Desk) -> None:
    held: list[Deferred[None]] = []

    def hold(description: str) -> Deferred[None]:
        held.append(Deferred())
        return held[-1]

    desk.store.fault = hold
    desk.attention.startService()
    stopped = Deferred.fromCoroutine(desk.attention.stopService())
    assert not stopped.called
    desk.store.fault = lambda description: None
    held[0].callback(None)
    assert stopped.called
