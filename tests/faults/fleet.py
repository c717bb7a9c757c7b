"""Many agents on one reactor, for agent_fleet.py: real spools, real requests, made-up states.

It takes words on standard input, one a line, and says `done` on standard output after each:
`start`, `restart` (all at once), `miss N` (N reports at once, as of a time without a server),
`left` (says how many agents have a backlog) and `finish` (says how many reports each has made).
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall, deferLater

from overc.agent.delivery import Delivery
from overc.agent.delivery_settings import Server, SpoolSettings
from overc.agent.failover import Servers
from overc.agent.outbox import Outbox
from overc.agent.push import HttpPusher
from overc.agent.worker import Here
from overc.clock import put_on_monotonic_clock
from overc.model import ServerIdentity, ServiceReport, State

GLOBAL: Any = reactor


class OneAgent:
    """All of an agent but its plugins."""

    def __init__(self, number: int, chosen: argparse.Namespace) -> None:
        self._number = number
        self._chosen = chosen
        self.made = 0
        """Reports so far, each with a state of every service; the states bear their numbers."""
        self.errors: list[str] = []
        self._reporting: LoopingCall | None = None

    def start(self) -> None:
        """Report at once, as a started agent does, and then at a moment of its own."""
        chosen = self._chosen
        host = f"host {self._number}"
        path = str(pathlib.Path(chosen.folder) / f"{self._number}.db")
        self.outbox = Outbox(
            GLOBAL, host, SpoolSettings(path), make_worker=lambda reactor, name: Here()
        )
        server = Server(f"http://127.0.0.1:{chosen.port}/")
        self._pusher = Servers(
            GLOBAL, [HttpPusher(GLOBAL, server, ServerIdentity(host, "k"))], random.random
        )
        self._delivery = Delivery(
            GLOBAL,
            self._pusher,
            self.outbox,
            random=random.random,
            failed=lambda error: self.errors.append(repr(error)),
            shortest_period_s=chosen.period,
            states_per_s=chosen.services / chosen.interval,
        )
        self.outbox.startService()
        self._delivery.startService()
        self._report()
        self._reporting = LoopingCall(self._report)
        self._reporting.clock = GLOBAL
        GLOBAL.callLater(random.random() * chosen.interval, self._go_on, self._reporting)

    def _go_on(self, reporting: LoopingCall) -> None:
        if reporting is self._reporting:
            reporting.start(self._chosen.interval)

    def stop_reporting(self) -> None:
        if self._reporting is not None and self._reporting.running:
            self._reporting.stop()
        self._reporting = None

    async def stop(self) -> None:
        self.stop_reporting()
        await self._delivery.stopService()
        await self._pusher.close()
        await self.outbox.stopService()

    def _report(self) -> None:
        self.put()
        self._delivery.send_by(GLOBAL.seconds() + 0.1)

    def put(self) -> None:
        self.made += 1
        for n in range(self._chosen.services):
            info = str(self.made)
            self.outbox.put_state(ServiceReport(f"s{n}", State.OK, info, self._chosen.period))


class Fleet:
    def __init__(self, chosen: argparse.Namespace) -> None:
        self._agents = [OneAgent(n, chosen) for n in range(chosen.agents)]

    async def start(self) -> None:
        for agent in self._agents:
            agent.start()

    async def restart(self) -> None:
        await gatherResults([Deferred.fromCoroutine(agent.stop()) for agent in self._agents])
        await self.start()

    async def miss(self, count: int) -> None:
        for _ in range(count):
            for agent in self._agents:
                agent.put()
                await agent.outbox.keep()
            # What goes on beside it is not to be held up.
            await deferLater(GLOBAL, 0.005)

    async def left(self) -> None:
        print(sum(agent.outbox.has_backlog() for agent in self._agents), flush=True)

    async def finish(self) -> None:
        for agent in self._agents:
            agent.stop_reporting()
        while any(len(agent.outbox) for agent in self._agents):
            await deferLater(GLOBAL, 0.2)
        await gatherResults([Deferred.fromCoroutine(agent.stop()) for agent in self._agents])
        errors = [error for agent in self._agents for error in agent.errors]
        troubles = [one for agent in self._agents for one in agent.outbox.troubles()]
        made = [agent.made for agent in self._agents]
        print(json.dumps({"made": made, "errors": [*errors, *troubles]}), flush=True)


def obey(fleet: Fleet, line: str) -> None:
    word, _, number = line.strip().partition(" ")
    orders: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "start": fleet.start,
        "restart": fleet.restart,
        "miss": lambda: fleet.miss(int(number)),
        "left": fleet.left,
        "finish": fleet.finish,
    }
    Deferred.fromCoroutine(orders[word]()).addCallbacks(done, failed)


def done(_: object) -> None:
    print("done", flush=True)


def failed(failure: Any) -> None:
    failure.printTraceback(sys.stderr)
    GLOBAL.stop()


def listen(fleet: Fleet) -> None:
    for line in sys.stdin:
        GLOBAL.callFromThread(obey, fleet, line)
    GLOBAL.callFromThread(GLOBAL.stop)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    for name, kind in {"port": int, "agents": int, "services": int, "period": int}.items():
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--interval", type=float, required=True)
    put_on_monotonic_clock(reactor)
    fleet = Fleet(parser.parse_args())
    threading.Thread(target=listen, args=[fleet], daemon=True).start()
    GLOBAL.run()


if __name__ == "__main__":
    main()
