"""Batches that stand ready, and batches of which one begins while the one before it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate

import pytest
from support_daemon import FakeClock, IntakeDesk, SteppedStore, a_database, our_log, result_of, said
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred

from overc.daemon import intake as intake_module
from overc.daemon.intake import _Batch
from overc.daemon.store.engine import P, T, Transaction
from overc.daemon.store.errors import StorageError


class EndingStore(SteppedStore):
    """Its transactions begin at a step, and end when the test says so."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.ending: list[Deferred[None]] = []

    async def write(
        self,
        description: str,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        result = await super().write(description, interaction, *args, **kwargs)
        if self.held:
            end: Deferred[None] = Deferred()
            self.ending.append(end)
            await end
        return result

    def end(self, error: StorageError | None = None) -> None:
        """Let the oldest transaction that has begun end."""
        ended = self.ending.pop(0)
        if error is None:
            ended.callback(None)
        else:
            ended.errback(error)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IntakeDesk:
    monkeypatch.setattr(intake_module, "deferToThread", maybeDeferred)
    path = a_database(tmp_path)
    desk = IntakeDesk(path, queue_max=50, store=EndingStore(path))
    result_of(desk.intake.submit(said("before")))
    desk.store.held = True
    return desk


def on_their_way(desk: IntakeDesk) -> tuple[int, int]:
    """Return how many transactions stand ready, and how many have begun."""
    return len(desk.store.waiting), len(desk.store.ending)


def two_that_have_begun(desk: IntakeDesk) -> list[Deferred[None]]:
    answers = desk.submit(said("1"))
    desk.store.step()
    answers += desk.submit(said("2"))
    desk.store.step()
    assert on_their_way(desk) == (0, 2)
    return answers


def test_a_batch_is_chosen_when_its_transaction_begins(desk: IntakeDesk) -> None:
    answers = desk.submit(said("1"), said("2"))
    assert on_their_way(desk) == (1, 0)
    desk.clock.advance(5)
    desk.store.step()
    answers += desk.submit(said("3"))
    assert on_their_way(desk) == (1, 1)
    answers += desk.submit(said("4"))
    assert on_their_way(desk) == (1, 1)
    desk.store.step()
    desk.store.end()
    desk.store.end()
    for one in answers:
        result_of(one)
    assert desk.batches() == [1, 2, 2]
    assert desk.infos() == ["before", "1", "2", "3", "4"]
    assert on_their_way(desk) == (0, 0)


def test_no_more_than_two_are_on_their_way(desk: IntakeDesk) -> None:
    first, second = two_that_have_begun(desk)
    third, fourth = desk.submit(said("3"), said("4"))
    assert on_their_way(desk) == (0, 2)
    desk.store.end()
    result_of(first)
    # Whoever came meanwhile shares the next batch.
    assert on_their_way(desk) == (1, 1)
    desk.store.step()
    desk.store.end()
    result_of(second)
    desk.store.end()
    result_of(third)
    result_of(fourth)
    assert desk.batches() == [1, 1, 1, 2]


def test_one_that_fails_at_its_end_takes_nobody_with_it(desk: IntakeDesk) -> None:
    first, second = two_that_have_begun(desk)
    with our_log():
        desk.store.end(StorageError("no"))
    with pytest.raises(StorageError, match=r"^no$"):
        result_of(first)
    assert not second.called
    desk.store.end()
    result_of(second)
    [third] = desk.submit(said("3"))
    desk.store.step()
    desk.store.end()
    result_of(third)


def test_the_later_one_may_end_first(desk: IntakeDesk) -> None:
    """As it does when the earlier one has to run again."""
    first, second = two_that_have_begun(desk)
    desk.store.ending.reverse()
    desk.store.end()
    result_of(second)
    assert not first.called
    [third] = desk.submit(said("3"))
    assert on_their_way(desk) == (1, 1)
    desk.store.end()
    result_of(first)
    desk.store.step()
    desk.store.end()
    result_of(third)


def test_one_that_runs_again_has_the_reports_and_the_time_that_it_had(
    desk: IntakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = desk.recorder.record
    calls: list[tuple[int, object]] = []

    def note(tx: Transaction, submissions: Any, now: Any) -> object:
        calls.append((len(submissions), now))
        return record(tx, submissions, now)

    def run_twice(tx: Transaction, batch: _Batch) -> object:
        tx.execute("savepoint once")
        begin_and_record(tx, batch)
        tx.execute("rollback to once")
        desk.submit(said("meanwhile"))
        desk.clock.advance(5)
        return begin_and_record(tx, batch)

    begin_and_record = desk.intake._begin_and_record
    monkeypatch.setattr(desk.recorder, "record", note)
    monkeypatch.setattr(desk.intake, "_begin_and_record", run_twice)
    [answer] = desk.submit(said("1"))
    monkeypatch.setattr(desk.intake, "_begin_and_record", begin_and_record)
    desk.store.step()
    assert calls == [calls[0]] * 2
    assert calls[0][0] == 1
    desk.store.end()
    result_of(answer)
    desk.store.step()
    assert desk.infos() == ["before", "1", "meanwhile"]


def test_a_transaction_that_finds_nobody_tells_of_nothing(desk: IntakeDesk) -> None:
    """Another one has taken those for whom it was asked for."""
    [answer] = desk.submit(said("1"))
    commits = desk.commits
    taken = desk.intake._queue.popleft()
    desk.store.step()
    desk.store.end()
    assert desk.commits == commits
    desk.intake._queue.append(taken)
    [other] = desk.submit(said("2"))
    desk.store.step()
    desk.store.end()
    result_of(answer)
    result_of(other)


def test_stop_waits_for_both(desk: IntakeDesk) -> None:
    answers = two_that_have_begun(desk)
    answers += desk.submit(said("3"))
    stopped = ensureDeferred(desk.intake.stopService())
    desk.store.end()
    desk.store.end()
    assert not stopped.called
    desk.store.step()
    desk.store.end()
    result_of(stopped)
    assert all(one.called for one in answers)
    assert desk.infos() == ["before", "1", "2", "3"]


class Latecomer(deque[Any]):
    """A queue to which somebody comes just before it is found empty, or just after."""

    def __init__(self, looks: Callable[[], None]) -> None:
        super().__init__()
        self.looks = looks

    def popleft(self) -> Any:
        self.looks()
        return super().popleft()


def test_who_is_not_taken_any_more_sees_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody would ask for another transaction, and he would wait for ever."""
    batch = _Batch()
    seen: list[bool] = []
    queue = Latecomer(lambda: seen.append(batch.begun))
    batch.begin(queue, FakeClock())
    assert seen == [True]
    queue.append("late")
    batch.begin(queue, FakeClock())
    assert batch.reports == []
