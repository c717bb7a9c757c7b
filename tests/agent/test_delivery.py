from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from agent.conftest import Logged
from agent.delivery_doubles import HOLD_S, Bench, raising
from agent.doubles import a_report
from twisted.internet.defer import Deferred

from overc.agent.delivery import asked_s, retry_s
from overc.agent.push import Refused, Unavailable
from overc.model import AlertReport, ServiceReport, State


@pytest.fixture
def bench() -> Bench:
    return Bench().start()


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


@pytest.mark.parametrize(
    "after_s, random, expected",
    [
        (None, 0.5, 0.0),
        (5.0, 0.0, 5.0),
        (5.0, 1.0, 7.5),
        (1e9, 1.0, 60.0),
        (0.0, 0.5, 0.0),
    ],
)
def test_what_the_server_asks_for(after_s: float | None, random: float, expected: float) -> None:
    assert asked_s(after_s, random) == pytest.approx(expected)


def test_what_is_there_goes_in_one_request(bench: Bench) -> None:
    bench.report("a", "b")
    assert bench.pusher.names() == [["a", "b"]]
    [outgoing] = bench.pusher.sent
    assert outgoing.spooled == (bench.outbox.spool, 1)
    assert [one.seen_at for one in outgoing.services] == [1_000_000.0] * 2
    assert len(bench.outbox) == 0
    assert bench.clock.getDelayedCalls() == []


def test_it_waits_until_the_time_given_or_an_earlier_one(bench: Bench) -> None:
    bench.outbox.put_state(a_report("a"))
    bench.delivery.send_by(1.0)
    bench.delivery.send_by(3.0)
    assert bench.sent_after(1.0) == 1
    bench.outbox.put_state(a_report("a"))
    bench.delivery.send_by(4.0)
    bench.delivery.send_by(2.0)
    assert bench.sent_after(1.0) == 1


def test_with_nothing_to_send_nothing_is_sent(bench: Bench) -> None:
    bench.delivery.send_by(0.0)
    bench.clock.advance(100)
    assert bench.pusher.sent == []


def test_one_request_at_a_time_and_what_comes_meanwhile_follows(bench: Bench) -> None:
    answers = [Deferred[None](), Deferred[None]()]
    waiting = list(answers)
    bench.pusher.answer = lambda _: waiting.pop(0)
    bench.report("a", info="old")
    bench.report("a", "b", info="new")
    assert bench.pusher.names() == [["a"]]
    # It is kept while the request before it is on its way.
    assert bench.outbox.condition().reports == 2
    answers[0].callback(None)
    assert bench.pusher.names() == [["a"], ["a", "b"]]
    assert len(bench.outbox) == 2
    answers[1].callback(None)
    assert len(bench.outbox) == 0


def test_the_server_away_and_back(bench: Bench, logged: Logged) -> None:
    bench.pusher.answer = raising(Unavailable("http://mon/ can't be reached: refused"))
    bench.report("a", "b", info="1")
    assert not bench.delivery.reachable
    for wait_s in [1, 2, 4, 8, 16, 20, 20]:
        assert bench.sent_after(wait_s) == 1
    bench.report("a", info="2")
    bench.report("a", info="3")
    bench.pusher.answer = lambda _: None
    before = len(bench.pusher.sent)
    assert bench.sent_after(20) == 2
    # The present: it is the third report, and of b the first. Then what a was meanwhile.
    assert bench.sent_after(HOLD_S) == 1
    assert bench.numbers()[before:] == [3, 1, 2]
    assert len(bench.outbox) == 0
    assert [line.partition(" (")[0] for line in logged] == [
        "http://mon/ can't be reached: refused",
        "the server takes reports again",
    ]
    assert bench.delivery.reachable
    bench.report("a")
    assert bench.pusher.names()[-1] == ["a"]
    bench.pusher.answer = raising(Unavailable("away"))
    bench.report("a")
    assert bench.sent_after(1) == 1  # the back-off begins anew


