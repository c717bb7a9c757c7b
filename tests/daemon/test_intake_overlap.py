"""Batches of which one begins while the one before it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate

import pytest
from support_daemon import IntakeDesk, SteppedStore, a_database, result_of, said
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred

from overc.daemon import intake as intake_module
from overc.daemon.recording import Recorder
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
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            end: Deferred[None] = Deferred()
            self.ending.append(end)
            try:
                await end
            finally:
                self.at_once -= 1
        return result

    def end(self, error: StorageError | None = None) -> None:
        """Let the oldest transaction that does not wait for its beginning end."""
        ended = self.ending.pop(0)
        if error is None:
            ended.callback(None)
        else:
            ended.errback(error)


class Desk(IntakeDesk):
    def __init__(self, path: str) -> None:
        super().__init__(path, queue_max=50)
        self.store: EndingStore = EndingStore(path)
        self.intake._store = self.store
        result_of(self.intake.submit(said("before")))
        self.store.held = True


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(intake_module, "deferToThread", maybeDeferred)
    monkeypatch.setattr(Transaction, "let_next_begin", lambda tx: True)
    return Desk(a_database(tmp_path))


def on_their_way(desk: Desk) -> tuple[int, int]:
    """Return how many transactions wait for their beginning, and how many for their end."""
    return len(desk.store.waiting), len(desk.store.ending)


def test_the_next_batch_begins_before_the_end_of_one(desk: Desk) -> None:
    [first] = desk.submit(said("1"))
    [second] = desk.submit(said("2"))
    assert on_their_way(desk) == (1, 0)
    desk.store.step()
    assert on_their_way(desk) == (1, 1)
    assert not first.called
    desk.store.end()
    result_of(first)
    assert not second.called
    desk.store.step()
    desk.store.end()
    result_of(second)
    assert desk.infos() == ["before", "1", "2"]
    assert on_their_way(desk) == (0, 0)


def test_no_more_than_two_are_on_their_way(desk: Desk) -> None:
    [first] = desk.submit(said("1"))
    [second] = desk.submit(said("2"))
    desk.store.step()
    [third] = desk.submit(said("3"))
    desk.store.step()
    assert on_their_way(desk) == (0, 2)
    [fourth] = desk.submit(said("4"))
    assert on_their_way(desk) == (0, 2)
    desk.store.end()
    result_of(first)
    # Whoever came meanwhile shares the next batch.
    assert on_their_way(desk) == (1, 1)
    assert desk.batches()[-2:] == [1, 1]
    desk.store.step()
    desk.store.end()
    result_of(second)
    desk.store.end()
    result_of(third)
    result_of(fourth)
    assert desk.batches() == [1, 1, 1, 2]
    assert desk.store.most_at_once == 2


def test_one_that_comes_later_begins_at_once(desk: Desk) -> None:
    [first] = desk.submit(said("1"))
    desk.store.step()
    assert on_their_way(desk) == (0, 1)
    [second] = desk.submit(said("2"))
    assert on_their_way(desk) == (1, 1)
    desk.store.end()
    desk.store.step()
    desk.store.end()
    result_of(first)
    result_of(second)


def test_one_with_news_is_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transaction, "let_next_begin", lambda tx: False)
    [first] = desk.submit(said("1"))
    [second] = desk.submit(said("2"))
    desk.store.step()
    assert on_their_way(desk) == (0, 1)
    desk.store.end()
    result_of(first)
    assert on_their_way(desk) == (1, 0)
    desk.store.step()
    desk.store.end()
    result_of(second)


def test_one_that_fails_at_its_end_takes_nobody_with_it(desk: Desk) -> None:
    [first] = desk.submit(said("1"))
    [second] = desk.submit(said("2"))
    desk.store.step()
    desk.store.step()
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


def test_the_later_one_may_end_first(desk: Desk) -> None:
    """As it does when the earlier one has to run again."""
    [first] = desk.submit(said("1"))
    [second] = desk.submit(said("2"))
    desk.store.step()
    desk.store.step()
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


def test_one_that_runs_again_says_it_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Recorder.record
    said_it: list[Callable[[], None]] = []

    def twice(
        recorder: Recorder, tx: Any, submissions: Any, now: Any, next_may_begin: Any
    ) -> object:
        said_it.append(next_may_begin)
        return record(recorder, tx, submissions, now, next_may_begin)

    monkeypatch.setattr(Recorder, "record", twice)
    desk.submit(said("1"))
    desk.submit(said("2"))
    desk.store.step()
    desk.submit(said("3"))
    # The second one has not let the third begin; that the first one does is no news.
    said_it[0]()
    assert on_their_way(desk) == (1, 1)
    desk.store.end()
    said_it[0]()
    assert on_their_way(desk) == (1, 0)


def test_stop_waits_for_both(desk: Desk) -> None:
    answers = desk.submit(said("1"), said("2"), said("3"))
    desk.store.step()
    stopped = ensureDeferred(desk.intake.stopService())
    desk.store.step()
    desk.store.end()
    assert not stopped.called
    desk.store.end()
    result_of(stopped)
    assert all(one.called for one in answers)
    assert desk.infos() == ["before", "1", "2", "3"]
