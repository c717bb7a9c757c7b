"""What is due, and when next. Pure: times are seconds on the reactor's clock, which never steps.

Note [Intervals]
~~~~~~~~~~~~~~~~
A service promises the server a report in each period. A run therefore starts well before the
period's end, so that the run and the way to the server still fit in. The interval is counted from
the time at which the last run was due, not from its start or end, so delays do not add up. After a
gap (a suspended machine, a run that took too long) it is counted anew: what was missed is missed.

Services with the same period drift apart by their run times. A run that would be due in a moment
is started along with one that is due now, so that the two reports travel in one request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

AIM = 0.8
"""The part of its period after which a service is run again, its lag not yet taken off."""

RUNS_OF_LAG = 3
"""How many times the last run time is taken off, when `max-lag` is not given."""

INTERVAL_LEAST = 0.05
"""The least interval, as a part of the period: a lag near the period must not keep a core busy."""

TOGETHER = 0.05
"""How early, as a part of its period, a service is run to go along with another one."""

TOGETHER_MOST_S = 5.0


@dataclass(frozen=True, slots=True)
class Promise:
    """How often a service reports, and what is known of the time that takes."""

    period_s: int
    max_lag_s: float | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One service's next run, or the one that goes on now."""

    promise: Promise
    due_at: float
    started_at: float | None = None


def first_turn(promise: Promise, now: float) -> Turn:
    """Return a turn that is due at once."""
    return Turn(promise, now)


def begin(turn: Turn, now: float) -> Turn:
    """Return the turn with its run going on."""
    return replace(turn, started_at=now)


def next_turn(turn: Turn, now: float) -> Turn:
    """Return the turn that follows one whose run has ended now."""
    assert turn.started_at is not None
    interval = interval_s(turn.promise, now - turn.started_at)
    on_time = 0 <= turn.started_at - turn.due_at < interval
    base = turn.due_at if on_time else turn.started_at
    return Turn(turn.promise, base + interval)


def interval_s(promise: Promise, last_run_s: float) -> float:
    """Return the seconds from one start to the next."""
    lag_s = RUNS_OF_LAG * last_run_s if promise.max_lag_s is None else promise.max_lag_s
    return max(AIM * promise.period_s - lag_s, INTERVAL_LEAST * promise.period_s)


def due(turns: Mapping[str, Turn], now: float) -> list[str]:
    """Return the names of what is to be started now, the most overdue first.

    A turn whose run goes on is never among them.
    """
    waiting = {name: turn for name, turn in turns.items() if turn.started_at is None}
    if not any(turn.due_at <= now for turn in waiting.values()):
        return []
    chosen = [name for name, turn in waiting.items() if turn.due_at - _early_s(turn) <= now]
    return sorted(chosen, key=lambda name: (turns[name].due_at, turns[name].promise.period_s))


def next_due_at(turns: Mapping[str, Turn]) -> float | None:
    """Return when something is due; None while everything runs."""
    return min((turn.due_at for turn in turns.values() if turn.started_at is None), default=None)


def _early_s(turn: Turn) -> float:
    return min(TOGETHER * turn.promise.period_s, TOGETHER_MOST_S)
