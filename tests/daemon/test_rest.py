"""A pause that can be ended early."""

from __future__ import annotations

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from overc.daemon.rest import Rest


def begin(clock: Clock, rest: Rest) -> Deferred[None]:
    return ensureDeferred(rest.pause(5))


def test_it_ends_after_its_time() -> None:
    clock = Clock()
    pause = begin(clock, Rest(clock))
    clock.advance(4.9)
    assert not pause.called
    clock.advance(0.1)
    assert pause.called


def test_waking_ends_it_and_leaves_no_timer() -> None:
    clock = Clock()
    rest = Rest(clock)
    pause = begin(clock, rest)
    rest.wake()
    assert pause.called
    assert clock.getDelayedCalls() == []


def test_waking_without_a_pause_does_not_shorten_the_next_one() -> None:
    clock = Clock()
    rest = Rest(clock)
    rest.wake()
    assert not begin(clock, rest).called


def test_it_can_be_used_again() -> None:
    clock = Clock()
    rest = Rest(clock)
    for _ in range(2):
        pause = begin(clock, rest)
        clock.advance(5)
        assert pause.called