def test_the_server_says_when_to_come_again(bench: Bench) -> None:
    bench.pusher.answer = raising(Unavailable("busy", after_s=20.0))
    bench.report("a")
    assert bench.sent_after(25) == 1
    bench.pusher.answer = raising(Unavailable("busy", after_s=1e9))
    assert bench.sent_after(25) == 1
    assert bench.sent_after(50) == 1


def test_a_refusal_is_logged_once_and_retried_slowly(bench: Bench, logged: Logged) -> None:
    bench.pusher.answer = raising(Refused("wrong key"))
    bench.report("a")
    for _ in range(3):
        bench.report("a", info="newer")
        assert bench.sent_after(60) == 1
    assert logged == ["wrong key (reports are kept and sent again)"]
    bench.pusher.answer = lambda _: None
    assert bench.sent_after(60) == 1
    bench.clock.pump([1.0] * 60)
    assert len(bench.outbox) == 0
    assert logged[1:] == ["the server takes reports again"]


def no_bad_ones(reports: Sequence[Any]) -> None:
    if any(report.name == "bad\n" for report in reports):
        raise Refused("too odd", content=True)


def test_a_report_the_server_objects_to_keeps_no_other_from_arriving(
    bench: Bench, logged: Logged
) -> None:
    bench.pusher.answer = no_bad_ones
    bench.report("a", "b", "bad\n", "c", "d")
    spool = bench.outbox.spool
    part = f"{spool}:1"
    assert [(one.spooled, [r.name for r in one.services]) for one in bench.pusher.sent] == [
        ((spool, 1), ["a", "b", "bad\n", "c", "d"]),
        ((part, 2**40), []),
        ((part, 2), ["a", "b"]),
        ((part, 3), ["bad\n", "c", "d"]),
        ((part, 6), ["bad\n"]),
        ((part, 7), ["c", "d"]),
    ]
    assert len(bench.outbox) == 1
    assert logged == ["service bad : too odd (reports are kept and sent again)"]
    before = len(bench.pusher.states)
    bench.report("a", "bad\n")
    # It travels alone now. The one before it is old, so nobody wants it any more.
    bench.clock.pump([1.0] * 50)
    assert bench.pusher.names()[before:] == [["bad\n"], ["a"], ["bad\n"]]
    assert bench.outbox.troubles() == ["1 state was dropped: the server refuses them"]
    assert bench.sent_after(10) == 1
    assert len(logged) == 2
    bench.pusher.answer = lambda _: None
    assert bench.sent_after(60) == 1
    assert len(bench.outbox) == 0
    bench.report("a", "bad\n")
    assert bench.pusher.names()[-1] == ["a", "bad\n"]


def test_a_crash_while_a_report_is_taken_apart_doubles_nothing(tmp_path: Any) -> None:
    path = str(tmp_path / "spool.db")
    former = Bench(path).start()

    def answer(reports: Sequence[Any]) -> Deferred[None] | None:
        no_bad_ones(reports)
        return Deferred() if [report.name for report in reports] == ["c"] else None

    former.pusher.answer = answer
    former.report("a", "bad\n", "c")
    assert former.pusher.names() == [["a", "bad\n", "c"], ["a"], ["bad\n", "c"], ["bad\n"], ["c"]]
    names = {tuple(one.services): one.spooled for one in former.pusher.sent if one.services}
    # Gone without a word.
    former.outbox._store.spool.close()
    bench = Bench(path)
    bench.pusher.answer = no_bad_ones
    bench.start()
    assert names == {tuple(one.services): one.spooled for one in bench.pusher.sent if one.services}
    assert len(bench.outbox) == 1
    bench.stop()


def test_reports_get_smaller_when_the_server_finds_them_too_large(bench: Bench) -> None:
    def answer(reports: Sequence[Any]) -> None:
        if len(reports) > 2:
            raise Refused("too large", content=True, too_large=60_000)

    bench.pusher.answer = answer
    bench.report("a", "b", "c", info="x" * 20_000)
    assert bench.pusher.names() == [["a", "b", "c"], ["a"], ["b", "c"]]
    assert len(bench.outbox) == 0
    bench.report("a", "b", "c", info="x" * 20_000)
    assert bench.pusher.names()[3:] == [["c"], ["b"], ["a"]]


