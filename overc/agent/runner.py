"""Runs what is due: several plugins at once, one run of each service at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from overc.agent import nagios
from overc.agent.schedule import LOOK_MOST_S, Agenda, Lag, Promise, share_of
from overc.agent.service_settings import ServiceSettings
from overc.model import ServiceReport, State
from overc.process import Outcome

AFTER_FAILURE_S = 1.0
"""How soon the schedule is looked at again after it failed."""


class Commands(Protocol):
    """Runs a command; what `overc.process.Runner` promises."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        folder: str,
        env: Mapping[str, str],
        timeout_s: float,
        user: tuple[int, int] | None = None,
        until: Deferred[None] | None = None,
    ) -> Outcome: ...


class Listener(Protocol):
    """Takes what plugins say. None of these may raise."""

    def reported(self, report: ServiceReport) -> None:
        """A run has ended."""

    def all_reported(self) -> None:
        """No run goes on: nothing more is to be expected before the next ones are due."""

    def failed(self, error: Exception) -> None:
        """Something happened that should not have."""


class Changes(NamedTuple):
    """How many services another configuration concerns."""

    new: int
    changed: int
    gone: int
    same: int

    def __str__(self) -> str:
        return f"{self.new} new, {self.changed} changed, {self.gone} gone, {self.same} as before"


