from __future__ import annotations

import pytest
from support_daemon import WALL_AT, FakeClock, our_log, result_of
from twisted.internet.defer import CancelledError, Deferred

from overc.daemon.alerting.messages import Kind, Message, render_text
from overc.daemon.alerting.senders import Attempt, Sender
from overc.daemon.alerting.trial import NoTrial, Result, Trial, TrialUnderWay, a_test


class FakeSender:
    """Ends a try when the test says so."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.cancelled = 0
        self.end: Deferred[Attempt] = Deferred(self._cancel)

    def _cancel(self, _: object) -> None:
        self.cancelled += 1

    async def send(self, message: Message) -> Attempt:
        self.messages.append(message)
        return await self.end


class Desk:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.mail, self.chat = FakeSender(), FakeSender()
        senders: dict[str, Sender] = {"mail": self.mail, "chat": self.chat}
        self.trial = Trial(self.clock, senders)
        self.trial.startService()

    def send(self, *plugins: str) -> Deferred[list[Result]]:
        return Deferred.fromCoroutine(self.trial.send(plugins))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_is_sent() -> None:
    message = a_test(WALL_AT)
    assert message.kind is Kind.TEST
    text = render_text(message, WALL_AT)
    assert text == "OverC: [overc/test] This is a test of the alert channel, nothing is wrong\n"


def test_results_are_what_came_of_it_in_the_order_asked_for(desk: Desk) -> None:
    assert desk.trial.plugins == ["mail", "chat"]
    sending = desk.send("mail", "chat")
    desk.clock.advance(1.5)
    desk.chat.end.callback(Attempt(False, "exit status 1: no"))
    desk.clock.advance(1)
    assert not sending.called
    with our_log() as lines:
        desk.mail.end.callback(Attempt(True, "queued"))
    assert result_of(sending) == [
        Result("mail", True, "queued", 2.5),
        Result("chat", False, "exit status 1: no", 1.5),
    ]
    assert desk.mail.messages == desk.chat.messages == [a_test(WALL_AT)]
    assert lines == ["info: a test through the alert plugin mail was delivered"]


def test_through_one(desk: Desk) -> None:
    sending = desk.send("chat")
    desk.chat.end.callback(Attempt(True, ""))
    assert [one.plugin for one in result_of(sending)] == ["chat"]
    assert desk.mail.messages == []


def test_through_none(desk: Desk) -> None:
    assert result_of(desk.send()) == []


def test_one_test_at_a_time(desk: Desk) -> None:
    first = desk.send("mail")
    with pytest.raises(TrialUnderWay, match=r"^a test is under way already: wait for its end$"):
        result_of(desk.send("chat"))
    desk.mail.end.callback(Attempt(True, ""))
    result_of(first)
    desk.chat.end.callback(Attempt(True, ""))
    assert result_of(desk.send("chat"))[0].delivered


def test_a_sender_with_a_fault_is_a_result_too(desk: Desk) -> None:
    sending = desk.send("mail", "chat")
    desk.mail.end.errback(ZeroDivisionError("oh"))
    with our_log() as lines:
        desk.chat.end.callback(Attempt(True, ""))
    words = "the server failed (ZeroDivisionError): its log says why"
    assert [one.words for one in result_of(sending)] == [words, ""]
    assert len(lines) == 1


def test_whoever_goes_away_ends_it(desk: Desk) -> None:
    sending = desk.send("mail", "chat")
    desk.chat.end.callback(Attempt(True, ""))
    sending.cancel()
    with pytest.raises(CancelledError):
        result_of(sending)
    assert (desk.mail.cancelled, desk.chat.cancelled) == (1, 0)


def test_stopping_ends_it_and_waits_for_the_end(desk: Desk) -> None:
    # Its command needs its time to end.
    slow: Deferred[Attempt] = Deferred(lambda d: None)
    slow.addErrback(lambda _: end)
    end: Deferred[Attempt] = Deferred()
    desk.mail.end = slow
    sending = desk.send("mail")
    stopping = Deferred.fromCoroutine(desk.trial.stopService())
    assert not stopping.called
    end.callback(Attempt(False, "killed"))
    result_of(stopping)
    assert not result_of(sending)[0].delivered


def test_stopping_with_nothing_to_end(desk: Desk) -> None:
    result_of(desk.trial.stopService())


def test_who_waits_for_a_test_that_was_stopped_is_told(desk: Desk) -> None:
    sending = desk.send("mail")
    result_of(desk.trial.stopService())
    assert desk.mail.cancelled == 1
    for refused, words in [(sending, "the server stops"), (desk.send("chat"), "is not ready")]:
        with pytest.raises(NoTrial, match=words):
            result_of(refused)