def test_alerts_go_after_states_and_are_retried_like_them(bench: Bench) -> None:
    bench.pusher.answer = raising(Unavailable("away"))
    bench.outbox.put_alert(AlertReport("x"))
    bench.report("a")
    assert (len(bench.pusher.states), len(bench.pusher.alerts)) == (1, 0)
    bench.pusher.answer = lambda _: None
    bench.clock.advance(1)
    assert list(bench.pusher.alerts[0]) == [AlertReport("x")]
    assert len(bench.outbox) == 0


def test_refused_alerts_keep_no_state_from_arriving(bench: Bench, logged: Logged) -> None:
    bench.pusher.answer = lambda reports: (
        raising(Refused("no", content=True))(reports) if bench.pusher.alerts else None
    )
    bench.outbox.put_alert(AlertReport("x"))
    bench.delivery.send_by(0.0)
    assert len(bench.outbox) == 1
    assert logged == ["alerts: no (reports are kept and sent again)"]
    bench.pusher.answer = lambda _: None
    bench.report("a")
    assert (bench.pusher.names(), len(bench.pusher.alerts)) == ([["a"]], 1)
    bench.clock.advance(60)
    assert len(bench.outbox) == 0


def test_an_error_nobody_expected_does_not_end_the_delivery(bench: Bench) -> None:
    error = ZeroDivisionError("x")
    bench.pusher.answer = raising(error)
    bench.report("a")
    assert bench.errors == [error]
    bench.pusher.answer = lambda _: None
    assert bench.sent_after(1) == 1
    assert len(bench.outbox) == 0


def test_an_error_in_keeping_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def keep() -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(bench.outbox, "keep", keep)
        bench.report("a")
    assert [type(error) for error in bench.errors] == [ZeroDivisionError]
    bench.report("b")
    assert bench.pusher.names() == [["a", "b"]]


def test_a_stop_makes_one_last_attempt(bench: Bench, logged: Logged) -> None:
    bench.pusher.answer = raising(Unavailable("away"))
    bench.report("a")
    stopped = bench.delivery.stopService()
    assert stopped.called
    assert bench.pusher.names() == [["a"], ["a"]]
    assert logged[-1] == "stopped; states that were not sent: 1 (they were in memory)"
    bench.clock.advance(100)
    assert len(bench.pusher.states) == 2


def test_a_stop_sends_what_has_gathered_but_no_backlog(bench: Bench) -> None:
    bench.pusher.answer = raising(Unavailable("away"))
    for info in range(3):
        bench.report("a", info=str(info))
    bench.outbox.put_state(a_report("b"))
    bench.pusher.sent.clear()
    bench.pusher.answer = lambda _: None
    assert bench.delivery.stopService().called
    assert bench.infos() == [[("b", "")], [("a", "2")]]
    assert len(bench.outbox) == 2


def test_a_stop_waits_for_the_request_on_its_way(bench: Bench) -> None:
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
def test_a_stop_takes_two_seconds_at_most(bench: Bench, on_its_way: bool) -> None:
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
    assert bench.errors == []
    assert bench.clock.getDelayedCalls() == []


def test_a_stop_at_rest_sends_nothing(bench: Bench) -> None:
    assert bench.delivery.stopService().called
    assert bench.pusher.sent == []


def test_the_outbox_outlives_a_delivery(bench: Bench) -> None:
    bench.pusher.answer = raising(Unavailable("away"))
    bench.report("a")
    assert bench.delivery.stopService().called
    bench.outbox.put_state(ServiceReport("b", State.OK, "", 60))
    bench.pusher.answer = lambda _: None
    bench.pusher.sent.clear()
    again = bench.new_delivery()
    again.startService()
    again.send_by(bench.clock.seconds())
    assert bench.pusher.names() == [["a"], ["b"]]
