from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overc.daemon.calendars import NEVER_AT, Calendar, parse_timezone
from overc.daemon.rollups import (
    DAY_S,
    GAP_KEPT_S,
    GAPS_MAX,
    HOLD_MAX_S,
    HOUR_S,
    STATES,
    Durations,
    Folded,
    Hold,
    Point,
    StateRow,
    Timeline,
    ValueKey,
    Values,
    day_of,
    fold,
    parse_timeline,
    show_timeline,
    total,
)

NOON = 1_772_366_400  # 2026-03-01 12:00:00
MINUTE_MS = 60_000
Seen = tuple[float, str]
"""Seconds after noon, and a state."""


def history(*seen: Seen, service_id: int = 1, first_id: int = 1) -> list[StateRow]:
    return [
        StateRow(id_, service_id, NOON + after_s, state, "")
        for id_, (after_s, state) in enumerate(seen, first_id)
    ]


def folded(
    states: Sequence[StateRow],
    period_s: int | None = 300,
    timelines: Mapping[int, Timeline] = {},
) -> Folded:
    return fold(states, {1: Hold(period_s), 2: Hold(period_s)}, timelines, 0, 10**9)


def durations(*seen: Seen, period_s: int | None = 300) -> dict[tuple[int, int], Durations]:
    """Return what is not zero, by the hour after noon."""
    found = folded(history(*seen), period_s).durations
    return {((at - NOON) // HOUR_S, id_): one for (at, id_), one in found.items() if any(one)}


def minutes(ok: float = 0, warn: float = 0, fail: float = 0, unk: float = 0) -> Durations:
    return Durations(*(round(one * MINUTE_MS) for one in (ok, warn, fail, unk)))


@pytest.mark.parametrize(
    "seen, expected",
    [
        ([], {}),
        # The newest state has no duration yet.
        ([(0, "OK")], {}),
        ([(0, "OK"), (240, "WARN")], {0: minutes(ok=4)}),
        ([(0, "OK"), (60, "WARN"), (120, "FAIL"), (180, "UNK"), (240, "OK")],
         {0: minutes(1, 1, 1, 1)}),
        # A period and no longer.
        ([(0, "OK"), (300, "OK")], {0: minutes(ok=5)}),
        ([(0, "OK"), (600, "OK")], {0: minutes(ok=5)}),
        # Over the full hour.
        ([(3480, "FAIL"), (3720, "OK")], {0: minutes(fail=2), 1: minutes(fail=2)}),
        ([(3480, "FAIL"), (9000, "OK")], {0: minutes(fail=2), 1: minutes(fail=3)}),
        # Twice in one report: the last one is current.
        ([(0, "OK"), (0, "FAIL"), (60, "OK")], {0: minutes(fail=1)}),
        # A backlog after the present state, then the present goes on.
        ([(0, "OK"), (1200, "FAIL"), (240, "WARN"), (480, "WARN"), (720, "OK"), (960, "OK"),
          (1440, "OK")],
         {0: minutes(ok=4 + 4 + 4, warn=8, fail=4)}),
        # The same backlog, ending before the gap does.
        ([(0, "OK"), (1200, "FAIL"), (240, "WARN"), (1440, "OK")],
         {0: minutes(ok=4, warn=5, fail=4)}),
        # A backlog from before everything.
        ([(1200, "OK"), (0, "FAIL"), (240, "FAIL"), (1440, "OK")], {0: minutes(ok=4, fail=9)}),
        # What was late lies in another hour than what came with it.
        ([(-60, "OK"), (7200, "FAIL"), (3600, "WARN"), (7260, "OK")],
         {-1: minutes(ok=1), 0: minutes(ok=4), 1: minutes(warn=5), 2: minutes(fail=1)}),
        # All time there is known: no gap.
        ([(0, "OK"), (240, "OK"), (480, "OK"), (120, "FAIL")], {0: minutes(ok=8)}),
        # The server's clock was ahead, once.
        ([(0, "OK"), (240, "OK"), (999_999, "OK"), (480, "WARN"), (720, "OK"), (960, "OK")],
         {0: minutes(ok=8 + 4 + 5, warn=4)}),
    ],
)  # fmt: skip
def test_seconds_in_each_state(seen: list[Seen], expected: dict[int, Durations]) -> None:
    assert durations(*seen) == {(hour, 1): one for hour, one in expected.items()}


def test_a_service_without_a_period_has_no_durations() -> None:
    assert durations((0, "OK"), (60, "FAIL"), (120, "OK"), period_s=None) == {}


def test_no_state_holds_for_ever() -> None:
    found = durations((0, "OK"), (2 * HOLD_MAX_S, "OK"), period_s=4 * HOLD_MAX_S)
    assert sum(one.ok_ms for one in found.values()) == HOLD_MAX_S * 1000


WEEKLY = Calendar.parse("0 2 * * 0", parse_timezone("Europe/Berlin"))
QUARTERLY = Calendar.parse("0 12 2 */3 *", parse_timezone("UTC"))
ONCE = Calendar.parse("2026-03-01 13:00", parse_timezone("Europe/Berlin"))
SUNDAY = 1_772_326_800
"""2026-03-01 02:00 in Berlin, in winter."""


@pytest.mark.parametrize(
    "hold, seen_at, ends_at, counts_until",
    [
        pytest.param(Hold(60), 100.5, 160.5, 160.5, id="a period"),
        pytest.param(Hold(60, 20.5), 100, 180.5, 160, id="a period and its grace"),
        pytest.param(Hold(None, 20), 100, 100, 100, id="nothing promised"),
        pytest.param(Hold(None, 20, WEEKLY), 100, 100, 100, id="nothing promised yet"),
        pytest.param(Hold(60, 0, WEEKLY), SUNDAY, SUNDAY + 7 * DAY_S, None, id="a calendar"),
        pytest.param(
            Hold(60, 900, WEEKLY), SUNDAY + 600, SUNDAY + 7 * DAY_S + 900, None,
            id="a calendar and its grace",
        ),
        pytest.param(Hold(DAY_S, 900, WEEKLY), SUNDAY - 1, SUNDAY + 900, None, id="too early"),
        pytest.param(
            Hold(60, 0, WEEKLY), SUNDAY + 28 * DAY_S, SUNDAY + 35 * DAY_S - HOUR_S, None,
            id="the clocks go forward on the day",
        ),
        pytest.param(
            Hold(60, DAY_S, QUARTERLY), NOON + 123 * DAY_S, NOON + 216 * DAY_S, None,
            id="a quarter of 92 days and its grace",
        ),
        pytest.param(
            Hold(60, 5, ONCE), NOON, NEVER_AT + 5, NOON + HOLD_MAX_S, id="never expected again"
        ),
    ],
)  # fmt: skip
def test_how_long_a_state_holds(
    hold: Hold, seen_at: float, ends_at: float, counts_until: float | None
) -> None:
    assert hold.ends_at(seen_at) == ends_at
    assert hold.counts_until(seen_at) == (ends_at if counts_until is None else counts_until)


def test_a_calendar_s_state_counts_until_the_next_time_and_its_grace() -> None:
    states = [
        StateRow(1, 1, SUNDAY + 60, "OK", ""),
        StateRow(2, 1, SUNDAY + 7 * DAY_S + 1800, "FAIL", ""),
        StateRow(3, 1, SUNDAY + 21 * DAY_S, "OK", ""),
    ]
    found = fold(states, {1: Hold(60, 900, WEEKLY)}, {}, 0, 10**9).durations.values()
    assert sum(one.ok_ms for one in found) == (7 * DAY_S + 900 - 60) * 1000
    assert sum(one.fail_ms for one in found) == (7 * DAY_S + 900 - 1800) * 1000


def test_services_are_told_apart() -> None:
    states = [
        StateRow(1, 1, NOON, "OK", ""),
        StateRow(2, 2, NOON, "FAIL", ""),
        StateRow(3, 3, NOON, "WARN", ""),  # deleted
        StateRow(4, 2, NOON + 60, "FAIL", ""),
        StateRow(5, 1, NOON + 120, "OK", ""),
        StateRow(6, 3, NOON + 120, "OK", ""),
    ]
    found = folded(states)
    assert found.durations == {(NOON, 1): minutes(ok=2), (NOON, 2): minutes(fail=1)}
    assert set(found.timelines) == {1, 2}
    assert found.up_to_id == 6


def test_what_is_measured() -> None:
    states = [
        StateRow(1, 1, NOON + 10, "OK", "| a=1s b=5"),
        StateRow(2, 1, NOON + 20, "OK", "| a=3s a=2ms"),
        StateRow(3, 1, NOON + 3600, "OK", "| a=-4s"),
        StateRow(4, 1, NOON + 30, "OK", "late | a=2s"),
        StateRow(5, 2, NOON + 40, "OK", "| a=7s"),
        StateRow(6, 2, NOON + 50, "OK", "no perfdata"),
        StateRow(7, 3, NOON + 50, "OK", "| of=1 a deleted=2 service=3"),
    ]
    assert folded(states).values == {
        ValueKey(NOON, 1, "a", "s"): Values(3, 6, 1, 3),
        ValueKey(NOON, 1, "a", "ms"): Values(1, 2, 2, 2),
        ValueKey(NOON, 1, "b", ""): Values(1, 5, 5, 5),
        ValueKey(NOON + 3600, 1, "a", "s"): Values(1, -4, -4, -4),
        ValueKey(NOON, 2, "a", "s"): Values(1, 7, 7, 7),
    }


def test_it_stops_when_there_is_much_to_write() -> None:
    states = [StateRow(id_, 1, NOON, "OK", "| a=1 b=1") for id_ in range(1, 4)]
    states += [StateRow(4, 1, NOON + HOUR_S, "OK", "| a=1 b=1"), StateRow(5, 1, NOON, "OK", "")]
    assert fold(states, {1: Hold(60)}, {}, 0, 4).up_to_id == 4
    assert fold(states, {1: Hold(60)}, {}, 0, 1).up_to_id == 1
    assert fold([], {}, {}, 17, 4).up_to_id == 17


def test_days_are_sums_of_hours() -> None:
    assert day_of(NOON) == NOON - 12 * HOUR_S
    assert day_of(day_of(NOON)) == day_of(NOON)
    hours = [("a", Durations(1, 2, 3, 4)), ("b", Durations(5)), ("a", Durations(10, 20, 30, 40))]
    assert total(hours) == {"a": Durations(11, 22, 33, 44), "b": Durations(5)}
    values = [("a", Values(2, 10, 4, 6)), ("a", Values(1, -1, -1, -1)), ("a", Values(1, 9, 9, 9))]
    assert total(values) == {"a": Values(4, 18, -1, 9)}


def test_a_timeline_stays_short() -> None:
    every_10_min = [(600.0 * number, "OK") for number in range(GAPS_MAX + 20)]
    [timeline] = folded(history(*every_10_min)).timelines.values()
    assert len(timeline) == GAPS_MAX + 1
    assert timeline[-1].seen_ms == round((NOON + every_10_min[-1][0]) * 1000)
    [steady] = folded(history(*((60.0 * number, "OK") for number in range(99)))).timelines.values()
    assert len(steady) == 2  # the time before it, and the newest


def test_an_old_gap_is_forgotten() -> None:
    long_ago = history((0, "OK"), (3600, "OK"), (3600 + GAP_KEPT_S - 1, "OK"))
    [timeline] = folded(long_ago).timelines.values()
    assert [point.seen_ms for point in timeline] == [round(row.seen_at * 1000) for row in long_ago]
    [timeline] = folded([*long_ago, *history((3600 + GAP_KEPT_S, "OK"))]).timelines.values()
    assert [point.seen_ms for point in timeline] == [
        round((NOON + after_s) * 1000) for after_s in (3600, 3600 + GAP_KEPT_S)
    ]


times = st.integers(0, 4 * DAY_S * 10).map(lambda tenth: tenth / 10)
states_seen = st.lists(st.tuples(times, st.sampled_from(STATES)), max_size=40)


def known_time(seen: list[Seen], period_s: int) -> dict[tuple[int, int], Durations]:
    """Return the same in another way: of all states in the order in which they were seen."""
    parts = []
    ordered = sorted(seen)
    for (after_s, state), (next_s, _) in itertools.pairwise(ordered):
        at_ms = round(after_s * 1000)
        end_ms = min(round(next_s * 1000), at_ms + period_s * 1000)
        while at_ms < end_ms:
            hour = at_ms // (HOUR_S * 1000)
            stop_ms = min(end_ms, (hour + 1) * HOUR_S * 1000)
            spent = Durations(*((stop_ms - at_ms) * (state == one) for one in STATES))
            parts.append(((hour, 1), spent))
            at_ms = stop_ms
    return total(parts)


@given(
    st.lists(st.tuples(st.integers(0, 500), st.sampled_from(STATES)), max_size=GAPS_MAX, unique_by=(
        lambda one: one[0]
    )),
    st.integers(1, 1700),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_a_backlog_may_come_in_any_order(
    places: list[tuple[int, str]], jitter_s: int, random: object
) -> None:
    # More than half a period apart: 900 s and up, of 1799 s.
    seen: list[Seen] = [(900.0 * place + (jitter_s * place) % 1, one) for place, one in places]
    expected = known_time(seen, 1799)
    random.shuffle(seen)  # type: ignore[attr-defined]
    assert durations(*seen, period_s=1799) == expected


@given(states_seen, st.integers(1, 100_000))
def test_in_the_order_of_time_the_sums_are_exact(seen: list[Seen], period_s: int) -> None:
    ordered = sorted(seen)
    assert durations(*ordered, period_s=period_s) == known_time(ordered, period_s)


@given(states_seen, st.integers(1, 100_000), st.integers(0, 40))
def test_no_time_counts_twice_and_batches_do_not_matter(
    seen: list[Seen], period_s: int, cut: int
) -> None:
    states = history(*seen)
    whole = folded(states, period_s)
    first = folded(states[:cut], period_s)
    kept = {id_: parse_timeline(show_timeline(one)) for id_, one in first.timelines.items()}
    second = folded(states[cut:], period_s, kept)
    assert total([*first.durations.items(), *second.durations.items()]) == whole.durations
    assert {**first.timelines, **second.timelines} == whole.timelines
    for one in whole.durations.values():
        assert min(one) >= 0
        assert sum(one) <= HOUR_S * 1000


def test_timelines_are_kept_as_text() -> None:
    timeline = (Point("", 0, 0, 5), Point("OK", 5, 7, None))
    assert show_timeline(timeline) == " 0 0 5,OK 5 7 "
    assert parse_timeline(show_timeline(timeline)) == timeline
    assert parse_timeline("") == ()
    with pytest.raises(ValueError):
        parse_timeline("OK 5")
