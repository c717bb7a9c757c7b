from __future__ import annotations

from dataclasses import dataclass, field

from agent.doubles import FakeCommands, a_service
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from overc.agent.runner import PluginRunner
from overc.agent.settings import ServiceSettings
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

    def __init__(self, *services: ServiceSettings, concurrency: int = 8) -> None:
        self.clock = Clock()
        self.commands = FakeCommands()
        self.heard = Heard()
        self.runner = PluginRunner(
            self.clock,
            self.commands,
            services,
            folder="/",
            environ={"A": "B"},
            listener=self.heard,
            concurrency=concurrency,
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
    bench = Bench(a_service("a", 10), a_service("b", 20))
    bench.end("a", "b")
    assert bench.started_while(7.9) == []
    assert bench.started_while(8.2) == ["a", "a", "b"]


def test_what_is_due_in_a_moment_starts_along_with_what_is_due() -> None:
    bench = Bench(a_service("a", 10), a_service("b", 10))
    bench.end("a")
    bench.clock.advance(0.1)
    bench.end("b")
    bench.clock.advance(7.5)
    assert bench.commands.started == ["a", "b"]
    bench.clock.advance(0.11)  # b is due now, a in 0.3 s
    assert bench.commands.started == ["a", "b", "b", "a"]


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
    bench = Bench(a_service("a", 10))
    bench.end("a")
    bench.clock.advance(7200)
    bench.end("a")
    assert bench.started_while(7.9) == []
    assert bench.started_while(0.2) == ["a"]


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
