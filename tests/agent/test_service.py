from __future__ import annotations

from typing import Any

from agent.conftest import Logged
from agent.doubles import FakeClock, FakeCommands, FakePusher, a_service, settings_for
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from overc.agent.link import Parts
from overc.agent.outbox import Outbox
from overc.agent.push import Unavailable
from overc.agent.runner import Changes
from overc.agent.service import ALIVE_S, MonitorService
from overc.agent.service_settings import ServiceSettings
from overc.agent.settings import AgentSettings
from overc.model import AlertReport, ServerIdentity, ServiceReport, State


def fired(waited_for: Deferred[Any]) -> bool:
    """Say whether a Deferred has its result; `called` only says that it got one, maybe to wait."""
    results: list[object] = []
    waited_for.addCallback(results.append)
    return bool(results)


class Bench:
    """The whole agent, but for its commands and its way to the server."""

    def __init__(self, *services: ServiceSettings, **settings: Any) -> None:
        self.clock = Clock()
        self.commands = FakeCommands()
        self.pusher = FakePusher()
        self.outboxes: list[Outbox] = []
        self.pushers: list[FakePusher] = []
        self.service = MonitorService(
            self.clock,
            settings_for(*services, **{"own_period_s": None, **settings}),
            self.commands,
            Parts(self._outbox, self._pusher),
            environ={},
            random=lambda: 0.5,
        )
        self.service.startService()

    def _outbox(self, settings: AgentSettings) -> Outbox:
        outbox = Outbox(self.clock, settings.identity.name, clock=FakeClock(self.clock))
        self.outboxes.append(outbox)
        return outbox

    def _pusher(self, settings: AgentSettings) -> FakePusher:
        self.pushers.append(self.pusher if not self.pushers else FakePusher())
        return self.pushers[-1]

    def end(self, *names: str) -> None:
        for name in names:
            self.commands.end(name)
        self.clock.advance(0)

    def end_all_for(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.clock.advance(1)
            self.end(*self.commands.going_on)


def test_services_due_together_travel_together() -> None:
    bench = Bench(a_service("a", 10), a_service("b", 60))
    bench.end("a", "b")
    assert bench.pusher.names() == [["a", "b"]]
    assert [r.period_s for r in bench.pusher.states[0]] == [10, 60]


def test_a_slow_plugin_holds_up_no_other_report() -> None:
    bench = Bench(a_service("slow", 10), a_service("a", 10), a_service("b", 5))
    bench.end("a", "b")
    bench.clock.advance(0.4)
    assert bench.pusher.states == []
    bench.clock.advance(0.1)
    assert bench.pusher.names() == [["a", "b"]]
    bench.end("slow")
    assert bench.pusher.names() == [["a", "b"], ["slow"]]


def test_many_services_share_requests_though_they_are_spread() -> None:
    bench = Bench(*(a_service(f"s{n}", 60, max_lag_s=0.0) for n in range(200)))
    while bench.clock.seconds() < 240:
        bench.clock.advance(0.05)
        bench.end(*bench.commands.going_on)
    late = [report for states in bench.pusher.states for report in states][-200:]
    assert len({report.name for report in late}) > 180, "they are spread"
    assert len(bench.pusher.states) <= 1.3 * 240
    assert len(bench.commands.started) > 900


def test_a_failure_of_the_monitor_is_an_alert(logged: Logged) -> None:
    bench = Bench(a_service("a"))
    bench.end("a")
    bench.commands.raises = RuntimeError("first\nsecond\udcff")
    bench.clock.advance(8)
    bench.clock.advance(0)
    message = "Monitoring failure: RuntimeError: first second "
    assert bench.pusher.alerts == [(AlertReport(message),)]
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
    assert fired(stopped)
    assert bench.pusher.closed
    assert bench.clock.getDelayedCalls() == []


def test_a_stop_without_goodbye_says_nothing_more() -> None:
    bench = Bench(a_service("a"))
    bench.end("a")
    bench.service.stopService()
    assert bench.pusher.names() == [["a"]]


def test_a_goodbye_keeps_each_state_and_asks_for_time() -> None:
    bench = Bench(a_service("a", grace_s=3.0), a_service("b"), a_service("c"), goodbye_s=7200)
    bench.commands.end("a", "hot | t=9", 1)
    bench.commands.end("b", "", 0)
    bench.clock.advance(0.0)
    assert fired(bench.service.stopService())
    words = "(the agent was stopped; nothing is expected of it for 2h)"
    # As an old report it would not be taken: it is of the moment of the stop.
    assert [report._replace(seen_at=None) for report in bench.pusher.states[-1]] == [
        ServiceReport("a", State.WARN, f"hot | t=9\n{words}", 7200),
        ServiceReport("b", State.OK, words, 7200),
    ]


def test_a_reload_leaves_alone_what_has_not_changed() -> None:
    bench = Bench(a_service("a"), a_service("b"))
    bench.end("a")
    changed = settings_for(a_service("a"), a_service("b"), a_service("c"), own_period_s=None)
    assert bench.service.reload(changed).result == Changes(1, 0, 0, 2)
    assert bench.commands.started == ["a", "b", "c"]
    bench.end("b", "c")
    assert sorted(name for names in bench.pusher.names() for name in names) == ["a", "b", "c"]
    assert len(bench.outboxes) == len(bench.pushers) == 1
    assert not bench.pusher.closed


def test_a_reload_may_change_the_server(logged: Logged) -> None:
    def away(_: object) -> None:
        raise Unavailable("away")

    bench = Bench(a_service("a"))
    bench.pusher.answer = away
    bench.end("a")
    elsewhere = settings_for(a_service("a"), url="http://other:1/", own_period_s=None)
    assert fired(bench.service.reload(elsewhere))
    assert bench.pusher.closed
    # What the old one did not take goes to the new one.
    assert bench.pushers[1].names() == [["a"]]
    assert len(bench.outboxes) == 1
    assert bench.service.status() == "reporting to http://other:1/ as host, watching 1 service"


def test_a_reload_may_change_the_name() -> None:
    bench = Bench(a_service("a"))
    bench.end("a")
    answer = Deferred[None]()
    bench.pusher.answer = lambda _: answer
    bench.service.reported(ServiceReport("a", State.OK, "old name", 10))
    new = AgentSettings(
        settings_for().server, ServerIdentity("new", "k"), (a_service("a"),), "/", own_period_s=None
    )
    done = bench.service.reload(new)
    # What comes while the old way is closed is not lost.
    bench.service.reported(ServiceReport("a", State.OK, "new name", 10))
    assert not fired(done)
    answer.callback(None)
    assert fired(done)
    assert [outbox.running for outbox in bench.outboxes] == [0, 1]
    assert [state.info for states in bench.pusher.states for state in states] == [
        "fine",
        "old name",
    ]
    assert [[state.info for state in states] for states in bench.pushers[1].states] == [
        ["new name"]
    ]


def test_a_stop_waits_for_a_reload() -> None:
    bench = Bench(a_service("a"))
    bench.end("a")
    answer = Deferred[None]()
    bench.pusher.answer = lambda _: answer
    bench.service.reported(ServiceReport("a", State.OK, "x", 10))
    reloaded = bench.service.reload(settings_for(a_service("b"), url="http://o:1/"))
    stopped = bench.service.stopService()
    assert not fired(stopped)
    answer.callback(None)
    assert fired(reloaded)
    assert fired(stopped)
    assert bench.pushers[1].closed
    assert bench.clock.getDelayedCalls() == []
    assert bench.service.reload(settings_for(a_service("c"))).result is None


def test_the_agent_reports_its_own_state() -> None:
    bench = Bench(a_service("a", 3600), own_period_s=60)
    bench.end("a")
    bench.end_all_for(23)
    assert bench.pusher.names() == [["a"]], "at the start there is nothing to tell"
    bench.end_all_for(300)
    own = [report for states in bench.pusher.states for report in states if report.name != "a"]
    assert {(report.name, report.state, report.period_s) for report in own} == {
        ("overc-agent", State.OK, 60)
    }
    assert 5 <= len(own) <= 8


def test_what_was_refused_is_part_of_its_own_state() -> None:
    bench = Bench(a_service("a", 3600), own_period_s=60)
    bench.end("a")
    bench.service.refuse("agent.ini:3: no\nsense")
    bench.clock.advance(1)
    (own,) = bench.pusher.states[-1]
    assert (own.name, own.state) == ("overc-agent", State.WARN)
    assert own.info.startswith(
        "the new configuration is not in force: agent.ini:3: no sense | lag=0.00s;;;0 waiting="
    )
    bench.service.reload(settings_for(a_service("a", 3600), own_period_s=60))
    bench.clock.advance(1)
    (own,) = bench.pusher.states[-1]
    assert own.state is State.OK


def test_it_is_alive_as_long_as_its_schedule_is_kept() -> None:
    bench = Bench(a_service("a", 3600))
    for _ in range(100):
        bench.clock.advance(1)
        assert bench.service.is_alive()
    bench.service._plugins.stopService()
    bench.clock.advance(ALIVE_S - 1)
    assert bench.service.is_alive()
    bench.clock.advance(2)
    assert not bench.service.is_alive()


def test_the_settings_warnings_are_told(logged: Logged) -> None:
    Bench(a_service("a"), warnings=("agent.ini:3: [overc] insecure: better not",))
    assert "agent.ini:3: [overc] insecure: better not" in logged
