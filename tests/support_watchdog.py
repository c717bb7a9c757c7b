"""What the tests of the watchdog share."""

from __future__ import annotations

from support_daemon import FakeClock, SteppedStore, a_recorder, a_report, a_state, record, rows
from twisted.internet.task import Clock

from overc.daemon.node_clocks import Lead
from overc.daemon.watchdog import TICK_S, Watchdog

LOOK = "look for late services"
GRANT = "grant every service its period"
MARK = "mark services late"
FOLLOW = "follow a step of the wall clock"


class OtherNode:
    """Another process, whose clock may be behind ours."""

    def __init__(self) -> None:
        self.lead_s = 0.0
        self.lost = False
        self.left = False

    async def look(self) -> Lead:
        lost, self.lost = self.lost, False
        return Lead(self.lead_s, lost)

    async def leave(self) -> None:
        self.left = True


class Kennel:
    """A watchdog whose reactor and clocks go together, unless a test pulls them apart."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.store = SteppedStore(path)
        self.reactor = Clock()
        self.clock = FakeClock()
        self.nudges = 0
        self.recorder = a_recorder("mail")
        self.other = OtherNode()
        self.dog = self.make_dog()

    def make_dog(self) -> Watchdog:
        return Watchdog(
            self.reactor, self.store, self.clock, self.recorder, self._nudge, self.other
        )

    def _nudge(self) -> None:
        self.nudges += 1

    def start(self) -> None:
        self.dog.startService()

    def pass_time(self, span_s: float) -> None:
        for _ in range(round(span_s / TICK_S)):
            self.clock.advance(TICK_S)
            self.reactor.advance(TICK_S)

    def jump(self, span_s: float) -> None:
        """Let time pass in which this process did not run."""
        self.clock.advance(span_s)
        self.reactor.advance(span_s)

    def report(self, *periods_s: int) -> None:
        states = [
            a_state(f"service {number}", period_s=one) for number, one in enumerate(periods_s)
        ]
        record(self.path, self.recorder, self.clock, a_report(*states))

    def late(self) -> list[int]:
        found = rows(self.path, "select id from services where timed_out = 1 order by id")
        return [id_ for (id_,) in found]

    def deadline_in_s(self) -> float:
        [(deadline_at,)] = rows(
            self.path,
            "select deadline_at from services join latest on service_id = id",
        )
        left_s: float = deadline_at - self.clock.steady_at
        return left_s

    def count(self, description: str) -> int:
        return self.store.calls.count(description)
