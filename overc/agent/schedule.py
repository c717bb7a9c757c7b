"""What is due, and when next. Pure: times are seconds on a clock that never steps.

Note [Intervals]
~~~~~~~~~~~~~~~~
A service promises the server a report in each period. A run therefore starts well before the
period's end, so that the run and the way to the server still fit in. The interval is counted from
the time at which the last run was due, not from its start or end, so delays do not add up. After a
gap (a suspended machine, a run that took too long) it is counted anew: what was missed is missed.

Note [Spread]
~~~~~~~~~~~~~
All services run once at the start, as soon as there is a place. Were they to go on like that, they
would all run together in each period. So the first two intervals of each service are cut to a part
between a half and the whole, which follows from the names of the host and the service. Together the
two come to a whole interval and a share of one, and after that the services are spread evenly. In
two steps, so that none is run twice in a moment. The same is done after a pause, when all of them
are overdue at once.

Two runs that happen to be due within a moment start together, and their reports travel together.
The earlier start of one of them changes nothing of when it is due, or else the services would
gather again, group by group.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple

AIM = 0.8
"""The part of its period after which a service is run again, its lag not yet taken off."""

RUNS_OF_LAG = 3
"""Of how many of the last runs the longest is taken off, when `max-lag` is not given."""

INTERVAL_LEAST = 0.05
"""The least interval, as a part of the period: a lag near the period must not keep a core busy."""

TOGETHER = 0.05
"""How early, as a part of its period, a service is run to go along with another one."""

TOGETHER_MOST_S = 1.0

STEPS_OF_SPREAD = 2

LOOK_MOST_S = 5.0
"""How long the schedule is left alone at most, so that a pause is noticed."""

PAUSE_S = 3 * LOOK_MOST_S
"""Who was not looked at for so long stood still, and the machine with it."""


def share_of(host: str, service: str) -> float:
    """Return a number from 0 up to 1 that is always the same for a service of a host."""
    digest = hashlib.sha256(f"{host}\0{service}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


@dataclass(frozen=True, slots=True)
class Promise:
    """How often a service reports, and what is known of the time that takes."""

    period_s: int
    max_lag_s: float | None = None
    share: float = 0.0
    """Its place among the others, from 0 up to 1."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One service's next run, or the one that goes on now."""

    promise: Promise
    due_at: float
    started_at: float | None = None
    spreading: int = 0
    """How many intervals are still to be cut."""
    took_s: tuple[float, ...] = ()
    """How long the last runs took, the latest first."""

    @property
    def urgent_at(self) -> float:
        """Return when its promise is in danger: who comes first here goes first."""
        return self.due_at + (1 - AIM) * self.promise.period_s

    @property
    def early_at(self) -> float:
        """Return from when on it may go along with another one."""
        return self.due_at - min(TOGETHER * self.promise.period_s, TOGETHER_MOST_S)


def first_turn(promise: Promise, now: float) -> Turn:
    """Return a turn that is due at once."""
    return Turn(promise, now, spreading=STEPS_OF_SPREAD)


def begin(turn: Turn, now: float) -> Turn:
    """Return the turn with its run going on."""
    return replace(turn, started_at=now)


def next_turn(turn: Turn, now: float) -> Turn:
    """Return the turn that follows one whose run has ended now."""
    assert turn.started_at is not None
    took_s = (now - turn.started_at, *turn.took_s)[:RUNS_OF_LAG]
    interval = interval_s(turn.promise, took_s)
    if turn.spreading:
        part = (1 + turn.promise.share) / STEPS_OF_SPREAD
        due_at = turn.started_at + part * interval
        return Turn(turn.promise, due_at, None, turn.spreading - 1, took_s)
    on_time = turn.started_at - turn.due_at < interval
    base = turn.due_at if on_time else turn.started_at
    return Turn(turn.promise, base + interval, None, 0, took_s)


def interval_s(promise: Promise, took_s: tuple[float, ...]) -> float:
    """Return the seconds from one start to the next."""
    lag_s = max(took_s, default=0.0) if promise.max_lag_s is None else promise.max_lag_s
    return max(AIM * promise.period_s - lag_s, INTERVAL_LEAST * promise.period_s)


