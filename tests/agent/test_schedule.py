from __future__ import annotations

import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overc.agent.schedule import (
    LOOK_MOST_S,
    PAUSE_S,
    Agenda,
    Lag,
    Promise,
    Turn,
    begin,
    first_turn,
    interval_s,
    next_turn,
    share_of,
)


@pytest.mark.parametrize(
    "period_s, max_lag_s, took_s, expected",
    [
        (10, None, (), 8.0),
        (10, None, (0.5,), 7.5),
        (10, None, (0.5, 2.0, 1.0), 6.0),  # the longest of the last ones
        (10, 3.0, (0.5,), 5.0),
        (10, 0.0, (2.0,), 8.0),
        (10, 9.0, (0.1,), 0.5),
        (10, None, (9.0,), 0.5),
        (100, 1000.0, (), 5.0),
    ],
)
def test_interval(
    period_s: int, max_lag_s: float | None, took_s: tuple[float, ...], expected: float
) -> None:
    assert interval_s(Promise(period_s, max_lag_s), took_s) == pytest.approx(expected)


@pytest.mark.parametrize(
    "due_at, started_at, ended_at, next_at",
    [
        (100.0, 100.0, 100.0, 108.0),
        (100.0, 100.0, 101.0, 107.0),
        (100.0, 100.5, 100.5, 108.0),  # a delay does not add up
        (100.0, 99.6, 99.6, 108.0),  # nor does an early start, along with another one
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


def test_three_runs_are_remembered() -> None:
    turn = first_turn(Promise(100), 0.0)
    for took_s in (5.0, 1.0, 2.0, 3.0):
        turn = next_turn(begin(turn, turn.due_at), turn.due_at + took_s)
    assert turn.took_s == pytest.approx((3.0, 2.0, 1.0))


@pytest.mark.parametrize(
    "share, expected",
    [(0.0, [4.0, 8.0, 16.0, 24.0]), (0.5, [6.0, 12.0, 20.0, 28.0]), (0.9, [7.6, 15.2, 23.2])],
)
def test_the_first_two_intervals_are_cut(share: float, expected: list[float]) -> None:
    turn = first_turn(Promise(10, 0.0, share), 0.0)
    for at in expected:
        turn = next_turn(begin(turn, turn.due_at), turn.due_at)
        assert turn.due_at == pytest.approx(at)


def test_a_share_is_stable_and_its_services_own() -> None:
    assert share_of("host", "load") == share_of("host", "load") == pytest.approx(0.9438, abs=1e-4)
    assert share_of("host", "disk") != share_of("host", "load") != share_of("tsoh", "load")
    shares = [share_of("host", f"service {n}") for n in range(1000)]
    counted = collections.Counter(int(10 * share) for share in shares)
    assert sorted(counted) == list(range(10))
    assert min(counted.values()) > 60


def agenda_of(**due_at: float) -> Agenda:
    """An agenda of services with a period of 10 s that are due at such times."""
    agenda = Agenda()
    for name, at in due_at.items():
        agenda.put(name, Promise(10, 0.0), at)
    return agenda


@pytest.mark.parametrize(
    "agenda, now, expected",
    [
        (agenda_of(a=5.0, b=6.0), 4.0, []),
        (agenda_of(a=5.0, b=6.0), 5.0, ["a"]),
        (agenda_of(b=6.0, a=5.0), 7.0, ["a", "b"]),
        (agenda_of(a=5.0, b=5.5), 5.0, ["a", "b"]),  # due in a moment: goes along
        (agenda_of(a=5.0, b=5.6), 5.0, ["a"]),
        (agenda_of(a=5.0, b=5.5), 4.9, []),  # but is no reason to start by itself
        (agenda_of(), 5.0, []),
    ],
)
def test_due(agenda: Agenda, now: float, expected: list[str]) -> None:
    assert agenda.take(now, 8) == expected
    assert agenda.take(now, 8) == [], "none is begun twice"


def test_the_shorter_promise_goes_first() -> None:
    agenda = Agenda()
    agenda.put("day", Promise(86400), 0.0)
    agenda.put("minute", Promise(60), 1.0)
    assert agenda.take(1.0, 8) == ["minute", "day"]


def test_the_one_whose_promise_is_in_danger_goes_first() -> None:
    agenda = Agenda()
    agenda.put("hour", Promise(3600), 0.0)  # in danger from 720 on
    agenda.put("minute", Promise(60), 10.0)  # from 22 on
    agenda.put("second", Promise(1), 15.0)
    assert agenda.take(15.0, 1) == ["second"]
    assert agenda.take(15.0, 1) == ["minute"]
    assert agenda.take(15.0, 0) == []
    assert agenda.take(15.0, 1) == ["hour"]


def test_nobody_is_kept_waiting_for_ever() -> None:
    agenda = Agenda()
    agenda.put("hour", Promise(3600), 0.0)
    agenda.put("a", Promise(2, 0.0), 0.0)
    agenda.put("b", Promise(2, 0.0), 0.0)
    now = 0.0
    while (name := agenda.take(now, 1)) != ["hour"]:
        now += 3.0  # each run takes longer than the period of two others
        assert now < 1000
        for each in name:
            agenda.ended(each, now)


def test_going_early_has_a_limit() -> None:
    agenda = Agenda()
    agenda.put("a", Promise(10), 0.0)
    agenda.put("day", Promise(86400), 1.1)
    agenda.put("other day", Promise(86400), 1.0)
    assert agenda.take(0.0, 8) == ["a", "other day"]


def test_what_runs_is_not_due() -> None:
    agenda = agenda_of(a=0.0)
    assert agenda.next_at() == 0.0
    assert agenda.take(0.0, 8) == ["a"]
    assert agenda.take(10.0, 8) == []
    assert agenda.next_at() is None
    agenda.ended("a", 11.0)
    assert agenda.next_at() == pytest.approx(4.0)
    assert agenda.take(11.0, 8) == ["a"]


def test_a_dropped_service_is_not_due_any_more() -> None:
    agenda = agenda_of(a=0.0, b=5.0)
    assert agenda.take(0.0, 8) == ["a"]
    agenda.drop("a")
    agenda.ended("a", 1.0)
    agenda.drop("b")
    assert agenda.next_at() is None
    agenda.put("b", Promise(10), 7.0)
    assert agenda.take(6.0, 8) == []
    assert agenda.take(7.0, 8) == ["b"]


def test_how_late_runs_begin() -> None:
    agenda = agenda_of(a=0.0, b=0.0)
    agenda.take(5.0, 2)
    agenda.ended("a", 5.0)
    agenda.ended("b", 5.0)
    assert agenda.lag(8.0) == Lag(), "the start does not count"
    assert agenda.lag(9.5) == Lag(0.5), "due at 9: what has not even begun counts"
    assert agenda.lag(11.5) == Lag(2.5, "a"), "one fifth of the period is what there is to spare"
    agenda.take(9.7, 2)
    assert agenda.lag(9.7).seconds == pytest.approx(0.7)
    agenda.ended("a", 9.7)
    agenda.ended("b", 9.7)
    assert agenda.lag(9.7).seconds == pytest.approx(0.7)
    agenda.forget_lag()
    assert agenda.lag(9.7) == Lag()
    agenda.take(19.0, 2)
    assert agenda.lag(19.0).endangered in ("a", "b")


def run_until(agenda: Agenda, begun_at: float, end_at: float) -> list[tuple[float, str]]:
    """Return what is started in this time, looked at as often as is promised."""
    started = []
    now = begun_at
    while now < end_at:
        for name in agenda.take(now, 8):
            started.append((now, name))
            agenda.ended(name, now)
        next_at = agenda.next_at()
        now = min(now + LOOK_MOST_S, end_at if next_at is None else max(now, next_at))
    return started


def busiest(started: list[tuple[float, str]], window_s: float) -> int:
    times = [at for at, _ in started]
    return max(sum(1 for at in times if begin <= at < begin + window_s) for begin in times)


def a_thousand() -> Agenda:
    agenda = Agenda()
    for n in range(1000):
        agenda.put(f"s{n}", Promise(60, 0.0, share_of("host", f"s{n}")), 0.0)
    return agenda


def test_a_thousand_services_run_once_at_start_and_are_spread_then() -> None:
    agenda = a_thousand()
    assert len(agenda.take(0.0, 2000)) == 1000
    for n in range(1000):
        agenda.ended(f"s{n}", 0.0)
    started = run_until(agenda, 0.1, 480.0)
    counted = collections.Counter(name for _, name in started)
    assert set(counted.values()) == {10}
    assert min(at for at, _ in started) >= 23.0
    # Evenly it would be 21 in each second, and it stays like that.
    for begun_at in (60.0, 240.0, 420.0):
        part = [one for one in started if begun_at <= one[0] < begun_at + 48]
        assert len(part) == pytest.approx(1000, abs=40)
        assert busiest(part, 1.0) < 90


def test_after_a_pause_each_runs_once_and_they_are_spread_anew() -> None:
    agenda = a_thousand()
    run_until(agenda, 0.0, 240.0)
    awake_at = 240.0 + 7200
    assert len(agenda.take(awake_at, 2000)) == 1000
    for n in range(1000):
        agenda.ended(f"s{n}", awake_at)
    started = run_until(agenda, awake_at, awake_at + 240)
    assert min(at for at, _ in started) >= awake_at + 23
    assert busiest([one for one in started if one[0] > awake_at + 120], 1.0) < 90


def test_being_busy_is_no_pause() -> None:
    agenda = agenda_of(a=0.0, b=3.0, c=PAUSE_S)
    agenda.take(0.0, 1)
    agenda.take(PAUSE_S, 0)
    assert agenda.take(PAUSE_S, 1) == ["b"]
    assert agenda.take(PAUSE_S + 0.1, 1) == ["c"]


@settings(deadline=None)
@given(
    period_s=st.integers(1, 86400),
    share=st.floats(0, 1, exclude_max=True),
    runs=st.lists(st.tuples(st.floats(0, 0.14), st.floats(0, 0.05)), min_size=1, max_size=50),
)
def test_each_report_comes_within_the_period_of_the_one_before(
    period_s: int, share: float, runs: list[tuple[float, float]]
) -> None:
    """As long as a run takes no seventh of the period, whatever the ones before took."""
    turn = first_turn(Promise(period_s, None, share), 0.0)
    reported_at = None
    for part, early in runs:
        started_at = max(turn.due_at - early * period_s, reported_at or 0.0)
        ended_at = started_at + part * period_s
        if reported_at is not None:
            assert ended_at - reported_at <= period_s
        reported_at = ended_at
        turn = next_turn(begin(turn, started_at), ended_at)
