from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from agent.conftest import Logged
from agent.doubles import FakePusher, a_report
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from overc.agent import push
from overc.agent.delivery import Delivery, retry_s
from overc.agent.outbox import Outbox
from overc.agent.push import Refused, Unavailable
from overc.model import AlertReport


def raising(error: Exception) -> Callable[[Sequence[Any]], None]:
    def answer(_: Sequence[Any]) -> None:
        raise error

    return answer


class Bench:
    """A Delivery on a Clock, with `random` in the middle: no jitter."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pusher = FakePusher()
        self.outbox = Outbox()
        self.errors: list[Exception] = []
        self.delivery = Delivery(
            self.clock,
            self.pusher,
            self.outbox,
            random=lambda: 0.5,
            failed=self.errors.append,
        )
        self.delivery.startService()

    def report(self, *names: str, info: str = "") -> None:
        for name in names:
            self.outbox.put_state(a_report(name, info))
        self.delivery.send_by(self.clock.seconds())

    def sent_after(self, seconds: float) -> int:
        """Return how many requests are made after exactly this time, none being made before."""
        before = len(self.pusher.states)
        self.clock.advance(seconds - 0.01)
        assert len(self.pusher.states) == before
        self.clock.advance(0.01)
        return len(self.pusher.states) - before


@pytest.mark.parametrize(
    "failures, random, period_s, expected",
    [
        (1, 0.5, 3600, 1.0),
        (2, 0.5, 3600, 2.0),
        (5, 0.5, 3600, 16.0),
        (6, 0.5, 3600, 20.0),
        (10_000, 0.5, 3600, 20.0),
        (10_000, 0.0, 3600, 10.0),
        (10_000, 0.999, 3600, 29.98),
        (1, 0.0, 3600, 0.5),
        (10_000, 0.5, 10, 5.0),
        (10_000, 1.0, 10, 7.5),
        (1, 1.0, 1, 0.75),
    ],
)
def test_retry(failures: int, random: float, period_s: float, expected: float) -> None:
    assert retry_s(failures, random, period_s) == pytest.approx(expected)


def test_what_is_there_goes_in_one_request() -> None:
    bench = Bench()
    bench.report("a", "b")
    assert bench.pusher.names() == [["a", "b"]]
    assert len(bench.outbox) == 0
    assert bench.clock.getDelayedCalls() == []


def test_it_waits_until_the_time_given_or_an_earlier_one() -> None:
    bench = Bench()
    bench.outbox.put_state(a_report("a"))
    bench.delivery.send_by(1.0)
    bench.delivery.send_by(3.0)
    assert bench.sent_after(1.0) == 1
    bench.outbox.put_state(a_report("a"))
    bench.delivery.send_by(4.0)
    bench.delivery.send_by(2.0)
    assert bench.sent_after(1.0) == 1


def test_with_nothing_to_send_nothing_is_sent() -> None:
    bench = Bench()
    bench.delivery.send_by(0.0)
    bench.clock.advance(100)
    assert (bench.pusher.states, bench.pusher.alerts) == ([], [])


def test_one_request_at_a_time_and_what_comes_meanwhile_follows() -> None:
    bench = Bench()
    answers = [Deferred[None](), Deferred[None]()]
    waiting = list(answers)
    bench.pusher.answer = lambda _: waiting.pop(0)
    bench.report("a", info="old")
    bench.report("a", "b", info="new")
    assert bench.pusher.names() == [["a"]]
    answers[0].callback(None)
    assert bench.pusher.names() == [["a"], ["a", "b"]]
    assert len(bench.outbox) == 2
    answers[1].callback(None)
    assert len(bench.outbox) == 0


def test_the_server_away_and_back(logged: Logged) -> None:
    bench = Bench()
    bench.pusher.answer = raising(Unavailable("http://mon/ can't be reached: refused"))
    bench.report("a", "b", info="old")
    for wait_s in [1, 2, 4, 8, 16, 20, 20]:
        assert bench.sent_after(wait_s) == 1
    bench.report("a", info="new")
    bench.pusher.answer = lambda _: None
    assert bench.sent_after(20) == 1
    assert [(r.name, r.info) for r in bench.pusher.states[-1]] == [("b", "old"), ("a", "new")]
    assert len(bench.outbox) == 0
    assert [line.partition(" (")[0] for line in logged] == [
        "http://mon/ can't be reached: refused",
        "the server takes reports again",
    ]
    bench.report("a")
    assert bench.pusher.names()[-1] == ["a"]
    bench.pusher.answer = raising(Unavailable("away"))
    bench.report("a")
    assert bench.sent_after(1) == 1  # the back-off begins anew


def test_a_refusal_is_logged_once_and_retried_slowly(logged: Logged) -> None:
    bench = Bench()
    bench.pusher.answer = raising(Refused("wrong key"))
    bench.report("a")
    for _ in range(3):
        bench.report("a", info="newer")
        assert bench.sent_after(60) == 1
    assert logged == ["wrong key (reports are kept and sent again)"]
    bench.pusher.answer = lambda _: None
    assert bench.sent_after(60) == 1
    assert len(bench.outbox) == 0
    assert logged[1:] == ["the server takes reports again"]


def test_a_report_the_server_objects_to_keeps_no_other_from_arriving(logged: Logged) -> None:
    def answer(reports: Sequence[Any]) -> None:
        if any(report.name == "bad\n" for report in reports):
            raise Refused("too odd", content=True)

    bench = Bench()
    bench.pusher.answer = answer
    bench.report("a", "b", "bad\n", "c", "d")
    assert [r.name for r in bench.outbox.states(60.0)] == ["bad\n"]
    assert logged == ["service bad : too odd (reports are kept and sent again)"]
    before = len(bench.pusher.states)
    bench.report("a", "bad\n")
    assert bench.pusher.names()[before:] == [["a"]]
    assert bench.sent_after(60) == 1
    assert len(logged) == 1
    bench.pusher.answer = lambda _: None
    assert bench.sent_after(60) == 1
    assert len(bench.outbox) == 0


def test_large_reports_go_in_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "REQUEST_BYTES", 1000)
    bench = Bench()
    bench.report("a", "b", "c", info="x" * 500)
    assert bench.pusher.names() == [["a"], ["b"], ["c"]]
    bench.report("a", "b", "c", info="x" * 400)
    assert bench.pusher.names()[3:] == [["a", "b"], ["c"]]


def test_alerts_go_after_states_and_are_retried_like_them() -> None:
    bench = Bench()
    bench.pusher.answer = raising(Unavailable("away"))
    bench.outbox.put_alert(AlertReport("x"))
    bench.report("a")
    assert (len(bench.pusher.states), len(bench.pusher.alerts)) == (1, 0)
    bench.pusher.answer = lambda _: None
    bench.clock.advance(1)
    assert bench.pusher.alerts == [[AlertReport("x")]]
    assert len(bench.outbox) == 0


def test_refused_alerts_keep_no_state_from_arriving() -> None:
    bench = Bench()
    bench.pusher.answer = lambda reports: (
        raising(Refused("no", content=True))(reports) if bench.pusher.alerts else None
    )
    bench.outbox.put_alert(AlertReport("x"))
    bench.delivery.send_by(0.0)
    assert len(bench.outbox.alerts(60.0)) == 1
    bench.pusher.answer = lambda _: None
    bench.report("a")
    assert (bench.pusher.names(), len(bench.pusher.alerts)) == ([["a"]], 1)
    bench.clock.advance(60)
    assert len(bench.outbox) == 0


def test_an_error_nobody_expected_does_not_end_the_delivery() -> None:
    bench = Bench()
    error = ZeroDivisionError("x")
    bench.pusher.answer = raising(error)
    bench.report("a")
    assert bench.errors == [error]
    bench.pusher.answer = lambda _: None
    assert bench.sent_after(1) == 1
    assert len(bench.outbox) == 0


def test_a_stop_makes_one_last_attempt(logged: Logged) -> None:
    bench = Bench()
    bench.pusher.answer = raising(Unavailable("away"))
    bench.report("a")
    stopped = bench.delivery.stopService()
    assert stopped.called
    assert bench.pusher.names() == [["a"], ["a"]]
    assert logged[-1] == "stopped; reports that were not sent: 1"
    bench.clock.advance(100)
    assert len(bench.pusher.states) == 2


def test_a_stop_waits_for_the_request_on_its_way() -> None:
    bench = Bench()
    answer = Deferred[None]()
    bench.pusher.answer = lambda _: answer
    bench.report("a")
    stopped = bench.delivery.stopService()
    assert not stopped.called
    answer.callback(None)
    assert stopped.called
    assert bench.pusher.names() == [["a"]]
    assert bench.clock.getDelayedCalls() == []


@pytest.mark.parametrize("on_its_way", [True, False])
def test_a_stop_takes_two_seconds_at_most(on_its_way: bool) -> None:
    bench = Bench()
    cancelled: list[object] = []
    if not on_its_way:
        bench.pusher.answer = raising(Unavailable("away"))
        bench.report("a")
    bench.pusher.answer = lambda _: Deferred(cancelled.append)
    if on_its_way:
        bench.report("a")
    stopped = bench.delivery.stopService()
    bench.clock.advance(1.9)
    assert not stopped.called
    bench.clock.advance(0.1)
    assert stopped.called
    assert len(cancelled) == 1
    assert len(bench.pusher.states) == (1 if on_its_way else 2)
    assert len(bench.outbox) == 1
    assert bench.clock.getDelayedCalls() == []


def test_a_stop_at_rest_sends_nothing() -> None:
    bench = Bench()
    assert bench.delivery.stopService().called
    assert bench.pusher.states == []
