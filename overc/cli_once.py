"""`overcli monitor --once`: what each plugin says now, as a table. Nothing is sent.

The plugins run as they do under the agent. That needs Twisted, so this is imported when it is run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.python.failure import Failure

from overc import terminal
from overc.agent.nagios import Reading, clean
from overc.agent.runner import Commands, environment_of, reading_of
from overc.agent.service_settings import ServiceSettings
from overc.agent.settings import AgentSettings
from overc.agent_tap import SECRETS
from overc.client import printable
from overc.clock import put_on_monotonic_clock
from overc.model import State
from overc.process import Runner

FAILED = 1


class Ran(NamedTuple):
    """One plugin's word."""

    service: ServiceSettings
    reading: Reading
    took_s: float


async def run_all(
    reactor: Any,
    commands: Commands,
    services: Sequence[ServiceSettings],
    environ: Mapping[str, str],
    concurrency: int,
) -> list[Ran]:
    """Run the plugin of each service once, at most `concurrency` of them at the same time."""
    places = DeferredSemaphore(concurrency)

    async def run(service: ServiceSettings) -> Ran:
        begun_at = reactor.seconds()
        try:
            reading = await reading_of(commands, service, environment_of(service, environ))
        except Exception as e:
            words = clean(f"could not be run: {type(e).__name__}: {e}")
            reading = Reading(State.UNK, words, own_word=False)
        return Ran(service, reading, reactor.seconds() - begun_at)

    runs = [places.run(lambda one: Deferred.fromCoroutine(run(one)), one) for one in services]
    return list(await gatherResults(runs))


class _Once:
    """All runs, on a reactor that nobody else has need of."""

    def __init__(self, reactor: Any, settings: AgentSettings, environ: Mapping[str, str]) -> None:
        self.ran: list[Ran] = []
        self.interrupted = False
        self.failure: Failure | None = None
        self._reactor = reactor
        self._settings = settings
        self._environ = environ
        self._commands = Runner(reactor)
        self._over = False

    def start(self) -> None:
        self._commands.startService()
        settings = self._settings
        runs = run_all(
            self._reactor, self._commands, settings.services, self._environ, settings.concurrency
        )
        Deferred.fromCoroutine(runs).addCallbacks(self.ran.extend, self._failed).addBoth(self._stop)

    def before_shutdown(self) -> Deferred[None]:
        # Somebody pressed Ctrl-C, if it is not us who stopped the reactor.
        self.interrupted = not self._over
        return self._commands.stopService()

    def _failed(self, failure: Failure) -> None:
        self.failure = failure

    def _stop(self, _result: object) -> None:
        self._over = True
        if not self.interrupted:
            self._reactor.stop()


def run_once(settings: AgentSettings, environ: Mapping[str, str]) -> list[Ran] | None:
    """Run all plugins on the global reactor, for the only time; None: somebody interrupted it."""
    from twisted.internet import reactor

    put_on_monotonic_clock(reactor)
    kept = {name: value for name, value in environ.items() if name not in SECRETS}
    once = _Once(reactor, settings, kept)
    global_reactor: Any = reactor
    global_reactor.callWhenRunning(once.start)
    global_reactor.addSystemEventTrigger("before", "shutdown", once.before_shutdown)
    global_reactor.run()
    if once.failure is not None:
        once.failure.raiseException()
    return None if once.interrupted else once.ran


def status(ran: Sequence[Ran]) -> int:
    """Return 0 if each plugin ran to its own end."""
    return 0 if all(one.reading.own_word for one in ran) else FAILED


def table(ran: Sequence[Ran], on: terminal.Screen) -> str:
    """Return what a person reads."""
    rows = [
        terminal.Row(
            one.reading.state,
            [printable(one.service.name)],
            printable(first_line(one.reading.info)) or "(no output)",
            f"{one.took_s:.2f} s",
        )
        for one in ran
    ]
    counts = Counter(one.reading.state for one in ran)
    counted = ", ".join(f"{counts[state]} {state.word}" for state in State if counts[state])
    plural = "" if len(ran) == 1 else "s"
    return f"{terminal.table(rows, on)}{len(ran)} service{plural}: {counted}; nothing was sent\n"


def as_json(ran: Sequence[Ran]) -> str:
    services = [
        {
            "name": one.service.name,
            "state": one.reading.state.word,
            "info": one.reading.info,
            "took_s": round(one.took_s, 3),
            "ran": one.reading.own_word,
        }
        for one in ran
    ]
    return json.dumps({"services": services}, indent=2) + "\n"


def first_line(info: str) -> str:
    """Return what a plugin says in short, without what it measured."""
    return info.partition("\n")[0].partition("|")[0].strip()
