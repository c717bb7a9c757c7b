from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

import pytest

from overc.daemon.calendars import Calendar, parse_timezone
from overc.daemon.rollups import (
    DAY_S,
    HOUR_S,
    Durations,
    Hold,
    StateRow,
    Timeline,
    parse_timeline,
)
from overc.web import timeline, timeline_json
from overc.web.timeline import Grid, Strip, Tick

NOW_AT = 1_772_359_200.0  # 2026-03-01 10:00:00
MIN_S = 60
# Six ticks of ten minutes: from 09:10 to 10:10, of which the last one has just begun.
GRID = timeline.grid(1, NOW_AT)._replace(starts_at=round(NOW_AT) - 3000, tick_s=600, n_ticks=6)

States = Sequence[tuple[float, str]]


def at(minutes: float) -> float:
    """Return a time by how many minutes it is after the start of GRID."""
    return GRID.starts_at + minutes * MIN_S


@pytest.mark.parametrize(
    "hours, tick_s, n_ticks",
    [
        (1, 60, 60),
        (0.01, 60, 2),
        (0.2, 60, 12),
        (24, 900, 96),
        (25, 1800, 50),
        (168, 2 * HOUR_S, 84),
        (720, 8 * HOUR_S, 90),
        (2160, DAY_S, 90),
        (24 * 366, 4 * DAY_S, 92),
        (24 * 366 * 10, 39 * DAY_S, 94),
    ],
)
def test_a_range_has_at_most_96_ticks(hours: float, tick_s: int, n_ticks: int) -> None:
    grid = timeline.grid(hours, NOW_AT + 17.5)
    assert (grid.tick_s, grid.n_ticks) == (tick_s, n_ticks)
    assert grid.n_ticks <= timeline.TICKS_MAX
    assert grid.starts_at % tick_s == 0
    assert grid.ends_at - tick_s <= grid.now_at < grid.ends_at
    # Nobody sees the ticks move while one of them goes on.
    assert timeline.grid(hours, grid.ends_at - 0.001).starts_at == grid.starts_at


def test_a_grid_for_roll_ups_has_no_parts_of_hours() -> None:
    assert timeline.grid(24, NOW_AT, HOUR_S)[1:3] == (HOUR_S, 24)
    assert timeline.grid(0.5, NOW_AT, HOUR_S)[1:3] == (HOUR_S, 2)
    # The last hour has not begun.
    assert len(timeline.grid(168, NOW_AT + 1).hours()) == 84 * 2 - 1


@pytest.mark.parametrize(
    "states, hold_s, late, letters, known_s",
    [
        pytest.param([], 600, False, "......", 0, id="empty"),
        pytest.param([(at(0), "OK")], 3600, False, "OOOOO.", 3000, id="one state"),
        pytest.param([(at(-600), "WARN")], 60, False, "WWWWW.", 3000, id="longer than the range"),
        pytest.param([(at(-600), "WARN")], 60, True, "-----.", 0, id="late since long"),
        pytest.param([(at(0), "OK")], 1170, True, "OO---.", 1170, id="late"),
        pytest.param([(at(0), "OK")], 605, True, "O----.", 605, id="late by most of a tick"),
        pytest.param([(at(20), "OK")], 3600, False, "..OOO.", 1800, id="begins within"),
        pytest.param(
            [(at(0), "OK"), (at(40), "OK")], 600, False, "O---O.", 1200, id="gap in between"
        ),
        pytest.param(
            [(at(0), "OK"), (at(10.5), "OK"), (at(20), "OK")], 600, False, "OOOOO.", 2970,
            id="small gaps are none",
        ),
        pytest.param(
            [(at(0), "OK"), (at(15), "FAIL"), (at(16), "OK")], 3600, False, "OFOOO.", 3000,
            id="the worst of a tick",
        ),
        pytest.param(
            [(at(0), "OK"), (at(11), "UNK"), (at(12), "WARN"), (at(13), "OK")], 3600, False,
            "OWOOO.", 3000, id="WARN before UNK",
        ),
        pytest.param(
            [(at(0), "FAIL"), (at(1), "OK"), (at(2), "OK")], 60, True, "F----.", 180,
            id="FAIL before a gap",
        ),
        pytest.param(
            [(at(40), "OK"), (at(0), "FAIL"), (at(10), "OK")], 1800, False, "FOOOO.", 3000,
            id="any order",
        ),
        pytest.param(
            [(at(0), "FAIL"), (at(0), "OK")], 3600, False, "OOOOO.", 3000,
            id="seen at one moment: the last one counts",
        ),
        pytest.param([(at(0), "OK")], None, False, "......", 0, id="no period"),
        pytest.param(
            [(at(0), "OK"), (at(120), "FAIL")], 3600, False, "OOOOO.", 3000, id="future times"
        ),
        pytest.param([(at(120), "FAIL")], 3600, True, "......", 0, id="only future times"),
        pytest.param([(at(0), "UNK")], 3600, False, "UUUUU.", 3000, id="UNK"),
    ],
)  # fmt: skip
def test_states_become_ticks(
    states: States, hold_s: int | None, late: bool, letters: str, known_s: int
) -> None:
    strip = timeline.from_states(GRID, states, Hold(hold_s), late=late)
    assert (strip.letters, strip.known_ms / 1000) == (letters, known_s)
    assert [tick.starts_at for tick in strip.ticks] == [at(10 * place) for place in range(6)]


