from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from overc.web.turns import TooManyWait, Turns


class Work:
    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.begun: list[Deferred[str]] = []

    def ask(self) -> Deferred[str]:
        """What is begun goes on when nobody waits for it any more, as a thread does."""

        async def do() -> str:
            self.begun.append(Deferred())
            return await self.begun[-1]

        return Deferred.fromCoroutine(self._turns.take(do))


@pytest.fixture
def work() -> Work:
    return Work(Turns(2))


def failure_of(asked: Deferred[str]) -> type[BaseException]:
    failures: list[BaseException] = []

    def keep(failure: Failure) -> str:
        assert failure.value is not None
        failures.append(failure.value)
        return ""

    asked.addErrback(keep)
    [found] = failures
    return type(found)


def results(*asked: Deferred[str]) -> list[str]:
    found: list[str] = []
    for one in asked:
        one.addCallback(found.append)
    return found


def test_one_is_done_at_a_time_in_order(work: Work) -> None:
    first, second, third = (work.ask() for _ in range(3))
    for place, word in enumerate(("one", "two", "three")):
        assert len(work.begun) == place + 1
        work.begun[place].callback(word)
    assert results(first, second, third) == ["one", "two", "three"]


def test_one_too_many_is_refused(work: Work) -> None:
    asked = [work.ask() for _ in range(3)]
    assert failure_of(work.ask()) is TooManyWait
    work.begun[0].callback("one")
    asked.append(work.ask())
    for one in (1, 2, 3):
        work.begun[one].callback("more")
    assert len(results(*asked)) == 4


def test_who_stops_waiting_does_not_end_its_turn(work: Work) -> None:
    first, second = work.ask(), work.ask()
    first.cancel()
    assert failure_of(first) is CancelledError
    assert len(work.begun) == 1
    work.begun[0].callback("nobody hears it")
    work.begun[1].callback("two")
    assert results(second) == ["two"]


def test_who_stops_waiting_before_its_turn_is_forgotten(work: Work) -> None:
    first, second, third = (work.ask() for _ in range(3))
    second.cancel()
    assert failure_of(second) is CancelledError
    work.begun[0].callback("one")
    work.begun[1].callback("three")
    assert results(first, third) == ["one", "three"]


@pytest.mark.parametrize("gone", [False, True])
def test_a_failure_ends_a_turn(work: Work, gone: bool) -> None:
    first, second = work.ask(), work.ask()
    if gone:
        first.cancel()
    work.begun[0].errback(KeyError("x"))
    assert failure_of(first) is (CancelledError if gone else KeyError)
    work.begun[1].callback("two")
    assert results(second) == ["two"]