class Lag(NamedTuple):
    """How late runs began of late. Those at the start, and after a pause, don't count."""

    seconds: float = 0.0
    """By how much the latest of them did."""
    endangered: str | None = None
    """A service that was so late that its promise was in danger."""


_Entry = tuple[float, int, str, Turn]


class Agenda:
    """The turns of all services. What it is asked costs next to nothing, however many there are.

    An entry of the two heaps counts as long as its turn is still the service's present one.
    """

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}
        self._later: list[_Entry] = []
        """What is to come, by `due_at`."""
        self._waiting: list[_Entry] = []
        """What only lacks a place, by `urgent_at`."""
        self._count = itertools.count()
        self._looked_at: float | None = None
        self._lag = Lag()

    def put(self, name: str, promise: Promise, now: float) -> None:
        """Add a service; it is due at once."""
        self._add(name, first_turn(promise, now))

    def drop(self, name: str) -> None:
        """Forget a service; one that runs will not be due again."""
        self._turns.pop(name, None)

    def take(self, now: float, places: int) -> list[str]:
        """Begin what is to be started now, at most so many, and return it, the most urgent first.

        A service whose run goes on is never among them.
        """
        self._notice_a_pause(now)
        if places <= 0:
            return []
        self._move_due(now)
        taken: list[str] = []
        while len(taken) < places and (entry := self._first(self._waiting)):
            heapq.heappop(self._waiting)
            _, _, name, turn = entry
            self._lag = _later(self._lag, name, turn, now)
            self._turns[name] = begin(turn, now)
            taken.append(name)
        return taken

    def ended(self, name: str, now: float) -> None:
        """Plan the next run of a service whose run has ended now."""
        turn = self._turns.get(name)
        if turn is not None and turn.started_at is not None:
            self._add(name, next_turn(turn, now))

    def next_at(self) -> float | None:
        """Return when something is due; None when there is nothing that does not run."""
        firsts = (self._first(self._later), self._first(self._waiting))
        return min((entry[3].due_at for entry in firsts if entry), default=None)

    def lag(self, now: float) -> Lag:
        """Return how late runs began since `forget_lag`; the one that is most urgent counts too."""
        lag = self._lag
        for entry in (self._first(self._waiting), self._first(self._later)):
            if entry is not None:
                lag = _later(lag, entry[2], entry[3], now)
        return lag

    def forget_lag(self) -> None:
        """Begin anew with the lag."""
        self._lag = Lag()

    def _add(self, name: str, turn: Turn) -> None:
        self._turns[name] = turn
        heapq.heappush(self._later, (turn.due_at, next(self._count), name, turn))

    def _first(self, heap: list[_Entry]) -> _Entry | None:
        """Return a heap's first entry that still counts."""
        while heap:
            _, _, name, turn = heap[0]
            if self._turns.get(name) is turn:
                return heap[0]
            heapq.heappop(heap)
        return None

    def _move_due(self, now: float) -> None:
        """Let what is due wait for a place, and along with it what is due in a moment."""
        first = self._first(self._later)
        if first is None or first[0] > now:
            return
        not_yet = []
        while (entry := self._first(self._later)) and entry[0] <= now + TOGETHER_MOST_S:
            heapq.heappop(self._later)
            _, number, name, turn = entry
            if turn.early_at <= now:
                heapq.heappush(self._waiting, (turn.urgent_at, number, name, turn))
            else:
                not_yet.append(entry)
        for entry in not_yet:
            heapq.heappush(self._later, entry)

    def _notice_a_pause(self, now: float) -> None:
        looked_at, self._looked_at = self._looked_at, now
        if looked_at is None or now - looked_at <= PAUSE_S:
            return
        for name, turn in self._turns.items():
            if turn.started_at is None and turn.due_at <= now:
                self._add(name, replace(first_turn(turn.promise, now), took_s=turn.took_s))


def _later(lag: Lag, name: str, turn: Turn, now: float) -> Lag:
    """Return the greater lag, of the one so far and of a turn that has not begun before now."""
    if turn.spreading == STEPS_OF_SPREAD:
        return lag
    endangered = name if now > turn.urgent_at else lag.endangered
    return Lag(max(lag.seconds, now - turn.due_at), endangered)
