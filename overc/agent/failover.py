"""Several servers: the first that answers gets the reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.python.failure import Failure

from overc.agent.push import Outgoing, PushError, Refused, Unavailable
from overc.agent.stamps import Skew
from overc.logging import get_logger

ASK_AGAIN_S = 60.0
"""How often a server that is preferred is asked whether it is back; jittered by half of it."""

log = get_logger(__name__)


class OnePusher(Protocol):
    """What `overc.agent.push.HttpPusher` promises."""

    @property
    def url(self) -> str: ...

    @property
    def clock_skew_s(self) -> float | None: ...

    async def push(self, outgoing: Outgoing) -> Skew | None: ...

    async def ping(self) -> None: ...

    def close(self) -> Deferred[None]: ...


class Servers:
    """Sends reports to the first server of a list that takes them.

    While that is not the first of the list, the ones before it are asked now and then, beside the
    reports and without holding them up.
    """

    def __init__(
        self, reactor: Any, pushers: Sequence[OnePusher], random: Callable[[], float]
    ) -> None:
        self._reactor = reactor
        self._pushers = pushers
        self._random = random
        self._at = 0
        self._ask_at = 0.0
        self._asking: Deferred[None] | None = None

    @property
    def url(self) -> str:
        """Where reports go now."""
        return self._pushers[self._at].url

    @property
    def clock_skew_s(self) -> float | None:
        """By how much our clock is ahead of that server's, to a second; None: not known yet."""
        return self._pushers[self._at].clock_skew_s

    async def push(self, outgoing: Outgoing) -> Skew | None:
        """Send a report. Raises Unavailable or Refused, when no server takes it."""
        errors: list[PushError] = []
        count = len(self._pushers)
        for place in [(self._at + n) % count for n in range(count)]:
            try:
                skew = await self._pushers[place].push(outgoing)
            except (Unavailable, Refused) as e:
                # What this one objects to in a report, the next one would too.
                if isinstance(e, Refused) and e.content:
                    self._use(place)
                    raise
                errors.append(e)
            else:
                self._use(place)
                self._ask()
                return skew
        raise _sum(errors)

    def close(self) -> Deferred[None]:
        """Close all connections; the Deferred fires when they are closed."""
        if self._asking is not None:
            self._asking.cancel()
        closing = gatherResults([pusher.close() for pusher in self._pushers])
        return closing.addCallback(lambda _: None)

    def _use(self, place: int) -> None:
        if place == self._at:
            return
        log.warn("reports go to {url} now", url=self._pushers[place].url)
        self._at = place
        self._plan_to_ask()

    def _plan_to_ask(self) -> None:
        self._ask_at = self._reactor.seconds() + ASK_AGAIN_S * (0.5 + self._random())

    def _ask(self) -> None:
        """Ask the servers before the present one, if it is time to."""
        if self._at == 0 or self._asking is not None or self._reactor.seconds() < self._ask_at:
            return
        asking = Deferred.fromCoroutine(self._ask_in_order())
        asking.addErrback(_note)
        if not asking.called:
            self._asking = asking

    async def _ask_in_order(self) -> None:
        self._plan_to_ask()
        try:
            for place in range(self._at):
                try:
                    await self._pushers[place].ping()
                except (Unavailable, Refused):
                    continue
                self._use(place)
                break
        finally:
            self._asking = None


def _note(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("a server could not be asked", failure)


def _sum(errors: Sequence[PushError]) -> PushError:
    """Return one error for those of all servers; it is Refused only if each of them is."""
    if len(errors) == 1:
        return errors[0]
    sentence = "; ".join(str(error) for error in errors)
    waits = [e.after_s for e in errors if isinstance(e, Unavailable)]
    if not waits:
        return Refused(sentence)
    return Unavailable(sentence, min((wait for wait in waits if wait is not None), default=None))
