from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from support.daemon import eventually

from overc.daemon.store.succession import Succession, TooLate

LIMIT_S = 30.0


class Runner:
    """A thread that does one thing after the other with a succession."""

    def __init__(self, succession: Succession, name: str, done: list[str]) -> None:
        self._succession = succession
        self._name = name
        self._done = done
        self._thread = ThreadPoolExecutor(1)

    def wait_for_turn(self, limit_s: float = LIMIT_S) -> Future[None]:
        return self._do("turn", lambda: self._succession.wait_for_turn(time.monotonic() + limit_s))

    def wait_for_former(self, limit_s: float = LIMIT_S) -> Future[None]:
        return self._do("up", lambda: self._succession.wait_for_former(time.monotonic() + limit_s))

    def let_next_begin(self) -> None:
        self._done.append(f"{self._name} lets")
        self._thread.submit(self._succession.let_next_begin).result(LIMIT_S)

    def end(self) -> None:
        # Said first: others go on before this thread does.
        self._done.append(f"{self._name} ends")
        self._thread.submit(self._succession.end).result(LIMIT_S)

    def close(self) -> None:
        self._thread.shutdown()

    def _do(self, what: str, call: Callable[[], None]) -> Future[None]:
        def run() -> None:
            call()
            self._done.append(f"{self._name} {what}")

        return self._thread.submit(run)


class Track:
    def __init__(self) -> None:
        self.succession = Succession()
        self.done: list[str] = []
        self.runners = [Runner(self.succession, name, self.done) for name in "abc"]

    def queue(self, *runners: Runner) -> list[Future[None]]:
        """Have threads wait for their turns, in this order."""
        found = []
        for runner in runners:
            waiting = len(self.succession._waiting) + 1
            found.append(runner.wait_for_turn())
            eventually(lambda: len(self.succession._waiting) >= waiting, "a thread waits")  # noqa: B023
        return found


@pytest.fixture
def track() -> Iterator[Track]:
    track = Track()
    yield track
    for runner in track.runners:
        runner.end()
        runner.close()


def test_turns_come_in_order(track: Track) -> None:
    a, b, c = track.runners
    turns = track.queue(a, b, c)
    for runner, turn in zip((a, b, c), turns, strict=True):
        turn.result(LIMIT_S)
        runner.end()
    assert track.done == ["a turn", "a ends", "b turn", "b ends", "c turn", "c ends"]


def test_the_next_one_begins_before_the_end_and_waits_for_it(track: Track) -> None:
    a, b, c = track.runners
    turns = track.queue(a, b, c)
    turns[0].result(LIMIT_S)
    a.let_next_begin()
    turns[1].result(LIMIT_S)
    up = b.wait_for_former()
    a.end()
    up.result(LIMIT_S)
    b.let_next_begin()
    turns[2].result(LIMIT_S)
    up = c.wait_for_former()
    b.end()
    up.result(LIMIT_S)
    assert track.done == [
        "a turn", "a lets", "b turn", "a ends", "b up", "b lets", "c turn", "b ends", "c up",
    ]  # fmt: skip


def test_the_end_of_the_former_one_is_not_the_next_one_s(track: Track) -> None:
    a, b, c = track.runners
    turns = track.queue(a, b, c)
    turns[0].result(LIMIT_S)
    a.let_next_begin()
    turns[1].result(LIMIT_S)
    a.end()
    assert not turns[2].done()
    # One that has never had its turn ends as well.
    threading.Thread(target=track.succession.end).start()
    b.wait_for_former().result(LIMIT_S)
    assert not turns[2].done()
    b.end()
    turns[2].result(LIMIT_S)


def test_a_former_one_that_has_ended_is_not_waited_for(track: Track) -> None:
    """Also by one that has taken long with what it did ahead."""
    a, b, _ = track.runners
    turns = track.queue(a, b)
    turns[0].result(LIMIT_S)
    a.let_next_begin()
    turns[1].result(LIMIT_S)
    a.end()
    b.wait_for_former(-1).result(LIMIT_S)


def test_there_is_one_former_one(track: Track) -> None:
    a, b, _ = track.runners
    turns = track.queue(a, b)
    turns[0].result(LIMIT_S)
    a.let_next_begin()
    turns[1].result(LIMIT_S)
    with pytest.raises(AssertionError):
        b.let_next_begin()


def test_a_turn_that_does_not_come_in_time(track: Track) -> None:
    a, b, c = track.runners
    [turn] = track.queue(a)
    turn.result(LIMIT_S)
    with pytest.raises(TooLate, match=r"^the database did not answer in time$"):
        b.wait_for_turn(0.01).result(LIMIT_S)
    [turn] = track.queue(c)
    a.end()
    # Who has given up is not waited for.
    turn.result(LIMIT_S)


def test_a_turn_that_is_free_too_late(track: Track) -> None:
    a, b, _ = track.runners
    with pytest.raises(TooLate):
        a.wait_for_turn(0).result(LIMIT_S)
    b.wait_for_turn().result(LIMIT_S)


def test_a_former_one_that_does_not_end_in_time(track: Track) -> None:
    a, b, c = track.runners
    turns = track.queue(a, b, c)
    turns[0].result(LIMIT_S)
    a.let_next_begin()
    turns[1].result(LIMIT_S)
    with pytest.raises(TooLate):
        b.wait_for_former(0.01).result(LIMIT_S)
    b.end()
    turns[2].result(LIMIT_S)
    up = c.wait_for_former()
    assert not up.done()
    a.end()
    up.result(LIMIT_S)
