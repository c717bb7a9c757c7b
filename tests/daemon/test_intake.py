from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support_daemon import (
    STEADY_AT,
    WALL_AT,
    IntakeDesk,
    a_database,
    a_report,
    a_state,
    our_log,
    result_of,
    rows,
    said,
)
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, maybeDeferred

from overc.daemon import intake as intake_module
from overc.daemon.intake import ANSWER_S, Intake, Overloaded
from overc.daemon.keys import derive
from overc.daemon.recording import Recorded, Submission, Times
from overc.daemon.store.engine import Transaction
from overc.daemon.store.errors import StorageError
from overc.model import State

RECORD = "store a report"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IntakeDesk:
    # Threads would end in any order.
    monkeypatch.setattr(intake_module, "deferToThread", maybeDeferred)
    return IntakeDesk(a_database(tmp_path), queue_max=50)


def failing(*, times: int, error: Exception) -> Callable[[str], None]:
    left = [error] * times

    def fault(description: str) -> None:
        if description == RECORD and left:
            raise left.pop()

    return fault


def test_a_report_is_answered_once_it_is_durable(desk: IntakeDesk) -> None:
    desk.store.held = True
    [answer] = desk.submit(said("one"))
    assert not answer.called
    assert desk.infos() == []
    desk.store.step()
    result_of(answer)
    assert desk.infos() == ["one"]


def test_what_arrives_during_a_flush_shares_the_next_one(desk: IntakeDesk) -> None:
    result_of(desk.intake.submit(said("proves the key")))
    desk.store.held = True
    first = desk.submit(said("0"))
    others = desk.submit(*(said(str(number)) for number in range(1, 6)))
    assert len(desk.store.waiting) == 1
    desk.store.step()
    assert [one.called for one in first + others] == [True] + [False] * 5
    desk.store.step()
    for one in others:
        result_of(one)
    assert desk.batches() == [1, 1, 5]
    assert desk.infos() == ["proves the key", "0", "1", "2", "3", "4", "5"]


def test_a_flush_takes_no_more_than_a_batch(
    desk: IntakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "BATCH_MAX", 3)
    desk.store.held = True
    answers = desk.submit(*(said(str(number)) for number in range(8)))
    while desk.store.waiting:
        desk.store.step()
    for one in answers:
        result_of(one)
    assert desk.batches() == [1, 3, 3, 1]
    assert desk.infos() == [str(number) for number in range(8)]


def test_an_idle_intake_takes_the_next_report(desk: IntakeDesk) -> None:
    for number in range(3):
        result_of(desk.intake.submit(said(str(number))))
    assert desk.infos() == ["0", "1", "2"]
    assert desk.batches() == [1, 1, 1]


def test_more_than_the_queue_holds_is_turned_away(desk: IntakeDesk) -> None:
    desk.store.held = True
    desk.submit(said("under way"))
    waiting = desk.submit(*(said(str(number)) for number in range(50)))
    [refused] = desk.submit(said("too much"))
    with pytest.raises(Overloaded, match=r"^the server is busy: send the report again in a few"):
        result_of(refused)
    desk.store.step()
    desk.store.step()
    for one in waiting:
        result_of(one)
    desk.store.held = False
    result_of(desk.intake.submit(said("later")))
    assert desk.infos()[-2:] == ["49", "later"]


