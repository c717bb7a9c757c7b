"""Sends a test through the alert plugins, the way that alerts go, and says how it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList

from overc.clock import Clock
from overc.daemon.alerting.messages import Kind, Message
from overc.daemon.alerting.senders import Attempt, Sender
from overc.logging import get_logger, one_line
from overc.model import Notice, Phase, State, Topic

WORDS = "This is a test of the alert channel, nothing is wrong"

log = get_logger(__name__)


class Result(NamedTuple):
    """How the test went through one alert plugin."""

    plugin: str
    delivered: bool
    words: str
    """The plugin's last words, or in words why it was not delivered."""
    took_s: float


class TrialUnderWay(Exception):
    """One test at a time: plugins are slow, and people get what they send."""


class NoTrial(Exception):
    """The server has not started, or stops."""


class Trial(Service):
    """Nothing of a test is stored, and none is tried again."""

    def __init__(self, clock: Clock, senders: Mapping[str, Sender]) -> None:
        """`senders`: by the names of the alert plugins, in the order of the INI file."""
        self._clock = clock
        self._senders = dict(senders)
        self._sending: Deferred[Any] | None = None

    @property
    def plugins(self) -> list[str]:
        return list(self._senders)

    async def send(self, plugins: Sequence[str]) -> list[Result]:
        """Send to some of `plugins`, at once; return the results in their order.

        Raises TrialUnderWay or NoTrial. Cancelling it ends what is under way.
        """
        if not self.running:
            raise NoTrial("the server is not ready: try again soon")
        if self._sending is not None:
            raise TrialUnderWay("a test is under way already: wait for its end")
        message = a_test(self._clock.wall())
        # It fires when all have ended, cancelled or not.
        self._sending = DeferredList(
            [Deferred.fromCoroutine(self._send(name, message)) for name in plugins],
            consumeErrors=True,
        )
        try:
            ended = await self._sending
        finally:
            self._sending = None
        if not all(came for came, _ in ended):
            if self.running:
                raise CancelledError
            raise NoTrial("the server stops: try again soon")
        return [result for _, result in ended]

    async def stopService(self) -> None:
        super().stopService()
        sending = self._sending
        if sending is not None:
            ended: Deferred[None] = Deferred()
            sending.addBoth(_pass_on, ended)
            sending.cancel()
            await ended

    async def _send(self, name: str, message: Message) -> Result:
        begun_at = self._clock.steady()
        try:
            attempt = await self._senders[name].send(message)
        except CancelledError:
            raise
        except Exception as e:
            log.failure("a test through the alert plugin {name} failed", name=name)
            attempt = Attempt(False, f"the server failed ({type(e).__name__}): its log says why")
        took_s = self._clock.steady() - begun_at
        log.info(
            "a test through the alert plugin {name} was {outcome}",
            name=name,
            outcome="delivered"
            if attempt.delivered
            else f"not delivered: {one_line(attempt.words)}",
        )
        return Result(name, attempt.delivered, attempt.words, took_s)


def _pass_on(result: Any, ended: Deferred[None]) -> Any:
    ended.callback(None)
    return result


def a_test(now_at: float) -> Message:
    """Return the message: about no server, so that nobody is sent looking for one."""
    notice = Notice(
        alert_id=0, channel="overc", event="test", severity=State.OK.value, message=WORDS,
        raised_at=now_at, phase=Phase.NOTE.value, topic=Topic.NONE.value,
        server=None, server_id=None, service=None, service_id=None,
        server_name=None, service_name=None,
        state=None, info=None, previous=None, since_at=None,
    )  # fmt: skip
    return Message(Kind.TEST, (notice,))
