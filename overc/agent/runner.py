"""Runs what is due: several plugins at once, one run of each service at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from overc.agent import nagios
from overc.agent.schedule import Promise, Turn, begin, due, first_turn, next_due_at, next_turn
from overc.agent.settings import ServiceSettings
from overc.model import ServiceReport, State
from overc.process import Outcome

CONCURRENCY = 8
"""How many plugins run at once."""

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
    ) -> Outcome: ...


class Listener(Protocol):
    """Takes what plugins say. None of these may raise."""

    def reported(self, report: ServiceReport) -> None:
        """A run has ended."""

    def all_reported(self) -> None:
        """No run goes on: nothing more is to be expected before the next ones are due."""

    def failed(self, error: Exception) -> None:
        """Something happened that should not have."""


class PluginRunner(Service):
    """Keeps the schedule. Stopping it starts nothing more and waits for the runs to end.

    What ends after that is not reported: it was probably killed. Ending the runs is up to who
    owns the commands.
    """

    def __init__(
        self,
        reactor: Any,
        commands: Commands,
        services: Sequence[ServiceSettings],
        *,
        folder: str,
        environ: Mapping[str, str],
        listener: Listener,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._reactor = reactor
        self._commands = commands
        self._services = {service.name: service for service in services}
        self._folder = folder
        self._environ = environ
        self._listener = listener
        self._concurrency = concurrency
        self._turns: dict[str, Turn] = {}
        self._active: set[str] = set()
        self._timer: Any = None
        self._all_ended: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        now = self._reactor.seconds()
        for service in self._services.values():
            promise = Promise(service.period_s, service.max_lag_s)
            self._turns[service.name] = first_turn(promise, now)
        self._look()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self._cancel_timer()
        all_ended: Deferred[None] = Deferred()
        if self._active:
            self._all_ended = all_ended
        else:
            all_ended.callback(None)
        return all_ended

    def _look(self) -> None:
        """Start what is due, and set the timer for what is due next."""
        self._timer = None
        try:
            self._start_due()
            if not self._active:
                self._listener.all_reported()
            self._look_at(next_due_at(self._turns))
        except Exception as e:
            self._listener.failed(e)
            self._look_at(self._reactor.seconds() + AFTER_FAILURE_S)

    def _look_at(self, at: float | None) -> None:
        # With every place taken, the end of a run is what makes the next one possible.
        if not self.running or at is None or len(self._active) >= self._concurrency:
            return
        self._cancel_timer()
        self._timer = self._reactor.callLater(max(0.0, at - self._reactor.seconds()), self._look)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _start_due(self) -> None:
        now = self._reactor.seconds()
        free = self._concurrency - len(self._active)
        for name in due(self._turns, now)[:free]:
            self._active.add(name)
            self._turns[name] = begin(self._turns[name], now)
            Deferred.fromCoroutine(self._run(self._services[name]))

    async def _run(self, service: ServiceSettings) -> None:
        try:
            reading = await self._reading(service)
            if self.running:
                report = ServiceReport(
                    service.name, reading.state, reading.info, period_s=service.period_s
                )
                self._listener.reported(report)
        except Exception as e:
            self._listener.failed(e)
        finally:
            self._ended(service.name)

    async def _reading(self, service: ServiceSettings) -> nagios.Reading:
        try:
            outcome = await self._commands.run(
                service.command,
                folder=self._folder,
                env=self._environ,
                timeout_s=service.timeout_s,
            )
            return nagios.read(outcome, service.timeout_s)
        except Exception as e:
            self._listener.failed(e)
            return nagios.Reading(State.UNK, nagios.clean(f"could not be run: {e}"))

    def _ended(self, name: str) -> None:
        now = self._reactor.seconds()
        self._active.discard(name)
        self._turns[name] = next_turn(self._turns[name], now)
        # Not at once: other runs that end in this same moment are seen along with it.
        self._look_at(now)
        if self._all_ended is not None and not self._active:
            self._all_ended.callback(None)
