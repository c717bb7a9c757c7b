"""A service's states over a range of time, as ticks of equal length. Pure.

Where the history lies in full, a state holds from when it was seen until the next one was, at the
latest until the next report was overdue: period and grace after it, or the next time of a calendar
and its grace. What comes after that is known to nobody and is called "no report". Older time comes
from roll-ups, which know the seconds in each state, but not their order: see Note [Known time] in
overc/daemon/rollups.py.

Availability is the share of OK and WARN in the time that is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from overc.daemon import rollups
from overc.daemon.rollups import DAY_S, HOUR_S, STATES, Durations, Hold, StateRow
from overc.web.words import span_words

TICKS_MAX = 96

_TICKS_S = (
    60, 120, 300, 600, 900, 1800, HOUR_S, 2 * HOUR_S, 3 * HOUR_S, 4 * HOUR_S, 6 * HOUR_S,
    8 * HOUR_S, 12 * HOUR_S,
)  # fmt: skip
_FEW = 12
_GAP_SHARE = 0.1
"""A tick that is fine as far as is known shows a gap if so much of it is not known."""

NONE = "none"
"""Nothing is known: it is before the first state."""

GAP = "gap"
"""No report came in time."""

_LETTERS = {"OK": "O", "WARN": "W", "FAIL": "F", "UNK": "U", GAP: "-", NONE: "."}


class Grid(NamedTuple):
    """A range of time in equal parts, the last of which may not be over."""

    starts_at: int
    tick_s: int
    n_ticks: int
    now_at: float

    @property
    def ends_at(self) -> int:
        return self.starts_at + self.n_ticks * self.tick_s

    @property
    def needs_states(self) -> bool:
        """The parts are shorter than the roll-ups."""
        return self.tick_s < HOUR_S

    @property
    def of_days(self) -> bool:
        return self.tick_s % DAY_S == 0

    def hours(self) -> range:
        """Return when the hours start that have begun."""
        start_at = self.starts_at // HOUR_S * HOUR_S
        return range(start_at, math.ceil(min(self.now_at, self.ends_at)), HOUR_S)


def grid(hours: float, now_at: float, tick_min_s: int = 0) -> Grid:
    """Return the parts of the last hours. Their ends stay where they are as time goes on."""
    span_s = hours * HOUR_S
    days = math.ceil(span_s / TICKS_MAX / DAY_S)
    fitting = (one for one in _TICKS_S if one >= tick_min_s and one * TICKS_MAX >= span_s)
    tick_s = next(fitting, days * DAY_S)
    n_ticks = math.ceil(span_s / tick_s)
    if n_ticks < _FEW:
        # Else the part that has just begun would be much of what is asked for.
        n_ticks += 1
    ends_at = (math.floor(now_at / tick_s) + 1) * tick_s
    return Grid(ends_at - n_ticks * tick_s, tick_s, n_ticks, now_at)


class Tick(NamedTuple):
    starts_at: int
    ends_at: int
    state: str
    """The worst one in it, GAP or NONE."""
    known: Durations
    gap_ms: int

    @property
    def words(self) -> str:
        if self.state == NONE:
            return "nothing known"
        parts = [(name, ms) for name, ms in zip(STATES, self.known, strict=True) if ms]
        parts.sort(key=lambda part: _RANKS[part[0]])
        if self.gap_ms >= 1000:
            parts.append(("no report", self.gap_ms))
        if len(parts) == 1:
            return parts[0][0]
        return ", ".join(f"{name} {span_words(ms / 1000)}" for name, ms in parts)


_RANKS = {"FAIL": 0, "WARN": 1, "UNK": 2, "OK": 3}


class Strip(NamedTuple):
    """The ticks of a range, and what they sum up to."""

    grid: Grid
    ticks: tuple[Tick, ...]

    @property
    def known(self) -> Durations:
        total = Durations()
        for tick in self.ticks:
            total = total.plus(tick.known)
        return total

    @property
    def known_ms(self) -> int:
        return sum(self.known)

    @property
    def gap_ms(self) -> int:
        return sum(tick.gap_ms for tick in self.ticks)

    @property
    def availability(self) -> float | None:
        """Percent; None where nothing is known."""
        known = self.known
        return 100 * (known.ok_ms + known.warn_ms) / sum(known) if any(known) else None

    @property
    def letters(self) -> str:
        return "".join(_LETTERS[tick.state] for tick in self.ticks)


def percent_words(percent: float) -> str:
    """Return a share, never rounded up to 100: `99.98 %`."""
    digits = 3 if percent > 99.9 else 2
    text = f"{math.floor(percent * 10**digits) / 10**digits:.{digits}f}".rstrip("0").rstrip(".")
    return f"{text} %"


def summary(strip: Strip) -> str:
    """Return the strip in a sentence or two."""
    if strip.availability is None:
        return "Nothing is known of this time."
    parts = [
        (name, ms) for name, ms in zip(STATES, strip.known, strict=True) if ms and name != "OK"
    ]
    parts.sort(key=lambda part: _RANKS[part[0]])
    if strip.gap_ms >= 1000:
        parts.append(("no report", strip.gap_ms))
    told = ", ".join(f"{name} for {span_words(ms / 1000)}" for name, ms in parts)
    return f"{percent_words(strip.availability)} available. {f'{told}.' if told else 'Always OK.'}"


def from_states(
    grid: Grid, states: Iterable[tuple[float, str]], hold: Hold, *, late: bool
) -> Strip:
    """Lay states, each with the time when it was seen, in any order, on a grid.

    `late`: no report came after the last one in time. Else it holds until now, since the watchdog
    says so.
    """
    if hold.period_s is None:
        return _strip(grid, {}, None)
    now_ms = round(grid.now_at * 1000)
    # Of states seen at one moment the one that came last counts.
    seen = sorted({min(round(at * 1000), now_ms): state for at, state in states}.items())
    size_ms = grid.tick_s * 1000
    known: dict[int, Durations] = {}
    for place, (seen_ms, state) in enumerate(seen):
        is_last = place == len(seen) - 1
        next_ms = now_ms if is_last else seen[place + 1][0]
        ends_ms = next_ms
        if late or not is_last:
            ends_ms = min(next_ms, round(hold.ends_at(seen_ms / 1000) * 1000))
        for start_ms, end_ms in _parts(seen_ms, ends_ms, size_ms):
            _add(known, start_ms // size_ms * grid.tick_s, state, end_ms - start_ms)
    return _strip(grid, known, seen[0][0] if seen else None)


def from_sums(grid: Grid, sums: Mapping[int, Durations]) -> Strip:
    """Lay roll-ups, by when they start, on a grid whose ticks are no shorter than they are."""
    known: dict[int, Durations] = {}
    for starts_at, one in sums.items():
        at = starts_at // grid.tick_s * grid.tick_s
        known[at] = known.get(at, Durations()).plus(one)
    # What is taken back may be more than what is there, where that was pruned.
    known = {at: Durations(*(max(0, ms) for ms in one)) for at, one in known.items()}
    first_at = min((at for at, one in known.items() if any(one)), default=None)
    if first_at is None:
        return _strip(grid, known, None)
    first_ms = first_at * 1000
    if grid.starts_at < first_at:
        # The time before the first report is no gap.
        ends_ms = min((first_at + grid.tick_s) * 1000, round(grid.now_at * 1000))
        first_ms = max(first_ms, ends_ms - sum(known[first_at]))
    return _strip(grid, known, first_ms)


def recent_sums(
    service_id: int,
    timeline: rollups.Timeline,
    states: Sequence[StateRow],
    hold: Hold,
    now_at: float,
    *,
    late: bool,
) -> dict[int, Durations]:
    """Return by hour what is in no roll-up yet; less than nothing where that takes time back.

    `timeline` is what the roll-ups were folded up to, `states` are those that came since.
    """
    folded = rollups.fold(
        states, {service_id: hold}, {service_id: timeline}, 0, len(states) * HOUR_S
    )
    sums = {at: one for (at, _), one in folded.durations.items()}
    points = folded.timelines.get(service_id, timeline)
    if points and points[-1].state and hold.period_s is not None:
        newest, now_ms = points[-1], round(now_at * 1000)
        ends_ms = min(newest.expires_ms, now_ms)
        if not late:
            ends_ms = min(newest.seen_ms + rollups.HOLD_MAX_S * 1000, now_ms)
        for start_ms, end_ms in _parts(newest.seen_ms, ends_ms, HOUR_S * 1000):
            _add(sums, start_ms // (HOUR_S * 1000) * HOUR_S, newest.state, end_ms - start_ms)
    return sums


def _parts(start_ms: int, end_ms: int, size_ms: int) -> Iterator[tuple[int, int]]:
    while start_ms < end_ms:
        stop_ms = min(end_ms, (start_ms // size_ms + 1) * size_ms)
        yield start_ms, stop_ms
        start_ms = stop_ms


def _add(sums: dict[int, Durations], at: int, state: str, ms: int) -> None:
    part = Durations(*(ms if state == one else 0 for one in STATES))
    sums[at] = sums.get(at, Durations()).plus(part)


def _strip(grid: Grid, known: Mapping[int, Durations], first_ms: int | None) -> Strip:
    """`first_ms`: since when there is anything to know; None: never."""
    now_ms = round(grid.now_at * 1000)
    ticks = []
    for place in range(grid.n_ticks):
        starts_at = grid.starts_at + place * grid.tick_s
        ends_at = starts_at + grid.tick_s
        one = known.get(starts_at, Durations())
        passed_ms = 0
        if first_ms is not None:
            passed_ms = min(ends_at * 1000, now_ms) - max(starts_at * 1000, first_ms)
        gap_ms = max(0, passed_ms - sum(one))
        ticks.append(Tick(starts_at, ends_at, _worst(one, gap_ms), one, gap_ms))
    return Strip(grid, tuple(ticks))


def _worst(known: Durations, gap_ms: int) -> str:
    found = [state for state, ms in zip(STATES, known, strict=True) if ms]
    if not found:
        return GAP if gap_ms else NONE
    worst = min(found, key=_RANKS.__getitem__)
    is_gap = worst == "OK" and gap_ms > _GAP_SHARE * (gap_ms + sum(known))
    return GAP if is_gap else worst
