from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support_daemon import Logged, our_log, result_of
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers

from overc.daemon.heartbeat import DEADLINE_S, FIRST_S, Heartbeat
from overc.daemon.store.kept_back import Backlog
from overc.daemon.vitals import LAG_MAX_S, Vitals
from overc.http_urls import split_credentials
from overc.transport import ExchangeError, Reply

URL = "https://hc.example.com/s3cret"
PERIOD_S = 60.0
WELL = Vitals(0.0, 0.1, None, Backlog(0, None))


class Patient:
    """Has the vital signs that the test gives it."""

    def __init__(self) -> None:
        self.vitals = WELL
        self.error: Exception | None = None

    async def take(self) -> Vitals:
        if self.error is not None:
            raise self.error
        return self.vitals


class Desk:
    """A heartbeat whose calls are answered by the test."""

    def __init__(self, url: str = URL) -> None:
        self.clock = Clock()
        self.patient = Patient()
        self.calls: list[dict[str, Any]] = []
        self.answer: Callable[[], Reply | Deferred[Reply]] = lambda: a_reply(200)
        pulse: Any = self.patient
        send: Any = self.send
        self.heartbeat = Heartbeat(self.clock, pulse, url, PERIOD_S, send)

    async def send(self, reactor: Any, method: str, url: str, **more: Any) -> Reply:
        assert reactor is self.clock
        self.calls.append({"method": method, "url": url, **more})
        answer = self.answer()
        return await answer if isinstance(answer, Deferred) else answer

    def start(self) -> None:
        self.heartbeat.startService()
        self.clock.advance(FIRST_S)

    def stop(self) -> None:
        result_of(self.heartbeat.stopService())
        assert self.clock.getDelayedCalls() == []


def a_reply(code: int, **headers: str) -> Reply:
    return Reply(code, Headers({name: [value] for name, value in headers.items()}), b"", True)


def fail(error: Exception) -> Callable[[], Reply]:
    def answer() -> Reply:
        raise error

    return answer


@pytest.fixture
def desk() -> Desk:
    return Desk()


def errors(lines: Logged) -> list[str]:
    return [line for line in lines if line.startswith("error")]


def test_it_calls_each_period(desk: Desk) -> None:
    with our_log() as lines:
        desk.start()
        assert len(desk.calls) == 1
        for _ in range(3):
            desk.clock.advance(PERIOD_S - 0.5)
            desk.clock.advance(0.5)
        desk.stop()
    assert len(desk.calls) == 4
    assert (desk.calls[0]["method"], desk.calls[0]["url"]) == ("GET", URL)
    assert desk.calls[0]["deadline_s"] == DEADLINE_S < PERIOD_S
    assert desk.calls[0]["credentials"] is None
    assert lines == []


def test_the_time_that_a_call_takes_is_part_of_the_period(desk: Desk) -> None:
    answer: Deferred[Reply] = Deferred()
    desk.answer = lambda: answer
    desk.start()
    desk.clock.advance(8)
    answer.callback(a_reply(200))
    desk.answer = lambda: a_reply(200)
    desk.clock.advance(PERIOD_S - 8.5)
    assert len(desk.calls) == 1
    desk.clock.advance(0.5)
    assert len(desk.calls) == 2
    desk.stop()


@pytest.mark.parametrize(
    "vitals, reason",
    [
        (WELL._replace(lag_s=LAG_MAX_S + 1), "the watchdog is behind by 31 s"),
        (WELL._replace(database="Unable to use it"), "Unable to use it"),
        (
            WELL._replace(lag_s=99.5, database="gone"),
            "the watchdog is behind by 99.5 s, gone",
        ),
        (WELL._replace(tick_age_s=None), "the watchdog has not looked at the deadlines yet"),
    ],
)
def test_it_does_not_call_for_a_server_that_does_not_do_its_work(
    desk: Desk, vitals: Vitals, reason: str
) -> None:
    desk.patient.vitals = vitals
    with our_log() as lines:
        desk.start()
        desk.clock.advance(PERIOD_S)
        assert desk.calls == []
        desk.patient.vitals = WELL
        desk.clock.advance(PERIOD_S)
        assert len(desk.calls) == 1
        desk.stop()
    assert lines == [
        f"error: no heartbeat: {reason}; the next try follows",
        "info: the heartbeat works again",
    ]


