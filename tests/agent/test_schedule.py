from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overc.agent.schedule import (
    Promise,
    Turn,
    begin,
    due,
    first_turn,
    interval_s,
    next_due_at,
    next_turn,
)


@pytest.mark.parametrize(
    "period_s, max_lag_s, last_run_s, expected",
    [
        (10, None, 0.0, 8.0),
        (10, None, 0.5, 6.5),
        (10, 3.0, 0.5, 5.0),
        (10, 0.0, 2.0, 8.0),
        (100, None, 20.0, 20.0),
        (10, 9.0, 0.1, 0.5),
        (10, None, 9.0, 0.5),
        (100, 1000.0, 0.0, 5.0),
    ],
)
def test_interval(
    period_s: int, max_lag_s: float | None, last_run_s: float, expected: float
) -> None:
    assert interval_s(Promise(period_s, max_lag_s), last_run_s) == pytest.approx(expected)


@pytest.mark.parametrize(
    "due_at, started_at, ended_at, next_at",
    [
        (100.0, 100.0, 100.0, 108.0),
        (100.0, 100.0, 101.0, 105.0),
        (100.0, 100.5, 100.5, 108.0),  # a delay does not add up
        (100.0, 99.6, 99.6, 107.6),  # started early, along with another one
        (100.0, 107.9, 107.9, 108.0),
        (100.0, 108.0, 108.0, 116.0),  # a whole interval late: counted anew
        (100.0, 7300.0, 7300.0, 7308.0),
        (100.0, 100.0, 109.0, 100.5),  # it took too long: again as soon as it has ended
    ],
)
def test_next_turn(due_at: float, started_at: float, ended_at: float, next_at: float) -> None:
    turn = next_turn(begin(Turn(Promise(10), due_at), started_at), ended_at)
    assert turn.due_at == pytest.approx(next_at)
    assert (turn.promise, turn.started_at) == (Promise(10), None)


def turns(**due_at: float) -> dict[str, Turn]:
    return {name: Turn(Promise(10), at) for name, at in due_at.items()}


@pytest.mark.parametrize(
    "waiting, now, expected",
    [
        (turns(a=5.0, b=6.0), 4.0, []),
        (turns(a=5.0, b=6.0), 5.0, ["a"]),
        (turns(b=6.0, a=5.0), 7.0, ["a", "b"]),
        (turns(a=5.0, b=5.5), 5.0, ["a", "b"]),  # due in a moment: goes along
        (turns(a=5.0, b=5.6), 5.0, ["a"]),
        (turns(a=5.0, b=5.5), 4.9, []),  # but is no reason to start by itself
        ({}, 5.0, []),
    ],
)
def test_due(waiting: dict[str, Turn], now: float, expected: list[str]) -> None:
    assert due(waiting, now) == expected


def test_at_start_the_shorter_promise_goes_first() -> None:
    waiting = {"day": first_turn(Promise(86400), 0.0), "minute": first_turn(Promise(60), 0.0)}
    assert due(waiting, 0.0) == ["minute", "day"]


def test_going_early_has_a_limit() -> None:
    waiting = {"a": Turn(Promise(10), 0.0), "day": Turn(Promise(86400), 5.1)}
    assert due(waiting, 0.0) == ["a"]


def test_what_runs_is_not_due() -> None:
    running = {"a": begin(first_turn(Promise(10), 0.0), 0.0)}
    assert due(running, 1000.0) == []
    assert next_due_at(running) is None
    assert next_due_at({**running, **turns(b=7.0, c=6.0)}) == 6.0


@settings(deadline=None)
@given(
    period_s=st.integers(1, 86400),
    runs=st.lists(st.floats(0, 0.19), min_size=1, max_size=50),
)
def test_each_report_comes_within_the_period_of_the_one_before(
    period_s: int, runs: list[float]
) -> None:
    """As long as a run takes less than a fifth of the period, whatever the one before took."""
    turn = first_turn(Promise(period_s), 0.0)
    reported_at = None
    for part in runs:
        started_at = max(turn.due_at, reported_at or 0.0)
        ended_at = started_at + part * period_s
        if reported_at is not None:
            assert ended_at - reported_at <= period_s
        reported_at = ended_at
        turn = next_turn(begin(turn, started_at), ended_at)
