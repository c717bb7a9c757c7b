from __future__ import annotations

import pytest

from overc.agent.kept import Mark
from overc.agent.stamps import Skew, known_at, skew_of, time_to_send


@pytest.mark.parametrize(
    "server_at, ahead_s, took_s, surely",
    [
        (1000.0, 0.0, 0.01, False),
        (1000.99, 0.0, 0.01, False),
        (1000.5, 0.4, 0.01, False),
        (1000.0, 1.2, 0.01, True),
        (1000.9, 3600.0, 0.5, True),
        (1000.9, 3600.0, 30.0, True),
        (1000.9, 20.0, 30.0, False),
        (1000.9, -3600.0, 0.5, False),
    ],
)
def test_the_skew(server_at: float, ahead_s: float, took_s: float, surely: bool) -> None:
    """The Date is cut to seconds, and as old as the answer took to come at most."""
    skew = skew_of(float(int(server_at)), server_at + ahead_s, took_s)
    assert skew.surely is surely
    assert ahead_s <= skew.ahead_s <= ahead_s + 1.0
    if surely:
        assert ahead_s > 0


AHEAD = Skew(3600.4, True, 0.2)
UNSURE = Skew(0.9, False, 0.2)


@pytest.mark.parametrize(
    "seen_at, id_, mark, skew, expected",
    [
        (100.0, 1, None, None, 100.0),
        (100.0, 1, None, AHEAD, 100.0),
        (100.0, 5, Mark(4, 90.0), AHEAD, 100.0),
        (100.0, 5, Mark(4, 110.0), None, 110.0),
        (100.0, 3, Mark(4, 110.0), UNSURE, 100.0),
        (100.0, 3, Mark(4, 90.0), None, 89.999),
        (10_000.0, 3, Mark(4, 6500.0), AHEAD, 6399.6),
        (10_200.0, 3, Mark(4, 6500.0), AHEAD, 6499.999),
    ],
)
def test_the_time_to_send(
    seen_at: float, id_: int, mark: Mark | None, skew: Skew | None, expected: float
) -> None:
    assert time_to_send(seen_at, id_, mark, skew) == pytest.approx(expected)


def test_the_time_that_the_server_knows() -> None:
    assert known_at(100.0, 200.0, None) == 100.0
    assert known_at(100.0, 200.0, UNSURE) == 100.0
    assert known_at(10_000.0, 10_001.0, AHEAD) == pytest.approx(6400.4)
    assert known_at(10.0, 10_001.0, AHEAD) == 10.0


@pytest.mark.parametrize("ahead_s", [-3600.0, -0.3, 0.0, 0.3, 2.0, 3600.0])
@pytest.mark.parametrize("took_s", [0.001, 0.9, 10.0])
@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.999])
def test_what_is_old_stays_old(ahead_s: float, took_s: float, fraction: float) -> None:
    """The server as it is: no time from the future, and what is older than it knows is history."""
    period_s = 8.0
    seen_by_us = [10_000.0 + ahead_s + n * period_s for n in range(20)]
    arrived_at = 10_000.0 + 19 * period_s + fraction + took_s / 2
    sent_at = time_to_send(seen_by_us[-1], 20, None, None)
    known_by_server = min(sent_at, arrived_at)
    date_at = float(int(arrived_at + took_s / 4))
    replied_at = arrived_at + took_s / 2
    skew = skew_of(date_at, replied_at + ahead_s, took_s)
    mark = Mark(20, known_at(sent_at, replied_at + ahead_s, skew))
    before = 0.0
    for n, seen_at in enumerate(seen_by_us[:-1]):
        sent = min(time_to_send(seen_at, n + 1, mark, skew), replied_at + n)
        assert before <= sent < known_by_server
        before = sent