def test_a_backlog_of_alerts_is_no_reason_to_stop(desk: Desk) -> None:
    desk.patient.vitals = WELL._replace(lag_s=LAG_MAX_S, backlog=Backlog(1000, 1.0))
    desk.start()
    assert len(desk.calls) == 1
    desk.stop()


@pytest.mark.parametrize(
    "answer, reason",
    [
        (lambda: a_reply(500), "hc.example.com answers 500: check heartbeat-url"),
        (lambda: a_reply(404), "hc.example.com answers 404: check heartbeat-url"),
        (
            lambda: a_reply(302, location="https://b/\n"),
            "hc.example.com redirects to https://b/: put the final URL into heartbeat-url",
        ),
        (
            lambda: a_reply(307),
            "hc.example.com redirects to another address: put the final URL into heartbeat-url",
        ),
        (
            fail(ExchangeError("gave no answer within 10 s")),
            "hc.example.com gave no answer within 10 s",
        ),
    ],
)
def test_failures_are_logged_once_for_each_series_and_without_the_secret(
    desk: Desk, answer: Callable[[], Reply], reason: str
) -> None:
    desk.answer = answer
    with our_log() as lines:
        desk.start()
        for _ in range(3):
            desk.clock.advance(PERIOD_S)
        desk.answer = lambda: a_reply(204)
        desk.clock.advance(PERIOD_S)
        desk.answer = answer
        desk.clock.advance(PERIOD_S)
        desk.stop()
    assert len(desk.calls) == 6
    line = f"error: no heartbeat: {reason}; the next try follows"
    assert lines == [line, "info: the heartbeat works again", line]


def test_a_fault_of_ours_does_not_end_it(desk: Desk) -> None:
    desk.patient.error = ZeroDivisionError("oh")
    with our_log() as lines:
        desk.start()
        desk.clock.advance(PERIOD_S)
        desk.patient.error = None
        desk.clock.advance(PERIOD_S)
        desk.stop()
    assert len(desk.calls) == 1
    assert len(errors(lines)) + sum(line.startswith("critical") for line in lines) == 2


def test_stopping_ends_a_call_that_is_under_way(desk: Desk) -> None:
    cancelled: list[Deferred[Reply]] = []
    desk.answer = lambda: Deferred(cancelled.append)
    with our_log() as lines:
        desk.start()
        assert len(desk.calls) == 1
        desk.stop()
    assert len(cancelled) == 1
    assert lines == []
    desk.clock.advance(10 * PERIOD_S)
    assert len(desk.calls) == 1


def test_stopping_before_the_first_call(desk: Desk) -> None:
    desk.heartbeat.startService()
    desk.stop()
    assert desk.calls == []


def test_stopping_what_never_started(desk: Desk) -> None:
    result_of(desk.heartbeat.stopService())


def test_cancelled_from_elsewhere_it_goes_on(desk: Desk) -> None:
    desk.answer = fail(CancelledError())
    desk.start()
    desk.clock.advance(PERIOD_S)
    assert len(desk.calls) == 2
    desk.stop()


@pytest.mark.parametrize(
    "url, plain, credentials",
    [
        (URL, URL, None),
        ("http://u:p%40q@a:1/b?c", "http://a:1/b?c", ("u", "p@q")),
        ("http://u@a/", "http://a/", ("u", "")),
    ],
)
def test_credentials_of_the_url(url: str, plain: str, credentials: tuple[str, str] | None) -> None:
    assert split_credentials(url) == (plain, credentials)
    desk = Desk(url)
    desk.start()
    assert (desk.calls[0]["url"], desk.calls[0]["credentials"]) == (plain, credentials)
    desk.stop()
