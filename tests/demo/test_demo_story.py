"""The demo's data: always the same, lifelike, and such as the server takes it."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest

from dev.demo_fleet import DEAD_HOST, DEAD_S, FLAP_S, FLAPPING, PROBLEMS, fleet, reading
from dev.demo_moment import DAY_S, HOUR_S, Moment, level
from dev.demo_story import STATES_MAX, Present, Request, first_reports, past
from overc.daemon import perfdata
from overc.web.reports import decode_status

BEGAN_AT = 1_772_359_200.0  # 2026-03-01 10:00:00
FLEET = fleet()
SOME = [one for one in FLEET if one.server in ("web-1", "db-2", "app-4", "backup-1", DEAD_HOST)]
"""Of each kind one: all of them take seconds."""


def test_there_are_40_servers_with_400_services_of_different_names() -> None:
    names = {(one.server, one.name) for one in FLEET}
    assert len(names) == len(FLEET) == 400
    assert len({one.server for one in FLEET}) == 40
    assert set(PROBLEMS) < names
    assert FLAPPING in names


@pytest.mark.parametrize("value, warn, crit, state", [
    (1, 5, 9, "OK"), (5, 5, 9, "WARN"), (9, 5, 9, "FAIL"),
    (30, 21, 7, "OK"), (21, 21, 7, "WARN"), (7, 21, 7, "FAIL"),
])  # fmt: skip
def test_levels(value: float, warn: float, crit: float, state: str) -> None:
    assert level(value, warn, crit) == state


def test_noise_is_smooth_and_always_the_same() -> None:
    found = [Moment("web-1/load", BEGAN_AT + at).noise(100) for at in range(1000)]
    assert found == [Moment("web-1/load", BEGAN_AT + at).noise(100) for at in range(1000)]
    assert all(0 <= one <= 1 for one in found)
    assert max(abs(a - b) for a, b in pairwise(found)) < 0.02
    assert max(found) - min(found) > 0.5
    assert found != [Moment("web-2/load", BEGAN_AT + at).noise(100) for at in range(1000)]


def test_a_busy_day_has_a_curve() -> None:
    midnight = BEGAN_AT // DAY_S * DAY_S
    night, noon = (
        [Moment("x", midnight + day * DAY_S + hour * HOUR_S).busy(0, 100) for day in range(5)]
        for hour in (3, 15)
    )
    assert max(night) < min(noon)


def test_nearly_all_is_well_at_any_time() -> None:
    for at in range(0, 30 * DAY_S, DAY_S + 3777):
        states = Counter(one.reading(BEGAN_AT + at).state for one in FLEET)
        assert states["OK"] > 370, states
    over_time = Counter(
        one.reading(BEGAN_AT + at).state for one in FLEET for at in range(0, 7 * DAY_S, 9 * HOUR_S)
    )
    assert over_time["WARN"] > 20
    assert over_time["FAIL"] > 2


def test_what_is_measured_can_be_drawn() -> None:
    drawn = [one.server for one in FLEET if perfdata.parse(one.reading(BEGAN_AT).info)]
    assert len(drawn) > 300
    for one in FLEET:
        info = one.reading(BEGAN_AT).info
        items = perfdata.parse(info)
        assert len(items) == (info.partition("|")[2].count("=")), info


def test_a_problem_begins_when_it_says_so() -> None:
    for key, problem in PROBLEMS.items():
        service = next(one for one in FLEET if (one.server, one.name) == key)
        began_at = BEGAN_AT - problem.lasts_s
        assert reading(service, began_at - 1, BEGAN_AT).state == "OK"
        assert reading(service, began_at, BEGAN_AT).state == problem.state
        assert reading(service, BEGAN_AT + DAY_S, BEGAN_AT).state == problem.state


def test_one_flaps() -> None:
    service = next(one for one in FLEET if (one.server, one.name) == FLAPPING)
    states = [reading(service, BEGAN_AT + n * FLAP_S, BEGAN_AT).state for n in range(10)]
    assert all(a != b for a, b in pairwise(states))


def as_taken(requests: list[Request]) -> int:
    """Check that the server would take them; return the number of states."""
    for one in requests:
        body = json.dumps(one.body()).encode()
        assert len(body) < 2**20
        decode_status(body, "127.0.0.1")
    return sum(len(one.states) for one in requests)


def test_the_first_reports_name_every_service_and_the_newest_word_comes_last() -> None:
    requests = list(first_reports(FLEET, BEGAN_AT))
    assert as_taken(requests) > 400
    assert len({(one.server, state["name"]) for one in requests for state in one.states}) == 400
    for one in requests:
        by_name: dict[str, list[float]] = {}
        for state in one.states:
            by_name.setdefault(state["name"], []).append(state.get("time", BEGAN_AT))
        assert all(times == sorted(times) for times in by_name.values())
        assert all(
            (times[-1] == BEGAN_AT) != (one.server == DEAD_HOST) for times in by_name.values()
        )


def test_what_is_bad_now_was_well_before() -> None:
    for request in first_reports(FLEET, BEGAN_AT):
        of_service: dict[str, list[str]] = {}
        for state in request.states:
            of_service.setdefault(state["name"], []).append(state["state"])
        assert all("OK" in states for states in of_service.values()), request


def test_the_past_has_no_gap() -> None:
    times: dict[tuple[str, str], list[float]] = {}
    requests = list(past(SOME, BEGAN_AT))
    assert all(0 < len(one.states) <= STATES_MAX for one in requests)
    assert as_taken(requests[::10]) > 0
    for request in requests:
        for state in request.states:
            times.setdefault((request.server, state["name"]), []).append(state["time"])
    for one in SOME:
        found = sorted(times[one.server, one.name])
        end_at = BEGAN_AT - DEAD_S if one.server == DEAD_HOST else BEGAN_AT
        assert found[-1] < end_at
        steps = [b - a for a, b in pairwise([*found, end_at])]
        assert max(steps) <= one.period_s * 1.001, (one, max(steps))
        days = (BEGAN_AT - found[0]) / DAY_S
        assert days > (0.9 if one.server == DEAD_HOST else 6.9)
    assert (BEGAN_AT - min(times["web-1", "disk /"])) / DAY_S > 89


def test_the_present_moves_and_the_dead_are_silent() -> None:
    present = Present(FLEET, BEGAN_AT, BEGAN_AT)
    assert present.due(BEGAN_AT) == []
    heard: Counter[str] = Counter()
    for at in range(1, 700):
        for request in present.due(BEGAN_AT + at):
            heard[request.server] += 1
            as_taken([request])
    assert DEAD_HOST not in heard
    assert len(heard) == 39
    assert min(heard.values()) > 8
