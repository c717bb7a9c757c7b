from __future__ import annotations

from agent.conftest import Logged
from agent.doubles import FakeCommands, FakePusher, a_service, settings_for
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from overc.agent.push import Unavailable
from overc.agent.service import MonitorService
from overc.agent.settings import ServiceSettings
from overc.model import AlertReport


class Bench:
    def __init__(self, *services: ServiceSettings) -> None:
        self.clock = Clock()
        self.commands = FakeCommands()
        self.pusher = FakePusher()
        self.service = MonitorService(
            self.clock,
            settings_for(*services),
            self.commands,
            self.pusher,
            environ={},
            random=lambda: 0.5,
        )
        self.service.startService()

    def end(self, *names: str) -> None:
        for name in names:
            self.commands.end(name)
        self.clock.advance(0)


def test_services_due_together_travel_together() -> None:
    bench = Bench(a_service("a", 10), a_service("b", 60))
    bench.end("a", "b")
    assert bench.pusher.names() == [["a", "b"]]
    assert [r.period_s for r in bench.pusher.states[0]] == [10, 60]


def test_they_still_do_when_their_run_times_differ() -> None:
    bench = Bench(a_service("a"), a_service("b"))
    for _ in range(3):
        bench.clock.advance(0.01)
        bench.end("a")
        bench.clock.advance(0.1)
        bench.end("b")
        bench.clock.pump([0.1] * 79)
    assert bench.pusher.names() == [["a", "b"]] * 3


def test_a_slow_plugin_holds_up_no_other_report() -> None:
    bench = Bench(a_service("slow", 10), a_service("a", 10), a_service("b", 5))
    bench.end("a", "b")
    bench.clock.advance(0.4)
    assert bench.pusher.states == []
    bench.clock.advance(0.1)
    assert bench.pusher.names() == [["a", "b"]]
    bench.end("slow")
    assert bench.pusher.names() == [["a", "b"], ["slow"]]


def test_a_failure_of_the_monitor_is_an_alert(logged: Logged) -> None:
    bench = Bench(a_service("a"))
    bench.end("a")
    bench.commands.raises = RuntimeError("first\nsecond\udcff")
    bench.clock.advance(8)
    bench.clock.advance(0)
    message = "Monitoring failure: RuntimeError: first second "
    assert bench.pusher.alerts == [[AlertReport(message)]]
    (line,) = (line for line in logged if line.startswith(message))
    assert "\n" not in line
    assert "run, called by " in line
    assert bench.pusher.names() == [["a"], ["a"]]


def test_the_same_failure_is_not_sent_each_time() -> None:
    bench = Bench(a_service("a"))
    bench.commands.raises = RuntimeError("x")
    bench.end("a")
    while bench.clock.seconds() < 299:
        bench.clock.advance(1)
    assert len(bench.commands.started) > 30
    assert len(bench.pusher.alerts) == 1
    bench.clock.pump([1.0] * 20)
    assert len(bench.pusher.alerts) == 2


def test_alerts_are_kept_while_the_server_is_away() -> None:
    def away(_: object) -> None:
        raise Unavailable("away")

    bench = Bench(a_service("a"))
    bench.pusher.answer = away
    bench.commands.raises = RuntimeError("x")
    bench.end("a")
    bench.clock.advance(8)
    bench.pusher.answer = lambda _: None
    bench.clock.pump([1.0] * 30)
    assert len(bench.pusher.alerts) == 1


def test_hostile_output_makes_one_line_of_the_log(logged: Logged) -> None:
    from overc.logging import set_level

    bench = Bench(a_service("a\x1b[2J"))
    set_level("DEBUG")
    try:
        bench.commands.end("a\x1b[2J", "x\n2026-01-01 [overc] all is well\r\x00\u2028y")
    finally:
        set_level("INFO")
    assert logged[-1] == "a [2J: OK: x 2026-01-01 [overc] all is well  y"


def test_a_stop_ends_plugins_then_sends_what_is_finished_then_hangs_up() -> None:
    bench = Bench(a_service("slow"), a_service("a"))
    bench.end("a")
    answer = Deferred[None]()
    bench.pusher.answer = lambda _: answer
    stopped = bench.service.stopService()
    assert bench.commands.going_on == {}
    assert bench.pusher.names() == [["a"]]
    assert not bench.pusher.closed
    answer.callback(None)
    assert stopped.called
    assert bench.pusher.closed
    assert bench.clock.getDelayedCalls() == []