UTC = parse_timezone("UTC")
NEXT_TIME = 20 * 60
"""Of the calendar, in seconds after the range starts."""


@pytest.mark.parametrize(
    "states, grace_s, late, letters, known_s",
    [
        pytest.param([(at(0), "OK")], 0, True, "OO---", 1200, id="until the next time"),
        pytest.param([(at(0), "OK")], 605, True, "OOO--", 1805, id="and its grace"),
        pytest.param([(at(0), "OK")], 0, False, "OOOOO", 3000, id="until now, if it is not late"),
        pytest.param([(at(0), "OK"), (at(30), "WARN")], 0, False, "OO-WW", 2400, id="a gap"),
        pytest.param([(at(0), "OK"), (at(30), "WARN")], 900, False, "OOOWW", 3000, id="no gap"),
        pytest.param([(at(0), "OK"), (at(19), "OK")], 0, True, "OO---", 1200, id="one too early"),
    ],
)
def test_states_of_a_calendar(
    states: States, grace_s: float, late: bool, letters: str, known_s: int
) -> None:
    time = datetime.fromtimestamp(GRID.starts_at + NEXT_TIME, timezone.utc)
    hold = Hold(60, grace_s, Calendar.parse(time.strftime("%M %H * * *"), UTC))
    strip = timeline.from_states(GRID, states, hold, late=late)
    # Of the last tick nothing has passed.
    assert (strip.letters[:-1], strip.known_ms / 1000) == (letters, known_s)


def test_a_tick_that_goes_on_has_what_passed_of_it() -> None:
    grid = GRID._replace(now_at=NOW_AT + 60)
    strip = timeline.from_states(grid, [(at(0), "OK")], Hold(3600), late=False)
    assert strip.letters == "OOOOOO"
    assert strip.ticks[-1].known == Durations(60_000)
    strip = timeline.from_states(grid, [(at(0), "OK")], Hold(3000), late=True)
    assert (strip.letters, strip.ticks[-1].gap_ms) == ("OOOOO-", 60_000)


@pytest.mark.parametrize(
    "states, availability, sentence",
    [
        ([], None, "Nothing is known of this time."),
        ([(at(0), "OK")], 100, "100 % available. Always OK."),
        ([(at(0), "WARN")], 100, "100 % available. WARN for 50 min."),
        ([(at(0), "FAIL")], 0, "0 % available. FAIL for 50 min."),
        (
            [(at(0), "OK"), (at(40), "UNK"), (at(45), "FAIL")], 80,
            "80 % available. FAIL for 5 min, UNK for 5 min.",
        ),
    ],
)  # fmt: skip
def test_availability_is_of_the_time_that_is_known(
    states: States, availability: float | None, sentence: str
) -> None:
    strip = timeline.from_states(GRID, states, Hold(3600), late=False)
    assert strip.availability == availability
    assert timeline.summary(strip) == sentence


def test_a_gap_is_not_counted() -> None:
    strip = timeline.from_states(GRID, [(at(0), "FAIL"), (at(40), "OK")], Hold(600), late=False)
    assert strip.availability == 50
    assert timeline.summary(strip) == "50 % available. FAIL for 10 min, no report for 30 min."


@pytest.mark.parametrize(
    "percent, words",
    [
        (100, "100 %"),
        (99.9999, "99.999 %"),
        (99.9, "99.9 %"),
        (98.999, "98.99 %"),
        (50, "50 %"),
        (0.0001, "0 %"),
        (0, "0 %"),
    ],
)
def test_a_percentage_is_never_rounded_up(percent: float, words: str) -> None:
    assert timeline.percent_words(percent) == words


@pytest.mark.parametrize(
    "known, gap_ms, words",
    [
        (Durations(), 0, "nothing known"),
        (Durations(600_000), 0, "OK"),
        (Durations(600_000), 500, "OK"),
        (Durations(420_000, 0, 180_000), 0, "FAIL 3 min, OK 7 min"),
        (Durations(300_000, 0, 0, 120_000), 180_000, "UNK 2 min, OK 5 min, no report 3 min"),
        (Durations(), 600_000, "no report"),
    ],
)
def test_a_tick_in_words(known: Durations, gap_ms: int, words: str) -> None:
    state = "none" if not any(known) and not gap_ms else "OK"
    assert Tick(0, 600, state, known, gap_ms).words == words