def test_reports_whose_keys_are_being_proved_count_too(
    desk: IntakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    proving: list[Deferred[str]] = []

    def in_thread(function: Callable[..., Any], *args: Any) -> Deferred[str]:
        proving.append(Deferred())
        return proving[-1]

    monkeypatch.setattr(intake_module, "deferToThread", in_thread)
    many = desk.submit(*(said("x", name=f"web{number}") for number in range(50)))
    with pytest.raises(Overloaded):
        result_of(desk.intake.submit(said("too much")))
    many[0].addErrback(lambda failure: failure.trap(CancelledError))
    many[0].cancel()
    proving[1].callback(derive("secret"))
    result_of(many[1])
    # One was given up and one is through: there is room for two.
    assert not any(one.called for one in desk.submit(said("x", name="a"), said("x", name="b")))
    with pytest.raises(Overloaded):
        result_of(desk.intake.submit(said("too much")))


def test_a_store_that_fails_is_told_to_each_and_then_it_works_again(desk: IntakeDesk) -> None:
    result_of(desk.intake.submit(said("before")))
    desk.store.held = True
    first = desk.submit(said("under way"))
    batch = desk.submit(*(said(str(number)) for number in range(3)))
    desk.store.step()
    result_of(first[0])
    with our_log() as lines:
        desk.store.step(StorageError("Unable to store a report: disk full"))
        for one in batch:
            with pytest.raises(StorageError, match=r"^Unable to store a report: disk full$"):
                result_of(one)
    assert lines == ["error: Unable to store a report: disk full"]
    assert desk.infos() == ["before", "under way"]
    desk.store.held = False
    result_of(desk.intake.submit(said("after")))
    assert desk.infos() == ["before", "under way", "after"]


def test_what_waits_behind_a_batch_that_fails_is_stored(desk: IntakeDesk) -> None:
    desk.store.held = True
    [first] = desk.submit(said("1"))
    [second] = desk.submit(said("2"))
    desk.store.step(StorageError("no"))
    with pytest.raises(StorageError):
        result_of(first)
    desk.store.step()
    result_of(second)
    assert desk.infos() == ["2"]


@pytest.mark.parametrize("error", [StorageError("no"), ZeroDivisionError("bug")])
def test_a_transaction_that_does_not_begin_fails_those_who_wait_for_it(
    desk: IntakeDesk, error: Exception
) -> None:
    result_of(desk.intake.submit(said("before")))
    desk.store.held = True
    under_way, *waiting = desk.submit(*(said(str(number)) for number in range(3)))
    desk.store.fault = failing(times=3, error=error)
    with our_log():
        desk.store.step()
    result_of(under_way)
    for one in waiting:
        with pytest.raises(type(error)):
            result_of(one)
    assert desk.infos() == ["before", "0"]
    desk.store.fault = lambda description: None
    desk.store.held = False
    result_of(desk.intake.submit(said("after")))


def test_a_store_that_fails_while_a_key_is_proved(desk: IntakeDesk) -> None:
    def fault(description: str) -> None:
        if description == "look a server up":
            raise StorageError("Unable to look a server up: gone")

    desk.store.fault = fault
    with pytest.raises(StorageError, match=r"^Unable to look a server up: gone$"):
        result_of(desk.intake.submit(said("x")))
    desk.store.fault = lambda description: None
    result_of(desk.intake.submit(said("y")))


def test_a_poison_report_fails_alone(desk: IntakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    result_of(desk.intake.submit(said("before")))
    desk.store.held = True
    first = desk.submit(said("under way"))
    poison = said("poison")
    batch = desk.submit(said("1"), poison, said("2"))
    record = desk.recorder.record

    def choke(tx: Transaction, submissions: Sequence[Submission], now: Times) -> Recorded:
        if any(one.report is poison for one in submissions):
            raise ZeroDivisionError("poison")
        return record(tx, submissions, now)

    monkeypatch.setattr(desk.recorder, "record", choke)
    desk.store.held = False
    with our_log() as lines:
        desk.store.step()
    result_of(first[0])
    result_of(batch[0])
    with pytest.raises(ZeroDivisionError, match="poison"):
        result_of(batch[1])
    result_of(batch[2])
    assert desk.infos() == ["before", "under way", "1", "2"]
    assert lines == ["critical: a report could not be recorded"]


def test_a_submitter_that_goes_away_does_not_disturb_the_others(desk: IntakeDesk) -> None:
    result_of(desk.intake.submit(said("before")))
    desk.store.held = True
    under_way, gone, stays = desk.submit(said("1"), said("2"), said("3"))
    for one in (under_way, gone):
        one.cancel()
        with pytest.raises(CancelledError):
            result_of(one)
    desk.store.step()
    desk.store.step()
    result_of(stays)
    # Nobody took them back, so they are stored.
    assert desk.infos() == ["before", "1", "2", "3"]
    desk.store.held = False
    result_of(desk.intake.submit(said("after")))


def test_a_submitter_that_goes_away_from_a_batch_that_fails(desk: IntakeDesk) -> None:
    desk.store.held = True
    [gone] = desk.submit(said("1"))
    gone.cancel()
    with pytest.raises(CancelledError):
        result_of(gone)
    desk.store.step(StorageError("no"))
    desk.store.held = False
    result_of(desk.intake.submit(said("2")))


def test_stop_waits_for_the_queue(desk: IntakeDesk) -> None:
    desk.store.held = True
    answers = desk.submit(said("1"), said("2"))
    stopped = ensureDeferred(desk.intake.stopService())
    assert not stopped.called
    desk.store.step()
    assert not stopped.called
    desk.store.step()
    result_of(stopped)
    assert all(one.called for one in answers)
    assert desk.infos() == ["1", "2"]


def test_stop_waits_for_a_queue_that_fails(desk: IntakeDesk) -> None:
    desk.store.held = True
    [answer] = desk.submit(said("1"))
    stopped = ensureDeferred(desk.intake.stopService())
    desk.store.step(StorageError("no"))
    result_of(stopped)
    with pytest.raises(StorageError):
        result_of(answer)


def test_stop_when_idle(desk: IntakeDesk) -> None:
    result_of(desk.intake.stopService())
    assert desk.reactor.getDelayedCalls() == []


def test_nothing_is_taken_before_the_start_and_after_the_stop(desk: IntakeDesk) -> None:
    not_ready = r"^the server is not ready: send the report again soon$"
    result_of(desk.intake.submit(said("1")))
    result_of(desk.intake.stopService())
    with pytest.raises(Overloaded, match=not_ready):
        result_of(desk.intake.submit(said("2")))
    other = Intake(desk.reactor, desk.store, desk.clock, desk.recorder, lambda: None)
    with pytest.raises(Overloaded, match=not_ready):
        result_of(other.submit(said("3")))
    other.startService()
    result_of(other.submit(said("4")))
    assert desk.infos() == ["1", "4"]


def test_a_key_that_is_proved_only_after_the_stop(
    desk: IntakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is closed by then."""
    proving: Deferred[str] = Deferred()
    monkeypatch.setattr(intake_module, "deferToThread", lambda *_: proving)
    [answer] = desk.submit(said("1"))
    result_of(desk.intake.stopService())
    proving.callback(derive("secret"))
    with pytest.raises(Overloaded, match=r"^the server is stopping: send the report again soon$"):
        result_of(answer)
    assert RECORD not in desk.store.calls


def test_a_batch_is_answered_while_the_next_one_is_on_its_way(desk: IntakeDesk) -> None:
    result_of(desk.intake.submit(said("proves the key")))
    desk.store.held = True
    begun: list[int] = []
    for one in desk.submit(said("1"), said("2"), said("3")):
        one.addCallback(lambda _: begun.append(len(desk.store.waiting)))
    desk.store.step()
    assert begun == [1]
    desk.store.step()
    assert begun == [1, 0, 0]


def test_a_database_that_does_not_answer(desk: IntakeDesk) -> None:
    """The transaction may still succeed; whoever waits is told in time all the same."""
    result_of(desk.intake.submit(said("proves the key")))
    desk.store.held = True
    waiting = desk.submit(said("1"), said("2"))
    desk.reactor.advance(ANSWER_S - 1)
    assert not any(one.called for one in waiting)
    with our_log() as lines:
        desk.reactor.advance(1)
    for one in waiting:
        with pytest.raises(StorageError, match=r"^the database did not answer within 30 s$"):
            result_of(one)
    assert lines == ["error: the database did not answer within 30 s"]
    assert desk.failures == 1
    # Who comes while it is stuck is not kept waiting for ever either.
    [later] = desk.submit(said("3"))
    desk.reactor.advance(ANSWER_S)
    with pytest.raises(StorageError):
        result_of(later)
    [last] = desk.submit(said("4"))
    desk.store.step()
    desk.store.step()
    result_of(last)
    # What was given up before its transaction began is not stored.
    assert desk.infos() == ["proves the key", "1", "4"]
    assert desk.reactor.getDelayedCalls() == []


def test_who_can_not_store_says_so(desk: IntakeDesk) -> None:
    desk.store.fault = failing(times=2, error=StorageError("no"))
    for failures in (1, 2):
        with pytest.raises(StorageError):
            result_of(desk.intake.submit(said("x")))
        assert desk.failures == failures
    result_of(desk.intake.submit(said("y")))
    desk.store.fault = failing(times=1, error=ZeroDivisionError("bug"))
    with our_log(), pytest.raises(ZeroDivisionError):
        result_of(desk.intake.submit(said("z")))
    assert desk.failures == 2


def test_dispatch_is_nudged_once_for_a_commit_that_raised_alerts(desk: IntakeDesk) -> None:
    result_of(desk.intake.submit(a_report(a_state("disk", State.OK))))
    assert desk.nudges == 0
    desk.store.held = True
    desk.submit(*(a_report(a_state("disk", state)) for state in (State.FAIL, State.OK, State.FAIL)))
    assert desk.nudges == 0
    desk.store.step()
    assert desk.nudges == 1
    desk.store.step()
    assert desk.nudges == 2
    desk.store.held = False
    result_of(desk.intake.submit(a_report(a_state("disk", State.FAIL))))
    assert desk.nudges == 2
    assert rows(desk.store.path, "select plugin from outbox") == [("mail",)] * 3


def test_each_commit_is_told_before_its_answers(desk: IntakeDesk) -> None:
    desk.store.held = True
    [answer] = desk.submit(said("x"))
    answer.addCallback(lambda _: told.append(desk.commits))
    told: list[int] = []
    assert desk.commits == 0
    desk.store.step()
    assert (desk.commits, told) == (1, [1])
    desk.store.held = False
    desk.store.fault = failing(times=1, error=StorageError("no"))
    with pytest.raises(StorageError):
        result_of(desk.intake.submit(said("y")))
    assert desk.commits == 1


def test_reports_are_stamped_when_they_are_recorded(desk: IntakeDesk) -> None:
    result_of(desk.intake.submit(said("1")))
    desk.clock.advance(7)
    result_of(desk.intake.submit(said("2")))
    stamps = rows(desk.store.path, "select received_at from states order by id")
    assert stamps == [(WALL_AT,), (WALL_AT + 7,)]
    assert rows(
        desk.store.path,
        "select deadline_at from services join latest on service_id = id",
    ) == [(STEADY_AT + 67,)]
