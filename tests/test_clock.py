"""The steady clock keeps its pace while the wall clock steps."""

from __future__ import annotations

import time

import pytest
from twisted.internet.base import ReactorBase

from overc.clock import SystemClock, put_on_monotonic_clock


class Hands:
    """A wall clock and a monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.wall_at = 1_700_000_000.0
        self.monotonic_s = 50.0

    def wall(self) -> float:
        return self.wall_at

    def monotonic(self) -> float:
        return self.monotonic_s


def test_both_clocks_start_at_the_wall_clocks_time() -> None:
    hands = Hands()
    clock = SystemClock(hands.wall, hands.monotonic)
    assert (clock.wall(), clock.steady()) == (1_700_000_000.0, 1_700_000_000.0)


@pytest.mark.parametrize("step_s", [-7200.0, -1.0, 0.0, 3600.0, 1e9])
def test_a_step_of_the_wall_clock_does_not_move_the_steady_clock(step_s: float) -> None:
    hands = Hands()
    clock = SystemClock(hands.wall, hands.monotonic)
    hands.monotonic_s += 10
    hands.wall_at += 10 + step_s
    assert clock.steady() == 1_700_000_010.0
    assert clock.wall() == 1_700_000_010.0 + step_s


def test_the_machines_clocks_are_the_default() -> None:
    before_at, before_s = time.time(), time.monotonic()
    clock = SystemClock()
    first, wall, second = clock.steady(), clock.wall(), clock.steady()
    after_at, after_s = time.time(), time.monotonic()
    assert before_at <= wall <= after_at
    assert first <= second
    assert second - first <= after_s - before_s


class BareReactor(ReactorBase):
    """A reactor that watches nothing and can only run timers."""

    def installWaker(self) -> None:
        pass

    def removeAll(self) -> list[object]:  # type: ignore[override]
        return []


def test_timers_of_a_reactor_on_the_monotonic_clock_survive_a_step_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hands = Hands()
    monkeypatch.setattr("time.monotonic", hands.monotonic)
    reactor = BareReactor()
    monkeypatch.setattr(reactor, "seconds", hands.wall)
    put_on_monotonic_clock(reactor)
    fired: list[str] = []
    reactor.callLater(60, fired.append, "timer")
    hands.wall_at -= 7200
    hands.monotonic_s += 59
    reactor.runUntilCurrent()
    assert fired == []
    hands.monotonic_s += 2
    reactor.runUntilCurrent()
    assert fired == ["timer"]