HOURS = Grid(round(NOW_AT) - 4 * HOUR_S, HOUR_S, 5, NOW_AT + 1800)


def hour(place: int) -> int:
    return HOURS.starts_at + place * HOUR_S


FULL = HOUR_S * 1000


@pytest.mark.parametrize(
    "sums, letters, gap_s",
    [
        ({}, ".....", 0),
        ({hour(place): Durations(FULL) for place in range(4)}, "OOOO-", 1800),
        ({hour(0): Durations(FULL), hour(4): Durations(0, FULL // 2)}, "O---W", 3 * 3600),
        # It began in the second hour: the time before is no gap.
        ({hour(1): Durations(60_000), hour(2): Durations(FULL)}, ".OO--", 5400),
        ({hour(4): Durations(60_000)}, "....O", 0),
        # At the start of the range nobody knows whether it was there before.
        ({hour(0): Durations(60_000)}, "-----", 3 * 3600 + 3540 + 1800),
        ({hour(0): Durations(FULL - 1, 0, 1)}, "F----", 3 * 3600 + 1800),
        # More is taken back than there is.
        ({hour(0): Durations(FULL), hour(1): Durations(-5)}, "O----", 3 * 3600 + 1800),
    ],
)
def test_roll_ups_become_ticks(sums: dict[int, Durations], letters: str, gap_s: float) -> None:
    strip = timeline.from_sums(HOURS, sums)
    assert (strip.letters, strip.gap_ms / 1000) == (letters, gap_s)


def test_hours_are_summed_up_to_days() -> None:
    start = round(NOW_AT) // DAY_S * DAY_S
    grid = Grid(start, DAY_S, 1, start + DAY_S)
    # A bucket of the day's beginning, and what is taken back from a later hour of it.
    sums = {start: Durations(DAY_S * 500, 0, DAY_S * 250), start + HOUR_S: Durations(0, 0, -1000)}
    strip = timeline.from_sums(grid, sums)
    assert strip.known == Durations(DAY_S * 500, 0, DAY_S * 250 - 1000)


def recent(
    states: Sequence[tuple[float, str]], points: str = "", *, late: bool = False, period: int = 600
) -> Strip:
    line: Timeline = parse_timeline(points)
    rows = [StateRow(id_, 7, seen_at, state, "") for id_, (seen_at, state) in enumerate(states, 1)]
    sums = timeline.recent_sums(7, line, rows, Hold(period), HOURS.now_at, late=late)
    return timeline.from_sums(HOURS, sums)


def test_what_is_in_no_roll_up_yet_counts() -> None:
    every = [(hour(0) + 600.0 * place, "OK") for place in range(27)]
    assert recent(every).letters == "OOOOO"
    assert recent(every[:12], late=True).letters == "OO---"
    assert recent([*every[:-1], (every[-1][0], "FAIL")]).letters == "OOOOF"
    assert recent([]).letters == "....."


def test_the_newest_state_holds_until_now_or_until_it_was_late() -> None:
    seen_ms = hour(1) * 1000
    points = f"OK {seen_ms} {seen_ms + 600_000} "
    assert recent([], points).known_ms == (2 * HOUR_S + 1800 + HOUR_S) * 1000
    strip = recent([], points, late=True)
    assert (strip.known_ms, strip.letters) == (600_000, ".O---")


def test_a_late_arrival_takes_time_back() -> None:
    """The roll-ups gave this time to the state before it."""
    seen_ms, next_ms = hour(0) * 1000, hour(2) * 1000
    points = f"OK {seen_ms} {seen_ms + 3_600_000} {next_ms},OK {next_ms} {next_ms + 3_600_000} "
    rows = [StateRow(1, 7, hour(0) + 1800.0, "FAIL", "")]
    line = parse_timeline(points)
    sums = timeline.recent_sums(7, line, rows, Hold(3600), HOURS.now_at, late=False)
    assert sums[hour(0)] == Durations(-1_800_000, 0, 1_800_000)


def test_a_strip_as_json() -> None:
    strip = timeline.from_states(GRID, [(at(0), "FAIL"), (at(10), "OK")], Hold(3600), late=False)
    found = timeline_json.service(strip)
    assert found["availability"] == 80
    assert (found["known_s"], found["tick_s"], found["starts_at"]) == (3000, 600, GRID.starts_at)
    assert found["ticks"][0] == {
        "at": GRID.starts_at, "until": GRID.starts_at + 600, "state": "FAIL", "words": "FAIL",
    }  # fmt: skip
    assert timeline_json.server(GRID, {3: strip})["services"] == [
        {"id": 3, "availability": 80.0, "known_s": 3000, "ticks": "FOOOO."}
    ]
