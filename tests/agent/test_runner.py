from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agent.doubles import FakeCommands, a_service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from overc.agent.runner import PluginRunner, environment_of
from overc.agent.schedule import LOOK_MOST_S
from overc.agent.service_settings import ServiceSettings, User
from overc.model import ServiceReport, State


@dataclass
class Heard:
    reports: list[ServiceReport] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    all_reported_count: int = 0

    def reported(self, report: ServiceReport) -> None:
        self.reports.append(report)

    def all_reported(self) -> None:
        self.all_reported_count += 1

    def failed(self, error: Exception) -> None:
        self.errors.append(error)


class Bench:
    """A PluginRunner on a Clock."""

    def __init__(
        self,
        *services: ServiceSettings,
        concurrency: int = 8,
        clock: Clock | None = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.commands = FakeCommands()
        self.heard = Heard()
        self.runner = PluginRunner(
            self.clock,
            self.commands,
            services,
            host="host",
            environ={"A": "B"},
            listener=self.heard,
            concurrency=concurrency,
            seconds=seconds,
        )
        self.runner.startService()

    def end(self, *names: str) -> None:
        for name in names:
            self.commands.end(name)
        self.clock.advance(0)

    def started_while(self, seconds: float) -> list[str]:
        """Return what is started in this time, each run ending at once."""
        before = len(self.commands.started)
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.end(*self.commands.going_on)
        return self.commands.started[before:]


def test_all_services_start_at_once() -> None:
    bench = Bench(a_service("a", 10), a_service("b", 3600))
    assert bench.commands.started == ["a", "b"]
    assert bench.commands.environ == {"A": "B"}


def test_a_report_says_what_the_plugin_said() -> None:
    bench = Bench(a_service("a", 42))
    bench.commands.end("a", "hot", 1)
    assert bench.heard.reports == [ServiceReport("a", State.WARN, "hot", 42)]


def test_the_schedule_is_kept() -> None:
    bench = Bench(a_service("a", 10, max_lag_s=0.0), a_service("b", 20, max_lag_s=0.0))
    bench.end("a", "b")
    # Spread at first: each after a part of its interval between a half and the whole, twice.
    assert bench.started_while(3.9) == []
    assert set(bench.started_while(28.1)) == {"a", "b"}
    assert sorted(bench.started_while(160)) == ["a"] * 20 + ["b"] * 10


def test_a_service_is_never_run_twice_at_once() -> None:
    bench = Bench(a_service("a", 10))
    bench.clock.pump([10.0] * 10)
    assert bench.commands.started == ["a"]
    bench.end("a")
    assert bench.commands.started == ["a", "a"]


def test_a_slow_plugin_keeps_no_other_from_running() -> None:
    bench = Bench(a_service("slow", 10), a_service("a", 10))
    bench.end("a")
    bench.clock.advance(8)
    assert bench.commands.started == ["slow", "a", "a"]


def test_no_burst_after_a_gap() -> None:
    bench = Bench(a_service("a", 10), a_service("b", 10))
    bench.end("a", "b")
    bench.clock.advance(7200)
    assert bench.commands.started == ["a", "b", "a", "b"]
    bench.end("a", "b")
    assert bench.started_while(3.9) == []
    assert sorted(bench.started_while(4.2)) == ["a", "b"]


def test_a_suspend_is_a_gap() -> None:
    asleep_s = 0.0
    clock = Clock()
    bench = Bench(a_service("a", 3600), clock=clock, seconds=lambda: clock.seconds() + asleep_s)
    bench.end("a")
    clock.advance(60)
    assert bench.commands.started == ["a"]
    asleep_s = 7200.0
    clock.advance(LOOK_MOST_S)
    assert bench.commands.started == ["a", "a"]


def test_the_most_overdue_goes_first_when_places_are_few() -> None:
    services = [a_service(name, period) for name, period in [("a", 40), ("b", 30), ("c", 20)]]
    bench = Bench(*services, concurrency=2)
    assert bench.commands.started == ["c", "b"]
    bench.end("c")
    assert bench.commands.started == ["c", "b", "a"]
    bench.end("b", "a")
    bench.clock.advance(3000)
    assert bench.commands.started[3:] == ["c", "b"]
    assert bench.commands.most_at_once == 2


def test_all_reported_is_said_when_the_last_has_ended() -> None:
    bench = Bench(a_service("a"), a_service("b"))
    assert bench.heard.all_reported_count == 0
    bench.end("a")
    assert bench.heard.all_reported_count == 0
    bench.end("b")
    assert bench.heard.all_reported_count == 1


def test_a_run_that_raises_is_reported_and_the_service_goes_on() -> None:
    bench = Bench(a_service("a"))
    bench.end("a")
    bench.commands.raises = RuntimeError("no\0luck")
    bench.clock.advance(8)
    assert bench.heard.errors == [bench.commands.raises]
    report = bench.heard.reports[-1]
    assert (report.state, report.info) == (State.UNK, "could not be run: noluck")
    bench.commands.raises = None
    assert bench.started_while(8.1) == ["a"]


def test_the_loop_goes_on_after_an_exception() -> None:
    bench = Bench(a_service("a"))
    trouble = [ZeroDivisionError("x"), ZeroDivisionError("x")]

    def all_reported() -> None:
        if trouble:
            raise trouble.pop()

    bench.heard.all_reported = all_reported  # type: ignore[method-assign]
    bench.end("a")
    assert len(bench.heard.errors) == 1
    bench.clock.advance(1)
    assert len(bench.heard.errors) == 2
    assert bench.started_while(8.1) == ["a"]


def test_stopping_waits_for_the_runs_and_does_not_report_them() -> None:
    bench = Bench(a_service("a"), a_service("b"))
    bench.end("a")
    stopped = bench.runner.stopService()
    assert isinstance(stopped, Deferred)
    assert not stopped.called
    bench.end("b")
    assert stopped.called
    assert [report.name for report in bench.heard.reports] == ["a"]
    bench.clock.advance(1000)
    assert bench.commands.started == ["a", "b"]
    assert bench.clock.getDelayedCalls() == []


def test_stopping_at_rest() -> None:
    bench = Bench(a_service("a"))
    bench.end("a")
    assert bench.runner.stopService().called
    assert bench.clock.getDelayedCalls() == []


def test_a_report_has_its_services_grace() -> None:
    bench = Bench(a_service("a", 42, grace_s=5.0))
    bench.end("a")
    assert bench.heard.reports == [ServiceReport("a", State.OK, "fine", 42, grace_s=5.0)]


def test_where_and_as_whom_a_service_runs() -> None:
    nobody = User("nobody", 65534, 65533, "/nonexistent")
    service = a_service("a", folder="/srv", env=(("A", "1"), ("C", "")), user=nobody)
    bench = Bench(service)
    assert (bench.commands.folder, bench.commands.user) == ("/srv", (65534, 65533))
    assert bench.commands.environ == {
        "A": "1",
        "C": "",
        "HOME": "/nonexistent",
        "USER": "nobody",
        "LOGNAME": "nobody",
    }
    home = a_service("a", user=nobody, env=(("HOME", "/tmp"),))
    assert environment_of(home, {"HOME": "/root", "A": "B"})["HOME"] == "/tmp"


def test_what_has_not_changed_goes_on_as_it_was() -> None:
    bench = Bench(a_service("a", 10), a_service("slow", 10), a_service("gone", 10))
    bench.end("a", "gone")
    bench.runner.watch([a_service("a", 10), a_service("slow", 10), a_service("new", 10)], "host", 8)
    assert bench.commands.started == ["a", "slow", "gone", "new"]
    assert bench.commands.ended_early == []
    bench.end("slow", "new")
    assert [report.name for report in bench.heard.reports] == ["a", "gone", "slow", "new"]
    assert set(bench.started_while(9)) == {"a", "slow", "new"}


def test_what_has_changed_runs_anew_once_the_old_run_has_ended() -> None:
    bench = Bench(a_service("a", 10), a_service("b", 10))
    changed = [a_service("a", 20), a_service("b", 10)]
    bench.runner.watch(changed, "host", 8)
    assert bench.commands.ended_early == ["a"]
    assert bench.commands.started == ["a", "b"], "never two runs of one service"
    bench.runner.watch([a_service("a", 30), a_service("b", 10)], "host", 8)
    assert bench.commands.ended_early == ["a"]
    bench.end("a")
    assert bench.heard.reports == [], "the old run's word is not wanted any more"
    assert bench.commands.started == ["a", "b", "a"]
    bench.end("a")
    assert [report.period_s for report in bench.heard.reports] == [30]


def test_what_is_gone_is_ended_and_not_run_again() -> None:
    bench = Bench(a_service("a", 10), a_service("b", 10))
    bench.end("b")
    bench.runner.watch([], "host", 8)
    assert bench.commands.ended_early == ["a"]
    bench.end("a")
    assert bench.started_while(30) == []
    assert [report.name for report in bench.heard.reports] == ["b"]


def test_the_number_of_places_can_be_changed() -> None:
    services = [a_service(name, 10) for name in "abcd"]
    bench = Bench(*services, concurrency=1)
    assert len(bench.commands.started) == 1
    bench.runner.watch(services, "host", 3)
    assert len(bench.commands.started) == 3


def test_how_late_it_is_and_how_long_ago_it_was_looked_at() -> None:
    bench = Bench(a_service("a", 10), a_service("b", 1, max_lag_s=0.0), concurrency=1)
    bench.end("b")
    assert bench.runner.age_s() == 0
    bench.clock.pump([5.0, 2.0])
    assert bench.runner.lag().seconds > 6
    assert bench.runner.lag().endangered == "b"
    bench.runner.forget_lag()
    assert bench.runner.age_s() == 2.0, "it is looked at even while all places are taken"
