from __future__ import annotations

import itertools

import pytest
from twisted.internet.task import Clock

from overc import __version__
from overc.agent.own_state import OwnState, Vitals, describe, memory_mb
from overc.agent.schedule import Lag
from overc.model import ServiceReport, State

WELL = Vitals(
    services=12, concurrency=8, lag=Lag(0.3), waiting=0, oldest_s=None, skew_s=0.4, memory_mb=41.26
)


def test_all_is_well() -> None:
    state, info = describe(WELL)
    assert state is State.OK
    assert info == (
        f"OverC {__version__}, 12 services, runs up to 0.3 s late, nothing waits to be sent,"
        " clock 0.4 s ahead of the server's"
        " | lag=0.30s;;;0 waiting=0;;;0 skew=0.4s;-10:10 memory=41.3MB;;;0"
    )


def test_what_is_not_known_is_left_out() -> None:
    _, info = describe(WELL._replace(services=1, skew_s=None, memory_mb=None))
    assert info == (
        f"OverC {__version__}, 1 service, runs up to 0.3 s late, nothing waits to be sent"
        " | lag=0.30s;;;0 waiting=0;;;0"
    )


@pytest.mark.parametrize(
    "vitals, first",
    [
        (
            WELL._replace(lag=Lag(14.2, "disk")),
            "runs begin up to 14 s late (disk for one): 8 at once are too few,"
            " set concurrency= higher or periods longer",
        ),
        (
            WELL._replace(skew_s=-3600.0),
            "the clock is 3600.0 s behind the server's: set one of them right",
        ),
        (WELL._replace(troubles=("17 states were dropped",)), "17 states were dropped"),
    ],
)
def test_what_people_should_know_of_is_a_warning(vitals: Vitals, first: str) -> None:
    state, info = describe(vitals)
    assert state is State.WARN
    assert info.startswith(f"{first} | lag=")
    assert f"OverC {__version__}, 12 services" in info.split("\n")[-1]


def test_reports_that_wait_are_counted() -> None:
    state, info = describe(WELL._replace(waiting=70, oldest_s=3601.2))
    assert state is State.OK, "the server is away, and knows best"
    assert "70 reports waiting" in info
    assert "waiting=70;;;0 oldest=3601s;;;0" in info


def test_its_memory_is_known() -> None:
    memory = memory_mb()
    assert memory is None or 5 < memory < 5000


class Bench:
    def __init__(self, period_s: int | None) -> None:
        self.clock = Clock()
        self.vitals = WELL
        self.reported: list[tuple[float, ServiceReport]] = []
        self.own = OwnState(self.clock, lambda: self.vitals, self._reported)
        self.own.startService()
        self.own.report_every(period_s)

    def _reported(self, report: ServiceReport) -> None:
        self.reported.append((self.clock.seconds(), report))

    def times(self, until: float) -> list[float]:
        while self.clock.seconds() < until:
            self.clock.advance(1)
        return [at for at, _ in self.reported]


@pytest.mark.parametrize("period_s", [1, 5, 60, 61, 300, 86400])
def test_it_keeps_its_own_promise(period_s: int) -> None:
    bench = Bench(period_s)
    times = bench.times(3 * period_s + 60)
    assert 1 <= times[0] <= 30
    assert all(b - a <= period_s for a, b in itertools.pairwise(times))
    assert len(times) <= 9 + 60 / period_s
    assert bench.reported[0][1].period_s == period_s


def test_another_state_is_reported_at_once() -> None:
    bench = Bench(3600)
    assert bench.times(100) == [30]
    bench.vitals = WELL._replace(troubles=("oh",))
    assert bench.times(120) == [30, 120]
    bench.vitals = WELL
    bench.own.look()
    assert bench.times(120) == [30, 120, 120]
    assert [report.state for _, report in bench.reported] == [State.OK, State.WARN, State.OK]


def test_it_can_be_turned_off_and_on() -> None:
    bench = Bench(None)
    bench.own.look()
    assert bench.times(1000) == []
    bench.own.report_every(60)
    bench.own.look()
    assert bench.times(1000) == [1000]
    bench.own.report_every(None)
    bench.own.look()
    assert bench.times(2000) == [1000]


def test_a_stop_ends_it() -> None:
    bench = Bench(60)
    bench.own.stopService()
    assert bench.clock.getDelayedCalls() == []
    bench.own.look()
    assert bench.reported == []
