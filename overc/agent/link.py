"""The way to the server: what keeps reports, what sends them, and what speaks HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred

from overc.agent.delivery import Delivery, Pusher
from overc.agent.outbox import Outbox
from overc.agent.schedule import AIM
from overc.agent.settings import AgentSettings


class ClosablePusher(Pusher, Protocol):
    """A Pusher that holds connections."""

    @property
    def clock_skew_s(self) -> float | None:
        """How far our clock is ahead of the server's; None: nobody knows."""

    def close(self) -> Deferred[None]: ...


class Parts(NamedTuple):
    """Makes what depends on the settings."""

    outbox: Callable[[AgentSettings], Outbox]
    pusher: Callable[[AgentSettings], ClosablePusher]


class Link:
    """Joins the three, and renews those of them that changed settings concern.

    Reports go into `outbox` at any time, also while `renew` or `stop` goes on.
    """

    def __init__(
        self,
        reactor: Any,
        settings: AgentSettings,
        parts: Parts,
        *,
        random: Callable[[], float],
        failed: Callable[[Exception], None],
    ) -> None:
        self._reactor = reactor
        self._parts = parts
        self._random = random
        self._failed = failed
        self._settings = settings
        self.outbox = parts.outbox(settings)
        self.pusher = parts.pusher(settings)
        self.delivery = self._delivery()

    def start(self) -> None:
        self.outbox.startService()
        self.delivery.startService()

    async def stop(self) -> None:
        """Make one last attempt to send what there is, and put everything away."""
        await self.delivery.stopService()
        await self.pusher.close()
        await self.outbox.stopService()

    async def renew(self, settings: AgentSettings) -> None:
        """Go by other settings from now on. What is not sent yet stays in its spool."""
        old, self._settings = self._settings, settings
        to_others = _whom(old) != _whom(settings)
        if to_others or _pace(old) != _pace(settings):
            new_outbox = _where(old) != _where(settings)
            old_outbox = self.outbox
            if new_outbox:
                # What comes in the meantime gathers in the new one, which is not open yet: it may
                # be the same file.
                self.outbox = self._parts.outbox(settings)
            await self.delivery.stopService()
            if to_others:
                await self.pusher.close()
                self.pusher = self._parts.pusher(settings)
            if new_outbox:
                await old_outbox.stopService()
                self.outbox.startService()
            self.delivery = self._delivery()
            self.delivery.startService()
            self.delivery.send_by(self._reactor.seconds())

    def _delivery(self) -> Delivery:
        shortest_s, states_per_s = _pace(self._settings)
        return Delivery(
            self._reactor,
            self.pusher,
            self.outbox,
            random=self._random,
            failed=self._failed,
            shortest_period_s=shortest_s,
            states_per_s=states_per_s,
        )


def _whom(settings: AgentSettings) -> tuple[object, ...]:
    """Return what decides who gets the reports, and from which spool."""
    return (settings.servers, settings.identity, settings.tls, *_where(settings))


def _where(settings: AgentSettings) -> tuple[object, ...]:
    return (settings.identity.name, settings.spool)


def _pace(settings: AgentSettings) -> tuple[float, float]:
    """Return the shortest period, and how many states there are in a second."""
    periods = [service.period_s for service in settings.services]
    return min(periods), sum(1 / (AIM * period_s) for period_s in periods)