def environment_of(service: ServiceSettings, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment of a service's command, given the agent's."""
    if service.user is None and not service.env:
        # One for all of them.
        return environ
    env = dict(environ)
    if service.user is not None:
        env |= {
            "HOME": service.user.home,
            "USER": service.user.name,
            "LOGNAME": service.user.name,
        }
    return env | dict(service.env)


async def reading_of(
    commands: Commands,
    service: ServiceSettings,
    env: Mapping[str, str],
    until: Deferred[None] | None = None,
) -> nagios.Reading:
    """Run a service's command once, and return what it says. `until` ends it when it fires."""
    user = service.user
    outcome = await commands.run(
        service.command,
        folder=service.folder,
        env=env,
        timeout_s=service.timeout_s,
        user=None if user is None else (user.uid, user.gid),
        until=until,
    )
    return nagios.read(outcome, service.timeout_s)


@dataclass(eq=False, slots=True)
class _Run:
    """One run of a service."""

    service: ServiceSettings
    wanted: bool = True
    """Its report is; not so where the service has been changed or dropped meanwhile."""
    ending: Deferred[None] = field(default_factory=Deferred)
    """Ends the command when it fires."""


class PluginRunner(Service):
    """Keeps the schedule. Stopping it starts nothing more and waits for the runs to end.

    What ends after that is not reported: it was probably killed. Ending the runs is up to who
    owns the commands. `seconds` is the clock of the schedule; one that goes on while the machine
    is suspended shows that as a pause.
    """

    def __init__(
        self,
        reactor: Any,
        commands: Commands,
        services: Sequence[ServiceSettings],
        *,
        host: str,
        environ: Mapping[str, str],
        listener: Listener,
        concurrency: int,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self._reactor = reactor
        self._commands = commands
        self._host = host
        self._environ = environ
        self._listener = listener
        self._concurrency = concurrency
        self._seconds: Callable[[], float] = seconds or reactor.seconds
        self._services: dict[str, ServiceSettings] = {}
        self._envs: dict[str, Mapping[str, str]] = {}
        self._agenda = Agenda()
        self._runs: dict[str, _Run] = {}
        self._timer: Any = None
        self._all_ended: Deferred[None] | None = None
        self._looked_at: float | None = None
        self._untold = False
        self._first = services

    def startService(self) -> None:
        super().startService()
        self.watch(self._first, self._host, self._concurrency)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._cancel_timer()
        all_ended: Deferred[None] = Deferred()
        if self._runs:
            self._all_ended = all_ended
        else:
            all_ended.callback(None)
        return all_ended

    def watch(self, services: Sequence[ServiceSettings], host: str, concurrency: int) -> Changes:
        """Watch these services from now on, and return what is different.

        What is new or has changed is due at once, and a run of it that goes on is ended and not
        reported. Everything else goes on as if nothing had happened.
        """
        self._host = host
        self._concurrency = concurrency
        wanted = {service.name: service for service in services}
        old = set(self._services)
        for name in [n for n, service in self._services.items() if wanted.get(n) != service]:
            del self._services[name]
            self._agenda.drop(name)
            run = self._runs.get(name)
            if run is not None and run.wanted:
                run.wanted = False
                run.ending.callback(None)
        same = len(self._services)
        for name, service in wanted.items():
            if name not in self._services:
                self._services[name] = service
                self._envs[name] = environment_of(service, self._environ)
                if name not in self._runs:
                    self._plan(service)
        self._look()
        new, gone = len(wanted.keys() - old), len(old - wanted.keys())
        return Changes(new, len(wanted) - new - same, gone, same)

    def age_s(self) -> float | None:
        """Return how long ago the schedule was looked at; None before the first time."""
        return None if self._looked_at is None else self._reactor.seconds() - self._looked_at

    def lag(self) -> Lag:
        """Return how late runs began since `forget_lag`."""
        return self._agenda.lag(self._seconds())

    def forget_lag(self) -> None:
        """Begin anew with the lag."""
        self._agenda.forget_lag()

    def _plan(self, service: ServiceSettings) -> None:
        share = share_of(self._host, service.name)
        promise = Promise(service.period_s, service.max_lag_s, share)
        self._agenda.put(service.name, promise, self._seconds())

    def _look(self) -> None:
        """Start what is due, and set the timer for what is due next."""
        self._cancel_timer()
        try:
            self._start_due()
            if self._untold and not self._runs:
                self._listener.all_reported()
                self._untold = False
            self._looked_at = self._reactor.seconds()
            self._look_in(self._wait_s())
        except Exception as e:
            self._listener.failed(e)
            self._look_in(AFTER_FAILURE_S)

    def _wait_s(self) -> float:
        """Return until when nothing is to be done."""
        next_at = self._agenda.next_at()
        # With every place taken, the end of a run is what makes the next one possible.
        if next_at is None or len(self._runs) >= self._concurrency:
            return LOOK_MOST_S
        return min(LOOK_MOST_S, max(0.0, next_at - self._seconds()))

    def _look_in(self, wait_s: float) -> None:
        if self.running:
            self._cancel_timer()
            self._timer = self._reactor.callLater(wait_s, self._look)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _start_due(self) -> None:
        if not self.running:
            return
        for name in self._agenda.take(self._seconds(), self._concurrency - len(self._runs)):
            run = _Run(self._services[name])
            self._runs[name] = run
            Deferred.fromCoroutine(self._run(run))

    async def _run(self, run: _Run) -> None:
        service = run.service
        try:
            reading = await self._reading(run)
            if self.running and run.wanted:
                self._untold = True
                self._listener.reported(
                    ServiceReport(
                        service.name,
                        reading.state,
                        reading.info,
                        period_s=service.period_s,
                        grace_s=service.grace_s,
                    )
                )
        except Exception as e:
            self._listener.failed(e)
        finally:
            self._ended(run)

    async def _reading(self, run: _Run) -> nagios.Reading:
        try:
            env = self._envs[run.service.name]
            return await reading_of(self._commands, run.service, env, run.ending)
        except Exception as e:
            self._listener.failed(e)
            return nagios.Reading(State.UNK, nagios.clean(f"could not be run: {e}"))

    def _ended(self, run: _Run) -> None:
        name = run.service.name
        del self._runs[name]
        if run.wanted:
            self._agenda.ended(name, self._seconds())
        elif name in self._services:
            self._plan(self._services[name])
        # Not at once: other runs that end in this same moment are seen along with it.
        self._look_in(0.0)
        if self._all_ended is not None and not self._runs:
            self._all_ended.callback(None)
