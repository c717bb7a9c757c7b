"""What the tests of the delivery share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agent.doubles import FakeClock, FakePusher, a_report
from twisted.internet.task import Clock

from overc.agent.delivery import Delivery
from overc.agent.delivery_settings import SpoolSettings
from overc.agent.outbox import Outbox
from overc.agent.worker import Here


def raising(error: Exception) -> Callable[[Sequence[Any]], None]:
    def answer(_: Sequence[Any]) -> None:
        raise error

    return answer


HOLD_S = 30.0 + 20.0
"""The longest wait of the other agents, and one of our own."""


class Bench:
    """A Delivery on a Clock, with `random` in the middle: no jitter."""

    def __init__(self, path: str | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.clocks = FakeClock(self.clock)
        self.random = 0.5
        self.pusher = FakePusher()
        self.outbox = Outbox(
            self.clock,
            "host",
            SpoolSettings(path),
            clock=self.clocks,
            make_worker=lambda reactor, name: Here(),
        )
        self.errors: list[Exception] = []
        self.delivery = self.new_delivery()
        self.outbox.startService()

    def new_delivery(self) -> Delivery:
        return Delivery(
            self.clock,
            self.pusher,
            self.outbox,
            random=lambda: self.random,
            failed=self.errors.append,
            clock=self.clocks,
        )

    def start(self) -> Bench:
        self.delivery.startService()
        return self

    def report(self, *names: str, info: str = "") -> None:
        for name in names:
            self.outbox.put_state(a_report(name, info))
        self.delivery.send_by(self.clock.seconds())

    def sent_after(self, seconds: float) -> int:
        """Return how many requests are made after exactly this time, none being made before."""
        before = len(self.pusher.sent)
        self.clock.advance(seconds - 0.01)
        assert len(self.pusher.sent) == before
        self.clock.advance(0.010001)
        return len(self.pusher.sent) - before

    def numbers(self) -> list[int]:
        return [one.spooled.seq for one in self.pusher.sent if one.spooled]

    def infos(self) -> list[list[tuple[str, str]]]:
        return [[(r.name, r.info) for r in one.services] for one in self.pusher.sent]

    def stop(self) -> None:
        assert self.delivery.stopService().called
        assert self.outbox.stopService().called
