from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from agent.conftest import Logged
from agent.doubles import a_report
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from overc.agent.failover import ASK_AGAIN_S, Servers
from overc.agent.push import Outgoing, PushError, Refused, Unavailable
from overc.agent.stamps import Skew

REPORT = Outgoing(None, [a_report("a")])
AWAY = Unavailable("away")


@dataclass
class OneServer:
    url: str
    fails: PushError | None = None
    pings: list[Deferred[None]] = field(default_factory=list)
    sent: int = 0
    closed: bool = False
    clock_skew_s: float | None = None

    async def push(self, outgoing: Outgoing) -> Skew | None:
        self.sent += 1
        if self.fails is not None:
            raise self.fails
        return Skew(float(self.sent), False, 0.0)

    async def ping(self) -> None:
        self.pings.append(Deferred())
        await self.pings[-1]

    def close(self) -> Deferred[None]:
        self.closed = True
        return succeed(None)


class Bench:
    def __init__(self, count: int = 3) -> None:
        self.clock = Clock()
        self.each = [OneServer(f"http://mon{n}/", clock_skew_s=float(n)) for n in range(count)]
        self.servers = Servers(self.clock, self.each, lambda: 0.5)

    def push(self) -> object:
        found: list[object] = []
        Deferred.fromCoroutine(self.servers.push(REPORT)).addCallbacks(
            found.append, lambda failure: found.append(failure.value)
        )
        return found[0]

    def sent(self) -> list[int]:
        return [one.sent for one in self.each]


def test_the_first_gets_everything() -> None:
    bench = Bench()
    assert bench.push() == Skew(1.0, False, 0.0)
    bench.push()
    assert bench.sent() == [2, 0, 0]
    assert (bench.servers.url, bench.servers.clock_skew_s) == ("http://mon0/", 0.0)


def test_the_next_one_while_it_is_down(logged: Logged) -> None:
    bench = Bench()
    bench.each[0].fails = AWAY
    assert bench.push() == Skew(1.0, False, 0.0)
    bench.push()
    assert bench.sent() == [1, 2, 0]
    assert logged == ["reports go to http://mon1/ now"]
    assert (bench.servers.url, bench.servers.clock_skew_s) == ("http://mon1/", 1.0)
    # And round again, when that one fails too.
    bench.each[1].fails = Refused("wrong key")
    bench.each[2].fails = AWAY
    bench.each[0].fails = None
    bench.push()
    assert bench.sent() == [2, 3, 1]
    assert bench.servers.url == "http://mon0/"


@pytest.mark.parametrize(
    "errors, kind, words, after_s",
    [
        ([AWAY], Unavailable, "away", None),
        ([Refused("no")], Refused, "no", None),
        ([Unavailable("a", 9.0), Unavailable("b", 5.0)], Unavailable, "a; b", 5.0),
        ([Refused("a"), Unavailable("b")], Unavailable, "a; b", None),
        ([Refused("a"), Refused("b")], Refused, "a; b", None),
    ],
)
def test_when_no_server_takes_it(
    errors: list[PushError], kind: type, words: str, after_s: float | None
) -> None:
    bench = Bench(len(errors))
    for one, error in zip(bench.each, errors, strict=True):
        one.fails = error
    told = bench.push()
    assert type(told) is kind
    assert str(told) == words
    assert getattr(told, "after_s", None) == after_s


def test_a_report_that_one_objects_to_is_not_tried_elsewhere() -> None:
    bench = Bench()
    bench.each[0].fails = AWAY
    bench.each[1].fails = error = Refused("odd", content=True)
    assert bench.push() is error
    assert bench.sent() == [1, 1, 0]
    assert bench.servers.url == "http://mon1/"


def test_the_first_one_is_preferred_again() -> None:
    bench = Bench()
    bench.each[0].fails = bench.each[1].fails = AWAY
    bench.push()
    bench.clock.advance(ASK_AGAIN_S - 1)
    bench.push()
    assert [len(one.pings) for one in bench.each] == [0, 0, 0]
    bench.clock.advance(1)
    bench.push()
    # The reports wait for no answer to this.
    bench.push()
    assert [len(one.pings) for one in bench.each] == [1, 0, 0]
    assert bench.each[2].sent == 4
    bench.each[0].pings[0].errback(AWAY)
    assert len(bench.each[1].pings) == 1
    bench.each[1].fails = None
    bench.each[1].pings[0].callback(None)
    bench.push()
    assert (bench.servers.url, bench.each[1].sent) == ("http://mon1/", 2)
    bench.clock.advance(ASK_AGAIN_S)
    bench.push()
    bench.each[0].fails = None
    bench.each[0].pings[1].callback(None)
    bench.push()
    assert bench.each[0].sent == 2
    bench.clock.advance(10 * ASK_AGAIN_S)
    bench.push()
    assert len(bench.each[0].pings) == 2


def test_a_close_ends_the_asking() -> None:
    bench = Bench()
    bench.each[0].fails = AWAY
    bench.push()
    bench.clock.advance(ASK_AGAIN_S)
    bench.push()
    assert bench.servers.close().called
    assert bench.each[0].pings[0].called
    assert [one.closed for one in bench.each] == [True, True, True]
