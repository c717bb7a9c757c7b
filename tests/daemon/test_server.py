from __future__ import annotations

import errno
from typing import Any

import pytest
from support_daemon import our_log, result_of
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from zope.interface import implementer

from overc.daemon.server import AWAY_RETRY_S, Server, StartError, shown
from overc.daemon.store.errors import StorageError, StorageRefused

HOST = IPv4Address("TCP", "127.0.0.1", 5000)


class Stage:
    """What the parts did, in order; a part whose name is in `slow` waits for `go_on`."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.slow: dict[str, Deferred[None]] = {}
        self.failures: dict[str, Exception] = {}

    def do(self, event: str) -> Deferred[None]:
        self.events.append(event)
        if event in self.failures:
            raise self.failures[event]
        return self.slow.get(event, succeed(None))


class Part(Service):
    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.label = name

    def startService(self) -> None:
        super().startService()
        self.stage.do(f"start {self.label}")

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self.stage.do(f"stop {self.label}")


class FakeStore:
    may_be_away = False

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def open(self) -> None:
        await self.stage.do("open")

    def close(self) -> None:
        self.stage.do("close")

    async def write(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the server itself reads and writes nothing")

    read = write


class Port:
    def __init__(self, stage: Stage, name: str, host: IAddress) -> None:
        self.stage = stage
        self.name = name
        self.host = host

    def getHost(self) -> IAddress:
        return self.host

    def stopListening(self) -> Deferred[None]:
        return self.stage.do(f"stop {self.name}")


@implementer(IStreamServerEndpoint)
class Endpoint:
    def __init__(self, stage: Stage, name: str, host: IAddress = HOST) -> None:
        self.stage = stage
        self.name = name
        self.host = host
        self.factory: Any = None

    async def _listen(self) -> Port:
        await self.stage.do(f"listen {self.name}")
        return Port(self.stage, self.name, self.host)

    def listen(self, factory: Any) -> Deferred[Any]:
        self.factory = factory
        return ensureDeferred(self._listen())


class Play:
    def __init__(self, *endpoints: str) -> None:
        self.stage = Stage()
        self.factory = Factory()
        self.failed: list[StartError] = []
        self.endpoints = [Endpoint(self.stage, name) for name in endpoints or ("tcp",)]
        named = [(one.name, one) for one in self.endpoints]
        parts = [Part(self.stage, "a"), Part(self.stage, "b")]
        self.reactor = Clock()
        self.store = FakeStore(self.stage)
        self.server = Server(
            self.reactor, self.store, named, self.factory, parts, self.failed.append
        )

    @property
    def events(self) -> list[str]:
        return self.stage.events

    def stop(self) -> Deferred[None]:
        return ensureDeferred(self.server.stopService())


def test_start_and_stop_in_order() -> None:
    play = Play("tcp", "unix")
    with our_log() as lines:
        play.server.startService()
    assert play.events == ["open", "start a", "start b", "listen tcp", "listen unix"]
    assert [one.factory for one in play.endpoints] == [play.factory] * 2
    assert lines == ["info: listening on http://127.0.0.1:5000/"] * 2
    play.events.clear()
    result_of(play.stop())
    assert play.events == ["stop tcp", "stop unix", "stop b", "stop a", "close"]
    assert play.failed == []


def test_nothing_is_started_before_the_store_is_open() -> None:
    play = Play()
    play.stage.slow["open"] = Deferred()
    play.server.startService()
    assert play.events == ["open"]
    play.stage.slow["open"].callback(None)
    assert play.events == ["open", "start a", "start b", "listen tcp"]


def test_each_stop_waits_for_the_one_before() -> None:
    play = Play()
    play.server.startService()
    play.events.clear()
    for event in ("stop tcp", "stop b", "stop a"):
        play.stage.slow[event] = Deferred()
    stopped = play.stop()
    assert play.events == ["stop tcp"]
    play.stage.slow["stop tcp"].callback(None)
    assert play.events == ["stop tcp", "stop b"]
    play.stage.slow["stop b"].callback(None)
    assert play.events == ["stop tcp", "stop b", "stop a"]
    assert not stopped.called
    play.stage.slow["stop a"].callback(None)
    assert play.events == ["stop tcp", "stop b", "stop a", "close"]
    result_of(stopped)


def test_a_store_that_can_not_be_opened() -> None:
    play = Play()
    play.stage.failures["open"] = StorageRefused("x.db is of schema version 9")
    play.server.startService()
    assert [str(one) for one in play.failed] == ["x.db is of schema version 9"]
    result_of(play.stop())
    assert play.events == ["open"]


def away(play: Play) -> Play:
    play.store.may_be_away = True
    play.stage.failures["open"] = StorageError("the database mysql://u@h:1/d can't be opened: no")
    return play


def test_a_store_that_is_away_is_tried_again() -> None:
    play = away(Play())
    with our_log() as lines:
        play.server.startService()
    said = (
        "error: the database mysql://u@h:1/d can't be opened: no; the next try is in 2 s",
        "info: listening on http://127.0.0.1:5000/",
    )
    assert tuple(lines) == said
    # Who asks meanwhile is answered.
    assert play.events == ["open", "listen tcp"]
    play.reactor.advance(AWAY_RETRY_S - 0.1)
    assert play.events == ["open", "listen tcp"]
    play.reactor.advance(0.1)
    assert play.events == ["open", "listen tcp", "open"]
    play.stage.failures.clear()
    play.reactor.advance(AWAY_RETRY_S)
    assert play.events == ["open", "listen tcp", "open", "open", "start a", "start b"]
    assert play.failed == []
    play.events.clear()
    result_of(play.stop())
    assert play.events == ["stop tcp", "stop b", "stop a", "close"]
    assert play.reactor.getDelayedCalls() == []


def test_stop_while_a_store_is_away() -> None:
    play = away(Play())
    play.server.startService()
    result_of(play.stop())
    assert play.events == ["open", "listen tcp", "stop tcp"]
    assert play.reactor.getDelayedCalls() == []
    assert play.failed == []


def test_stop_while_a_store_that_is_away_is_tried() -> None:
    play = away(Play())
    play.server.startService()
    trying: Deferred[None] = Deferred()
    play.stage.slow["open"] = trying
    play.stage.failures.clear()
    play.reactor.advance(AWAY_RETRY_S)
    stopped = play.stop()
    assert not stopped.called
    trying.errback(StorageError("no"))
    result_of(stopped)
    assert play.events == ["open", "listen tcp", "open", "stop tcp"]
    assert play.reactor.getDelayedCalls() == []


def test_a_store_that_refuses_is_not_tried_again() -> None:
    play = away(Play())
    play.stage.failures["open"] = StorageRefused("access denied")
    play.server.startService()
    assert [str(one) for one in play.failed] == ["access denied"]
    assert play.events == ["open"]
    assert play.reactor.getDelayedCalls() == []


def test_a_store_that_is_never_away_is_not_tried_again() -> None:
    play = Play()
    play.stage.failures["open"] = StorageError("the database x can't be opened: no")
    play.server.startService()
    assert [str(one) for one in play.failed] == ["the database x can't be opened: no"]
    assert play.events == ["open"]


def test_a_port_that_can_not_be_had_while_the_store_is_away() -> None:
    play = away(Play())
    play.stage.failures["listen tcp"] = OSError(errno.EADDRINUSE, "Address in use")
    play.server.startService()
    assert [str(one) for one in play.failed] == ["can't listen on tcp: Address in use"]
    assert play.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("part", ["stop tcp", "stop b", "stop a"])
def test_a_part_that_does_not_stop_cleanly_keeps_nobody_from_stopping(part: str) -> None:
    play = Play()
    play.server.startService()
    play.events.clear()
    play.stage.failures[part] = ZeroDivisionError("bug")
    with our_log() as lines:
        result_of(play.stop())
    assert lines == ["critical: a part of the server did not stop cleanly"]
    assert play.events == ["stop tcp", "stop b", "stop a", "close"]


@pytest.mark.parametrize(
    "error, reason",
    [
        (
            CannotListenError("127.0.0.1", 5000, OSError(errno.EADDRINUSE, "Address in use")),
            "Address in use",
        ),
        (OSError(errno.ENOENT, "No such file or directory"), "No such file or directory"),
        (CannotListenError("127.0.0.1", 5000, Exception("odd")), "odd"),
    ],
)
def test_a_port_that_can_not_be_had(error: Exception, reason: str) -> None:
    play = Play("first", "second")
    play.stage.failures["listen second"] = error
    play.server.startService()
    assert [str(one) for one in play.failed] == [f"can't listen on second: {reason}"]
    play.events.clear()
    result_of(play.stop())
    assert play.events == ["stop first", "stop b", "stop a", "close"]


def test_a_part_that_can_not_be_started() -> None:
    play = Play()
    play.stage.failures["start b"] = ZeroDivisionError("bug")
    with our_log() as lines:
        play.server.startService()
    assert lines == ["critical: the server could not start"]
    assert [str(one) for one in play.failed] == ["the server could not start: its log says why"]
    play.events.clear()
    result_of(play.stop())
    assert play.events == ["stop a", "close"]


def test_stop_while_the_store_is_being_opened() -> None:
    play = Play()
    play.stage.slow["open"] = Deferred()
    play.server.startService()
    stopped = play.stop()
    assert not stopped.called
    play.stage.slow["open"].callback(None)
    result_of(stopped)
    assert play.events == ["open", "close"]
    assert play.failed == []


def test_stop_while_a_port_is_being_opened() -> None:
    play = Play()
    play.stage.slow["listen tcp"] = Deferred()
    play.server.startService()
    stopped = play.stop()
    assert not stopped.called
    play.stage.slow["listen tcp"].callback(None)
    result_of(stopped)
    assert play.events[4:] == ["stop tcp", "stop b", "stop a", "close"]


def test_stop_without_a_start() -> None:
    play = Play()
    result_of(play.stop())
    assert play.events == []


@pytest.mark.parametrize(
    "address, description, text",
    [
        (HOST, "tcp:5000", "http://127.0.0.1:5000/"),
        (IPv4Address("TCP", "0.0.0.0", 443), "ssl:443", "https://0.0.0.0:443/"),
        (IPv6Address("TCP", "::1", 5000), r"tcp:5000:interface=\:\:1", "http://[::1]:5000/"),
        (UNIXAddress("/run/overc.sock"), "unix:/run/overc.sock", "unix:/run/overc.sock"),
    ],
)
def test_an_address_as_people_write_it(address: IAddress, description: str, text: str) -> None:
    assert shown(address, description) == text
